//! Discovery and validation of metadata (RFC 8414, OpenID Connect Discovery), and the limits of the default back channel
//! over TCP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;
use http::header::{CONTENT_ENCODING, LOCATION, SET_COOKIE};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tower_oauth::clock::SystemClock;
use tower_oauth::protocol::Metadata;
use tower_oauth::testing::{Endpoint, Fault, ServerHandle, TestServer};
use tower_oauth::{Algorithm, AuthorizationServer, ConfigError};

use crate::support::api::{
    self, Outcome, api, fetches, good, layer, layer_of, present, server, soon,
};

const MISCONFIGURED: Outcome = Outcome::Misconfigured;
const UNAVAILABLE: Outcome = Outcome::Unavailable;

/// Returns the error of `ready` for a server with these faults in its metadata.
async fn error_of(
    faults: impl IntoIterator<Item = Fault>,
    expected: Outcome,
) -> (String, TestServer) {
    let server = server();
    for fault in faults {
        server.fail(Endpoint::Metadata, fault);
    }
    let error = soon(server.authorization_server().ready())
        .await
        .unwrap_err();
    assert_eq!(
        present(&api(layer(&server)), &good(&server).sign())
            .await
            .outcome(),
        expected
    );
    (error.to_string(), server)
}

#[tokio::test]
async fn metadata_of_another_issuer_is_rejected() {
    for issuer in [
        "https://evil.example.test",
        "https://id.example.test/",
        "https://ID.example.test",
        "https://id.example.test:443",
        "http://id.example.test",
        "https://id.example.test/tenant",
        "https://id.example.tes",
        "https://іd.example.test",
        " https://id.example.test",
    ] {
        let (error, server) = error_of([Fault::member("issuer", issuer)], MISCONFIGURED).await;
        assert!(error.contains("another issuer"), "{issuer}: {error}");
        assert_eq!(server.count(Endpoint::KeySet), 0, "{issuer}");
    }
    for issuer in [
        json!(["https://id.example.test"]),
        json!(null),
        json!(""),
        json!(1),
        json!({}),
    ] {
        let (error, _) = error_of([Fault::member("issuer", issuer)], UNAVAILABLE).await;
        assert!(error.contains("not a metadata document"), "{error}");
    }
    let (error, _) = error_of([Fault::without_member("issuer")], UNAVAILABLE).await;
    assert!(error.contains("not a metadata document"), "{error}");
}

#[tokio::test]
async fn keys_are_not_fetched_from_a_url_that_is_not_https() {
    for url in [
        "http://id.example.test/jwks",
        "http://127.0.0.1/jwks",
        "http://localhost/jwks",
        "file:///etc/passwd",
        "data:application/json,{\"keys\":[]}",
        "ftp://id.example.test/jwks",
        "//id.example.test/jwks",
        "/jwks",
        "jwks",
        "",
        "javascript:alert(1)",
        "https://user@id.example.test/jwks",
        "https://user:secret@id.example.test/jwks",
        "https://id.example.test/jwks#part",
        "https://",
        "https://[::1",
    ] {
        let (error, server) = error_of([Fault::member("jwks_uri", url)], MISCONFIGURED).await;
        assert!(error.contains("jwks_uri"), "{url}: {error}");
        assert_eq!(server.count(Endpoint::KeySet), 0, "{url}");
    }
    let list = json!(["https://id.example.test/jwks"]);
    for fault in [
        Fault::without_member("jwks_uri"),
        Fault::member("jwks_uri", list),
    ] {
        let (error, _) = error_of([fault], MISCONFIGURED).await;
        assert!(error.contains("jwks_uri"), "{error}");
    }
}

