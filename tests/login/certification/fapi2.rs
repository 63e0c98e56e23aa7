//! The plans of the FAPI 2.0 Security Profile and of FAPI 2.0 Message Signing.

use std::collections::HashSet;

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer};
use tower_oauth::{Algorithm, Client, CookieKey, LoginLayer};

use super::Outcome::{Accepts, Rejects};
use super::{Module, Setting, World, alice, app, id_token};
use crate::support::keys::ed25519 as key;
use crate::support::shop::{CALLBACK, ISSUER, SHOP};

fn security_profile(login: LoginLayer) -> LoginLayer {
    login.with_fapi2_security_profile().unwrap()
}

fn message_signing(login: LoginLayer) -> LoginLayer {
    login.with_fapi2_message_signing(key()).unwrap()
}

/// The algorithm of the registration is PS256.
fn world(setting: Setting) -> World {
    let client = TestClient::private_key_jwt("shop", key().public_jwk());
    let server = crate::support::still_server(ISSUER)
        .unwrap()
        .with_fapi2()
        .with_signed_requests()
        .with_response_modes()
        .add_client(client.add_redirect_uri(CALLBACK).unwrap().without_consent())
        .add_user(alice());
    let client = Client::private_key_jwt("shop", key());
    let cookies = CookieKey::generate().unwrap();
    let login = LoginLayer::new(&server.authorization_server(), client, CALLBACK, cookies)
        .unwrap()
        .with_scopes("openid email")
        .unwrap()
        .with_id_token_algorithms([Algorithm::Ps256])
        .unwrap();
    let browser = server.browser().with_origin(SHOP, app(&setting(login)));
    World {
        browser: browser.unwrap(),
        server,
    }
}

/// Runs each module in a world of its own. A rejected authorization response causes no token request.
async fn run(setting: Setting, modules: &[Module]) {
    for (module, behave, outcome) in modules {
        let world = world(setting);
        behave(&world.server);
        let page = world.sign_in().await;
        world.assert_outcome(module, *outcome, &page);
        let is_response = module.contains("authorization-response") || module.contains("jarm");
        let redeems = usize::from(!is_response);
        if *outcome != Accepts && !module.contains("discovery") {
            assert_eq!(world.server.count(Endpoint::Token), redeems, "{module}");
        }
    }
}

const OTHER: &str = "https://other.example.test";

fn respond(server: &TestServer, name: &str, value: &str) {
    server.fail(Endpoint::Authorization, Fault::parameter(name, value));
}

