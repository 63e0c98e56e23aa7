//! One login for each provider with OpenID Connect: what is requested, how the client authenticates, whom the session names,
//! and where users are sent to sign out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tower_oauth::Provider;

use super::documents;
use super::imitation::{App, Imitation};
use crate::support::shop::{Ask, LOGOUT, PAGE, SHOP, parameter};

pub struct Case {
    pub preset: Provider,
    pub document_url: &'static str,
    pub document: Value,
    /// The claims of an ID token, as the documentation of the provider shows them.
    pub claims: Value,
    pub expected: Expected,
}

pub struct Expected {
    pub name: &'static str,
    pub issuer: &'static str,
    pub subject: &'static str,
    pub email_verified: Option<bool>,
    pub sends_secret_in_header: bool,
    /// The logout URL without its query, and the parameter with the address to return to.
    pub logout: Option<(&'static str, &'static str)>,
}

const AUTH0: &str = "https://shop.eu.auth0.com/";
const COGNITO: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI";
const KEYCLOAK: &str = "https://id.example.com/realms/shop";
const OKTA: &str = "https://shop.okta.com/oauth2/default";
const ZITADEL: &str = "https://shop-abc123.eu1.zitadel.cloud";
const AUTHENTIK: &str = "https://id.example.com/application/o/shop/";
const TENANT: &str = "11111111-aaaa-4aaa-8aaa-111111111111";
const TENANT_ISSUER: &str =
    "https://login.microsoftonline.com/11111111-aaaa-4aaa-8aaa-111111111111/v2.0";

