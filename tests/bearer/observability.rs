//! Log events, metrics and the refusal hook match their documentation, and contain no secrets and no personal data.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use tower_oauth::bearer::{MethodScopesLayer, RefusedRequest};
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{DpopKey, Endpoint, Fault, TestClient, TestServer, TokenMint};
use tower_oauth::token::{Dpop, IntrospectionVerifier, JwtVerifier, TokenProfile};
use tower_oauth::{Algorithm, BearerLayer, Client, ScopeLayer, VerifiedToken};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use crate::support::api::{self, api, ask, good, layer, present, present_at, server};
use crate::support::dpop::{self, show};
use crate::support::logs::Logs;

/// The rows of the tables under a heading of `docs/observability.md`, as cells without backticks. The first cell is the
/// heading of the subsection.
fn documented(heading: &str) -> Vec<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/observability.md")).unwrap();
    let section = text.split(&format!("\n## {heading}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let mut subsection = "";
    let mut rows = Vec::new();
    for line in section.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            subsection = heading;
        } else if line.starts_with("| `") {
            let cells = line.trim_matches(['|', ' ']).split(" | ");
            let cells = cells.map(|cell| cell.replace('`', "").trim().to_owned());
            rows.push(
                [subsection.replace('`', "")]
                    .into_iter()
                    .chain(cells)
                    .collect(),
            );
        }
    }
    rows
}

fn words(cell: &str) -> BTreeSet<String> {
    let words = cell.split(", ").filter(|word| *word != "none");
    words.map(str::to_owned).collect()
}

/// Sends credentials that cause each result of the layers, and returns them.
async fn every_outcome(server: &TestServer) -> Vec<String> {
    let read = good(server).with_scope("read");
    let secret = |mint: TokenMint| mint.with_claim("email", "alice@example.test").sign();
    let tokens = vec![
        secret(read.clone()),
        secret(good(server)),
        secret(good(server).with_expires_in(-99)),
        secret(good(server).with_audience("https://other.example.test")),
        secret(good(server).with_header("kid", "unheard-of")),
        secret(good(server).with_header("typ", "JWT").with_scope("x")),
        secret(good(server).with_claim("exp", "soon")),
        format!("{}x", secret(good(server))),
        "not-a-token".to_owned(),
    ];
    let api = api(layer(server).optional());
    for token in &tokens {
        present_at(&api, "/read", token).await;
        present(&api, token).await;
    }
    for line in ["Bearer", "Bearer c2VjcmV0 c2VjcmV0", "Basic c2VjcmV0"] {
        let request = Request::get("/?access_token=c2VjcmV0").header(AUTHORIZATION, line);
        ask(&api, request.body(Body::empty()).unwrap()).await;
    }
    let unguarded = Router::new().route("/", get(async |_: VerifiedToken| {}));
    ask(&unguarded, Request::new(Body::empty())).await;
    tokens
}

/// The same with opaque tokens and proofs of possession. Returns all secrets.
async fn every_other_secret(server: &TestServer) -> Vec<String> {
    let opaque = good(server).with_claim("email", "alice@example.test");
    let opaque = [opaque.opaque(), opaque.with_expires_in(-99).opaque()];
    let client = Client::confidential("api", "the-secret-of-the-api");
    let handle = server.authorization_server();
    let verifier = IntrospectionVerifier::new(&handle, client, api::AUDIENCE).unwrap();
    let api = api(BearerLayer::new(verifier));
    for token in &opaque {
        present(&api, token).await;
    }
    for status in [401, 500] {
        server.fail(Endpoint::Introspection, Fault::status(status));
        present(&api, &format!("{}{status}", opaque[0])).await;
    }
    server.clear_faults(Endpoint::Introspection);

    let key = DpopKey::new(Algorithm::Es256).with_clock(server.clock());
    let token = good(server).bound_to(&key).sign();
    let proof = |method: &str| {
        let proof = key.proof(method, &format!("{}/", api::AUDIENCE));
        proof.with_access_token(&token).sign()
    };
    let proofs = [proof("GET"), proof("POST")];
    let dpop = Dpop::new(api::AUDIENCE).unwrap();
    let api = api::api(layer(server).with_dpop(dpop.with_clock(server.clock())));
    for proof in proofs.iter().chain([&proofs[0]]) {
        let request = Request::get("/").header(AUTHORIZATION, format!("DPoP {token}"));
        let request = request.header("dpop", proof).body(Body::empty());
        ask(&api, request.unwrap()).await;
    }
    opaque.into_iter().chain(proofs).chain([token]).collect()
}

