//! Entra ID with several tenants: issuers from a template, and keys of one tenant.

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tower_oauth::session::{EndedSession, SessionAdmin, SessionAdminError, UserKey};
use tower_oauth::store::MemoryStore;
use tower_oauth::{LoginLayer, Provider};

use super::documents;
use super::imitation::{App, Imitation, KEY, logout_token, report};
use crate::support::logs::Logs;
use crate::support::shop::{Ask, Jar, PAGE};

const CONTOSO: &str = "11111111-aaaa-4aaa-8aaa-111111111111";
const FABRIKAM: &str = "22222222-bbbb-4bbb-8bbb-222222222222";
const STRANGER: &str = "33333333-cccc-4ccc-8ccc-333333333333";
/// https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const TEMPLATE: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

fn issuer(tenant: &str) -> String {
    TEMPLATE.replace("{tenantid}", tenant)
}

fn encoded(issuer: &str) -> String {
    let encoded = url::form_urlencoded::byte_serialize(issuer.as_bytes());
    encoded.collect()
}

fn claims(tenant: &str) -> Value {
    json!({
        "ver": "2.0", "iss": issuer(tenant), "tid": tenant, "aud": "shop", "sub": "the-same-sub",
        "preferred_username": "admin@contoso.example", "email": "admin@contoso.example",
    })
}

/// Imitates the endpoints of an audience, with one key whose member `issuer` is this: "each key has an issuer"
/// (https://learn.microsoft.com/en-us/entra/identity-platform/access-tokens#validate-the-issuer).
fn entra(audience: &str, key_issuer: &str) -> Imitation {
    let document = documents::microsoft(audience, TEMPLATE);
    let url = format!(
        "https://login.microsoftonline.com/{audience}/v2.0/.well-known/openid-configuration"
    );
    let provider = Imitation::of(&url, &document);
    let mut key = KEY.public_jwk();
    key["issuer"] = key_issuer.into();
    provider.answer(
        document["jwks_uri"].as_str().unwrap(),
        json!({ "keys": [key] }),
    );
    provider
}

fn token_endpoint(audience: &str) -> String {
    format!("https://login.microsoftonline.com/{audience}/oauth2/v2.0/token")
}

async fn sign_in(tenants: &[&str], audience: &str, key_issuer: &str, claims: &Value) -> Value {
    let provider = entra(audience, key_issuer);
    let preset = Provider::microsoft_tenants(tenants.iter().copied(), "shop", "secret").unwrap();
    let mut app = App::new(&provider, preset);
    let answer = app.sign_in(&token_endpoint(audience), claims).await;
    match answer.status.as_u16() {
        303 => app.me().await["issuer"].clone(),
        status => status.into(),
    }
}

#[tokio::test]
async fn only_users_of_listed_tenants_sign_in_and_their_issuer_is_that_of_the_tenant() {
    let both = [CONTOSO, FABRIKAM];
    let mut of_fabrikam = claims(CONTOSO);
    of_fabrikam["tid"] = FABRIKAM.into();
    let mut without_tenant = claims(CONTOSO);
    without_tenant.as_object_mut().unwrap().remove("tid");
    let mut literal = claims(CONTOSO);
    literal["iss"] = TEMPLATE.into();
    for (name, claims, expected) in [
        ("a listed tenant", claims(CONTOSO), json!(issuer(CONTOSO))),
        ("another one", claims(FABRIKAM), json!(issuer(FABRIKAM))),
        ("not on the list", claims(STRANGER), json!(502)),
        ("a personal account", claims(CONSUMERS), json!(502)),
        ("tid is not that of iss", of_fabrikam, json!(502)),
        ("no tid", without_tenant, json!(502)),
        ("the template itself", literal, json!(502)),
    ] {
        let outcome = sign_in(&both, "organizations", TEMPLATE, &claims).await;
        assert_eq!(outcome, expected, "{name}");
    }
}

/// RFC 9207 §2.4: the issuers of a response are those of ID tokens and of links.
#[tokio::test]
async fn a_response_names_the_issuer_of_a_listed_tenant_or_none() {
    for (iss, status) in [
        (issuer(CONTOSO), 303),
        (issuer(FABRIKAM), 303),
        (issuer(STRANGER), 400),
        (TEMPLATE.to_owned(), 400),
    ] {
        let provider = entra("organizations", TEMPLATE);
        let preset = Provider::microsoft_tenants([CONTOSO, FABRIKAM], "shop", "secret").unwrap();
        let mut app = App::new(&provider, preset);
        let started = app.start().await;
        let endpoint = token_endpoint("organizations");
        app.grant(&endpoint, &started, &claims(CONTOSO));
        let iss = format!("&iss={}", encoded(&iss));
        let answer = app.callback_with(&started, &iss).await;
        assert_eq!(answer.status, status, "{iss}");
        assert_eq!(provider.count(&endpoint) == 1, status == 303, "{iss}");
    }
}

