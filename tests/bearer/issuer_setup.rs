//! Wrong set-ups of the authorization server: what the operator reads, and which are outages.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response};
use serde_json::json;
use tower::service_fn;
use tower_oauth::issuer::StaticKeys;
use tower_oauth::protocol::Metadata;
use tower_oauth::testing::TestServer;
use tower_oauth::{Algorithm, AuthorizationServer, Client, ConfigError, CookieKey, LoginLayer};

use crate::support::api::{self, Outcome, api, good, layer_of, present, server, soon};
use crate::support::logs::Logs;

const ISSUER: &str = "https://id.example.test/realms/shop";
const OPENID: &str = "https://id.example.test/realms/shop/.well-known/openid-configuration";
const RFC_8414: &str = "https://id.example.test/.well-known/oauth-authorization-server/realms/shop";
const JWKS: &str = "https://id.example.test/jwks";

/// The responses by URL; 404 from any other. Records the URLs that were requested.
#[derive(Clone, Default)]
struct Site {
    replies: Arc<Mutex<Vec<(String, u16, String)>>>,
    requested: Arc<Mutex<Vec<String>>>,
}

impl Site {
    fn serve(&self, url: &str, status: u16, body: impl Into<String>) {
        let mut replies = self.replies.lock().unwrap();
        replies.retain(|(other, ..)| other != url);
        replies.push((url.to_owned(), status, body.into()));
    }

    fn requested(&self) -> Vec<String> {
        std::mem::take(&mut self.requested.lock().unwrap())
    }

    /// Sends the requests of a handle here, which has the time of the tokens.
    fn attach(&self, server: &TestServer, handle: AuthorizationServer) -> AuthorizationServer {
        let handle = handle.with_clock(server.clock());
        let site = self.clone();
        handle.with_back_channel(service_fn(move |request: Request<Bytes>| {
            let url = request.uri().to_string();
            let replies = site.replies.lock().unwrap();
            let reply = replies.iter().find(|(other, ..)| *other == url);
            let (status, body) = reply.map_or((404, ""), |(_, status, body)| (*status, body));
            let response = Response::builder().status(status);
            let response = response.body(Bytes::from(body.to_owned())).unwrap();
            site.requested.lock().unwrap().push(url);
            std::future::ready(Ok::<_, Infallible>(response))
        }))
    }
}

fn keys(server: &TestServer) -> String {
    json!({ "keys": [server.key(Algorithm::Es256).public_jwk()] }).to_string()
}

fn document(issuer: &str) -> String {
    json!({ "issuer": issuer, "jwks_uri": JWKS }).to_string()
}