// Log events

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct LogEvent {
    name: &'static str,
    target: &'static str,
    level: String,
    fields: BTreeSet<String>,
}

#[derive(Clone, Default)]
struct LogEvents(Arc<Mutex<BTreeSet<LogEvent>>>);

impl<S: Subscriber> tracing_subscriber::Layer<S> for LogEvents {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        struct Names(BTreeSet<String>);
        impl Visit for Names {
            fn record_debug(&mut self, field: &Field, _: &dyn std::fmt::Debug) {
                self.0.insert(field.name().to_owned());
            }
        }
        let mut names = Names(BTreeSet::new());
        event.record(&mut names);
        names.0.remove("message");
        let metadata = event.metadata();
        if metadata.target().starts_with("tower_oauth") {
            self.0.lock().unwrap().insert(LogEvent {
                name: metadata.name(),
                target: metadata.target(),
                level: metadata.level().to_string().to_lowercase(),
                fields: names.0,
            });
        }
    }
}

#[tokio::test]
async fn log_events_have_the_documented_names_targets_levels_and_fields() {
    let server = server();
    let events = LogEvents::default();
    let subscriber = tracing_subscriber::registry().with(events.clone());
    let guard = tracing::subscriber::set_default(subscriber);
    every_outcome(&server).await;
    every_other_secret(&server).await;
    let layer = layer(&server).with_claims::<u8>();
    present(
        &Router::new().route("/", get(|| async {})).layer(layer),
        &good(&server).sign(),
    )
    .await;
    let other = good_api_of_another_server_that_is_down().await;
    assert_eq!(other, StatusCode::SERVICE_UNAVAILABLE);
    drop(guard);

    let rows = documented("Log events");
    assert!(rows.len() > 40, "the tables were not found");
    let seen = events.0.lock().unwrap().clone();
    let mut names = BTreeSet::new();
    for event in &seen {
        let row = rows.iter().find(|row| row[1] == event.name);
        let row = row.unwrap_or_else(|| panic!("{event:?} is not in a table"));
        let targets: Vec<&str> = row[0].split(' ').collect();
        assert!(targets.contains(&event.target), "{event:?}: {}", row[0]);
        assert_eq!(row[2], event.level, "{event:?}");
        assert_eq!(words(&row[3]), event.fields, "{event:?}");
        names.insert(event.name);
    }
    for name in [
        "request_rejected",
        "introspection_credentials_rejected",
        "layer_misconfigured",
        "claims_not_deserialized",
        "key_set_fetched",
        "key_fetch_failed",
    ] {
        assert!(names.contains(name), "{name} was never logged: {names:?}");
    }
}

async fn good_api_of_another_server_that_is_down() -> StatusCode {
    let server = server();
    server.fail(Endpoint::KeySet, Fault::status(500));
    server.fail(Endpoint::Metadata, Fault::status(500));
    present(&api(layer(&server)), &good(&server).sign())
        .await
        .status
}

