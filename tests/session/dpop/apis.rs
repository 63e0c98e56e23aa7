//! Requests of the application to an API ([`Session::authorize`]).

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use tower::ServiceExt as _;
use tower_oauth::session::SessionError;
use tower_oauth::testing::{Endpoint, TestServer};
use tower_oauth::token::{Dpop, DpopNonceKey};
use tower_oauth::{BearerLayer, Session, VerifiedToken};

use crate::support::logs::Logs;
use crate::support::proofs::{Proof, dpop_server, hash, proofs};
use crate::support::refresh::shop;
use crate::support::shop::{Ask, login};

const API: &str = "https://api.example.test";

/// An API that accepts bound tokens only, and its requests.
struct Api {
    app: Router,
    received: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Api {
    fn new(server: &TestServer, nonces: bool) -> Self {
        let dpop = Dpop::new(API)
            .unwrap()
            .with_clock(server.clock())
            .required();
        let dpop = match nonces {
            true => dpop.with_nonces(DpopNonceKey::generate().unwrap()),
            false => dpop,
        };
        let layer = BearerLayer::jwt(&server.authorization_server(), API).unwrap();
        let orders = async |token: VerifiedToken| format!("{:?}", token.subject());
        let app = Router::new()
            .route("/orders", get(orders))
            .route("/orders/{id}", post(orders))
            .layer(layer.with_dpop(dpop));
        let received = Arc::default();
        Self { app, received }
    }

    /// Sends a request of the session, as `Session::authorize` documents.
    async fn call(&self, session: &Session, method: &str, path: &str) -> (StatusCode, bool) {
        let uri: Uri = format!("{API}{path}").parse().unwrap();
        let mut request = Request::builder().method(method).uri(&uri);
        for name in ["authorization", "dpop"] {
            request = request.header(name, "planted");
        }
        let mut request = request.body(Body::empty()).unwrap();
        session.authorize(&mut request).await.unwrap();
        self.received
            .lock()
            .unwrap()
            .push(request.headers().clone());
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers());
        (status, session.note_response(&uri, status, headers))
    }
}

async fn session(server: &TestServer, dpop: bool) -> Session {
    let kept = Arc::default();
    let layer = login(server);
    let layer = if dpop { layer.with_dpop() } else { layer };
    let shop = shop(server, layer, &kept);
    let jar = shop.signed_in().await;
    shop.send(Ask::page("/keep").jar(&jar)).await;
    let session = kept.lock().unwrap().pop();
    session.unwrap()
}