fn cases() -> Vec<Case> {
    let post = "post_logout_redirect_uri";
    vec![
        Case {
            preset: Provider::google("shop", "the secret").unwrap(),
            document_url: "https://accounts.google.com/.well-known/openid-configuration",
            document: documents::google(),
            // https://developers.google.com/identity/openid-connect/openid-connect#an-id-tokens-payload
            claims: json!({
                "iss": "https://accounts.google.com", "azp": "shop", "aud": "shop", "sub": "10769150350006150715113082367",
                "email": "jsmith@example.com", "email_verified": "true", "hd": "example.com", "name": "J Smith",
            }),
            expected: Expected {
                name: "google",
                issuer: "https://accounts.google.com",
                subject: "10769150350006150715113082367",
                email_verified: Some(true),
                sends_secret_in_header: false,
                logout: None,
            },
        },
        Case {
            preset: Provider::microsoft(TENANT, "shop", "the secret").unwrap(),
            document_url: "https://login.microsoftonline.com/11111111-aaaa-4aaa-8aaa-111111111111/v2.0/.well-known/openid-configuration",
            document: documents::microsoft(TENANT, TENANT_ISSUER),
            // https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference
            claims: json!({
                "ver": "2.0", "iss": TENANT_ISSUER, "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ", "aud": "shop",
                "name": "Abe Lincoln", "preferred_username": "AbeLi@example.com", "tid": TENANT, "email": "AbeLi@example.com",
                "oid": "00000000-0000-0000-66f3-3332eca7ea81", "aio": "Df2UVXL1ix!lMCWMSOJBcFatzcGfvFGhjKv8q5g0x732dR5MB5BisvGQO7YWByjd8iQDLq!eGbIDakyp5mnOrcdqHeYSnltepQmRp6AIZ8jY",
            }),
            expected: Expected {
                name: "microsoft",
                issuer: TENANT_ISSUER,
                subject: "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
                email_verified: None,
                sends_secret_in_header: false,
                logout: Some((
                    "https://login.microsoftonline.com/11111111-aaaa-4aaa-8aaa-111111111111/oauth2/v2.0/logout",
                    post,
                )),
            },
        },
        Case {
            preset: Provider::auth0("shop.eu.auth0.com", "shop", "the secret").unwrap(),
            document_url: "https://shop.eu.auth0.com/.well-known/openid-configuration",
            document: documents::auth0(),
            // https://auth0.com/docs/secure/tokens/id-tokens/id-token-structure
            claims: json!({
                "iss": AUTH0, "sub": "auth0|583c3ac3f38e84297c002546", "aud": "shop", "name": "test@test.com",
                "email": "test@test.com", "email_verified": true, "sid": "abc",
            }),
            expected: Expected {
                name: "auth0",
                issuer: AUTH0,
                subject: "auth0|583c3ac3f38e84297c002546",
                email_verified: Some(true),
                sends_secret_in_header: false,
                logout: Some(("https://shop.eu.auth0.com/v2/logout", "returnTo")),
            },
        },
        Case {
            preset: Provider::okta(OKTA, "shop", "the secret").unwrap(),
            document_url: "https://shop.okta.com/oauth2/default/.well-known/openid-configuration",
            document: documents::okta(),
            // https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/#id-token
            claims: json!({
                "ver": 1, "sub": "00uid4BxXw6I6TV4m0g3", "iss": OKTA, "aud": "shop", "jti": "ID.4eAWJOCMB3SX8XewDfVR",
                "amr": ["pwd"], "idp": "00ok1u7AsAkrwdZL3z0e3", "email": "john@example.com", "email_verified": true,
            }),
            expected: Expected {
                name: "okta",
                issuer: OKTA,
                subject: "00uid4BxXw6I6TV4m0g3",
                email_verified: Some(true),
                sends_secret_in_header: true,
                logout: Some(("https://shop.okta.com/oauth2/default/v1/logout", post)),
            },
        },
        Case {
            preset: Provider::keycloak(KEYCLOAK, "shop", "the secret").unwrap(),
            document_url: "https://id.example.com/realms/shop/.well-known/openid-configuration",
            document: documents::keycloak(),
            claims: json!({
                "iss": KEYCLOAK, "aud": "shop", "azp": "shop", "sub": "f0b1c2d3-1111-4222-8333-444455556666",
                "typ": "ID", "sid": "s1", "acr": "1", "email": "alice@example.com", "email_verified": false,
            }),
            expected: Expected {
                name: "keycloak",
                issuer: KEYCLOAK,
                subject: "f0b1c2d3-1111-4222-8333-444455556666",
                email_verified: Some(false),
                sends_secret_in_header: true,
                logout: Some((
                    "https://id.example.com/realms/shop/protocol/openid-connect/logout",
                    post,
                )),
            },
        },
        Case {
            preset: Provider::gitlab("shop", "the secret").unwrap(),
            document_url: "https://gitlab.com/.well-known/openid-configuration",
            document: documents::gitlab(),
            // https://docs.gitlab.com/integration/openid_connect_provider/#shared-information
            claims: json!({
                "iss": "https://gitlab.com", "aud": "shop", "sub": "1234", "sub_legacy": "a1b2", "auth_time": 1_799_999_000,
                "name": "Alice", "nickname": "alice", "email": "alice@example.com", "email_verified": true,
                "groups_direct": ["shop"],
            }),
            expected: Expected {
                name: "gitlab",
                issuer: "https://gitlab.com",
                subject: "1234",
                email_verified: Some(true),
                sends_secret_in_header: false,
                logout: None,
            },
        },
        Case {
            preset: Provider::slack("shop", "the secret").unwrap(),
            document_url: "https://slack.com/.well-known/openid-configuration",
            document: documents::slack(),
            // https://docs.slack.dev/authentication/sign-in-with-slack/
            claims: json!({
                "iss": "https://slack.com", "sub": "U123ABC456", "aud": "shop", "auth_time": 1_799_999_000,
                "https://slack.com/team_id": "T0123ABC456", "https://slack.com/user_id": "U123ABC456",
                "email": "alice@example.com", "email_verified": true, "date_email_verified": 1_622_128_723, "locale": "en-US",
                "name": "Alice",
            }),
            expected: Expected {
                name: "slack",
                issuer: "https://slack.com",
                subject: "U123ABC456",
                email_verified: Some(true),
                sends_secret_in_header: false,
                logout: None,
            },
        },
        Case {
            preset: Provider::cognito(
                COGNITO,
                "shop.auth.eu-central-1.amazoncognito.com",
                "shop",
                "the secret",
            )
            .unwrap(),
            document_url: "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI/.well-known/openid-configuration",
            document: documents::cognito(),
            // https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-id-token.html
            claims: json!({
                "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["test-group-a"], "email_verified": true,
                "iss": COGNITO, "cognito:username": "my-test-user", "aud": "shop", "token_use": "id",
                "auth_time": 1_799_999_000, "email": "my-test-user@example.com",
            }),
            expected: Expected {
                name: "cognito",
                issuer: COGNITO,
                subject: "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
                email_verified: Some(true),
                sends_secret_in_header: true,
                logout: Some((
                    "https://shop.auth.eu-central-1.amazoncognito.com/logout",
                    "logout_uri",
                )),
            },
        },
        Case {
            preset: Provider::zitadel(ZITADEL, "69234237810729019", "shop", "the secret").unwrap(),
            document_url: "https://shop-abc123.eu1.zitadel.cloud/.well-known/openid-configuration",
            document: documents::zitadel(),
            // https://zitadel.com/docs/apis/openidoauth/claims: the project is an audience too.
            claims: json!({
                "iss": ZITADEL, "aud": ["shop", "69234237810729019"], "azp": "shop", "sub": "77776025198584418",
                "amr": ["password", "pwd"], "auth_time": 1_799_999_000, "email": "road.runner@zitadel.com",
                "email_verified": true,
                "urn:zitadel:iam:org:project:roles": { "user": { "id1": "acme.zitadel.cloud" } },
            }),
            expected: Expected {
                name: "zitadel",
                issuer: ZITADEL,
                subject: "77776025198584418",
                email_verified: Some(true),
                sends_secret_in_header: true,
                logout: Some((
                    "https://shop-abc123.eu1.zitadel.cloud/oidc/v1/end_session",
                    post,
                )),
            },
        },
        Case {
            preset: Provider::authentik(AUTHENTIK, "shop", "the secret").unwrap(),
            document_url: "https://id.example.com/application/o/shop/.well-known/openid-configuration",
            document: documents::authentik(),
            claims: json!({
                "iss": AUTHENTIK, "sub": "9f86d081884c7d65", "aud": "shop", "auth_time": 1_799_999_000, "acr": "goauthentik.io/providers/oauth2/default",
                "email": "alice@example.com", "email_verified": false, "name": "Alice", "groups": ["shop"], "uid": "u1",
            }),
            expected: Expected {
                name: "authentik",
                issuer: AUTHENTIK,
                subject: "9f86d081884c7d65",
                email_verified: Some(false),
                sends_secret_in_header: true,
                logout: Some((
                    "https://id.example.com/application/o/shop/end-session/",
                    post,
                )),
            },
        },
    ]
}