#[tokio::test]
async fn tokens_secrets_and_personal_data_are_not_logged() {
    let logs = Logs::default();
    let recording = logs.record();
    let server = server().add_client(TestClient::confidential("api", "the-secret-of-the-api"));
    let mut tokens = every_outcome(&server).await;
    tokens.extend(every_other_secret(&server).await);
    drop(recording);
    let text = logs.text();
    for event in ["rejected a request", "key set", "introspection"] {
        assert!(text.contains(event), "{event}: {text}");
    }
    for token in &tokens {
        for part in token.split('.').filter(|part| part.len() > 8) {
            assert!(!text.contains(part), "{part} was logged");
        }
    }
    for word in [
        "alice",
        "c2VjcmV0",
        "access_token=",
        "unheard-of",
        "the-secret-of-the-api",
    ] {
        assert!(!text.contains(word), "{word} was logged");
    }
}

// Metrics

/// A metric, its label and the label's value.
type Seen = BTreeMap<(String, String, String), u64>;

fn snapshot(snapshotter: &Snapshotter) -> Seen {
    let mut seen = Seen::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let (kind, key) = key.into_parts();
        let labels: Vec<_> = key.labels().collect();
        assert!(labels.len() <= 1);
        let (label, text) = labels
            .first()
            .map_or(("", ""), |label| (label.key(), label.value()));
        let count = match (kind, value) {
            (MetricKind::Counter, DebugValue::Counter(count)) => count,
            (MetricKind::Histogram, DebugValue::Histogram(values)) => {
                assert!(values.iter().all(|value| (0.0..60.0).contains(&value.0)));
                u64::try_from(values.len()).unwrap()
            }
            other => panic!("{other:?}"),
        };
        seen.insert(
            (key.name().to_owned(), label.to_owned(), text.to_owned()),
            count,
        );
    }
    seen
}

#[tokio::test]
async fn metrics_count_each_request_once_under_the_documented_labels() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let guard = metrics::set_default_local_recorder(&recorder);
    let server = server();
    let api = api(layer(&server).optional());
    let token = good(&server).sign();
    for _ in 0..3 {
        assert_eq!(present(&api, &token).await.status, 200);
    }
    assert_eq!(present_at(&api, "/read", &token).await.status, 403);
    assert_eq!(present(&api, "junk").await.status, 401);
    let anonymous = Request::get("/maybe").body(Body::empty()).unwrap();
    assert_eq!(ask(&api, anonymous).await.status, 200);
    assert_eq!(good_api_of_another_server_that_is_down().await, 503);
    drop(guard);

    let seen = snapshot(&snapshotter);
    let count = |name: &str, label: &str, value: &str| {
        let key = (
            format!("tower_oauth_{name}"),
            label.to_owned(),
            value.to_owned(),
        );
        seen.get(&key).copied().unwrap_or_default()
    };
    for (name, label, value, expected) in [
        ("requests_total", "outcome", "accepted", 4),
        ("requests_total", "outcome", "anonymous", 1),
        ("requests_total", "outcome", "refused", 2),
        ("refusals_total", "reason", "insufficient_scope", 1),
        ("refusals_total", "reason", "invalid_token", 1),
        ("refusals_total", "reason", "unavailable", 1),
        ("key_fetches_total", "outcome", "success", 1),
        ("key_fetches_total", "outcome", "failure", 1),
    ] {
        assert_eq!(
            count(name, label, value),
            expected,
            "{name} {value}: {seen:?}"
        );
    }
    let accepted = ["verified", "cached"].map(|source| count("tokens_total", "source", source));
    assert_eq!(accepted.iter().sum::<u64>(), 4, "{seen:?}");
    let documented = documented_metrics();
    for key in seen.keys() {
        assert!(documented.contains(key), "{key:?} is not in the table");
    }
}

