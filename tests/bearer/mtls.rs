//! Certificate-bound access tokens, over a TLS connection and behind a proxy (RFC 8705 §3).

#[allow(dead_code)]
#[path = "../../examples/mtls.rs"]
mod example;
mod formats;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use example::certificates::{Ca, CertifiedKey};
use example::listener::TlsListener;
use example::{Peer, api as example_api};
use http::Request;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_oauth::bearer::{ClientCertificate, Mtls, Refusal};
use tower_oauth::testing::{DpopKey, DpopProof, Endpoint, TestClient, TestServer};
use tower_oauth::token::{Dpop, VerifyErrorKind as Why};
use tower_oauth::{Algorithm, BearerLayer, Client};

use crate::support::api::{self, Outcome, api, ask, good, layer, server, soon};

// Only the digest of a certificate is used, so any bytes serve as one.
const OURS: &[u8] = b"our certificate";
const OTHER: &[u8] = b"another certificate";

fn digest_of(der: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(ClientCertificate::from_der(der).thumbprint())
}

fn bound(server: &TestServer) -> String {
    good(server).bound_to_certificate(OURS).sign()
}

fn api_with(server: &TestServer, mtls: Mtls) -> Router {
    api(layer(server).with_mtls(mtls))
}

/// Trusts a proxy at 10.0.0.1.
fn behind_proxy() -> Mtls {
    let is_proxy = |peer: &SocketAddr| peer.ip().to_string() == "10.0.0.1";
    Mtls::from_header("client-cert", move |extensions| {
        extensions.get().is_some_and(is_proxy)
    })
    .unwrap()
}

fn request(token: &str) -> Request<Body> {
    let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
    request.body(Body::empty()).unwrap()
}

async fn with_certificate(app: &Router, token: &str, der: Option<&[u8]>) -> Outcome {
    let mut request = request(token);
    if let Some(der) = der {
        let certificate = ClientCertificate::from_der(der);
        request.extensions_mut().insert(certificate);
    }
    ask(app, request).await.outcome()
}

#[tokio::test]
async fn a_bound_token_requires_its_certificate() {
    let server = server();
    let app = api_with(&server, Mtls::from_tls());
    let token = bound(&server);
    let refused = Outcome::InvalidToken(Why::Bound);
    for (name, der, expect) in [
        ("its own", Some(OURS), Outcome::Accepted),
        ("none", None, refused),
        ("another", Some(OTHER), refused),
        // The token may be cached by now; the binding is still checked.
        ("none again", None, refused),
        ("its own again", Some(OURS), Outcome::Accepted),
    ] {
        assert_eq!(with_certificate(&app, &token, der).await, expect, "{name}");
    }
    let plain = good(&server).sign();
    assert_eq!(
        with_certificate(&app, &plain, Some(OURS)).await,
        Outcome::Accepted
    );
    assert_eq!(
        with_certificate(&app, &plain, None).await,
        Outcome::Accepted
    );
}

#[tokio::test]
async fn a_layer_without_mtls_rejects_bound_tokens() {
    let server = server();
    let app = api(layer(&server));
    let outcome = with_certificate(&app, &bound(&server), Some(OURS)).await;
    assert_eq!(outcome, Outcome::InvalidToken(Why::Bound));
}

#[tokio::test]
async fn a_token_without_a_certificate_binding_is_rejected_if_one_is_required() {
    let server = server();
    let app = api_with(&server, Mtls::from_tls().required());
    let plain = good(&server).sign();
    for der in [None, Some(OURS)] {
        let outcome = with_certificate(&app, &plain, der).await;
        assert_eq!(outcome, Outcome::InvalidToken(Why::NotBound));
    }
    let outcome = with_certificate(&app, &bound(&server), Some(OURS)).await;
    assert_eq!(outcome, Outcome::Accepted);
}

#[tokio::test]
async fn a_token_with_a_malformed_cnf_is_rejected() {
    let server = server();
    let app = api_with(&server, Mtls::from_tls());
    let digest = digest_of(OURS);
    let hex: String = ClientCertificate::from_der(OURS)
        .thumbprint()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for (name, cnf) in [
        ("a string", json!("x")),
        ("an array", json!([{ "x5t#S256": digest }])),
        ("an empty object", json!({})),
        ("padded", json!({ "x5t#S256": format!("{digest}=") })),
        ("SHA-1", json!({ "x5t": "AAAAAAAAAAAAAAAAAAAAAAAAAAA" })),
        (
            "a SHA-1 in its place",
            json!({ "x5t#S256": "AAAAAAAAAAAAAAAAAAAAAAAAAAA" }),
        ),
        ("hex", json!({ "x5t#S256": hex })),
        (
            "an unknown member",
            json!({ "x5t#S256": digest, "kid": "a" }),
        ),
        (
            "a key, not shown",
            json!({ "x5t#S256": digest, "jkt": "A".repeat(43) }),
        ),
        ("a key alone", json!({ "jkt": "A".repeat(43) })),
        ("null", Value::Null),
    ] {
        let token = good(&server).with_claim("cnf", cnf).sign();
        let outcome = with_certificate(&app, &token, Some(OURS)).await;
        assert_eq!(outcome, Outcome::InvalidToken(Why::Bound), "{name}");
    }
}

