//! What an operator reads about rejected tokens at the default log level, and what the hook of the application prints.

use serde_json::json;
use tower_oauth::testing::{Endpoint, TestClient, TestServer, TokenMint};
use tower_oauth::token::{JwtVerifier, TokenProfile};
use tower_oauth::{AuthorizationServer, BearerLayer, Client};

use crate::support::api::{
    AUDIENCE, ISSUER, api, fetches, good, layer, present, server, settle, verifier_of,
};
use crate::support::logs::Logs;

/// As Keycloak signs tokens for a client without a mapper for the audience.
fn keycloak(server: &TestServer) -> TokenMint {
    let mint = server.access_token().with_audience("account");
    mint.with_header("typ", "JWT")
        .with_claim("typ", "Bearer")
        .with_claim("azp", "shop")
}

/// The lines at `warn` or above.
fn warnings(logs: &Logs) -> String {
    let text = logs.take();
    let lines = text
        .lines()
        .filter(|line| line.starts_with(" WARN") || line.starts_with("ERROR"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// An authorization server that is reached under another issuer than its own.
fn misnamed(server: &TestServer, issuer: &str) -> AuthorizationServer {
    let named = AuthorizationServer::new(issuer).unwrap();
    named
        .with_clock(server.clock())
        .with_back_channel(server.back_channel())
}

#[tokio::test]
async fn the_first_token_of_a_wrong_set_up_is_explained_at_the_default_log_level() {
    let server = server().add_client(TestClient::confidential("api", "secret"));
    let right = server.authorization_server();
    let jwt = |issuer: &AuthorizationServer| BearerLayer::new(verifier_of(issuer));
    let late = good(&server).with_expires_in(-600).sign();
    let fresh = || server.authorization_server();
    let wrong_secret = Client::confidential("api", "wrong");
    let introspect = BearerLayer::introspect(&right, wrong_secret, AUDIENCE).unwrap();
    for (set_up, layer, token, status, expected) in [
        (
            "a slash behind the issuer",
            jwt(&misnamed(&server, &format!("{ISSUER}/"))),
            good(&server).sign(),
            401,
            vec![
                "kind=\"issuer\"",
                "iss without the slash at its end",
                "id.example.test/",
            ],
        ),
        (
            "a typing error in the path of the issuer",
            jwt(&misnamed(&server, &format!("{ISSUER}/realm/shop"))),
            good(&server).sign(),
            401,
            vec![
                "kind=\"issuer\"",
                "another iss",
                "id.example.test/realm/shop",
            ],
        ),
        (
            "the token of another audience",
            jwt(&fresh()),
            good(&server)
                .with_audience(["account", "other"].as_slice())
                .sign(),
            401,
            vec!["kind=\"audience\"", r#"aud ["account", "other"]"#, AUDIENCE],
        ),
        (
            "Keycloak with the default profile",
            jwt(&fresh()),
            keycloak(&server).sign(),
            401,
            vec![
                "kind=\"type\"",
                "typ JWT",
                "with_profile(TokenProfile::Keycloak)",
                r#"aud ["account"]"#,
                AUDIENCE,
            ],
        ),
        (
            "no profile that fits",
            jwt(&fresh()),
            good(&server)
                .with_header("typ", "JWT")
                .without_claim("scope")
                .sign(),
            401,
            vec![
                "kind=\"type\"",
                "no TokenProfile accepts",
                "BearerLayer::introspect",
            ],
        ),
        (
            "an opaque token",
            jwt(&fresh()),
            good(&server).opaque(),
            401,
            vec!["kind=\"malformed\"", "Verifier::jwt_or_opaque"],
        ),
        (
            "a clock that is ten minutes fast",
            jwt(&fresh()),
            late,
            401,
            vec![
                "kind=\"expired\"",
                "exp 600 seconds ago",
                "JwtVerifier::with_leeway",
            ],
        ),
        (
            "an algorithm that is not allowed",
            BearerLayer::new(
                verifier_of(&fresh())
                    .with_algorithms([tower_oauth::Algorithm::Ps512])
                    .unwrap(),
            ),
            good(&server).sign(),
            401,
            vec![
                "kind=\"algorithm\"",
                "alg ES256",
                "alg PS512",
                "JwtVerifier::with_algorithms",
            ],
        ),
        (
            "a wrong secret for introspection",
            introspect,
            good(&server).opaque(),
            500,
            vec![
                "introspection_credentials_rejected",
                "client_id=\"api\"",
                "401",
            ],
        ),
    ] {
        let logs = Logs::default();
        let recording = logs.record();
        let answer = present(&api(layer), &token).await;
        settle().await;
        drop(recording);
        assert_eq!(answer.status, status, "{set_up}");
        let text = warnings(&logs);
        for part in expected {
            assert!(text.contains(part), "{set_up}: {part} is missing in {text}");
        }
        assert!(!text.contains(&token), "{set_up}");
    }
}

#[tokio::test]
async fn keys_are_fetched_once_to_explain_a_token_and_not_for_every_one() {
    let server = server();
    let logs = Logs::default();
    let _recording = logs.record();
    let app = api(layer(&server));
    for _ in 0..20 {
        present(&app, &keycloak(&server).with_wrong_key().sign()).await;
        settle().await;
    }
    assert_eq!(fetches(&server), (1, 1));
    // Nothing that a caller wrote is in the log, and the token of the server is explained once.
    assert!(!logs.take().contains("account"));
    for _ in 0..20 {
        present(&app, &keycloak(&server).sign()).await;
    }
    let text = warnings(&logs);
    assert_eq!(text.matches("TokenProfile::Keycloak").count(), 1, "{text}");
    // An ID token that a client sends first does not hide the advice.
    let app = api(layer(&server));
    present(
        &app,
        &server.id_token("shop").with_claim("s_hash", "x").sign(),
    )
    .await;
    settle().await;
    present(&app, &keycloak(&server).sign()).await;
    let text = warnings(&logs);
    assert!(text.contains("an ID, refresh or logout token"), "{text}");
    assert!(text.contains("TokenProfile::Keycloak"), "{text}");
    assert_eq!(
        fetches(&server),
        (2, 2),
        "each layer has a server of its own"
    );
}

#[tokio::test]
async fn a_printed_refusal_has_what_was_found_and_expected_and_only_values_that_are_signed() {
    let server = server();
    let handle = server.authorization_server();
    handle.ready().await.unwrap();
    let max_age = std::time::Duration::from_secs(60);
    let verifier = || {
        JwtVerifier::new(&handle, AUDIENCE)
            .unwrap()
            .with_max_age(max_age)
            .unwrap()
    };
    let rfc9068 = verifier();
    let cognito = verifier().with_profile(TokenProfile::Cognito);
    let escaped = "\u{202e}evil\n".repeat(100);
    for (verifier, mint, found, expected) in [
        (
            &rfc9068,
            good(&server).with_expires_in(-45),
            "exp 45 seconds ago",
            "at most 30 seconds ago",
        ),
        (
            &rfc9068,
            good(&server).with_claim("nbf", 1_800_000_090),
            "90 seconds ahead",
            "at most 30 seconds ahead",
        ),
        (
            &rfc9068,
            good(&server).with_claim("iat", 1_799_999_000),
            "iat 1000 seconds ago",
            "at most 60 seconds ago",
        ),
        (
            &rfc9068,
            good(&server).with_issuer("https://x.test"),
            "\"https://x.test\"",
            ISSUER,
        ),
        (
            &rfc9068,
            good(&server).with_audience(&*escaped),
            r"\u{202e}evil\n",
            AUDIENCE,
        ),
        (
            &rfc9068,
            good(&server).with_audience(json!(["1", "2", "3", "4", "5", "6", "7"])),
            r#""5"] and 2 more"#,
            AUDIENCE,
        ),
        (
            &cognito,
            good(&server),
            "typ at+jwt",
            "the claim token_use access",
        ),
        (
            &rfc9068,
            good(&server).with_claim("cnf", json!({ "jkt": "A".repeat(43) })),
            "a token with cnf",
            "BearerLayer::with_dpop",
        ),
    ] {
        let app = api(BearerLayer::new(verifier.clone()));
        let refusal = present(&app, &mint.sign())
            .await
            .refusal
            .unwrap()
            .to_string();
        assert!(
            refusal.contains(found) && refusal.contains(expected),
            "{refusal}"
        );
        assert!(refusal.len() < 2_000, "{refusal}");
        let forged = present(&app, &mint.with_wrong_key().sign()).await;
        let refusal = forged.refusal.unwrap().to_string();
        let is_value = found.chars().any(|one| one.is_ascii_digit()) || found.contains("x.test");
        assert!(!is_value || !refusal.contains(found), "{refusal}");
    }
}

#[tokio::test]
async fn a_layer_that_worked_warns_only_when_many_tokens_are_rejected_in_a_row() {
    let server = server();
    let logs = Logs::default();
    let _recording = logs.record_only("every_token_rejected");
    let app = api(layer(&server));
    let reject = async |count: u64| {
        for _ in 0..count {
            let mint = good(&server)
                .with_claim("x", logs.text().len())
                .with_expires_in(-99);
            present(&app, &mint.sign()).await;
        }
    };
    present(&app, &good(&server).sign()).await;
    reject(9).await;
    assert_eq!(logs.take(), "");
    present(&app, &good(&server).with_claim("x", 1).sign()).await;
    reject(9).await;
    assert_eq!(logs.take(), "");
    reject(1).await;
    let text = logs.take();
    assert!(
        text.contains("count=10") && text.contains("exp 99 seconds ago"),
        "{text}"
    );
    // Once a minute per kind.
    reject(30).await;
    assert_eq!(logs.take(), "");
    server.clock().advance(std::time::Duration::from_secs(60));
    reject(1).await;
    assert!(logs.take().contains("count=41"));
    assert!(server.count(Endpoint::KeySet) >= 1);
}
