//! The basic profile, and the modules of the comprehensive plan for the authorization code flow.

use http::header::AUTHORIZATION;
use tower_oauth::Algorithm;
use tower_oauth::login::ResponseMode;
use tower_oauth::testing::{Endpoint, Fault};

use super::Outcome::{Accepts, AcceptsWithout, Rejects, RejectsUserInfo};
use super::{Module, SECRET, World, id_token, run};
use crate::support::shop::parameter;

const MODULES: &[Module] = &[
    ("oidcc-client-test", |_| {}, Accepts),
    (
        "oidcc-client-test-invalid-iss",
        |server| {
            id_token(server, |mint| {
                mint.with_issuer("https://other.example.test")
            })
        },
        Rejects("id_token_issuer"),
    ),
    (
        "oidcc-client-test-missing-sub",
        |server| id_token(server, |mint| mint.without_claim("sub")),
        Rejects("id_token_subject"),
    ),
    (
        "oidcc-client-test-invalid-aud",
        |server| id_token(server, |mint| mint.with_audience("another-client")),
        Rejects("id_token_audience"),
    ),
    (
        "oidcc-client-test-missing-aud",
        |server| id_token(server, |mint| mint.without_claim("aud")),
        Rejects("id_token_audience"),
    ),
    (
        "oidcc-client-test-missing-iat",
        |server| id_token(server, |mint| mint.without_claim("iat")),
        Rejects("id_token_issued_at"),
    ),
    (
        "oidcc-client-test-kid-absent-single-jwks",
        |server| id_token(server, |mint| mint.without_header("kid")),
        Accepts,
    ),
    (
        "oidcc-client-test-kid-absent-multiple-jwks",
        |server| {
            server.rotate_keys();
            id_token(server, |mint| mint.without_header("kid"));
        },
        Accepts,
    ),
    (
        "oidcc-client-test-idtoken-sig-rs256",
        |server| id_token(server, |mint| mint.with_algorithm(Algorithm::Rs256)),
        Accepts,
    ),
    (
        "oidcc-client-test-idtoken-sig-none",
        |server| id_token(server, |mint| mint.without_signature()),
        Rejects("id_token_algorithm"),
    ),
    (
        "oidcc-client-test-invalid-sig-rs256",
        |server| id_token(server, |mint| mint.with_broken_signature()),
        Rejects("id_token_signature"),
    ),
    (
        "oidcc-client-test-invalid-sig-hs256",
        |server| id_token(server, |mint| mint.with_hmac("another secret")),
        Rejects("id_token_algorithm"),
    ),
    (
        "oidcc-client-test-nonce-invalid",
        |server| id_token(server, |mint| mint.with_claim("nonce", "another nonce")),
        Rejects("id_token_nonce"),
    ),
    (
        "oidcc-client-test-invalid-athash",
        |server| {
            id_token(server, |mint| {
                mint.with_claim("at_hash", "AAAAAAAAAAAAAAAAAAAAAA")
            })
        },
        Rejects("id_token_access_token_hash"),
    ),
    (
        "oidcc-client-test-userinfo-invalid-sub",
        |server| server.fail(Endpoint::UserInfo, Fault::member("sub", "bob")),
        RejectsUserInfo,
    ),
    (
        "oidcc-client-test-aggregated-claims",
        |server| {
            let sources = serde_json::json!({ "a": { "JWT": "e30.e30." } });
            server.fail(Endpoint::UserInfo, Fault::member("_claim_sources", sources));
            let names = serde_json::json!({ "address": "a" });
            server.fail(Endpoint::UserInfo, Fault::member("_claim_names", names));
        },
        AcceptsWithout("address"),
    ),
    (
        "oidcc-client-test-distributed-claims",
        |server| {
            let endpoint = "https://id.example.test/claims";
            let sources = serde_json::json!({ "a": { "endpoint": endpoint } });
            server.fail(Endpoint::UserInfo, Fault::member("_claim_sources", sources));
            let names = serde_json::json!({ "credit_score": "a" });
            server.fail(Endpoint::UserInfo, Fault::member("_claim_names", names));
        },
        AcceptsWithout("credit_score"),
    ),
];

/// OpenID Connect Core §3.1.3.7, §5.3.2.
#[tokio::test]
async fn a_basic_relying_party_accepts_and_rejects_what_the_plan_says() {
    run(|login| login, MODULES).await;
}

