//! Protected resource metadata (RFC 9728): the document, its URL, and the challenges that refer to it.

#[allow(dead_code)]
#[path = "../../examples/mcp.rs"]
mod mcp;
mod unpublished;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::any;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tower_oauth::bearer::{BearerMethod, Mtls, ResourceMetadata, ResourceMetadataLayer};
use tower_oauth::testing::TestServer;
use tower_oauth::token::{Audience, Dpop};
use tower_oauth::{Algorithm, BearerLayer, ConfigError};

use crate::support::api::{
    self, AUDIENCE, Answer, Outcome, api, ask, good, layer, present_at, server,
};

const ADDRESS: &str = "https://api.example.test/.well-known/oauth-protected-resource";
const PATH: &str = "/.well-known/oauth-protected-resource";

fn metadata(server: &TestServer, resource: &str) -> ResourceMetadata {
    let metadata = ResourceMetadata::new(resource).unwrap();
    metadata.add_authorization_server(&server.authorization_server())
}

fn request(method: Method, path: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    request.body(Body::empty()).unwrap()
}

async fn get_document(app: &Router, path: &str) -> Value {
    let answer = ask(app, request(Method::GET, path)).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}");
    serde_json::from_str(&answer.body).unwrap()
}

/// An API with metadata, with the layers in the documented order.
fn published(server: &TestServer) -> Router {
    let metadata = metadata(server, AUDIENCE);
    let bearer = layer(server).with_resource_metadata(&metadata).unwrap();
    api(bearer).layer(ResourceMetadataLayer::new(metadata))
}

#[test]
fn the_well_known_path_is_inserted_between_host_and_path() {
    for (name, resource, address) in [
        (
            "with a path",
            "https://h.test/a/b",
            "https://h.test/.well-known/oauth-protected-resource/a/b",
        ),
        (
            "no path",
            "https://h.test",
            "https://h.test/.well-known/oauth-protected-resource",
        ),
        (
            "a lone slash",
            "https://h.test/",
            "https://h.test/.well-known/oauth-protected-resource",
        ),
        (
            "a slash at the end",
            "https://h.test/a/",
            "https://h.test/.well-known/oauth-protected-resource/a/",
        ),
        (
            "a port",
            "https://h.test:8443/a",
            "https://h.test:8443/.well-known/oauth-protected-resource/a",
        ),
        (
            "a query",
            "https://h.test/a?t=1",
            "https://h.test/.well-known/oauth-protected-resource/a?t=1",
        ),
        (
            "a query alone",
            "https://h.test/?t=1",
            "https://h.test/.well-known/oauth-protected-resource?t=1",
        ),
        (
            "loopback",
            "http://127.0.0.1:3000/mcp",
            "http://127.0.0.1:3000/.well-known/oauth-protected-resource/mcp",
        ),
    ] {
        let metadata = ResourceMetadata::new(resource).unwrap();
        assert_eq!(metadata.url(), address, "{name}");
        assert_eq!(metadata.resource(), resource, "{name}");
        assert!(
            address.ends_with(metadata.path()) && metadata.path().starts_with('/'),
            "{name}"
        );
        let document: Value = serde_json::from_str(&metadata.to_json()).unwrap();
        assert_eq!(document["resource"], resource, "{name}");
    }
}

#[test]
fn an_identifier_with_several_spellings_is_rejected() {
    for resource in [
        "",
        "api",
        "api://orders",
        "http://api.example.test",
        "https://h.test/a#b",
        "https://h.test/#",
        "https://user@h.test/",
        "https://H.test/a",
        "https://h.test:443/a",
        "https://h.test/a/../b",
        "https://h.test/a b",
        "https:h.test/a",
        "https://h.test\\a",
        "https://h.test/a\"b",
        "https://h.test/?a='b'",
        "https://h.test/é",
        " https://h.test/a",
        "https://h.test/a\r\nx: y",
    ] {
        let refused = ResourceMetadata::new(resource);
        assert!(
            matches!(refused, Err(ConfigError::Url { .. })),
            "{resource:?}"
        );
    }
}