#[tokio::test]
async fn introspections_are_counted_by_outcome_and_their_tokens_by_source() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let guard = metrics::set_default_local_recorder(&recorder);
    let server = server().add_client(TestClient::confidential("api", "secret"));
    let verifier = IntrospectionVerifier::new(
        &server.authorization_server(),
        Client::confidential("api", "secret"),
        api::AUDIENCE,
    );
    let api = api(BearerLayer::new(verifier.unwrap()));
    let token = good(&server).opaque();
    for _ in 0..3 {
        assert_eq!(present(&api, &token).await.status, 200);
    }
    assert_eq!(present(&api, "unheard-of").await.status, 401);
    server.fail(Endpoint::Introspection, Fault::status(500));
    assert_eq!(present(&api, "never-asked").await.status, 503);
    drop(guard);

    let seen = snapshot(&snapshotter);
    let documented = documented_metrics();
    for key in seen.keys() {
        assert!(documented.contains(key), "{key:?} is not in the table");
    }
    for (name, label, value, expected) in [
        ("introspections_total", "outcome", "active", 1),
        ("introspections_total", "outcome", "inactive", 1),
        ("introspections_total", "outcome", "failure", 1),
        ("introspection_seconds", "", "", 3),
        ("tokens_total", "source", "introspected", 1),
        ("tokens_total", "source", "introspection_cached", 2),
        ("requests_total", "outcome", "accepted", 3),
        ("refusals_total", "reason", "unavailable", 1),
    ] {
        let key = (
            format!("tower_oauth_{name}"),
            label.to_owned(),
            value.to_owned(),
        );
        assert_eq!(seen.get(&key), Some(&expected), "{key:?}: {seen:?}");
    }
}

/// Every documented metric with each value of its label.
fn documented_metrics() -> BTreeSet<(String, String, String)> {
    let mut all = BTreeSet::new();
    for row in documented("Metrics") {
        let [_, name, kind, label, values, _] = row.try_into().unwrap();
        match kind.as_str() {
            "counter" => {
                for value in words(&values) {
                    all.insert((name.clone(), label.clone(), value));
                }
            }
            "histogram" => {
                assert_eq!((label.as_str(), values.as_str()), ("none", "none"));
                all.insert((name, String::new(), String::new()));
            }
            other => panic!("{other}"),
        }
    }
    all
}

#[test]
fn the_documented_metrics_are_those_of_the_source() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("src/telemetry.rs")).unwrap();
    let mut used = BTreeSet::new();
    for block in text.split("\ncounted! {").skip(1) {
        let block = block.split("\n}").next().unwrap();
        let quoted: Vec<&str> = block.split('"').skip(1).step_by(2).collect();
        let [name, label, values @ ..] = quoted.as_slice() else {
            panic!("{block}");
        };
        for value in values {
            used.insert(((*name).to_owned(), (*label).to_owned(), (*value).to_owned()));
        }
    }
    // Counted by constants from other files.
    for call in text.split("counter!(\"").skip(1) {
        let quoted: Vec<&str> = call.split('"').collect();
        used.insert((
            quoted[0].to_owned(),
            quoted[2].to_owned(),
            "codes".to_owned(),
        ));
    }
    for call in text.split("histogram!(\"").skip(1) {
        let name = call.split('"').next().unwrap();
        used.insert((name.to_owned(), String::new(), String::new()));
    }
    assert_eq!(used, documented_metrics());
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("telemetry.rs") {
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains("metrics::"), "{path:?} defines a metric");
            }
        }
    }
}

// The hook