#[tokio::test]
async fn outages_and_errors_of_the_configuration_are_told_apart_and_say_what_was_found() {
    const HTML: &str = "<!doctype html>";
    let slash = document("https://id.example.test/realms/shop/");
    let found = document(ISSUER);
    let (misconfigured, unavailable) = (Outcome::Misconfigured, Outcome::Unavailable);
    let missing = &[
        "status 404, expected 200",
        "with_metadata_url",
        OPENID,
        RFC_8414,
    ][..];
    let other = &[
        "another issuer: \"https://id.example.test/realms/shop/\"",
        "expected \"https://id.example.test/realms/shop\"",
        "AuthorizationServer::new",
    ][..];
    let html = &["not a metadata document", OPENID][..];
    for (first, second, expected, texts) in [
        // Without a document of this issuer, the next address is asked.
        ((200, HTML), (200, &*found), Outcome::Accepted, &[][..]),
        ((200, "{}"), (200, &found), Outcome::Accepted, &[]),
        ((301, ""), (200, &found), Outcome::Accepted, &[]),
        ((401, ""), (200, &found), Outcome::Accepted, &[]),
        ((500, ""), (200, &found), Outcome::Accepted, &[]),
        ((200, &*slash), (200, &found), Outcome::Accepted, &[]),
        // Only an operator can correct these.
        ((200, &slash), (404, ""), misconfigured, other),
        ((200, &slash), (200, &slash), misconfigured, other),
        ((200, &slash), (200, HTML), unavailable, other),
        ((404, ""), (404, ""), unavailable, missing),
        (
            (301, ""),
            (410, ""),
            unavailable,
            &["status 301", "status 410"],
        ),
        // These may be corrected by time.
        ((200, &slash), (503, ""), unavailable, &["status 503"]),
        ((404, ""), (429, ""), unavailable, &["status 429"]),
        ((200, HTML), (404, ""), unavailable, html),
        ((200, HTML), (200, HTML), unavailable, html),
        ((500, ""), (500, ""), unavailable, &["status 500"]),
    ] {
        let (server, site, logs) = (server(), Site::default(), Logs::default());
        site.serve(OPENID, first.0, first.1);
        site.serve(RFC_8414, second.0, second.1);
        site.serve(JWKS, 200, keys(&server));
        let handle = site.attach(&server, AuthorizationServer::new(ISSUER).unwrap());
        let _recording = logs.record();
        let ready = soon(handle.ready()).await;
        let case = format!("{first:?} {second:?}");
        let token = good(&server).with_claim("iss", ISSUER).sign();
        let answer = present(&api(layer_of(&handle)), &token).await;
        assert_eq!(answer.outcome(), expected, "{case}");
        assert_eq!(
            answer.headers.contains_key(RETRY_AFTER),
            expected == unavailable
        );
        let Err(error) = ready else { continue };
        let (text, log) = (error.to_string(), logs.take());
        assert_eq!(
            error.is_configuration_error(),
            expected == misconfigured,
            "{case}"
        );
        assert!(
            log.contains(&format!("error={text}")),
            "{case}: {text}\n{log}"
        );
        for part in texts {
            assert!(text.contains(part), "{case}: {text}");
        }
    }
}

#[tokio::test]
async fn the_address_that_had_the_metadata_is_the_only_one_asked_later() {
    let (server, site) = (server(), Site::default());
    site.serve(RFC_8414, 200, document(ISSUER));
    site.serve(JWKS, 200, keys(&server));
    let handle = site.attach(&server, AuthorizationServer::new(ISSUER).unwrap());
    soon(handle.ready()).await.unwrap();
    assert_eq!(site.requested(), [OPENID, RFC_8414, JWKS]);
    // Another document appears at the first address while the second is away: the last good document stays.
    site.serve(OPENID, 200, document(ISSUER).replace("jwks\"", "other\""));
    site.serve(RFC_8414, 503, "");
    server.clock().advance(Duration::from_secs(2 * 3600));
    soon(handle.ready()).await.unwrap();
    let later = site.requested();
    let is_known = |url: &String| url == RFC_8414 || url == JWKS;
    assert!(later.iter().any(|url| url == RFC_8414), "{later:?}");
    assert!(later.iter().all(is_known), "{later:?}");
}