#[test]
fn the_document_has_the_configured_members_and_no_empty_ones() {
    let server = server();
    let bare = ResourceMetadata::new(AUDIENCE).unwrap();
    let expected = json!({ "resource": AUDIENCE, "bearer_methods_supported": ["header"] });
    assert_eq!(
        serde_json::from_str::<Value>(&bare.to_json()).unwrap(),
        expected,
    );

    let empty = bare
        .clone()
        .with_scopes("")
        .unwrap()
        .with_bearer_methods([])
        .with_dpop_algorithms([])
        .with_name("");
    let expected = json!({ "resource": AUDIENCE });
    assert_eq!(
        serde_json::from_str::<Value>(&empty.to_json()).unwrap(),
        expected,
    );

    let full = bare
        .add_authorization_server(&server.authorization_server())
        .add_authorization_server(&server.authorization_server())
        .with_scopes("read write")
        .unwrap()
        .with_bearer_methods([BearerMethod::Header, BearerMethod::Body])
        .with_dpop_algorithms([Algorithm::Es256, Algorithm::EdDsa])
        .with_dpop_required()
        .with_mtls()
        .with_name("Orders")
        .with_documentation("https://docs.example.test/")
        .unwrap()
        .with_policy("https://docs.example.test/policy")
        .unwrap()
        .with_terms_of_service("https://docs.example.test/terms")
        .unwrap()
        .with_member("resource_name#de", "Bestellungen")
        .unwrap();
    let expected = json!({
        "resource": AUDIENCE,
        "authorization_servers": [api::ISSUER],
        "scopes_supported": ["read", "write"],
        "bearer_methods_supported": ["header", "body"],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA"],
        "dpop_bound_access_tokens_required": true,
        "tls_client_certificate_bound_access_tokens": true,
        "resource_name": "Orders",
        "resource_name#de": "Bestellungen",
        "resource_documentation": "https://docs.example.test/",
        "resource_policy_uri": "https://docs.example.test/policy",
        "resource_tos_uri": "https://docs.example.test/terms",
    });
    assert_eq!(
        serde_json::from_str::<Value>(&full.to_json()).unwrap(),
        expected
    );
}

#[test]
fn empty_and_contradictory_members_are_rejected() {
    let metadata = || ResourceMetadata::new(AUDIENCE).unwrap();
    for (name, value) in [
        ("resource", json!("https://evil.test")),
        ("authorization_servers", json!(["https://evil.test"])),
        ("scopes_supported", json!(["a"])),
        ("", json!("x")),
        ("x", json!(null)),
        ("x", json!("")),
        ("x", json!([])),
        ("x", json!({})),
        ("x", json!(false)),
    ] {
        assert!(
            metadata().with_member(name, value.clone()).is_err(),
            "{name}: {value}"
        );
    }
    assert!(metadata().with_scopes("openid offline_access").is_err());
    assert!(metadata().with_scopes("a\"b").is_err());
    assert!(
        metadata()
            .with_documentation("javascript:alert(1)")
            .is_err()
    );
}

#[tokio::test]
async fn the_document_is_served_without_authentication() {
    let server = server();
    let app = published(&server);

    let got = ask(&app, request(Method::GET, PATH)).await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(got.headers["content-type"], "application/json");
    assert_eq!(got.headers["cache-control"], "public, max-age=3600");
    assert_eq!(got.headers["access-control-allow-origin"], "*");
    assert_eq!(got.headers["content-length"], got.body.len().to_string());

    let head = ask(&app, request(Method::HEAD, PATH)).await;
    assert_eq!((head.status, &*head.body), (StatusCode::OK, ""));
    assert_eq!(
        head.headers["content-length"],
        got.headers["content-length"]
    );

    let mut preflight = request(Method::OPTIONS, PATH);
    let headers = preflight.headers_mut();
    headers.insert("origin", "https://inspector.test".parse().unwrap());
    headers.insert("access-control-request-method", "GET".parse().unwrap());
    headers.insert(
        "access-control-request-headers",
        "mcp-protocol-version".parse().unwrap(),
    );
    let preflight = ask(&app, preflight).await;
    assert_eq!(preflight.status, StatusCode::NO_CONTENT);
    assert_eq!(preflight.headers["access-control-allow-origin"], "*");
    assert_eq!(
        preflight.headers["access-control-allow-methods"],
        "GET, HEAD"
    );
    assert_eq!(preflight.headers["access-control-allow-headers"], "*");
}