#[tokio::test]
async fn an_invalid_metadata_document_is_rejected() {
    let document =
        json!({ "issuer": api::ISSUER, "jwks_uri": "https://id.example.test/jwks" }).to_string();
    let twice = format!(
        r#"{{"issuer":"https://evil.example.test",{}"#,
        &document[1..]
    );
    for (name, body) in [
        ("HTML", "<html></html>".to_owned()),
        ("empty", String::new()),
        ("a list", format!("[{document}]")),
        ("issuer twice", twice),
        ("truncated", document[..document.len() - 1].to_owned()),
        ("trailing text", format!("{document}{document}")),
        ("too long", format!("{document}{}", " ".repeat(1 << 20))),
    ] {
        let (error, server) = error_of([Fault::body("application/json", body)], UNAVAILABLE).await;
        assert!(
            error.contains("metadata") || error.contains("longer"),
            "{name}: {error}"
        );
        assert_eq!(server.count(Endpoint::KeySet), 0, "{name}");
    }
    for status in [201, 204, 301, 302, 307, 500, 503] {
        let faults = [
            Fault::status(status),
            Fault::body("application/json", document.clone()),
        ];
        // A document may be there later.
        let (error, server) = error_of(faults, UNAVAILABLE).await;
        assert!(error.contains(&status.to_string()), "{error}");
        assert_eq!(server.count(Endpoint::KeySet), 0, "{status}");
    }
}

#[tokio::test]
async fn rfc_8414_metadata_is_used_without_openid_discovery() {
    for (issuer, first, second) in [
        (
            "https://id.example.test",
            "https://id.example.test/.well-known/openid-configuration",
            "https://id.example.test/.well-known/oauth-authorization-server",
        ),
        (
            "https://id.example.test/tenant/a",
            "https://id.example.test/tenant/a/.well-known/openid-configuration",
            "https://id.example.test/.well-known/oauth-authorization-server/tenant/a",
        ),
        (
            "https://id.example.test/tenant/",
            "https://id.example.test/tenant/.well-known/openid-configuration",
            "https://id.example.test/.well-known/oauth-authorization-server/tenant",
        ),
    ] {
        let server = crate::support::still_server(issuer)
            .unwrap()
            .with_algorithm(Algorithm::Es256);
        server.fail_once(Endpoint::Metadata, Fault::status(404));
        assert_eq!(
            present(&api(layer(&server)), &good(&server).sign())
                .await
                .outcome(),
            Outcome::Accepted
        );
        let asked: Vec<String> = server
            .requests()
            .iter()
            .map(|one| one.uri().to_string())
            .collect();
        assert_eq!(asked[..2], [first, second]);
        assert_eq!(asked.len(), 3);
    }
}

#[tokio::test]
async fn configured_metadata_is_validated_and_used_without_discovery() {
    let server = server();
    let by_hand = Metadata::new(server.issuer()).with_jwks_uri("https://id.example.test/jwks");
    let handle = server
        .authorization_server()
        .with_metadata(by_hand)
        .unwrap();
    assert_eq!(
        present(&api(layer_of(&handle)), &good(&server).sign())
            .await
            .outcome(),
        Outcome::Accepted
    );
    assert_eq!(fetches(&server), (0, 1));
    let other = Metadata::new("https://evil.example.test");
    let error = server
        .authorization_server()
        .with_metadata(other)
        .unwrap_err();
    assert!(
        matches!(&error, ConfigError::Issuer { value, .. } if value == "https://evil.example.test")
    );
    let plain = Metadata::new(server.issuer()).with_jwks_uri("http://id.example.test/jwks");
    let error = server
        .authorization_server()
        .with_metadata(plain)
        .unwrap_err();
    assert!(
        error.to_string().contains("http://id.example.test/jwks"),
        "{error}"
    );
}

/// Returns a server on a socket, and a handle with the default back channel.
async fn over_tcp() -> (TestServer, ServerHandle, AuthorizationServer) {
    let (server, listening) = TestServer::start("127.0.0.1:0").await.unwrap();
    let handle = AuthorizationServer::new(server.issuer()).unwrap();
    (server, listening, handle)
}

#[tokio::test]
async fn the_default_back_channel_fetches_over_tcp() {
    let (server, _listening, handle) = over_tcp().await;
    soon(handle.ready()).await.unwrap();
    let sent = server.requests();
    let accepted: Vec<_> = sent.iter().map(|one| one.header("accept")).collect();
    let key_set = "application/jwk-set+json, application/json";
    assert_eq!(accepted, [Some("application/json"), Some(key_set)]);
    assert!(sent.iter().all(|one| {
        one.method() == "GET"
            && one.header("authorization").is_none()
            && one.header("accept-encoding") == Some("identity")
    }));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let (trap, _trap_listening, _) = over_tcp().await;
    let elsewhere = format!("{}/jwks", trap.issuer());
    for status in [301, 302, 303, 307, 308] {
        for target in [
            elsewhere.as_str(),
            "http://169.254.169.254/latest/meta-data/",
            "file:///etc/passwd",
            "/jwks",
            "//127.0.0.1/jwks",
        ] {
            let (server, _listening, handle) = over_tcp().await;
            server.fail(Endpoint::KeySet, Fault::status(status));
            server.fail(
                Endpoint::KeySet,
                Fault::header(LOCATION, HeaderValue::from_str(target).unwrap()),
            );
            let error = soon(handle.ready()).await.unwrap_err().to_string();
            assert!(error.contains(&status.to_string()), "{target}: {error}");
            assert_eq!(server.count(Endpoint::KeySet), 1, "{target}");
        }
    }
    assert!(trap.requests().is_empty());
}

