//! Key rotation, unknown key ids, outages, and key sets with unsupported keys.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::sleep;
use tower_oauth::Algorithm;
use tower_oauth::testing::{Endpoint, Fault, ManualClock, TestServer, TestSigningKey};

use crate::Finding;
use crate::api::{Api, Timed, fetches, token, unknown_key_token, warm};

/// `key-rotation`: 200 concurrent requests with a new key id.
pub async fn rotation() -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut note = |what, responses: &[Timed], fetches: usize| {
        let (all, good) = (
            responses.len(),
            responses.iter().filter(|one| one.is_ok()).count(),
        );
        let measured = format!("{good} of {all} are 200, fetches {fetches}");
        findings.push(Finding::new(what, measured, good == all && fetches == 1));
    };

    let (server, _socket, api) = warm().await;
    server.rotate_keys();
    let before = fetches(&server);
    let responses = api.send_many(&token(&server), 200).await;
    note("after a rotation", &responses, fetches(&server) - before);

    let (server, _socket, api) = warm().await;
    let rejected = api.send(&unknown_key_token(&server, 1)).await;
    assert_eq!(
        rejected.status,
        StatusCode::UNAUTHORIZED,
        "an unknown key id"
    );
    sleep(Duration::from_secs(2)).await;
    server.rotate_keys();
    let before = fetches(&server);
    let responses = api.send_many(&token(&server), 200).await;
    note(
        "2 s after an unknown key id",
        &responses,
        fetches(&server) - before,
    );

    let (server, _socket, api) = warm().await;
    server.rotate_keys();
    let token = token(&server);
    server.fail_once(Endpoint::KeySet, Fault::delay(Duration::from_millis(200)));
    let before = fetches(&server);
    let first = api.spawn(&token);
    sleep(Duration::from_millis(50)).await;
    first.abort();
    let responses = api.send_many(&token, 199).await;
    note(
        "the first request is cancelled",
        &responses,
        fetches(&server) - before,
    );
    findings
}