#[tokio::test]
async fn other_requests_are_forwarded_to_the_inner_service() {
    let server = server();
    let app = published(&server);
    for (method, path) in [
        (Method::POST, PATH.to_owned()),
        (Method::OPTIONS, PATH.to_owned()),
        (Method::GET, format!("{PATH}?x=1")),
        (Method::GET, format!("{PATH}?")),
        (Method::GET, format!("{PATH}/")),
        (Method::GET, format!("{PATH}/other")),
        (Method::GET, format!("{PATH}x")),
        (Method::GET, format!("/a{PATH}")),
        (
            Method::GET,
            "/.well-known/oauth-protected%2Dresource".to_owned(),
        ),
        (Method::GET, "/".to_owned()),
    ] {
        let answer = ask(&app, request(method.clone(), &path)).await;
        assert_eq!(answer.outcome(), Outcome::NoCredentials, "{method} {path}");
    }
}

#[tokio::test]
async fn each_resource_of_a_host_has_its_own_document() {
    let server = server();
    let of = |path: &str| metadata(&server, &format!("{AUDIENCE}{path}"));
    let layer = ResourceMetadataLayer::new(of("/a"))
        .add_resource(of("/a/b"))
        .add_resource(of("/t?tenant=1"))
        .with_max_age(Duration::from_secs(60));
    let inner = Router::new().fallback(any(async || StatusCode::IM_A_TEAPOT));
    let app = inner.clone().layer(layer.clone());
    for (path, resource) in [
        ("/a", "/a"),
        ("/a/b", "/a/b"),
        ("/t?tenant=1", "/t?tenant=1"),
    ] {
        let document = get_document(&app, &format!("{PATH}{path}")).await;
        assert_eq!(document["resource"], format!("{AUDIENCE}{resource}"));
    }
    for path in ["", "/t", "/t?tenant=2", "/b"] {
        let answer = ask(&app, request(Method::GET, &format!("{PATH}{path}"))).await;
        assert_eq!(answer.status, StatusCode::IM_A_TEAPOT, "{path}");
    }

    let app = inner.clone().layer(layer.with_root_fallback());
    assert_eq!(
        get_document(&app, PATH).await["resource"],
        format!("{AUDIENCE}/a")
    );
    let first = || ResourceMetadataLayer::new(of("/a"));
    for (name, own) in [
        ("after", first().add_resource(of("")).with_root_fallback()),
        ("before", first().with_root_fallback().add_resource(of(""))),
        (
            "replaced",
            first().with_root_fallback().add_resource(of("/a")),
        ),
    ] {
        let app = inner.clone().layer(own);
        let expected = match name {
            "replaced" => format!("{AUDIENCE}/a"),
            _ => AUDIENCE.to_owned(),
        };
        let document = get_document(&app, PATH).await;
        assert_eq!(document["resource"], expected, "{name}");
    }
}

/// Responses with challenges, one of each kind.
async fn refusals(app: &Router, server: &TestServer) -> [Answer; 4] {
    let expired = good(server).with_expires_in(-600).sign();
    let two = Request::get("/").header(AUTHORIZATION, "Bearer a b");
    [
        ask(app, request(Method::GET, "/")).await,
        present_at(app, "/", &expired).await,
        ask(app, two.body(Body::empty()).unwrap()).await,
        present_at(app, "/read", &good(server).with_scope("other").sign()).await,
    ]
}

#[tokio::test]
async fn every_challenge_contains_the_url_of_the_document() {
    let server = server();
    let app = published(&server);
    let statuses = [401, 401, 400, 403];
    for (answer, status) in refusals(&app, &server).await.iter().zip(statuses) {
        assert_eq!(answer.status, status);
        assert_eq!(
            answer.challenge().parameter("resource_metadata"),
            Some(ADDRESS)
        );
    }
    let plain = ask(&api(layer(&server)), request(Method::GET, "/")).await;
    assert_eq!(plain.challenge().parameter("resource_metadata"), None);
}