#[tokio::test]
async fn personal_accounts_sign_in_only_if_their_tenant_is_listed() {
    let listed = [CONTOSO, CONSUMERS];
    let outcome = sign_in(&listed, "common", TEMPLATE, &claims(CONSUMERS)).await;
    assert_eq!(outcome, issuer(CONSUMERS));
    let outcome = sign_in(&listed, "common", &issuer(CONSUMERS), &claims(CONSUMERS)).await;
    assert_eq!(outcome, issuer(CONSUMERS));
}

#[tokio::test]
async fn the_key_of_another_tenant_signs_no_token_of_this_one() {
    let both = [CONTOSO, FABRIKAM];
    for (key_issuer, expected) in [
        (TEMPLATE.to_owned(), json!(issuer(CONTOSO))),
        (issuer(CONTOSO), json!(issuer(CONTOSO))),
        (issuer(FABRIKAM), json!(502)),
        (issuer(CONSUMERS), json!(502)),
        ("https://sts.windows.net/{tenantid}/".to_owned(), json!(502)),
    ] {
        let outcome = sign_in(&both, "organizations", &key_issuer, &claims(CONTOSO)).await;
        assert_eq!(outcome, expected, "{key_issuer}");
    }
}

#[tokio::test]
async fn the_log_names_the_tenant_that_is_not_listed_and_the_setting() {
    let logs = Logs::default();
    let recording = logs.record_only("login_failed");
    sign_in(&[CONTOSO], "organizations", TEMPLATE, &claims(STRANGER)).await;
    drop(recording);
    let text = logs.text();
    assert!(text.contains(STRANGER), "{text}");
    assert!(text.contains("the tenants of the provider"), "{text}");
}

/// https://github.com/MicrosoftDocs/azure-docs/issues/113944: the issuer of these documents is the template.
#[tokio::test]
async fn metadata_for_several_tenants_are_not_those_of_one_tenant() {
    let document = documents::microsoft(CONTOSO, TEMPLATE);
    let url = format!(
        "https://login.microsoftonline.com/{CONTOSO}/v2.0/.well-known/openid-configuration"
    );
    let provider = Imitation::of(&url, &document);
    let preset = Provider::microsoft(CONTOSO, "shop", "secret").unwrap();
    let mut app = App::new(&provider, preset);
    let answer = app.send(Ask::page("/auth/login")).await;
    assert_eq!(answer.status, 500);
}

#[test]
fn a_tenant_is_a_guid() {
    for tenant in [
        "common",
        "organizations",
        "consumers",
        "contoso.onmicrosoft.com",
        "",
    ] {
        assert!(
            Provider::microsoft(tenant, "shop", "secret").is_err(),
            "{tenant}"
        );
        let several = Provider::microsoft_tenants([CONTOSO, tenant], "shop", "secret");
        assert!(several.is_err(), "{tenant}");
    }
    assert!(Provider::microsoft_tenants([], "shop", "secret").is_err());
    assert!(Provider::microsoft_tenants([CONTOSO], "shop", "secret").is_ok());
}

const SUBJECT: &str = "the-same-sub";

fn with_store(login: LoginLayer) -> LoginLayer {
    login.with_session_store(MemoryStore::new().with_single_process())
}

fn github() -> Provider {
    Provider::github("shop", "secret").unwrap()
}

