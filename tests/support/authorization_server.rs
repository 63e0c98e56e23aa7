//! A test server with clients and users, and helpers that send requests to it.

use std::collections::HashMap;

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;
use tower::ServiceExt;
use tower_oauth::testing::{
    Browser, ClientAuthentication, Disconnected, GrantType, Page, TestClient, TestServer, TestUser,
};

pub const ISSUER: &str = "https://id.example.test";
pub const CALLBACK: &str = "https://shop.example.com/auth/callback";
pub const HOME: &str = "https://shop.example.com/";
pub const AUDIENCE: &str = "https://api.example.test";
// The pair of RFC 7636, appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub fn server() -> TestServer {
    super::still_server(ISSUER)
        .unwrap()
        .add_client(
            TestClient::confidential("shop", "shop secret:1")
                .add_redirect_uri(CALLBACK)
                .unwrap()
                .add_post_logout_redirect_uri(HOME)
                .unwrap()
                .with_scopes("openid profile email notes:read")
                .unwrap()
                .with_audience(AUDIENCE),
        )
        .add_client(
            TestClient::public("app")
                .add_redirect_uri(CALLBACK)
                .unwrap(),
        )
        .add_client(
            TestClient::confidential("cli", "cli-secret")
                .with_scopes("notes:read notes:write")
                .unwrap()
                .with_grant_types([GrantType::ClientCredentials])
                .with_audience(AUDIENCE),
        )
        .add_client(
            TestClient::confidential("posting", "secret")
                .with_authentication(ClientAuthentication::Post)
                .with_grant_types([GrantType::ClientCredentials]),
        )
        .add_user(
            TestUser::new("alice", "wonderland")
                .with_subject("subject-of-alice")
                .with_claim("email", "alice@example.test")
                .with_claim("name", "Alice <Liddell>"),
        )
        .add_user(TestUser::new("bob", "builder"))
}

pub fn browser(server: &TestServer) -> Browser {
    let shop = Router::new()
        .route("/", get(async || "home"))
        .route("/auth/callback", get(async || "callback"));
    server
        .browser()
        .with_origin("https://shop.example.com", shop)
        .unwrap()
}

/// A valid authorization request with some parameters replaced. An empty value counts as omitted.
pub fn authorize(changes: &[(&str, &str)]) -> String {
    let mut pairs: Vec<(&str, &str)> = vec![
        ("response_type", "code"),
        ("client_id", "shop"),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile"),
        ("state", "the state"),
        ("nonce", "the-nonce"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in changes {
        pairs.retain(|(other, _)| other != name);
        pairs.push((name, value));
    }
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    format!("{ISSUER}/authorize?{query}")
}

pub fn query(page: &Page) -> HashMap<String, String> {
    let url = url::Url::parse(page.url()).unwrap();
    url.query_pairs().into_owned().collect()
}

pub async fn code(server: &TestServer) -> String {
    let page = browser(server).navigate(&authorize(&[])).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    query(&page)["code"].clone()
}

pub fn basic(id: &str, secret: &str) -> String {
    let encode =
        |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
    let pair = format!("{}:{}", encode(id), encode(secret));
    format!("Basic {}", STANDARD.encode(pair))
}

pub async fn post(
    server: &TestServer,
    authorization: Option<&str>,
    pairs: &[(&str, &str)],
) -> Response<Bytes> {
    post_to(server, "/token", authorization, pairs).await
}

pub async fn post_to(
    server: &TestServer,
    path: &str,
    authorization: Option<&str>,
    pairs: &[(&str, &str)],
) -> Response<Bytes> {
    try_post(server, path, authorization, pairs).await.unwrap()
}

pub async fn try_post(
    server: &TestServer,
    path: &str,
    authorization: Option<&str>,
    pairs: &[(&str, &str)],
) -> Result<Response<Bytes>, Disconnected> {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish();
    let mut request = Request::post(format!("{ISSUER}{path}"))
        .header("content-type", "application/x-www-form-urlencoded");
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let request = request.body(Bytes::from(body)).unwrap();
    server.back_channel().oneshot(request).await
}

pub async fn redeem(server: &TestServer, code: &str, changes: &[(&str, &str)]) -> Response<Bytes> {
    let mut pairs = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    for (name, value) in changes {
        pairs.retain(|(other, _)| other != name);
        pairs.push((name, value));
    }
    post(server, Some(&basic("shop", "shop secret:1")), &pairs).await
}

pub async fn refresh(server: &TestServer, token: &str, scope: &str) -> Response<Bytes> {
    let pairs = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("scope", scope),
    ];
    post(server, Some(&basic("shop", "shop secret:1")), &pairs).await
}

pub async fn userinfo(server: &TestServer, token: &str) -> Response<Bytes> {
    let request = Request::get(format!("{ISSUER}/userinfo"))
        .header("authorization", format!("Bearer {token}"))
        .body(Bytes::new())
        .unwrap();
    server.back_channel().oneshot(request).await.unwrap()
}

pub async fn document(server: &TestServer, path: &str) -> Value {
    let request = Request::get(format!("{ISSUER}{path}"))
        .body(Bytes::new())
        .unwrap();
    json(&server.back_channel().oneshot(request).await.unwrap())
}

pub fn json(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

pub fn error(response: &Response<Bytes>) -> String {
    json(response)["error"].as_str().unwrap().to_owned()
}

/// Returns the payload of a token without verification.
pub fn claims(token: &str) -> Value {
    part(token, 1)
}

pub fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