/// A token that is bound to a key and a certificate requires both.
#[tokio::test]
async fn a_token_with_two_bindings_requires_both() {
    let server = server();
    let dpop = || Dpop::new(api::AUDIENCE).unwrap().with_clock(server.clock());
    let key = DpopKey::new(Algorithm::Es256).with_clock(server.clock());
    let cnf = json!({ "jkt": key.thumbprint(), "x5t#S256": digest_of(OURS) });
    let token = good(&server).with_claim("cnf", cnf).sign();
    let proof = key.proof("GET", &format!("{}/", api::AUDIENCE));
    let proof = proof.with_access_token(&token);
    let show = async |layer: BearerLayer, der: Option<&[u8]>, proof: Option<&DpopProof>| {
        let mut request = request(&token);
        if let Some(proof) = proof {
            let headers = request.headers_mut();
            headers.insert(AUTHORIZATION, format!("DPoP {token}").parse().unwrap());
            headers.insert("dpop", proof.sign().parse().unwrap());
        }
        if let Some(der) = der {
            let certificate = ClientCertificate::from_der(der);
            request.extensions_mut().insert(certificate);
        }
        let answer = ask(&api(layer), request).await;
        (answer.status == 200).then_some(()).ok_or(answer.refusal)
    };
    let both = || layer(&server).with_mtls(Mtls::from_tls()).with_dpop(dpop());
    assert!(show(both(), Some(OURS), Some(&proof)).await.is_ok());
    for (name, layer, der, proof) in [
        ("the key alone", both(), None, Some(&proof)),
        (
            "the key and another certificate",
            both(),
            Some(OTHER),
            Some(&proof),
        ),
        ("the certificate alone", both(), Some(OURS), None),
        (
            "no certificates here",
            layer(&server).with_dpop(dpop()),
            Some(OURS),
            Some(&proof),
        ),
        (
            "no keys here",
            layer(&server).with_mtls(Mtls::from_tls()),
            Some(OURS),
            None,
        ),
    ] {
        let refused = show(layer, der, proof).await.expect_err(name);
        let bound = matches!(&refused, Some(Refusal::Token(error)) if error.kind() == Why::Bound);
        assert!(bound, "{name}: {refused:?}");
    }
}

#[tokio::test]
async fn a_missing_certificate_does_not_use_up_the_proof() {
    let server = server();
    let dpop = Dpop::new(api::AUDIENCE).unwrap().with_clock(server.clock());
    let app = api(layer(&server).with_mtls(Mtls::from_tls()).with_dpop(dpop));
    let key = DpopKey::new(Algorithm::Es256).with_clock(server.clock());
    let cnf = json!({ "jkt": key.thumbprint(), "x5t#S256": digest_of(OURS) });
    let token = good(&server).with_claim("cnf", cnf).sign();
    let proof = key.proof("GET", &format!("{}/", api::AUDIENCE));
    let proof = proof.with_access_token(&token).sign();
    for (der, status) in [(OTHER, 401), (OURS, 200), (OURS, 401)] {
        let mut request = request(&token);
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, format!("DPoP {token}").parse().unwrap());
        headers.insert("dpop", proof.parse().unwrap());
        let certificate = ClientCertificate::from_der(der);
        request.extensions_mut().insert(certificate);
        assert_eq!(ask(&app, request).await.status, status);
    }
}

/// RFC 8705 §3.2: introspected once, and checked against the certificate on every request.
#[tokio::test]
async fn the_certificate_in_an_introspection_response_is_required() {
    let api_client = TestClient::confidential("api", "secret of the api");
    let server = server().add_client(api_client);
    let client = Client::confidential("api", "secret of the api");
    let bearer = BearerLayer::introspect(&server.authorization_server(), client, api::AUDIENCE);
    let app = api(bearer.unwrap().with_mtls(Mtls::from_tls()));
    let token = good(&server).bound_to_certificate(OURS).opaque();
    let refused = Outcome::InvalidToken(Why::Bound);
    for (der, expect) in [
        (Some(OURS), Outcome::Accepted),
        (None, refused),
        (Some(OTHER), refused),
        (Some(OURS), Outcome::Accepted),
    ] {
        assert_eq!(with_certificate(&app, &token, der).await, expect);
    }
    assert_eq!(server.count(Endpoint::Introspection), 1);
}