#[tokio::test]
async fn a_resource_server_accepts_authorized_requests_after_at_most_one_retry() {
    for nonces in [false, true] {
        let server = dpop_server(|client| client.with_audience(API));
        let session = session(&server, true).await;
        let api = Api::new(&server, nonces);
        let ok = (StatusCode::OK, false);
        if nonces {
            let required = (StatusCode::UNAUTHORIZED, true);
            assert_eq!(api.call(&session, "GET", "/orders?a=b").await, required);
        }
        assert_eq!(api.call(&session, "GET", "/orders?a=b").await, ok);
        assert_eq!(api.call(&session, "POST", "/orders/7?c").await, ok);
        let received = api.received.lock().unwrap().clone();
        let last = received.last().unwrap();
        let proof = Proof::of(last);
        assert_eq!(proof.claim("htm"), "POST");
        assert_eq!(proof.claim("htu"), format!("{API}/orders/7"));
        let token = session.access_token().await.unwrap();
        assert_eq!(proof.claim("ath"), hash(token.expose()));
        let fields: Vec<_> = last.get_all(AUTHORIZATION).iter().collect();
        assert_eq!(fields, [&format!("DPoP {}", token.expose())]);
        assert!(fields[0].is_sensitive() && last["dpop"].is_sensitive());
        // The bound token is not a bearer token.
        let request = Request::get(format!("{API}/orders"))
            .header(AUTHORIZATION, format!("Bearer {}", token.expose()))
            .body(Body::empty());
        let response = api.app.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_bearer_session_authorizes_requests_without_a_proof_and_learns_no_nonce() {
    let server = crate::support::shop::server();
    let session = session(&server, false).await;
    let uri: Uri = format!("{API}/orders").parse().unwrap();
    let mut request = Request::get(&uri)
        .header("dpop", "planted")
        .body(())
        .unwrap();
    session.authorize(&mut request).await.unwrap();
    let token = session.access_token().await.unwrap();
    assert_eq!(
        request.headers()[AUTHORIZATION],
        format!("Bearer {}", token.expose())
    );
    assert!(!request.headers().contains_key("dpop"));
    let mut headers = HeaderMap::new();
    headers.insert(
        WWW_AUTHENTICATE,
        HeaderValue::from_static("DPoP error=\"use_dpop_nonce\""),
    );
    headers.insert("dpop-nonce", HeaderValue::from_static("n"));
    assert!(!session.note_response(&uri, StatusCode::UNAUTHORIZED, &headers));
}

/// RFC 9449 §9: the nonce of one server is not sent to another, also if both have one origin.
#[tokio::test]
async fn a_nonce_of_an_api_is_in_no_proof_for_the_authorization_server() {
    let server = dpop_server(|client| client);
    let session = session(&server, true).await;
    let mut headers = HeaderMap::new();
    let challenge = HeaderValue::from_static("DPoP error=\"use_dpop_nonce\"");
    headers.insert(WWW_AUTHENTICATE, challenge);
    headers.insert("dpop-nonce", HeaderValue::from_static("of-the-api"));
    for url in [
        format!("{API}/orders"),
        format!("{}/orders", server.issuer()),
        format!("{}/token", server.issuer()),
    ] {
        let uri: Uri = url.parse().unwrap();
        assert!(session.note_response(&uri, StatusCode::UNAUTHORIZED, &headers));
        let mut request = Request::get(&uri).body(()).unwrap();
        session.authorize(&mut request).await.unwrap();
        let proof = Proof::of(request.headers());
        assert_eq!(proof.claim("nonce"), "of-the-api", "{url}");
        server.clear_requests();
        session.refresh().await.unwrap();
        let sent = proofs(&server, Endpoint::Token);
        assert_eq!(sent.len(), 1, "{url}");
        assert!(sent[0].claims.get("nonce").is_none(), "{url}");
    }
}

#[tokio::test]
async fn no_token_is_added_to_a_request_for_another_place_than_an_https_url() {
    let server = dpop_server(|client| client);
    let session = session(&server, true).await;
    for uri in [
        "/orders",
        "http://api.example.test/orders",
        "https://user:pa55word@api.example.test/orders",
        "https://api.example.test/x/../orders",
    ] {
        let mut request = Request::get(uri).body(()).unwrap();
        let refused = session.authorize(&mut request).await;
        assert!(matches!(refused, Err(SessionError::UnusableUri)), "{uri}");
        assert!(request.headers().is_empty(), "{uri}");
    }
}

/// The documented client (reqwest) sends the URL that `Url` reads.
#[tokio::test]
async fn htu_is_the_url_that_the_documented_client_sends() {
    let server = dpop_server(|client| client);
    let session = session(&server, true).await;
    for text in [
        "https://api.example.test",
        "https://api.example.test/a?b",
        "https://API.example.test/a",
        "https://api.example.test:443/a",
        "https://api.example.test:8443/a",
        "https://api.example.test/a{id}",
        "https://api.example.test/a\"b",
        "http://localhost:80/a",
    ] {
        let mut request = Request::get(text).body(String::new()).unwrap();
        session.authorize(&mut request).await.unwrap();
        let htu = Proof::of(request.headers()).claim("htu").to_owned();
        let sent: reqwest::Request = request.try_into().unwrap();
        let mut sent = sent.url().clone();
        sent.set_query(None);
        assert_eq!(htu, sent.as_str(), "{text}");
    }
}

#[tokio::test]
async fn the_log_has_no_password_of_the_url() {
    let server = dpop_server(|client| client);
    let session = session(&server, true).await;
    let uri = "https://user:pa55word@api.example.test/orders?x=1";
    let mut headers = HeaderMap::new();
    let challenge = HeaderValue::from_static("DPoP error=\"invalid_dpop_proof\"");
    headers.insert(WWW_AUTHENTICATE, challenge);
    let log = Logs::default();
    let recording = log.record();
    session.note_response(&uri.parse().unwrap(), StatusCode::UNAUTHORIZED, &headers);
    drop(recording);
    let text = log.text();
    assert!(!text.contains("pa55word"), "{text}");
}