#[tokio::test]
async fn a_401_has_the_scope_hint_and_a_403_the_required_scopes() {
    let server = server();
    let bearer = layer(&server).with_scope_hint("read list").unwrap();
    let [anonymous, expired, unreadable, narrow] = refusals(&api(bearer), &server).await;
    for answer in [anonymous, expired] {
        assert_eq!(answer.challenge().parameter("scope"), Some("read list"));
    }
    assert_eq!(unreadable.challenge().parameter("scope"), None);
    assert_eq!(narrow.challenge().parameter("scope"), Some("read"));
    for bad in ["openid offline_access", "a\"b"] {
        assert!(layer(&server).with_scope_hint(bad).is_err(), "{bad}");
    }
}

/// RFC 9728 §3: a caller chooses `Host`, so it must not select the document.
#[tokio::test]
async fn the_url_of_the_document_does_not_depend_on_the_request() {
    let server = server();
    let app = published(&server);
    let ours = get_document(&app, PATH).await;
    for (name, value) in [
        (HOST.as_str(), "evil.test"),
        ("x-forwarded-host", "evil.test"),
        ("forwarded", "host=evil.test;proto=http"),
    ] {
        let asks = |path| {
            Request::get(path)
                .header(name, value)
                .body(Body::empty())
                .unwrap()
        };
        let refused = ask(&app, asks("/")).await;
        assert_eq!(
            refused.challenge().parameter("resource_metadata"),
            Some(ADDRESS),
            "C15, {name}"
        );
        let document = ask(&app, asks(PATH)).await;
        assert_eq!(
            serde_json::from_str::<Value>(&document.body).unwrap(),
            ours,
            "{name}"
        );
    }
    let absolute = ask(&app, request(Method::GET, "http://evil.test/")).await;
    assert_eq!(
        absolute.challenge().parameter("resource_metadata"),
        Some(ADDRESS)
    );
}

/// With the layers in the documented order.
#[tokio::test]
async fn the_document_is_served_to_requests_with_an_invalid_token() {
    let server = server();
    let app = published(&server);
    let answer = present_at(&app, PATH, "stale").await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = present_at(&app, "/", "stale").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn a_document_that_contradicts_the_layer_is_rejected() {
    let server = server();
    let fits = |layer: BearerLayer, metadata| {
        let layer = layer.with_resource_metadata(&metadata);
        layer.and_then(|layer| layer.check()).is_ok()
    };
    let of = |resource| metadata(&server, resource);
    assert!(fits(layer(&server), of(AUDIENCE)));
    assert!(fits(layer(&server), of("https://api.example.test/")));
    for resource in ["https://api.example.test/v1", "https://other.example.test"] {
        let refused = layer(&server).with_resource_metadata(&of(resource));
        assert!(
            matches!(refused, Err(ConfigError::Audience { .. })),
            "{resource}"
        );
    }
    let authorization_server = server.authorization_server();
    let many = BearerLayer::jwt(&authorization_server, ["api", AUDIENCE]).unwrap();
    assert!(fits(many, of(AUDIENCE)));
    let unchecked = BearerLayer::jwt(&authorization_server, Audience::Unchecked).unwrap();
    assert!(fits(unchecked, of(AUDIENCE)), "nothing is known");

    assert!(!fits(
        layer(&server),
        ResourceMetadata::new(AUDIENCE).unwrap()
    ));
    assert!(!fits(layer(&server), of(AUDIENCE).with_mtls()));
    assert!(fits(
        layer(&server).with_mtls(Mtls::from_tls()),
        of(AUDIENCE).with_mtls()
    ));
    assert!(!fits(layer(&server), of(AUDIENCE).with_dpop_required()));
    let es256 = || of(AUDIENCE).with_dpop_algorithms([Algorithm::Es256]);
    assert!(!fits(layer(&server), es256()));
    let dpop = || Dpop::new(AUDIENCE).unwrap();
    assert!(fits(layer(&server).with_dpop(dpop()), es256()));
    let other = dpop().with_algorithms([Algorithm::Ps256]).unwrap();
    assert!(!fits(layer(&server).with_dpop(other), es256()));
    let optional = layer(&server).with_dpop(dpop());
    assert!(!fits(optional, es256().with_dpop_required()));
    let required = layer(&server).with_dpop(dpop().required());
    assert!(fits(required, es256().with_dpop_required()));
}

/// RFC 9728 §3.3: the client validates that the resource identifier matches the URL that it requested.
#[tokio::test]
async fn a_strict_client_discovers_the_authorization_server() {
    let server = server();
    let url = "http://127.0.0.1:3000/mcp";
    let app = mcp::application(&server.authorization_server(), "http://127.0.0.1:3000").unwrap();
    let refused = ask(&app, request(Method::POST, "/mcp")).await;
    assert_eq!(refused.outcome(), Outcome::NoCredentials);
    let challenge = refused.challenge();
    assert_eq!(challenge.parameter("scope"), Some("notes:read"));
    let address = challenge.parameter("resource_metadata").unwrap();
    let path = address.strip_prefix("http://127.0.0.1:3000").unwrap();
    let document = get_document(&app, path).await;
    assert_eq!(document["resource"], url, "RFC 9728, section 3.3");
    assert_eq!(document["authorization_servers"], json!([server.issuer()]));
}

async fn call(app: &Router, token: &str, method: &str, params: Value) -> Answer {
    let mut params = params;
    params["_meta"] = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
    let name = params["name"].as_str().unwrap_or("-").to_owned();
    let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
    let request = Request::post("/mcp")
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method)
        .header("mcp-name", name);
    ask(app, request.body(message.to_string().into()).unwrap()).await
}

