//! Authorization servers that use less common options of the specifications, through both layers.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_oauth::testing::{Endpoint, Fault, Page, TestClient, TestServer, TestUser};
use tower_oauth::{
    Algorithm, AuthorizationServer, BearerLayer, Client, CookieKey, LoginLayer, Session,
};

use crate::support::shop::*;

const API: &str = "https://api.example.com";

const SHOP: &str = "https://shop.example.com";

fn server(issuer: &str) -> TestServer {
    let client = TestClient::confidential("shop", "secret");
    let callback = format!("{SHOP}/auth/callback");
    crate::support::still_server(issuer)
        .unwrap()
        .add_client(client.add_redirect_uri(&callback).unwrap())
        .add_user(TestUser::new("alice", "wonderland"))
}

fn shop(server: &AuthorizationServer) -> Router {
    let client = Client::confidential("shop", "secret");
    let key = CookieKey::generate().unwrap();
    let callback = format!("{SHOP}/auth/callback");
    let login = LoginLayer::new(server, client, &callback, key).unwrap();
    let account = |session: Session| async move { session.subject().to_owned() };
    Router::new()
        .route("/account", get(account).layer(login.required()))
        .layer(login)
}

async fn sign_in(server: &TestServer) -> Page {
    let shop = shop(&server.authorization_server());
    let browser = server.browser().with_origin(SHOP, shop).unwrap();
    let page = browser.navigate(&format!("{SHOP}/account")).await.unwrap();
    page.sign_in("alice", "wonderland").await.unwrap()
}

async fn call(server: &TestServer, token: &str) -> StatusCode {
    let layer = BearerLayer::jwt(&server.authorization_server(), API).unwrap();
    let api = Router::new().route("/", get(|| async {})).layer(layer);
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let answer = api.oneshot(request.body(Body::empty()).unwrap()).await;
    answer.unwrap().status()
}

#[tokio::test]
async fn an_issuer_may_have_a_path() {
    for issuer in [
        "https://id.example.test/realms/one",
        "https://id.example.test:8443/a/b",
    ] {
        let server = server(issuer);
        assert_eq!(sign_in(&server).await.text(), "alice", "{issuer}");
        let token = server.access_token().with_audience(API).sign();
        assert_eq!(call(&server, &token).await, StatusCode::OK, "{issuer}");
    }
}

#[tokio::test]
async fn keys_may_omit_alg_and_use() {
    let algorithms = [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ];
    let server = server("https://id.example.test");
    let keys: Vec<Value> = algorithms
        .iter()
        .map(|algorithm| {
            let mut jwk = server.key(*algorithm).public_jwk();
            let members = jwk.as_object_mut().unwrap();
            members.remove("alg");
            members.remove("use");
            jwk
        })
        .collect();
    server.fail(Endpoint::KeySet, Fault::member("keys", json!(keys)));
    for algorithm in algorithms {
        let mint = server.access_token().with_audience(API);
        let token = mint.with_algorithm(algorithm).sign();
        assert_eq!(call(&server, &token).await, StatusCode::OK, "{algorithm}");
    }
    assert_eq!(sign_in(&server).await.text(), "alice");
}

#[tokio::test]
async fn aud_may_be_a_list_and_times_may_have_fractions() {
    let server = server("https://id.example.test");
    let now = server.clock().unix_seconds();
    let token = server
        .access_token()
        .with_audience(json!(["https://other.example.com", API]))
        .with_raw_claim("exp", &format!("{}.75", now + 60))
        .with_raw_claim("iat", &format!("{}.5e0", now - 1))
        .with_raw_claim("nbf", &format!("{}.25", now - 1))
        .sign();
    assert_eq!(call(&server, &token).await, StatusCode::OK);
}

#[tokio::test]
async fn an_authorization_response_may_omit_iss() {
    let server = server("https://id.example.test");
    server.fail(
        Endpoint::Metadata,
        Fault::without_member("authorization_response_iss_parameter_supported"),
    );
    server.fail(Endpoint::Authorization, Fault::without_parameter("iss"));
    assert_eq!(sign_in(&server).await.text(), "alice");
}

#[tokio::test]
async fn metadata_may_have_only_the_required_members() {
    let server = server("https://id.example.test");
    for member in [
        "userinfo_endpoint",
        "end_session_endpoint",
        "introspection_endpoint",
        "code_challenge_methods_supported",
        "id_token_signing_alg_values_supported",
    ] {
        server.fail(Endpoint::Metadata, Fault::without_member(member));
    }
    assert_eq!(sign_in(&server).await.text(), "alice");
}

#[tokio::test]
async fn a_token_endpoint_may_take_four_seconds() {
    let server = server("https://id.example.test");
    server.fail(Endpoint::Token, Fault::delay(Duration::from_secs(4)));
    let turn = async {
        server.wait_for(Endpoint::Token, 1).await;
        server.clock().advance(Duration::from_secs(4));
    };
    let (page, ()) = tokio::join!(sign_in(&server), turn);
    assert_eq!(page.text(), "alice");
    assert_eq!(server.count(Endpoint::Token), 1);
}

/// RFC 6749 §5, RFC 7517 §5, RFC 8414 §3.2: for any response of the authorization server that is not the expected
/// document, the result is an error page and no session.
#[tokio::test]
async fn no_malformed_response_of_the_authorization_server_creates_a_session() {
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    let digits = format!("{{\"expires_in\":{}}}", "9".repeat(100_000));
    let many: String = (0..20_000).map(|n| format!("\"k{n}\":{n},")).collect();
    let many = format!("{{{many}\"z\":0}}");
    let bodies: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"{\"keys\":null}".to_vec(),
        b"{\"keys\":[null,1,[],{}]}".to_vec(),
        b"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"\"}]}".to_vec(),
        b"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}".to_vec(),
        b"{\"issuer\":\"https://evil.example\"}".to_vec(),
        b"{\"issuer\":1}".to_vec(),
        b"{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"id_token\":\"a.b.c\"}".to_vec(),
        b"{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"id_token\":\"\\ud800\"}".to_vec(),
        b"{\"access_token\":\"a\\u0000b\",\"token_type\":\"Bearer\",\"id_token\":\"a.b.c\"}"
            .to_vec(),
        b"{\"error\":null}".to_vec(),
        b"{\"error\":{\"a\":[]},\"error_description\":1}".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        deep.into_bytes(),
        digits.into_bytes(),
        many.into_bytes(),
        vec![b' '; (1 << 20) + 1],
    ];
    for endpoint in [Endpoint::Metadata, Endpoint::KeySet, Endpoint::Token] {
        for body in &bodies {
            let shop = Shop::new();
            let mut jar = Jar::default();
            let told = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            if endpoint != Endpoint::Metadata {
                let answer = shop.start("/auth/login", &mut jar).await;
                let callback = shop.approve(answer.location(), "alice").await;
                shop.server
                    .fail(endpoint, Fault::body("application/json", body.clone()));
                let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
                assert!(
                    answer.status.is_server_error() || answer.status == 400,
                    "{endpoint:?} {told}: {}",
                    answer.status
                );
                assert_eq!(answer.sets(), [""; 0], "{endpoint:?} {told}");
            } else {
                shop.server
                    .fail(endpoint, Fault::body("application/json", body.clone()));
                let answer = shop.send(Ask::page("/auth/login")).await;
                // Metadata of another issuer is an error of the configuration and no outage.
                let expected = if told.contains("evil") { 500 } else { 503 };
                assert_eq!(answer.status.as_u16(), expected, "{told}");
                assert_eq!(answer.sets(), [""; 0], "{told}");
            }
        }
    }
}