/// Responds 404 after each completed TLS handshake, and counts the handshakes.
async fn over_tls() -> (String, rcgen::Certificate, Arc<AtomicUsize>) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("https://{}", listener.local_addr().unwrap());
    let handshakes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&handshakes);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            counted.fetch_add(1, Ordering::Relaxed);
            let head = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            let _ = stream.write_all(head).await;
            let _ = stream.shutdown().await;
        }
    });
    (issuer, made.cert, handshakes)
}

#[tokio::test]
async fn an_untrusted_certificate_makes_the_server_unavailable() {
    let (issuer, certificate, handshakes) = over_tls().await;
    let handle = AuthorizationServer::new(&issuer).unwrap();
    let error = soon(handle.ready()).await.unwrap_err().to_string();
    assert!(
        error.contains("certificate"),
        "the error contains the cause: {error}"
    );
    assert_eq!(handshakes.load(Ordering::Relaxed), 0, "nothing was sent");

    // Only the certificate is untrusted: a client that trusts it gets a response.
    let trusting = reqwest::Client::builder()
        .no_proxy()
        .add_root_certificate(reqwest::Certificate::from_der(certificate.der()).unwrap())
        .build()
        .unwrap();
    let answer = trusting.get(&issuer).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(handshakes.load(Ordering::Relaxed), 1);
}

/// The name of the variable with the issuer that the test below hands to itself, in another process.
const ISSUER_OVER_TLS: &str = "TOWER_OAUTH_TEST_ISSUER_OVER_TLS";

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_https_call_works_without_a_tls_provider_of_the_process() {
    if let Ok(issuer) = std::env::var(ISSUER_OVER_TLS) {
        let handle = AuthorizationServer::new(&issuer).unwrap();
        let error = soon(handle.ready()).await.unwrap_err().to_string();
        assert!(error.contains("status 404"), "{error}");
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
        return;
    }
    let (issuer, certificate, handshakes) = over_tls().await;
    let file = std::env::temp_dir().join(format!("tower-oauth-{}.pem", std::process::id()));
    std::fs::write(&file, certificate.pem()).unwrap();
    // Another process, because the trusted certificates are those of its environment.
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child
        .args([
            "--exact",
            "discovery::an_https_call_works_without_a_tls_provider_of_the_process",
        ])
        .env(ISSUER_OVER_TLS, issuer)
        .env("SSL_CERT_FILE", &file);
    let child = tokio::task::spawn_blocking(move || child.output()).await;
    std::fs::remove_file(&file).unwrap();
    let child = child.unwrap().unwrap();
    assert!(
        child.status.success(),
        "{}",
        String::from_utf8_lossy(&child.stdout)
    );
    assert_eq!(
        handshakes.load(Ordering::Relaxed),
        2,
        "both addresses of the metadata"
    );
}

#[tokio::test]
async fn a_response_above_the_size_limit_fails() {
    let (server, _listening, handle) = over_tcp().await;
    server.fail(
        Endpoint::KeySet,
        Fault::body("application/json", vec![b' '; 10 << 20]),
    );
    let error = soon(handle.ready()).await.unwrap_err().to_string();
    assert!(error.contains("longer than the limit"), "{error}");
}

#[tokio::test]
async fn an_endless_response_is_not_read_beyond_the_limit() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
        stream.write_all(head).await.unwrap();
        // Until the client closes the connection.
        while stream.write_all(&[b' '; 65_536]).await.is_ok() {}
    });
    let handle = AuthorizationServer::new(&issuer).unwrap();
    let error = soon(handle.ready()).await.unwrap_err().to_string();
    assert!(error.contains("longer than the limit"), "{error}");
}