#[tokio::test]
async fn a_configured_address_is_the_only_one_asked() {
    let (server, site) = (server(), Site::default());
    let url = "https://inside.example.test/metadata?tenant=shop";
    site.serve(OPENID, 200, document(ISSUER));
    site.serve(JWKS, 200, keys(&server));
    let handle = AuthorizationServer::new(ISSUER).unwrap();
    let handle = site.attach(&server, handle.with_metadata_url(url).unwrap());
    let error = soon(handle.ready()).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("GET {url}: status 404")),
        "{error}"
    );
    // The issuer is compared there, too.
    site.serve(url, 200, document("https://inside.example.test"));
    let handle = site.attach(&server, handle);
    let error = soon(handle.ready()).await.unwrap_err().to_string();
    assert!(error.contains("another issuer"), "{error}");
    site.serve(url, 200, document(ISSUER));
    soon(site.attach(&server, handle).ready()).await.unwrap();
    assert!(!site.requested().iter().any(|url| url == OPENID));
    for url in [
        "http://inside.example.test/metadata",
        "metadata",
        "https://a@b/c",
    ] {
        let handle = AuthorizationServer::new(ISSUER).unwrap();
        let error = handle.with_metadata_url(url).unwrap_err();
        assert!(matches!(error, ConfigError::Url { .. }), "{url}");
        assert!(
            error.to_string().contains("new_with_insecure_http"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn http_to_any_host_is_permitted_for_one_http_issuer_and_logged() {
    let (server, site, logs) = (server(), Site::default(), Logs::default());
    let (issuer, jwks) = (
        "http://localhost:8080/realms/shop",
        "http://keycloak:8080/certs",
    );
    let metadata = "http://keycloak:8080/realms/shop/.well-known/openid-configuration";
    let recording = logs.record_only("insecure_http");
    let handle = AuthorizationServer::new_with_insecure_http(issuer).unwrap();
    drop(recording);
    let log = logs.take();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(
        log.contains("WARN") && log.contains("forge tokens"),
        "{log}"
    );
    let handle = site.attach(&server, handle.with_metadata_url(metadata).unwrap());
    site.serve(
        metadata,
        200,
        json!({ "issuer": issuer, "jwks_uri": jwks }).to_string(),
    );
    site.serve(jwks, 200, keys(&server));
    let token = good(&server).with_claim("iss", issuer).sign();
    let outcome = present(&api(layer_of(&handle)), &token).await.outcome();
    assert_eq!(outcome, Outcome::Accepted);
    // It has no effect on redirect URIs.
    let login = LoginLayer::new(
        &handle,
        Client::public("shop"),
        "http://shop/auth/callback",
        CookieKey::generate().unwrap(),
    );
    assert!(matches!(login.unwrap_err(), ConfigError::Url { .. }));

    // An https issuer accepts https only, and without the setting no other host is permitted.
    let handle = AuthorizationServer::new_with_insecure_http(ISSUER).unwrap();
    assert!(handle.clone().with_metadata_url(metadata).is_err());
    site.serve(
        OPENID,
        200,
        json!({ "issuer": ISSUER, "jwks_uri": jwks }).to_string(),
    );
    let error = soon(site.attach(&server, handle).ready())
        .await
        .unwrap_err();
    assert!(
        error.is_configuration_error() && error.to_string().contains("not an https URL"),
        "{error}"
    );
    assert!(AuthorizationServer::new("http://keycloak:8080").is_err());
    assert!(AuthorizationServer::new_with_insecure_http("ftp://keycloak").is_err());
}

#[tokio::test]
async fn configured_metadata_permits_an_issuer_of_any_text() {
    let (server, site) = (server(), Site::default());
    site.serve(JWKS, 200, keys(&server));
    for issuer in [
        "http://adfs.example.test/adfs/services/trust",
        "kubernetes/serviceaccount",
        "accounts.example.test",
        "urn:example:issuer",
    ] {
        let token = good(&server).with_claim("iss", issuer).sign();
        let metadata = Metadata::new(issuer);
        let with_uri = metadata.clone().with_jwks_uri(JWKS);
        let fetched = site.attach(
            &server,
            AuthorizationServer::from_metadata(with_uri).unwrap(),
        );
        let keys = StaticKeys::from_jwks(&keys(&server)).unwrap();
        let configured = AuthorizationServer::from_metadata(metadata.clone()).unwrap();
        let configured = configured.with_keys(keys).with_clock(server.clock());
        for handle in [fetched, configured] {
            let outcome = present(&api(layer_of(&handle)), &token).await.outcome();
            assert_eq!(outcome, Outcome::Accepted, "{issuer}");
            let other = good(&server).with_claim("iss", api::ISSUER).sign();
            let outcome = present(&api(layer_of(&handle)), &other).await.outcome();
            assert_ne!(outcome, Outcome::Accepted, "{issuer}");
        }
        let insecure = metadata.with_jwks_uri("http://adfs.example.test/keys");
        let error = AuthorizationServer::from_metadata(insecure).unwrap_err();
        assert!(matches!(error, ConfigError::Url { .. }), "{issuer}");
    }
    assert_eq!(site.requested(), [JWKS; 4]);
    assert!(AuthorizationServer::from_metadata(Metadata::new("")).is_err());
}