/// `unknown-key-ids`: a flood of unknown key ids beside requests with a known key.
pub async fn flood() -> Vec<Finding> {
    const BLOCKS: usize = 15;
    let (server, _socket, api) = warm().await;
    let known = token(&server);
    let flooding = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicUsize::new(0));
    let flood = {
        let (api, server) = (api.clone(), server.clone());
        let (flooding, sent) = (Arc::clone(&flooding), Arc::clone(&sent));
        // Created in advance, so that signing is not measured.
        let tokens: Vec<String> = (0..2000)
            .map(|number| unknown_key_token(&server, number))
            .collect();
        tokio::spawn(async move {
            for token in tokens.iter().cycle() {
                while !flooding.load(Relaxed) {
                    sleep(Duration::from_millis(1)).await;
                }
                let response = api.send(token).await;
                assert!(!response.is_ok(), "an unknown key id");
                // A faster flood would measure how two threads share a processor.
                if sent.fetch_add(1, Relaxed) % 5 == 4 {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        })
    };
    let before = fetches(&server);
    let (mut normal, mut flooded) = (Vec::new(), Vec::new());
    for _ in 0..BLOCKS {
        normal.push(p99(&api, &known).await);
        flooding.store(true, Relaxed);
        sleep(Duration::from_millis(5)).await;
        flooded.push(p99(&api, &known).await);
        flooding.store(false, Relaxed);
        sleep(Duration::from_millis(5)).await;
    }
    let burst = fetches(&server) - before;
    let mut later = Vec::new();
    for _ in 0..4 {
        let before = fetches(&server);
        server.clock().advance(Duration::from_secs(30));
        flooding.store(true, Relaxed);
        sleep(Duration::from_millis(200)).await;
        flooding.store(false, Relaxed);
        sleep(Duration::from_millis(50)).await;
        later.push(fetches(&server) - before);
    }
    flood.abort();
    let ratio = ratio(&normal, &flooded);
    let (most, sent) = (later.iter().max().copied().unwrap_or(0), sent.load(Relaxed));
    vec![Finding::new(
        "a flood of unknown key ids",
        format!(
            "{sent} unknown key ids: a burst of {burst} fetches, then at most {most} in each 30 s; \
             p99 of known keys {ratio:.2} x normal"
        ),
        burst <= 3 && most <= 1 && ratio <= 1.5 && sent > 1000,
    )]
}

async fn p99(api: &Api, token: &str) -> f64 {
    let mut took = Vec::new();
    for _ in 0..2000 {
        let response = api.send(token).await;
        assert!(response.is_ok(), "a known key");
        took.push(response.took.as_nanos() as f64);
    }
    took.sort_by(f64::total_cmp);
    took[took.len() * 99 / 100]
}

/// Returns the median of the ratios of adjacent blocks.
fn ratio(normal: &[f64], flooded: &[f64]) -> f64 {
    let mut ratios: Vec<f64> = normal
        .iter()
        .zip(flooded)
        .map(|(one, two)| two / one)
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// `key-endpoint-outage`: the key endpoint hangs or fails at different ages of the cached keys.
pub async fn outage() -> Vec<Finding> {
    let mut slowest = Duration::ZERO;
    let mut unknown = Duration::ZERO;
    let mut served = (0, 0);
    for fault in [Fault::hang(), Fault::status(500), Fault::disconnect()] {
        let (server, _socket, api) = warm().await;
        server.fail(Endpoint::KeySet, fault.clone());
        server.fail(Endpoint::Metadata, fault);
        let known = token(&server);
        let unknown_token = unknown_key_token(&server, 1);
        // Fresh keys, before and after the background refresh, past the lifetime of 10 minutes, and
        // until the end of the hour for which keys are kept during an outage.
        for advance in [0, 460, 30, 100, 15, 600, 1200, 1500] {
            server.clock().advance(Duration::from_secs(advance));
            let waiting = api.spawn(&unknown_token);
            for response in api.send_many(&known, 100).await {
                served = (served.0 + usize::from(response.is_ok()), served.1 + 1);
                slowest = slowest.max(response.took);
            }
            unknown = unknown.max(waiting.await.expect("a response").took);
        }
    }
    let (good, all) = served;
    // A request that waits for a hanging fetch takes seconds, so 200 ms leave room for scheduling. The
    // timer for an unknown key fires after two seconds, never earlier.
    vec![Finding::new(
        "while the endpoint hangs or fails",
        format!(
            "{good} of {all} known-key requests are 200, the slowest {:.1} ms; \
             an unknown key gets a response within {:.2} s",
            slowest.as_secs_f64() * 1e3,
            unknown.as_secs_f64()
        ),
        good == all
            && slowest < Duration::from_millis(200)
            && unknown < Duration::from_millis(2200),
    )]
}

/// `outage-at-start`: the authorization server is down when the API starts.
pub async fn down_at_start() -> Vec<Finding> {
    let address = {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("an address")
    };
    let server = TestServer::new(&format!("http://{address}")).expect("an issuer");
    let server = server
        .with_clock(ManualClock::ticking())
        .with_algorithm(Algorithm::Es256);
    let api = Api::new(&server);
    let token = token(&server);
    let mut early = 0;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        let response = api.send(&token).await;
        assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.has_retry_after, "Retry-After");
        early += 1;
        sleep(Duration::from_millis(10)).await;
    }
    let _socket = server.listen(address).await.expect("the port again");
    let recovered = Instant::now();
    while !api.send(&token).await.is_ok() {
        assert!(recovered.elapsed() < Duration::from_secs(60), "no 200");
        sleep(Duration::from_millis(10)).await;
    }
    let took = recovered.elapsed();
    vec![Finding::new(
        "authorization server down",
        format!(
            "{early} of {early} are 503 with Retry-After; first 200 after {:.2} s",
            took.as_secs_f64()
        ),
        took <= Duration::from_millis(500),
    )]
}

/// `unsupported-keys`: an unsupported or incomplete key beside a valid one.
pub async fn unsupported_keys() -> Vec<Finding> {
    // Test servers may share RSA keys, so the key gets another id.
    let rsa = || {
        let key = TestSigningKey::generate(Algorithm::Rs256);
        key.with_kid("other").public_jwk()
    };
    let without = |mut jwk: Value, name: &str| {
        jwk.as_object_mut().expect("a key").remove(name);
        jwk
    };
    let number = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA";
    let mut encryption = rsa();
    encryption["use"] = "enc".into();
    encryption["alg"] = "RSA-OAEP".into();
    let unsupported = [
        (
            "EC",
            TestSigningKey::generate(Algorithm::Es256).public_jwk(),
        ),
        ("no kid", without(rsa(), "kid")),
        ("enc", encryption),
        ("no alg", without(rsa(), "alg")),
        (
            "P-521",
            json!({ "kty": "EC", "crv": "P-521", "kid": "p521", "x": number, "y": number }),
        ),
        (
            "ML-DSA",
            json!({ "kty": "AKP", "alg": "ML-DSA-65", "kid": "pq", "pub": number }),
        ),
        (
            "X25519",
            json!({ "kty": "OKP", "crv": "X25519", "kid": "x", "x": number }),
        ),
    ];
    let (all, mut failed) = (unsupported.len(), Vec::new());
    for (name, jwk) in unsupported {
        let (server, _socket) = TestServer::start("127.0.0.1:0").await.expect("a socket");
        server.publish_jwk(jwk);
        if !Api::new(&server).send(&token(&server)).await.is_ok() {
            failed.push(name);
        }
    }
    let good = all - failed.len();
    vec![Finding::new(
        "another key in the set",
        format!("{good} of {all} leave the valid key usable {failed:?}"),
        good == all,
    )]
}