const SECURITY_PROFILE: &[Module] = &[
    (
        "fapi2-security-profile-final-client-test-happy-path-no-dpop-nonce",
        |_| {},
        Accepts,
    ),
    (
        "fapi2-security-profile-final-client-test-discovery-issuer-mismatch",
        |server| server.fail(Endpoint::Metadata, Fault::member("issuer", OTHER)),
        Rejects("metadata_configuration"),
    ),
    (
        "fapi2-security-profile-final-client-test-invalid-iss",
        |server| id_token(server, |mint| mint.with_issuer(OTHER)),
        Rejects("id_token_issuer"),
    ),
    (
        "fapi2-security-profile-final-client-test-invalid-missing-iss",
        |server| id_token(server, |mint| mint.without_claim("iss")),
        Rejects("id_token_issuer"),
    ),
    (
        "fapi2-security-profile-final-client-test-invalid-aud",
        |server| id_token(server, |mint| mint.with_audience("another-client")),
        Rejects("id_token_audience"),
    ),
    (
        "fapi2-security-profile-final-client-test-invalid-secondary-aud",
        |server| {
            id_token(server, |mint| {
                mint.with_audience(json!(["shop", "another-client"]))
            })
        },
        Rejects("id_token_no_authorized_party"),
    ),
    (
        "fapi2-security-profile-final-client-test-invalid-missing-aud",
        |server| id_token(server, |mint| mint.without_claim("aud")),
        Rejects("id_token_audience"),
    ),
    (
        "fapi2-security-profile-final-client-test-valid-aud-as-array",
        |server| id_token(server, |mint| mint.with_audience(json!(["shop"]))),
        Accepts,
    ),
    (
        "fapi2-security-profile-final-client-test-invalid-null-alg",
        |server| id_token(server, |mint| mint.without_signature()),
        Rejects("id_token_algorithm"),
    ),
    (
        "fapi2-security-profile-final-client-test-invalid-alternate-alg",
        |server| id_token(server, |mint| mint.with_algorithm(Algorithm::Rs256)),
        Rejects("id_token_algorithm"),
    ),
    (
        "fapi2-security-profile-final-client-test-invalid-expired-exp",
        |server| id_token(server, |mint| mint.with_expires_in(-301)),
        Rejects("id_token_expired"),
    ),
    (
        "fapi2-security-profile-final-client-test-invalid-missing-exp",
        |server| id_token(server, |mint| mint.without_claim("exp")),
        Rejects("id_token_expiry"),
    ),
    (
        "fapi2-security-profile-final-client-test-invalid-nonce",
        |server| id_token(server, |mint| mint.with_claim("nonce", "another nonce")),
        Rejects("id_token_nonce"),
    ),
    (
        "fapi2-security-profile-final-client-test-invalid-missing-nonce",
        |server| id_token(server, |mint| mint.without_claim("nonce")),
        Rejects("id_token_no_nonce"),
    ),
    (
        "fapi2-security-profile-final-client-test-token-endpoint-response-without-expires_in",
        |server| server.fail(Endpoint::Token, Fault::without_member("expires_in")),
        Accepts,
    ),
    (
        "fapi2-security-profile-final-client-test-token-type-case-insensitivity",
        |server| server.fail(Endpoint::Token, Fault::member("token_type", "dPOP")),
        Accepts,
    ),
    (
        "fapi2-security-profile-final-client-test-invalid-authorization-response-iss",
        |server| respond(server, "iss", OTHER),
        Rejects("issuer_mismatch"),
    ),
    (
        "fapi2-security-profile-final-client-test-remove-authorization-response-iss",
        |server| server.fail(Endpoint::Authorization, Fault::without_parameter("iss")),
        Rejects("issuer_missing"),
    ),
    (
        "fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-state-fails",
        |server| respond(server, "state", "another state"),
        Rejects("login_unknown"),
    ),
    (
        "fapi2-security-profile-final-client-test-ensure-authorization-response-with-invalid-missing-state-fails",
        |server| server.fail(Endpoint::Authorization, Fault::without_parameter("state")),
        Rejects("state_missing"),
    ),
];

#[tokio::test]
async fn a_relying_party_with_the_security_profile_accepts_and_rejects_what_the_plan_says() {
    run(security_profile, SECURITY_PROFILE).await;
}

/// Modules that the plan of the Security Profile has too; in a signed response the parameters are claims.
#[tokio::test]
async fn a_relying_party_with_message_signing_accepts_and_rejects_the_same() {
    let modules: Vec<Module> = SECURITY_PROFILE
        .iter()
        .map(|(module, behave, outcome)| {
            let outcome = match module.ends_with("authorization-response-iss") {
                true => Rejects("response_jwt"),
                false => *outcome,
            };
            (*module, *behave, outcome)
        })
        .collect();
    run(message_signing, &modules).await;
}

fn jarm(
    server: &TestServer,
    alter: fn(tower_oauth::testing::TokenMint) -> tower_oauth::testing::TokenMint,
) {
    server.fail(
        Endpoint::Authorization,
        Fault::authorization_response(alter),
    );
}