async fn over_proxy(app: &Router, token: &str, peer: &str, headers: &[String]) -> Outcome {
    let mut request = request(token);
    let peer: SocketAddr = peer.parse().unwrap();
    request.extensions_mut().insert(peer);
    for header in headers {
        let value = header.parse().unwrap();
        request.headers_mut().append("client-cert", value);
    }
    ask(app, request).await.outcome()
}

#[tokio::test]
async fn a_certificate_header_is_accepted_only_from_the_proxy() {
    let server = server();
    let app = api_with(&server, behind_proxy());
    let token = bound(&server);
    let refused = Outcome::InvalidToken(Why::Bound);
    let field = |der: &[u8]| format!(":{}:", STANDARD.encode(der));
    let bare = STANDARD.encode(OURS);
    for (name, peer, headers, expect) in [
        (
            "RFC 9440",
            "10.0.0.1:4711",
            vec![field(OURS)],
            Outcome::Accepted,
        ),
        (
            "an untrusted peer",
            "203.0.113.9:4711",
            vec![field(OURS)],
            refused,
        ),
        ("none", "10.0.0.1:4711", vec![], refused),
        ("another", "10.0.0.1:4711", vec![field(OTHER)], refused),
        (
            "two",
            "10.0.0.1:4711",
            vec![field(OURS), field(OURS)],
            refused,
        ),
        (
            "a list",
            "10.0.0.1:4711",
            vec![format!("{}, {}", field(OURS), field(OURS))],
            refused,
        ),
        ("no colons", "10.0.0.1:4711", vec![bare.clone()], refused),
        (
            "one colon",
            "10.0.0.1:4711",
            vec![format!(":{bare}")],
            refused,
        ),
        (
            "a colon alone",
            "10.0.0.1:4711",
            vec![":".to_owned()],
            refused,
        ),
        ("empty", "10.0.0.1:4711", vec!["::".to_owned()], refused),
        (
            "no base64",
            "10.0.0.1:4711",
            vec![":%%%:".to_owned()],
            refused,
        ),
    ] {
        let outcome = over_proxy(&app, &token, peer, &headers).await;
        assert_eq!(outcome, expect, "{name}");
    }
    // The certificate of the connection is that of the proxy, not of the client.
    let outcome = with_certificate(&app, &token, Some(OURS)).await;
    assert_eq!(outcome, refused);
    let ignored = api_with(&server, Mtls::from_tls());
    let outcome = over_proxy(&ignored, &token, "10.0.0.1:4711", &[field(OURS)]).await;
    assert_eq!(outcome, refused, "the header was not asked for");
    assert!(Mtls::from_header("no header", |_| true).is_err());
}

#[test]
fn debug_omits_the_certificate() {
    let certificate = ClientCertificate::from_der(OURS);
    assert_eq!(certificate.der(), OURS);
    assert_eq!(format!("{certificate:?}"), "ClientCertificate { .. }");
}

/// Sends one request over a new TLS connection and returns the raw response.
async fn tls_request(
    ca: &Ca,
    client: Option<&CertifiedKey>,
    to: SocketAddr,
    token: &str,
) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(ca.0.der().clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let key = PrivateKeyDer::try_from(client.key.serialize_der()).unwrap();
            let chain = vec![client.der.clone()];
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let socket = TcpStream::connect(to).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let name = "localhost".try_into().unwrap();
    let mut stream = connector.connect(name, socket).await.unwrap();
    let lines = ["GET / HTTP/1.1", "Host: localhost", "Connection: close"];
    let request = format!(
        "{}\r\nAuthorization: Bearer {token}\r\n\r\n",
        lines.join("\r\n")
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_example_accepts_the_certificate_of_a_tls_connection() {
    let server = server();
    let ca = Ca::new().unwrap();
    let config = ca.tls_config(ca.certify("localhost").unwrap()).unwrap();
    let (alice, mallory) = (ca.certify("alice").unwrap(), ca.certify("mallory").unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TlsListener::new(listener, &config).unwrap();
    let app = example_api(&server.authorization_server()).unwrap();
    let app = app.into_make_service_with_connect_info::<Peer>();
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });

    let token = server
        .access_token()
        .with_audience("https://localhost:8443");
    let token = token
        .with_subject("alice")
        .bound_to_certificate(&alice.der)
        .sign();
    let own = soon(tls_request(&ca, Some(&alice), address, &token)).await;
    assert!(
        own.starts_with("HTTP/1.1 200") && own.ends_with("hello alice\n"),
        "{own}"
    );
    for (name, client) in [("none", None), ("another", Some(&mallory))] {
        let answer = soon(tls_request(&ca, client, address, &token)).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{name}: {answer}");
        assert!(
            answer.contains("error=\"invalid_token\""),
            "{name}: {answer}"
        );
    }
    serving.abort();
}

#[test]
fn with_claims_keeps_the_certificate_settings() {
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    let server = server();
    let layer: BearerLayer<Value> = layer(&server).with_mtls(Mtls::from_tls()).with_claims();
    is_shared(&layer);
}
