//! The strict mode of the test server for FAPI 2.0.

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use serde_json::json;
use tower_oauth::testing::{Endpoint, TestClient};
use tower_oauth::{Client, CookieKey, LoginLayer, Session, SigningKey};

use crate::support::authorization_server::*;
use crate::support::keys::ED25519_PEM;

const APP: &str = "https://app.example.test";
const APP_CALLBACK: &str = "https://app.example.test/auth/callback";

#[tokio::test]
async fn its_metadata_lists_what_the_profile_permits() {
    let document = document(&server().with_fapi2(), "/.well-known/openid-configuration").await;
    let algorithms = json!(["PS256", "ES256", "EdDSA"]);
    for (name, expected) in [
        ("require_pushed_authorization_requests", json!(true)),
        ("id_token_signing_alg_values_supported", json!(["PS256"])),
        (
            "token_endpoint_auth_methods_supported",
            json!(["private_key_jwt", "tls_client_auth"]),
        ),
        (
            "token_endpoint_auth_signing_alg_values_supported",
            algorithms.clone(),
        ),
        ("dpop_signing_alg_values_supported", algorithms),
        ("tls_client_certificate_bound_access_tokens", json!(true)),
    ] {
        assert_eq!(document[name], expected, "{name}");
    }
}

#[tokio::test]
async fn it_rejects_clients_and_requests_that_the_profile_excludes() {
    let mutual = TestClient::mutual_tls("mutual")
        .add_redirect_uri(APP_CALLBACK)
        .unwrap();
    let plain = TestClient::mutual_tls("plain");
    let plain = plain
        .add_redirect_uri("http://127.0.0.1:3000/callback")
        .unwrap();
    let server = server().with_fapi2().add_client(mutual).add_client(plain);
    let long = "n".repeat(65);
    let secret = basic("shop", "shop secret:1");
    for (client, authorization, redirect_uri, nonce, status) in [
        ("mutual", None, APP_CALLBACK, &long[1..], 201),
        ("mutual", None, APP_CALLBACK, &long, 400),
        ("plain", None, "http://127.0.0.1:3000/callback", "n", 400),
        ("shop", Some(&*secret), CALLBACK, "n", 401),
    ] {
        let parameters = [
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", redirect_uri),
            ("scope", "openid"),
            ("state", "the state"),
            ("nonce", nonce),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let response = post_to(&server, "/par", authorization, &parameters).await;
        assert_eq!(response.status(), status, "{client} {redirect_uri} {nonce}");
    }
    let page = browser(&server).navigate(&authorize(&[])).await.unwrap();
    assert_ne!(page.status(), StatusCode::OK, "not pushed: {}", page.text());
}

/// RFC 9449: without a certificate, only a proof binds the tokens of a client.
#[tokio::test]
async fn it_requires_a_proof_with_an_assertion() {
    for (with_dpop, expected) in [
        (true, StatusCode::OK),
        (false, StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let key = SigningKey::from_pem(ED25519_PEM).unwrap();
        let client = TestClient::private_key_jwt("app", key.public_jwk()).without_consent();
        let server = server().with_fapi2();
        let server = server.add_client(client.add_redirect_uri(APP_CALLBACK).unwrap());
        let client = Client::private_key_jwt("app", key);
        let cookies = CookieKey::generate().unwrap();
        let login = LoginLayer::new(
            &server.authorization_server(),
            client,
            APP_CALLBACK,
            cookies,
        );
        let login = match with_dpop {
            true => login.unwrap().with_dpop(),
            false => login.unwrap(),
        };
        let pages = Router::new()
            .route("/", get(async |_: Session| "in").layer(login.required()))
            .layer(login);
        let browser = server.browser().with_origin(APP, pages).unwrap();
        let page = browser.navigate(&format!("{APP}/")).await.unwrap();
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        assert_eq!(page.status(), expected, "{with_dpop}: {}", page.text());
        assert_eq!(server.count(Endpoint::Token), 1);
    }
}