#[tokio::test]
async fn a_configured_client_is_used_and_a_redirect_that_it_followed_is_rejected() {
    let (server, _listening, handle) = over_tcp().await;
    let metadata = format!("{}/.well-known/openid-configuration", server.issuer());
    server.fail_once(Endpoint::KeySet, Fault::status(302));
    server.fail_once(
        Endpoint::KeySet,
        Fault::header(LOCATION, HeaderValue::from_str(&metadata).unwrap()),
    );
    let client = reqwest::Client::builder().no_proxy().user_agent("ours");
    let handle = handle.with_http_client(client.build().unwrap());
    let error = soon(handle.ready()).await.unwrap_err().to_string();
    assert!(error.contains("the client followed a redirect"), "{error}");
    let handle = handle.with_clock(SystemClock::default());
    soon(handle.ready()).await.unwrap();
    let sent = server.requests();
    assert!(
        sent.iter()
            .all(|one| one.header("user-agent") == Some("ours"))
    );
}

#[tokio::test]
async fn cookies_are_neither_stored_nor_sent() {
    let (server, _listening, handle) = over_tcp().await;
    let cookie = || Fault::header(SET_COOKIE, HeaderValue::from_static("a=b; Path=/"));
    server.fail(Endpoint::Metadata, cookie());
    server.fail(Endpoint::KeySet, cookie());
    soon(handle.ready()).await.unwrap();
    soon(handle.clone().ready()).await.unwrap();
    assert!(
        server
            .requests()
            .iter()
            .all(|one| one.header("cookie").is_none())
    );
}

#[tokio::test]
async fn an_unreachable_issuer_is_unavailable() {
    let (server, listening, handle) = over_tcp().await;
    drop((server, listening));
    let error = soon(handle.ready()).await.unwrap_err().to_string();
    assert!(
        error.contains("refused"),
        "the error contains the innermost cause: {error}"
    );
}

#[tokio::test]
async fn an_issuer_on_loopback_may_use_http_on_loopback_only() {
    let server = crate::support::still_server("http://127.0.0.1:9").unwrap();
    let allowed = |url: &str| {
        server.clear_faults(Endpoint::Metadata);
        server.fail(
            Endpoint::Metadata,
            Fault::member("jwks_uri", Value::from(url)),
        );
        server.authorization_server()
    };
    for url in [
        "http://127.0.0.1:9/jwks",
        "http://localhost:9/jwks",
        "http://[::1]:9/jwks",
        "https://id.example.test/jwks",
    ] {
        soon(allowed(url).ready()).await.unwrap();
    }
    for url in [
        "http://id.example.test/jwks",
        "http://127.0.0.1.evil.test/jwks",
        "http://localhost.evil.test/jwks",
        "http://192.168.0.1/jwks",
        "http://0.0.0.0/jwks",
        "file:///jwks",
    ] {
        let error = soon(allowed(url).ready()).await.unwrap_err().to_string();
        assert!(error.contains("jwks_uri"), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_compressed_response_is_rejected_and_its_encoding_is_named() {
    let (server, _listening, handle) = over_tcp().await;
    for encoding in ["gzip", "br", "identity, gzip", "\\\""] {
        server.fail_once(
            Endpoint::KeySet,
            Fault::header(CONTENT_ENCODING, HeaderValue::from_static(encoding)),
        );
        let error = soon(handle.clone().with_clock(SystemClock::default()).ready()).await;
        let error = error.unwrap_err().to_string();
        let named = format!("/jwks: the response has Content-Encoding {encoding:?}");
        assert!(error.contains(&named), "{error}");
    }
    let identity = Fault::header(CONTENT_ENCODING, HeaderValue::from_static("Identity"));
    server.fail(Endpoint::KeySet, identity);
    soon(handle.with_clock(SystemClock::default()).ready())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_byte_order_mark_in_front_of_a_document_is_skipped_once() {
    let server = server();
    let document = json!({ "issuer": api::ISSUER, "jwks_uri": "https://id.example.test/jwks" });
    for (marks, is_read) in [(1, true), (2, false)] {
        let marked = format!("{}{document}", "\u{feff}".repeat(marks));
        server.clear_faults(Endpoint::Metadata);
        server.fail(Endpoint::Metadata, Fault::body("application/json", marked));
        let ready = soon(server.authorization_server().ready()).await;
        assert_eq!(ready.is_ok(), is_read, "{marks}");
    }
}