/// The form post profile has the same modules (OAuth 2.0 Form Post Response Mode).
#[tokio::test]
async fn a_relying_party_with_forms_accepts_and_rejects_the_same() {
    run(
        |login| login.with_response_mode(ResponseMode::FormPost),
        MODULES,
    )
    .await;
}

/// `oidcc-client-test-form-post-error`: the authorization server cannot meet the conditions of the request.
#[tokio::test]
async fn an_error_in_a_form_is_shown_and_calls_nothing() {
    let world = World::new(|login| {
        let login = login.with_response_mode(ResponseMode::FormPost);
        login.with_authorization_parameter("max_age", "0").unwrap()
    });
    world.sign_in().await;
    world.server.clear_requests();
    world.browser.clear_cookies();
    let error = Fault::parameter("error", "login_required");
    world.server.fail(Endpoint::Authorization, error);
    world
        .server
        .fail(Endpoint::Authorization, Fault::without_parameter("code"));
    let page = world.sign_in().await;
    assert!(page.text().contains("login_required"), "{}", page.text());
    assert!(!page.status().is_success());
    assert_eq!(world.server.count(Endpoint::Token), 0);
    assert!(!world.is_signed_in());
}

/// The setting of the suite changes with this module: the algorithm is ES256.
#[tokio::test]
async fn an_invalid_signature_with_an_elliptic_curve_is_rejected() {
    let modules: [Module; 1] = [(
        "oidcc-client-test-invalid-sig-es256",
        |server| {
            id_token(server, |mint| {
                mint.with_algorithm(Algorithm::Es256)
                    .with_broken_signature()
            });
        },
        Rejects("id_token_signature"),
    )];
    let es256 = |login: tower_oauth::LoginLayer| {
        login.with_id_token_algorithms([Algorithm::Es256]).unwrap()
    };
    run(es256, &modules).await;
}

/// What the relying party sends in each login: modules `oidcc-client-test-client-secret-basic`,
/// `oidcc-client-test-userinfo-bearer-header`, `oidcc-client-test-scope-userinfo-claims` and
/// `oidcc-client-test-nonce-unless-code-flow`.
#[tokio::test]
async fn a_login_sends_what_the_suite_records() {
    let world = World::new(|login| login);
    let page = world.sign_in().await;
    world.assert_outcome("oidcc-client-test", Accepts, &page);
    let requests = world.server.requests();
    let sent = |endpoint| {
        let mut sent = requests.iter().filter(move |it| it.endpoint() == endpoint);
        let request = sent.next().unwrap();
        assert!(sent.next().is_none(), "{endpoint:?}");
        request
    };

    let url = sent(Endpoint::Authorization).uri().to_string();
    let scope = parameter(&url, "scope").unwrap();
    assert_eq!(scope, "openid profile email phone address");
    assert_eq!(parameter(&url, "response_type").unwrap(), "code");
    assert!(parameter(&url, "nonce").unwrap().len() >= 22);

    let token = sent(Endpoint::Token);
    let field = token.header(AUTHORIZATION.as_str()).unwrap();
    assert!(field.starts_with("Basic "), "client-secret-basic");
    for name in ["client_secret", "client_assertion"] {
        assert_eq!(token.parameter(name), None, "client-secret-basic");
    }
    assert!(!String::from_utf8_lossy(token.body()).contains(SECRET));

    let userinfo = sent(Endpoint::UserInfo);
    let field = userinfo.header(AUTHORIZATION.as_str()).unwrap();
    assert!(field.starts_with("Bearer "), "userinfo-bearer-header");
    assert_eq!(userinfo.parameters(), [], "userinfo-bearer-header");
}

/// OpenID Connect Core §5.3.2: `oidcc-client-test-userinfo-signed` responds with a JWT.
#[tokio::test]
async fn signed_userinfo_is_verified() {
    let modules: [Module; 2] = [
        (
            "oidcc-client-test-userinfo-signed",
            |server| {
                let claims = server.id_token("shop");
                let jwt = claims.with_claim("email", "alice@example.test").sign();
                server.fail(Endpoint::UserInfo, Fault::body("application/jwt", jwt));
            },
            Accepts,
        ),
        (
            "the same with an invalid signature",
            |server| {
                let claims = server.id_token("shop").with_broken_signature();
                let jwt = claims.with_claim("email", "alice@example.test").sign();
                server.fail(Endpoint::UserInfo, Fault::body("application/jwt", jwt));
            },
            RejectsUserInfo,
        ),
    ];
    run(|login| login, &modules).await;
}