#[tokio::test]
async fn the_hook_is_called_once_for_each_rejection_and_receives_no_credentials() {
    let server = server();
    let calls: Arc<Mutex<Vec<(u16, String)>>> = Arc::default();
    let hook = {
        let calls = Arc::clone(&calls);
        move |request: &RefusedRequest<'_>| {
            let debug = format!("{request:?} {}", request.refusal());
            assert!(!debug.contains("secret"), "{debug}");
            let line = format!("{} {}", request.method(), request.path());
            let status = request.status().as_u16();
            calls.lock().unwrap().push((status, line));
        }
    };
    let methods = MethodScopesLayer::new()
        .add("/a/b", ScopeLayer::all("write").unwrap())
        .unwrap();
    let whoami = async |_: VerifiedToken| {};
    let api = Router::new()
        .route("/", get(whoami))
        .route("/a/b", get(whoami).layer(methods.clone()))
        .route("/a/c", get(whoami).layer(methods))
        .route("/read", get(whoami).layer(ScopeLayer::all("read").unwrap()))
        .layer(layer(&server).optional().on_refusal(hook));
    let token = good(&server).sign();
    // The first request waits for the key set, the others do not.
    let unsigned = format!("{}x", &token[..token.len() - 1]);
    for (path, line, expected) in [
        (
            "/?secret=1",
            Some(format!("Bearer {unsigned}")),
            Some((401, "GET /")),
        ),
        ("/?secret=1", Some(format!("Bearer {token}")), None),
        (
            "/?secret=1",
            Some("Bearer secret".to_owned()),
            Some((401, "GET /")),
        ),
        ("/", Some("Bearer a b".to_owned()), Some((400, "GET /"))),
        // Rejected by the extractor and by inner layers.
        ("/", None, Some((401, "GET /"))),
        ("/read", None, Some((401, "GET /read"))),
        (
            "/read",
            Some(format!("Bearer {token}")),
            Some((403, "GET /read")),
        ),
        (
            "/a/b",
            Some(format!("Bearer {token}")),
            Some((403, "GET /a/b")),
        ),
        (
            "/a/c",
            Some(format!("Bearer {token}")),
            Some((403, "GET /a/c")),
        ),
    ] {
        let mut request = Request::get(path).body(Body::empty()).unwrap();
        if let Some(line) = line {
            request
                .headers_mut()
                .insert(AUTHORIZATION, line.parse().unwrap());
        }
        let status = ask(&api, request).await.status;
        let calls = std::mem::take(&mut *calls.lock().unwrap());
        let calls = calls.iter().map(|(status, line)| (*status, line.as_str()));
        assert_eq!(Vec::from_iter(calls), Vec::from_iter(expected), "{path}");
        assert_eq!(
            expected.map_or(200, |(status, _)| status),
            status.as_u16(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_advice_on_another_token_profile_is_logged_once_and_names_the_profile() {
    let server = server();
    let api = api(layer(&server));
    let token = good(&server)
        .with_header("typ", "JWT")
        .with_claim("client_id", "c")
        .with_scope("x")
        .sign();
    assert_eq!(present(&api, &good(&server).sign()).await.status, 200);
    let logs = Logs::default();
    let recording = logs.record_only("valid_token_rejected");
    for _ in 0..3 {
        assert_eq!(present(&api, &token).await.status, 401);
    }
    drop(recording);
    let text = logs.text();
    assert_eq!(
        text.matches("with_profile(TokenProfile::Generic)").count(),
        1,
        "{text}"
    );
    let verifier = JwtVerifier::new(&server.authorization_server(), api::AUDIENCE).unwrap();
    let layer = BearerLayer::new(verifier.with_profile(TokenProfile::Generic));
    assert_eq!(present(&api::api(layer), &token).await.status, 200);
}

#[tokio::test]
async fn store_failures_are_counted_by_reason() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let guard = metrics::set_default_local_recorder(&recorder);
    let server = server();
    let small = MemoryStore::new().with_max_entries(1).unwrap();
    let small = small.with_clock(server.clock());
    let api = api(layer(&server).with_dpop(dpop::dpop(&server).with_store(small)));
    let client = dpop::Client::new(&server);
    let token = client.token();
    for status in [200, 503, 503] {
        let proof = client.proof("/", &token).sign();
        assert_eq!(show(&api, &token, &proof).await.status, status);
    }
    drop(guard);
    let seen = snapshot(&snapshotter);
    let key = ["tower_oauth_store_failures_total", "reason", "full"].map(str::to_owned);
    let key: (String, String, String) = key.into();
    assert_eq!(seen.get(&key), Some(&2), "{seen:?}");
    assert!(documented_metrics().contains(&key));
}
