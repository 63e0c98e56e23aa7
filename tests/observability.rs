//! What an operator sees: log lines, metrics and the hook for refusals, each as it is documented, and
//! nothing in them that belongs to a caller.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    unreachable_pub
)]

mod support;

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
use support::dpop::{self, show};
use support::logs::Logs;
use support::{api, ask, good, layer, present, present_at, server};
use tower_oauth::bearer::{MethodScopesLayer, RefusedRequest};
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{DpopKey, Endpoint, Fault, TestClient, TestServer, TokenMint};
use tower_oauth::token::{Dpop, IntrospectionVerifier, JwtVerifier, TokenProfile};
use tower_oauth::{Algorithm, BearerLayer, Client, ScopeLayer, VerifiedToken};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};

/// The rows of a table in the documentation of `bearer`, each cell without its quotes.
fn documented(heading: &str) -> Vec<Vec<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("src/bearer/mod.rs")).unwrap();
    let section = text.split(&format!("//! # {heading}\n")).nth(1).unwrap();
    let section = section.split("//! # ").next().unwrap();
    let rows = section
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"));
    rows.map(|row| {
        let cells = row.trim_end_matches(" |").split(" | ");
        cells
            .map(|cell| cell.replace('`', "").trim().to_owned())
            .collect()
    })
    .collect()
}

fn words(cell: &str) -> BTreeSet<String> {
    let words = cell.split(", ").filter(|word| *word != "none");
    words.map(str::to_owned).collect()
}

/// Every `.rs` file of the rooms that serve an API.
fn sources() -> Vec<(String, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.to_str().unwrap().to_owned();
            if path.is_dir() {
                let elsewhere = ["/login", "/flow", "/session", "/relay", "/testing"];
                if !elsewhere.iter().any(|one| name.ends_with(one)) {
                    folders.push(path);
                }
            } else {
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(found.len() > 40);
    found
}

/// Presents something of each kind that the layers tell apart, and gives all that was presented.
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

/// The same with opaque tokens and with proofs of possession; what there is to keep secret comes back.
async fn every_other_secret(server: &TestServer) -> Vec<String> {
    let opaque = good(server).with_claim("email", "alice@example.test");
    let opaque = [opaque.opaque(), opaque.with_expires_in(-99).opaque()];
    let client = Client::confidential("api", "the-secret-of-the-api");
    let handle = server.authorization_server();
    let verifier = IntrospectionVerifier::new(&handle, client, support::AUDIENCE).unwrap();
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
        let proof = key.proof(method, &format!("{}/", support::AUDIENCE));
        proof.with_access_token(&token).sign()
    };
    let proofs = [proof("GET"), proof("POST")];
    let dpop = Dpop::new(support::AUDIENCE).unwrap();
    let api = support::api(layer(server).with_dpop(dpop.with_clock(server.clock())));
    for proof in proofs.iter().chain([&proofs[0]]) {
        let request = Request::get("/").header(AUTHORIZATION, format!("DPoP {token}"));
        let request = request.header("dpop", proof).body(Body::empty());
        ask(&api, request.unwrap()).await;
    }
    opaque.into_iter().chain(proofs).chain([token]).collect()
}

// Log lines

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Line {
    name: &'static str,
    target: &'static str,
    level: String,
    fields: BTreeSet<String>,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<BTreeSet<Line>>>);

impl<S: Subscriber> tracing_subscriber::Layer<S> for Lines {
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
            self.0.lock().unwrap().insert(Line {
                name: metadata.name(),
                target: metadata.target(),
                level: metadata.level().to_string().to_lowercase(),
                fields: names.0,
            });
        }
    }
}