fn both_tenants(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> App {
    let preset = Provider::microsoft_tenants([CONTOSO, FABRIKAM], "shop", "secret").unwrap();
    let app = App::with(&entra("organizations", TEMPLATE), preset, configure);
    let login_path = "/auth/login/microsoft";
    App { login_path, ..app }
}

/// Signs in the user of a tenant in a browser of its own. Both users have one `sub` and one `sid`.
async fn sign_in_at(app: &mut App, tenant: &str) -> Jar {
    app.jar = Jar::default();
    let mut claims = claims(tenant);
    claims["sid"] = "the-same-sid".into();
    let answer = app.sign_in(&token_endpoint("organizations"), &claims).await;
    assert_eq!(answer.status, 303, "{tenant}");
    std::mem::take(&mut app.jar)
}

async fn are_signed_in(app: &mut App, jars: [&Jar; 2]) -> [bool; 2] {
    let mut signed_in = [false; 2];
    for (jar, signed_in) in jars.into_iter().zip(&mut signed_in) {
        app.jar = jar.clone();
        *signed_in = app.is_signed_in().await;
    }
    signed_in
}

#[tokio::test]
async fn users_of_two_tenants_with_one_subject_do_not_replace_each_other() {
    let mut app = both_tenants(|login| with_store(login).with_max_sessions_per_user(1).unwrap());
    let first = sign_in_at(&mut app, CONTOSO).await;
    let second = sign_in_at(&mut app, FABRIKAM).await;
    assert_eq!(are_signed_in(&mut app, [&first, &second]).await, [true; 2]);
    let third = sign_in_at(&mut app, CONTOSO).await;
    assert_eq!(
        are_signed_in(&mut app, [&first, &third]).await,
        [false, true]
    );
    assert_eq!(are_signed_in(&mut app, [&third, &second]).await, [true; 2]);
}

#[tokio::test]
async fn sessions_of_a_tenant_that_was_removed_from_the_list_have_ended() {
    let mut app = both_tenants(|login| login);
    let contoso = sign_in_at(&mut app, CONTOSO).await;
    let fabrikam = sign_in_at(&mut app, FABRIKAM).await;
    assert_eq!(
        are_signed_in(&mut app, [&contoso, &fabrikam]).await,
        [true; 2]
    );
    let preset = Provider::microsoft_tenants([CONTOSO], "shop", "secret").unwrap();
    let mut app = App::new(&entra("organizations", TEMPLATE), preset);
    assert_eq!(
        are_signed_in(&mut app, [&contoso, &fabrikam]).await,
        [true, false]
    );
}

/// OpenID Connect Core §5.7: `sub` and `sid` are unique only within `iss`. A further provider changes nothing.
#[tokio::test]
async fn a_logout_token_of_a_tenant_ends_sessions_of_this_tenant_only() {
    for further in [false, true] {
        for names in [&["sub"][..], &["sid"], &["sub", "sid"]] {
            let context = format!("{names:?} {further}");
            let mut app = both_tenants(|login| match further {
                true => with_store(login).add_provider(github()).unwrap(),
                false => with_store(login),
            });
            let contoso = sign_in_at(&mut app, CONTOSO).await;
            let fabrikam = sign_in_at(&mut app, FABRIKAM).await;
            let token = |tenant: &str| {
                let mut claims = json!({ "iss": issuer(tenant), "tid": tenant, "aud": "shop" });
                for name in names {
                    claims[*name] = format!("the-same-{name}").into();
                }
                logout_token(&claims)
            };
            let stranger = report(&mut app, &token(STRANGER)).await;
            assert_eq!(stranger.status, 400, "{context}");
            let answer = report(&mut app, &token(CONTOSO)).await;
            assert_eq!(answer.status, 200, "{context} {}", answer.text());
            let left = are_signed_in(&mut app, [&contoso, &fabrikam]).await;
            assert_eq!(left, [false, true], "{context}");
            // The `jti` is unique within its issuer too.
            let answer = report(&mut app, &token(FABRIKAM)).await;
            assert_eq!(answer.status, 200, "{context} {}", answer.text());
            let left = are_signed_in(&mut app, [&contoso, &fabrikam]).await;
            assert_eq!(left, [false, false], "{context}");
        }
    }
}

fn administered() -> (App, SessionAdmin, mpsc::UnboundedReceiver<Option<String>>) {
    let (sender, ended) = mpsc::unbounded_channel();
    let mut admin = None;
    let app = both_tenants(|login| {
        let login = with_store(login).with_on_logout(move |ended: EndedSession| {
            let user = ended.user_key().map(|user| user.issuer.to_owned());
            sender.send(user).unwrap();
            async {}
        });
        admin = Some(login.sessions());
        login
    });
    (app, admin.unwrap(), ended)
}

#[tokio::test]
async fn the_logout_hook_gets_the_issuer_of_the_tenant() {
    for by in ["subject", "key", "logout token"] {
        let (mut app, admin, mut ended) = administered();
        sign_in_at(&mut app, FABRIKAM).await;
        let tenant = issuer(FABRIKAM);
        match by {
            "subject" => assert_eq!(admin.end_user(SUBJECT).await.unwrap(), 1),
            "key" => {
                let user = UserKey::new(&tenant, SUBJECT);
                assert_eq!(admin.end_user_key(user).await.unwrap(), 1);
            }
            _ => {
                let claims =
                    json!({ "iss": tenant, "tid": FABRIKAM, "aud": "shop", "sub": SUBJECT });
                let answer = report(&mut app, &logout_token(&claims)).await;
                assert_eq!(answer.status, 200);
            }
        }
        assert_eq!(ended.recv().await, Some(Some(tenant)), "{by}");
    }
}

#[tokio::test]
async fn a_user_key_is_one_user_of_one_tenant_and_a_subject_or_sid_is_all_tenants() {
    let (mut app, admin, _ended) = administered();
    let contoso = sign_in_at(&mut app, CONTOSO).await;
    let fabrikam = sign_in_at(&mut app, FABRIKAM).await;
    assert_eq!(admin.of_user(SUBJECT).await.unwrap().len(), 2);
    assert_eq!(admin.of_sid("the-same-sid").await.unwrap().len(), 2);
    let (tenant, stranger) = (issuer(CONTOSO), issuer(STRANGER));
    let user = UserKey::new(&tenant, SUBJECT);
    assert_eq!(admin.of_user_key(user).await.unwrap().len(), 1);
    for unknown in [TEMPLATE, &stranger] {
        let outcome = admin.end_user_key(UserKey::new(unknown, SUBJECT)).await;
        let is_refused =
            matches!(outcome, Err(SessionAdminError::UnknownIssuer(issuer)) if issuer == unknown);
        assert!(is_refused, "{unknown}");
    }
    assert_eq!(admin.end_user_key(user).await.unwrap(), 1);
    let left = are_signed_in(&mut app, [&contoso, &fabrikam]).await;
    assert_eq!(left, [false, true]);

    for by in ["subject", "sid"] {
        let (mut app, admin, _ended) = administered();
        let contoso = sign_in_at(&mut app, CONTOSO).await;
        let fabrikam = sign_in_at(&mut app, FABRIKAM).await;
        let ended = match by {
            "subject" => admin.end_user(SUBJECT).await,
            _ => admin.end_sid("the-same-sid").await,
        };
        assert_eq!(ended.unwrap(), 2, "{by}");
        let left = are_signed_in(&mut app, [&contoso, &fabrikam]).await;
        assert_eq!(left, [false, false], "{by}");
    }
}

/// Front-Channel Logout §2, and OpenID Connect Core §4: `iss` is the issuer of the tenant, and not the template.
#[tokio::test]
async fn a_frame_and_a_portal_name_the_issuer_of_the_tenant() {
    let mut app = both_tenants(|login| {
        let login = with_store(login).with_third_party_login();
        login.add_provider(github()).unwrap()
    });
    let session = sign_in_at(&mut app, CONTOSO).await;
    for (iss, stays) in [
        (TEMPLATE.to_owned(), true),
        (issuer(FABRIKAM), true),
        (issuer(STRANGER), true),
        (issuer(CONTOSO), false),
    ] {
        let path = "/auth/frontchannel-logout";
        let frame = Ask::page(&format!("{path}?iss={}&sid=the-same-sid", encoded(&iss)));
        app.jar = session.clone();
        let answer = app.send(frame).await;
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy
                .ends_with("frame-ancestors https://login.microsoftonline.com https://github.com"),
            "{policy}"
        );
        assert_eq!(app.is_signed_in().await, stays, "{iss}");
    }
    app.jar = Jar::default();
    for (iss, status) in [
        (TEMPLATE.to_owned(), 400),
        (issuer(STRANGER), 400),
        (issuer(FABRIKAM), 303),
    ] {
        let link = Ask::page(&format!("/auth/login?iss={}", encoded(&iss)));
        assert_eq!(app.send(link).await.status, status, "{iss}");
        let form = Ask::new("POST", "/auth/login")
            .with(&PAGE)
            .with(&[
                ("content-type", "application/x-www-form-urlencoded"),
                ("origin", "https://portal.example"),
            ])
            .set("sec-fetch-site", "cross-site")
            .body(&format!("iss={}", encoded(&iss)));
        let answer = app.send(form).await;
        assert_eq!(answer.status, status, "{iss}");
        if status == 303 {
            let answer = app.send(Ask::page(answer.location())).await;
            assert!(answer.location().contains("microsoftonline"), "{answer:?}");
        }
    }
}