#[tokio::test]
async fn each_preset_signs_users_in_as_its_provider_documents_it() {
    for case in cases() {
        let Case {
            preset,
            document_url,
            document,
            claims,
            expected,
        } = case;
        let name = expected.name;
        let provider = Imitation::of(document_url, &document);
        let token_endpoint = document["token_endpoint"].as_str().unwrap();
        let mut app = App::with(&provider, preset, |login| {
            login.with_post_logout_redirect_uri(LOGOUT).unwrap()
        });

        let started = app.start().await;
        let endpoint = document["authorization_endpoint"].as_str().unwrap();
        assert!(started.location.starts_with(endpoint), "{name}");
        let parameter_of = |name| parameter(&started.location, name);
        assert_eq!(parameter_of("client_id").unwrap(), "shop", "{name}");
        let scope = parameter_of("scope").unwrap();
        assert_eq!(scope, "openid profile email", "{name}");
        assert_eq!(
            parameter_of("code_challenge_method").unwrap(),
            "S256",
            "{name}"
        );
        assert!(!started.nonce.is_empty(), "{name}");

        let answer = app.sign_in(token_endpoint, &claims).await;
        assert_eq!(answer.status, 303, "{name} {}", answer.text());
        let sent = provider.request(token_endpoint);
        assert_eq!(sent.header("accept"), "application/json", "{name}");
        let basic = format!("Basic {}", STANDARD.encode("shop:the+secret"));
        match expected.sends_secret_in_header {
            true => assert_eq!(sent.header("authorization"), basic, "{name}"),
            false => assert_eq!(sent.form()["client_secret"], "the secret", "{name}"),
        }

        let me = app.me().await;
        assert_eq!(me["provider"], name);
        assert_eq!(me["issuer"], expected.issuer, "{name}");
        assert_eq!(me["subject"], expected.subject, "{name}");
        assert_eq!(me["email"], claims["email"], "{name}");
        assert_eq!(
            me["email_verified"],
            json!(expected.email_verified),
            "{name}"
        );
        assert_eq!(me["source"], "IdToken", "{name}");

        let logout = Ask::new("POST", "/auth/logout")
            .with(&PAGE)
            .set("sec-fetch-site", "same-origin")
            .set("origin", SHOP);
        let answer = app.send(logout).await;
        assert_eq!(answer.status, 303, "{name} {}", answer.text());
        match expected.logout {
            None => assert!(answer.location().starts_with('/'), "{name} {answer:?}"),
            Some((url, returns_to)) => {
                let location = answer.location();
                assert_eq!(location.split('?').next().unwrap(), url, "{name}");
                assert_eq!(parameter(location, returns_to).unwrap(), LOGOUT, "{name}");
                assert_eq!(parameter(location, "client_id").unwrap(), "shop", "{name}");
            }
        }
        assert!(!app.is_signed_in().await, "{name}");
    }
}