#[tokio::test]
async fn log_lines_have_the_names_targets_levels_and_fields_that_are_documented() {
    let server = server();
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
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

    let rows = documented("Log lines");
    let expected: BTreeSet<_> = rows
        .iter()
        .map(|row| {
            (
                row[0].as_str(),
                row[1].as_str(),
                row[2].as_str(),
                words(&row[3]),
            )
        })
        .collect();
    assert!(expected.len() >= 9, "the table was not found");
    let seen = lines.0.lock().unwrap().clone();
    let mut names = BTreeSet::new();
    for line in &seen {
        let Line {
            name,
            target,
            level,
            fields,
        } = line;
        assert!(
            expected.contains(&(name, target, level.as_str(), fields.clone())),
            "{line:?} is not in the table"
        );
        names.insert(*name);
    }
    for name in [
        "refused",
        "introspection_forbidden",
        "misconfigured",
        "claims_misfit",
        "key_set_fetched",
        "key_set_failed",
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

#[test]
fn every_log_line_in_the_source_has_a_name_that_is_documented() {
    let documented: BTreeSet<String> = documented("Log lines")
        .into_iter()
        .map(|mut row| row.swap_remove(0))
        .collect();
    let mut used = BTreeSet::new();
    for (file, text) in sources() {
        for level in ["error", "warn", "info", "debug", "trace"] {
            for call in text.split(&format!("tracing::{level}!(")).skip(1) {
                let name = call
                    .trim_start()
                    .strip_prefix("name: \"")
                    .and_then(|rest| rest.split('"').next());
                used.insert(
                    name.unwrap_or_else(|| panic!("a line without a name in {file}"))
                        .to_owned(),
                );
            }
        }
    }
    assert_eq!(used, documented);
}

#[tokio::test]
async fn nothing_of_a_token_or_of_a_person_is_logged() {
    let logs = Logs::default();
    let recording = logs.record();
    let server = server().add_client(TestClient::confidential("api", "the-secret-of-the-api"));
    let mut tokens = every_outcome(&server).await;
    tokens.extend(every_other_secret(&server).await);
    drop(recording);
    let text = logs.text();
    for line in [
        "refused",
        "key set fetched",
        "introspection failed",
        "shown before",
    ] {
        assert!(text.contains(line), "{line}: {text}");
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
    let nobody = || Request::get("/maybe").body(Body::empty()).unwrap();
    assert_eq!(ask(&api, nobody()).await.status, 200);
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
    let verdicts =
        ["verified", "remembered"].map(|source| count("verdicts_total", "source", source));
    assert_eq!(verdicts.iter().sum::<u64>(), 4, "{seen:?}");
    let documented = documented_metrics();
    for key in seen.keys() {
        assert!(documented.contains(key), "{key:?} is not in the table");
    }
}

#[tokio::test]
async fn introspection_is_counted_by_outcome_and_its_answers_by_where_they_came_from() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let guard = metrics::set_default_local_recorder(&recorder);
    let server = server().add_client(TestClient::confidential("api", "secret"));
    let verifier = IntrospectionVerifier::new(
        &server.authorization_server(),
        Client::confidential("api", "secret"),
        support::AUDIENCE,
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
        ("verdicts_total", "source", "introspected", 1),
        ("verdicts_total", "source", "introspection_remembered", 2),
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

/// Every metric of the table with each value of its label.
fn documented_metrics() -> BTreeSet<(String, String, String)> {
    let mut all = BTreeSet::new();
    for row in documented("Metrics") {
        let [name, kind, label, values, _] = row.try_into().unwrap();
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
fn the_table_of_metrics_is_what_the_source_can_count() {
    let (_, text) = sources()
        .into_iter()
        .find(|(name, _)| name.ends_with("telemetry.rs"))
        .unwrap();
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
    for call in text.split("histogram!(\"").skip(1) {
        let name = call.split('"').next().unwrap();
        used.insert((name.to_owned(), String::new(), String::new()));
    }
    assert_eq!(used, documented_metrics());
    for (file, text) in sources() {
        let here = file.ends_with("telemetry.rs");
        assert!(
            here || !text.contains("metrics::"),
            "{file} counts by itself"
        );
    }
}

// The hook

#[tokio::test]
async fn the_application_hears_of_every_refusal_once_and_nothing_of_what_was_sent() {
    let server = server();
    let heard: Arc<Mutex<Vec<(u16, String, String)>>> = Arc::default();
    let hear = {
        let heard = Arc::clone(&heard);
        move |request: &RefusedRequest<'_>| {
            let shown = format!("{request:?}");
            assert!(!shown.contains("secret"), "{shown}");
            let line = format!("{} {}", request.method(), request.path());
            let reason = request.refusal().to_string();
            heard
                .lock()
                .unwrap()
                .push((request.status().as_u16(), line, reason));
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
        .layer(layer(&server).optional().on_refusal(hear));
    let token = good(&server).sign();
    // The first waits for the keys, the others do not.
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
        // The extractor's, and those of the layers inside.
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
        let heard = std::mem::take(&mut *heard.lock().unwrap());
        let heard: Vec<_> = heard
            .iter()
            .map(|(status, line, _)| (*status, line.as_str()))
            .collect();
        assert_eq!(heard, Vec::from_iter(expected), "{path}");
        assert_eq!(
            expected.map_or(200, |(status, _)| status),
            status.as_u16(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_word_on_another_profile_is_said_once_and_names_it() {
    let server = server();
    let api = api(layer(&server));
    let token = good(&server)
        .with_header("typ", "JWT")
        .with_claim("client_id", "c")
        .with_scope("x")
        .sign();
    // The keys have to be at hand: nothing is fetched for a hint.
    assert_eq!(present(&api, &good(&server).sign()).await.status, 200);
    let logs = Logs::default();
    let recording = logs.record();
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
    let verifier = JwtVerifier::new(&server.authorization_server(), support::AUDIENCE).unwrap();
    let layer = BearerLayer::new(verifier.with_profile(TokenProfile::Generic));
    assert_eq!(present(&support::api(layer), &token).await.status, 200);
}

/// `L48`: why a store failed is counted and logged, and what it says of itself is neither.
#[tokio::test]
async fn failures_of_a_store_are_counted_by_reason() {
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