#[tokio::test]
async fn an_mcp_server_requires_a_scope_for_each_tool() {
    let server = server();
    let app = mcp::application(&server.authorization_server(), "http://127.0.0.1:3000").unwrap();
    let token = |scope| {
        let mint = server
            .access_token()
            .with_audience("http://127.0.0.1:3000/mcp");
        mint.with_subject("alice").with_scope(scope).sign()
    };
    let (reads, writes) = (token("notes:read"), token("notes:write"));

    let tools = call(&app, &reads, "tools/list", json!({})).await;
    let tools: Value = serde_json::from_str(&tools.body).unwrap();
    assert_eq!(tools["result"]["tools"][1]["name"], "add_note");
    let discovered = call(&app, &reads, "server/discover", json!({})).await;
    let discovered: Value = serde_json::from_str(&discovered.body).unwrap();
    assert_eq!(
        discovered["result"]["supportedVersions"],
        json!(["2026-07-28"])
    );

    let add = json!({ "name": "add_note", "arguments": { "text": "Call Bob" } });
    let refused = call(&app, &reads, "tools/call", add.clone()).await;
    assert_eq!(refused.outcome(), Outcome::InsufficientScope);
    let challenge = refused.challenge();
    assert_eq!(challenge.parameter("scope"), Some("notes:write"));
    assert!(challenge.parameter("resource_metadata").is_some());

    let added = call(&app, &writes, "tools/call", add).await;
    let added: Value = serde_json::from_str(&added.body).unwrap();
    assert_eq!(added["result"]["content"][0]["text"], "noted for alice");
    let read = json!({ "name": "read_notes", "arguments": {} });
    let read = call(&app, &writes, "tools/call", read).await;
    let read: Value = serde_json::from_str(&read.body).unwrap();
    assert_eq!(read["result"]["content"][0]["text"], "Buy milk\nCall Bob");
    let unknown = call(&app, &writes, "tools/call", json!({ "name": "../mcp" })).await;
    assert!(unknown.body.contains("-32602"));

    let foreign = good(&server).with_scope("notes:write").sign();
    let refused = call(&app, &foreign, "tools/list", json!({})).await;
    assert_eq!(
        refused.status,
        StatusCode::UNAUTHORIZED,
        "a token for another API"
    );
}
