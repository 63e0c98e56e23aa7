//! Access tokens bound to a client certificate: over a real TLS connection, and behind a proxy.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

#[allow(dead_code)]
#[path = "../examples/mtls.rs"]
mod example;
#[path = "mtls/formats.rs"]
mod formats;
mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use example::certificates::{Ca, CertifiedKey};
use example::{Peer, TlsListener, api as example_api};
use http::Request;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use support::{Outcome, api, ask, good, layer, server, soon};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tower_oauth::bearer::{ClientCertificate, Mtls, Refusal};
use tower_oauth::testing::{DpopKey, DpopProof, Endpoint, TestClient, TestServer};
use tower_oauth::token::{Dpop, VerifyErrorKind as Why};
use tower_oauth::{Algorithm, BearerLayer, Client};

// Two certificates as far as a digest is concerned; nobody parses them.
const OURS: &[u8] = b"our certificate";
const OTHER: &[u8] = b"another certificate";

fn digest_of(der: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(ClientCertificate::from_der(der).thumbprint())
}

fn bound(server: &TestServer) -> String {
    good(server).bound_to_certificate(OURS).sign()
}

fn taking(server: &TestServer, mtls: Mtls) -> Router {
    api(layer(server).with_mtls(mtls))
}

/// Trusts the proxy at 10.0.0.1.
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
async fn a_bound_token_needs_its_certificate() {
    let server = server();
    let app = taking(&server, Mtls::from_tls());
    let token = bound(&server);
    let refused = Outcome::InvalidToken(Why::Bound);
    for (name, der, expect) in [
        ("M1 its own", Some(OURS), Outcome::Accepted),
        ("V154 none", None, refused),
        ("V154 another", Some(OTHER), refused),
        // Verdicts may be remembered by now: the binding is looked at all the same.
        ("M8 none again", None, refused),
        ("M8 its own again", Some(OURS), Outcome::Accepted),
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
async fn a_layer_that_knows_no_certificates_refuses_bound_tokens() {
    let server = server();
    let app = api(layer(&server));
    let outcome = with_certificate(&app, &bound(&server), Some(OURS)).await;
    assert_eq!(outcome, Outcome::InvalidToken(Why::Bound));
}

#[tokio::test]
async fn m5_where_it_is_required_unbound_tokens_are_refused() {
    let server = server();
    let app = taking(&server, Mtls::from_tls().required());
    let plain = good(&server).sign();
    for der in [None, Some(OURS)] {
        let outcome = with_certificate(&app, &plain, der).await;
        assert_eq!(outcome, Outcome::InvalidToken(Why::NotBound));
    }
    let outcome = with_certificate(&app, &bound(&server), Some(OURS)).await;
    assert_eq!(outcome, Outcome::Accepted);
}

#[tokio::test]
async fn a_binding_that_cannot_be_read_refuses_the_token() {
    let server = server();
    let app = taking(&server, Mtls::from_tls());
    let digest = digest_of(OURS);
    let hex: String = ClientCertificate::from_der(OURS)
        .thumbprint()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for (name, cnf) in [
        ("V89 a string", json!("x")),
        ("V89 an array", json!([{ "x5t#S256": digest }])),
        ("V89 an empty object", json!({})),
        ("V154 padded", json!({ "x5t#S256": format!("{digest}=") })),
        (
            "V154 SHA-1",
            json!({ "x5t": "AAAAAAAAAAAAAAAAAAAAAAAAAAA" }),
        ),
        (
            "V154 a SHA-1 in its place",
            json!({ "x5t#S256": "AAAAAAAAAAAAAAAAAAAAAAAAAAA" }),
        ),
        ("M2 hex", json!({ "x5t#S256": hex })),
        (
            "M7 an unknown member",
            json!({ "x5t#S256": digest, "kid": "a" }),
        ),
        (
            "V156 a key, not shown",
            json!({ "x5t#S256": digest, "jkt": "A".repeat(43) }),
        ),
        ("V156 a key alone", json!({ "jkt": "A".repeat(43) })),
        ("null", Value::Null),
    ] {
        let token = good(&server).with_claim("cnf", cnf).sign();
        let outcome = with_certificate(&app, &token, Some(OURS)).await;
        assert_eq!(outcome, Outcome::InvalidToken(Why::Bound), "{name}");
    }
}

/// `M6`: where a token names a key and a certificate, one of them is not enough.
#[tokio::test]
async fn v156_a_token_bound_twice_needs_both() {
    let server = server();
    let dpop = || {
        Dpop::new(support::AUDIENCE)
            .unwrap()
            .with_clock(server.clock())
    };
    let key = DpopKey::new(Algorithm::Es256).with_clock(server.clock());
    let cnf = json!({ "jkt": key.thumbprint(), "x5t#S256": digest_of(OURS) });
    let token = good(&server).with_claim("cnf", cnf).sign();
    let proof = key.proof("GET", &format!("{}/", support::AUDIENCE));
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
async fn a_proof_is_not_spent_where_the_certificate_is_missing() {
    let server = server();
    let dpop = Dpop::new(support::AUDIENCE)
        .unwrap()
        .with_clock(server.clock());
    let app = api(layer(&server).with_mtls(Mtls::from_tls()).with_dpop(dpop));
    let key = DpopKey::new(Algorithm::Es256).with_clock(server.clock());
    let cnf = json!({ "jkt": key.thumbprint(), "x5t#S256": digest_of(OURS) });
    let token = good(&server).with_claim("cnf", cnf).sign();
    let proof = key.proof("GET", &format!("{}/", support::AUDIENCE));
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

/// `M4`, and `M8` for an answer that is remembered: asked for once, held to its certificate each time.
#[tokio::test]
async fn what_introspection_says_of_a_certificate_counts_the_same() {
    let api_client = TestClient::confidential("api", "secret of the api");
    let server = server().add_client(api_client);
    let client = Client::confidential("api", "secret of the api");
    let bearer = BearerLayer::introspect(&server.authorization_server(), client, support::AUDIENCE);
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
async fn a_certificate_in_a_header_counts_only_from_the_proxy() {
    let server = server();
    let app = taking(&server, behind_proxy());
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
        ("V155", "203.0.113.9:4711", vec![field(OURS)], refused),
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
    // The proxy's own certificate is not the client's.
    let outcome = with_certificate(&app, &token, Some(OURS)).await;
    assert_eq!(outcome, refused);
    let ignored = taking(&server, Mtls::from_tls());
    let outcome = over_proxy(&ignored, &token, "10.0.0.1:4711", &[field(OURS)]).await;
    assert_eq!(outcome, refused, "the header was not asked for");
    assert!(Mtls::from_header("no header", |_| true).is_err());
}

#[test]
fn a_certificate_is_not_printed() {
    let certificate = ClientCertificate::from_der(OURS);
    assert_eq!(certificate.der(), OURS);
    assert_eq!(format!("{certificate:?}"), "ClientCertificate { .. }");
}

/// One request over a TLS connection of its own; the answer as it came.
async fn tls_request(
    ca: &Ca,
    client: Option<&CertifiedKey>,
    to: SocketAddr,
    token: &str,
) -> String {
    let mut roots = RootCertStore::empty();
    roots.add(ca.0.der().clone()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
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
async fn the_example_takes_the_certificate_of_a_real_connection() {
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
fn the_layer_stays_what_it_is_with_other_claims() {
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    let server = server();
    let layer: BearerLayer<Value> = layer(&server).with_mtls(Mtls::from_tls()).with_claims();
    is_shared(&layer);
}