/// https://docs.slack.dev/reference/methods/openid.connect.token: errors have status 200 and `ok: false`.
#[tokio::test]
async fn an_error_of_slack_with_status_200_is_an_error() {
    let provider = Imitation::of(
        "https://slack.com/.well-known/openid-configuration",
        &documents::slack(),
    );
    let token_endpoint = "https://slack.com/api/openid.connect.token";
    provider.answer(
        token_endpoint,
        json!({ "ok": false, "error": "invalid_code" }),
    );
    let mut app = App::new(&provider, Provider::slack("shop", "the secret").unwrap());
    let started = app.start().await;
    let answer = app.callback(&started).await;
    assert!(answer.status.is_client_error() || answer.status.is_server_error());
    assert!(!app.is_signed_in().await);
}

/// https://zitadel.com/docs/apis/openidoauth/claims: all applications of the project are audiences.
#[tokio::test]
async fn a_token_of_zitadel_for_another_project_is_rejected() {
    let provider = Imitation::of(
        "https://shop-abc123.eu1.zitadel.cloud/.well-known/openid-configuration",
        &documents::zitadel(),
    );
    let token_endpoint = "https://shop-abc123.eu1.zitadel.cloud/oauth/v2/token";
    for (audience, accepted) in [
        (json!(["shop", "69234237810729019"]), true),
        (json!("shop"), true),
        (json!(["shop", "another project"]), false),
        (json!(["69234237810729019"]), false),
    ] {
        let preset = Provider::zitadel(ZITADEL, "69234237810729019", "shop", "the secret");
        let mut app = App::new(&provider, preset.unwrap());
        let claims = json!({ "iss": ZITADEL, "aud": audience, "azp": "shop", "sub": "1" });
        app.sign_in(token_endpoint, &claims).await;
        assert_eq!(app.is_signed_in().await, accepted, "{audience}");
    }
}