/// JARM §2.4.
#[tokio::test]
async fn a_signed_response_is_verified_before_anything_is_sent() {
    let modules: [Module; 8] = [
        (
            "fapi2-security-profile-final-client-test-ensure-jarm-without-iss-fails",
            |server| jarm(server, |mint| mint.without_claim("iss")),
            Rejects("response_jwt"),
        ),
        (
            "fapi2-security-profile-final-client-test-ensure-jarm-with-invalid-iss-fails",
            |server| jarm(server, |mint| mint.with_issuer(OTHER)),
            Rejects("response_jwt"),
        ),
        (
            "fapi2-security-profile-final-client-test-ensure-jarm-without-aud-fails",
            |server| jarm(server, |mint| mint.without_claim("aud")),
            Rejects("response_jwt_audience"),
        ),
        (
            "fapi2-security-profile-final-client-test-ensure-jarm-with-invalid-aud-fails",
            |server| jarm(server, |mint| mint.with_audience("another-client")),
            Rejects("response_jwt_audience"),
        ),
        (
            "fapi2-security-profile-final-client-test-ensure-jarm-without-exp-fails",
            |server| jarm(server, |mint| mint.without_claim("exp")),
            Rejects("response_jwt"),
        ),
        (
            "fapi2-security-profile-final-client-test-ensure-jarm-with-expired-exp-fails",
            |server| jarm(server, |mint| mint.with_expires_in(-301)),
            Rejects("response_jwt"),
        ),
        (
            "fapi2-security-profile-final-client-test-ensure-jarm-with-invalid-sig-fails",
            |server| jarm(server, |mint| mint.with_broken_signature()),
            Rejects("response_jwt"),
        ),
        (
            "fapi2-security-profile-final-client-test-ensure-jarm-signature-is-not-none",
            |server| jarm(server, |mint| mint.without_signature()),
            Rejects("response_jwt"),
        ),
    ];
    run(message_signing, &modules).await;
}

/// RFC 9449 §8, §9: modules `happy-path` and `rs-dpop-auth-scheme-case-insensitivity`, whose servers require nonces.
#[tokio::test]
async fn nonces_of_both_servers_are_used_whatever_the_case_of_the_scheme() {
    for (module, scheme) in [
        ("fapi2-security-profile-final-client-test-happy-path", None),
        (
            "fapi2-security-profile-final-client-test-rs-dpop-auth-scheme-case-insensitivity",
            Some("dPOP error=\"use_dpop_nonce\""),
        ),
    ] {
        let mut world = world(security_profile);
        world.server = world.server.with_dpop_nonces();
        if let Some(scheme) = scheme {
            let header = Fault::header(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
            world.server.fail_once(Endpoint::UserInfo, header);
        }
        let page = world.sign_in().await;
        world.assert_outcome(module, Accepts, &page);
        assert_eq!(world.server.count(Endpoint::Token), 2, "{module}");
        assert_eq!(world.server.count(Endpoint::UserInfo), 2, "{module}");
    }
}

/// `fapi2-security-profile-final-client-refresh-token-test`: a refreshed token is used, twice.
#[tokio::test]
async fn rotated_refresh_tokens_are_used_one_after_the_other() {
    let world = world(security_profile);
    let page = world.sign_in().await;
    let module = "fapi2-security-profile-final-client-refresh-token-test";
    world.assert_outcome(module, Accepts, &page);
    for refreshes in 1..=2 {
        let page = world.open("/refreshed").await;
        assert_eq!(
            page.status(),
            StatusCode::OK,
            "{refreshes}: {}",
            page.text()
        );
        assert_eq!(world.server.count(Endpoint::Token), 1 + refreshes);
    }
    let requests = world.server.requests();
    let at = |endpoint| requests.iter().filter(move |it| it.endpoint() == endpoint);
    let refresh_tokens: HashSet<_> = at(Endpoint::Token)
        .filter_map(|it| it.parameter("refresh_token"))
        .collect();
    assert_eq!(refresh_tokens.len(), 2);
    let access_tokens: HashSet<_> = at(Endpoint::UserInfo)
        .map(|it| it.header(AUTHORIZATION.as_str()).unwrap())
        .collect();
    assert_eq!(access_tokens.len(), 3);
}
