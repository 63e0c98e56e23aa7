//! A caller whose tokens make the introspection endpoint fail, and other callers with valid tokens.

mod silent;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;
use tower_oauth::issuer::BackChannelError;
use tower_oauth::testing::{ManualClock, TestServer};
use tower_oauth::token::IntrospectionVerifier;

use super::{api_of, client, server};

use crate::support::api::{AUDIENCE, Outcome, good, present, settle, soon};
use crate::support::logs::Logs;

/// How the endpoint responds to a token that begins with `bad`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misbehavior {
    Status(u16),
    /// A status with `Retry-After: 30`.
    SlowDown(u16),
    Reset,
    Hang,
    /// For every token: the server is unreachable.
    NotSent,
    Nothing,
}

const MISBEHAVIORS: [Misbehavior; 12] = [
    Misbehavior::Status(401),
    Misbehavior::Status(403),
    Misbehavior::Status(429),
    Misbehavior::SlowDown(429),
    Misbehavior::Status(500),
    Misbehavior::Status(502),
    Misbehavior::Status(503),
    Misbehavior::SlowDown(503),
    Misbehavior::Status(504),
    Misbehavior::Reset,
    Misbehavior::Hang,
    Misbehavior::Nothing,
];

#[derive(Clone)]
struct Endpoint {
    misbehavior: Arc<Mutex<Misbehavior>>,
    calls: Arc<AtomicUsize>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Endpoint {
    fn new(misbehavior: Misbehavior) -> Self {
        Self {
            misbehavior: Arc::new(Mutex::new(misbehavior)),
            calls: Arc::default(),
        }
    }

    fn set(&self, misbehavior: Misbehavior) {
        *self.misbehavior.lock().unwrap() = misbehavior;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn respond(
        self,
        server: TestServer,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, BoxError> {
        let is_bad = request.body().starts_with(b"token=bad");
        let is_introspection = request.body().starts_with(b"token=");
        self.calls
            .fetch_add(usize::from(is_introspection), Ordering::SeqCst);
        let misbehavior = *self.misbehavior.lock().unwrap();
        let status = |status, wait: Option<u64>| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(wait) = wait {
                response.headers_mut().insert(RETRY_AFTER, wait.into());
            }
            Ok(response)
        };
        match misbehavior {
            Misbehavior::NotSent if is_introspection => {
                Err(BackChannelError::NotSent("no route to host".into()).into())
            }
            Misbehavior::Status(code) if is_bad => status(code, None),
            Misbehavior::SlowDown(code) if is_bad => status(code, Some(30)),
            Misbehavior::Reset if is_bad => Err("connection reset by peer".into()),
            Misbehavior::Hang if is_bad => std::future::pending().await,
            _ => Ok(server.back_channel().oneshot(request).await?),
        }
    }

    fn verifier(&self, server: &TestServer) -> IntrospectionVerifier {
        let (endpoint, of) = (self.clone(), server.clone());
        let service =
            tower::service_fn(move |request| endpoint.clone().respond(of.clone(), request));
        let server = server.authorization_server().with_back_channel(service);
        IntrospectionVerifier::new(&server, client(), AUDIENCE).unwrap()
    }
}

fn later(api: &Router, token: String) -> JoinHandle<Outcome> {
    let api = api.clone();
    tokio::spawn(async move { present(&api, &token).await.outcome() })
}

/// Advances the clock until a request has its response.
async fn answered(clock: &ManualClock, request: JoinHandle<Outcome>) -> Outcome {
    settle().await;
    while !request.is_finished() {
        clock.advance(Duration::from_millis(50));
        settle().await;
    }
    soon(request).await.unwrap()
}

/// An attacker that sends a different token in each request.
struct Attacker {
    api: Router,
    sent: usize,
    waiting: VecDeque<JoinHandle<Outcome>>,
}

impl Attacker {
    fn new(api: &Router) -> Self {
        Self {
            api: api.clone(),
            sent: 0,
            waiting: VecDeque::new(),
        }
    }

    async fn send(&mut self, count: usize) {
        for _ in 0..count {
            self.sent += 1;
            self.waiting
                .push_back(later(&self.api, format!("bad-{}", self.sent)));
        }
        settle().await;
        self.waiting.retain(|request| !request.is_finished());
    }
}

/// Sends some failing tokens, a new valid token and a previously active one each second.
async fn beside_an_attacker(
    seconds: usize,
    bad_per_second: usize,
    misbehavior: impl Fn(usize) -> Misbehavior,
) {
    let server = server();
    let endpoint = Endpoint::new(Misbehavior::Nothing);
    let verifier = endpoint.verifier(&server);
    let api = api_of(verifier.with_cache_ttl(Duration::ZERO).unwrap());
    let mut attacker = Attacker::new(&api);
    let clock = server.clock();
    let known = good(&server).without_claim("exp").opaque();
    assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    let mut failed = Vec::new();
    for second in 0..seconds {
        let misbehavior = misbehavior(second);
        endpoint.set(misbehavior);
        attacker.send(bad_per_second).await;
        let new = good(&server).opaque();
        for (name, token) in [("new", new), ("known", known.clone())] {
            let outcome = answered(&clock, later(&api, token)).await;
            if outcome != Outcome::Accepted {
                failed.push((misbehavior, second, name, outcome));
            }
        }
        clock.advance(Duration::from_secs(1));
        settle().await;
    }
    assert!(failed.is_empty(), "{} {failed:?}", failed.len());
}

#[tokio::test]
async fn tokens_that_cause_failures_do_not_affect_other_callers() {
    let each = 600 / MISBEHAVIORS.len();
    beside_an_attacker(600, 20, |second| MISBEHAVIORS[second / each]).await;
}

#[tokio::test]
async fn hanging_tokens_leave_permits_for_others() {
    beside_an_attacker(30, 100, |_| Misbehavior::Hang).await;
}

#[tokio::test]
async fn the_first_valid_token_after_minutes_of_failures_is_introspected() {
    for misbehavior in MISBEHAVIORS {
        let server = server();
        let endpoint = Endpoint::new(misbehavior);
        let verifier = endpoint.verifier(&server);
        let api = api_of(verifier.clone());
        let clock = server.clock();
        let mut attacker = Attacker::new(&api);
        for minute in 0..3 {
            for _ in 0..60 {
                attacker.send(5).await;
                clock.advance(Duration::from_secs(1));
                settle().await;
            }
            assert!(verifier.health().is_ready(), "{misbehavior:?}");
            let token = good(&server).opaque();
            let outcome = answered(&clock, later(&api, token)).await;
            assert_eq!(outcome, Outcome::Accepted, "{misbehavior:?} {minute}");
        }
    }
}

#[tokio::test]
async fn previously_active_tokens_have_reserved_permits() {
    let server = server();
    let endpoint = Endpoint::new(Misbehavior::Hang);
    let verifier = endpoint.verifier(&server).with_concurrency(2).unwrap();
    let api = api_of(verifier.with_cache_ttl(Duration::ZERO).unwrap());
    let known = good(&server).opaque();
    assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    // More requests than can wait, while the clock stands still.
    Attacker::new(&api).send(1500).await;
    for _ in 0..3 {
        assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    }
    // A previously active token is still introspected.
    server.revoke(&known);
    let inactive = Outcome::InvalidToken(super::VerifyErrorKind::Inactive);
    assert_eq!(present(&api, &known).await.outcome(), inactive);
    assert_eq!(
        present(&api, &format!("{known}-other")).await.outcome(),
        Outcome::Unavailable
    );
}

#[tokio::test]
async fn only_unsent_requests_pause_introspection() {
    let server = server();
    let endpoint = Endpoint::new(Misbehavior::Nothing);
    let verifier = endpoint.verifier(&server);
    let api = api_of(verifier.clone());
    let known = good(&server).without_claim("exp").opaque();
    assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    let new = || good(&server).opaque();

    endpoint.set(Misbehavior::NotSent);
    let before = endpoint.calls();
    for _ in 0..50 {
        let outcome = present(&api, &new()).await.outcome();
        assert_eq!(outcome, Outcome::Unavailable);
    }
    assert_eq!(endpoint.calls() - before, 5);
    assert!(!verifier.health().is_ready() && verifier.health().is_paused);

    // After the pause a failed request begins the next pause, which is twice as long.
    for (advance, calls) in [(1, 6), (1, 6), (1, 7), (3, 7), (1, 8)] {
        server.clock().advance(Duration::from_secs(advance));
        for _ in 0..10 {
            present(&api, &new()).await;
        }
        assert_eq!(endpoint.calls() - before, calls);
    }
    // Any response ends the pause, also one to a failing token.
    server.clock().advance(Duration::from_secs(8));
    endpoint.set(Misbehavior::Status(500));
    present(&api, "bad").await;
    assert!(verifier.health().is_ready());
    let outcome = present(&api, &new()).await.outcome();
    assert_eq!(outcome, Outcome::Accepted);
}

#[tokio::test]
async fn a_previously_active_token_probes_whether_the_server_is_reachable() {
    let server = server();
    let endpoint = Endpoint::new(Misbehavior::Nothing);
    let verifier = endpoint.verifier(&server);
    let api = api_of(verifier.clone());
    let known = good(&server).without_claim("exp").opaque();
    assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    server.clock().advance(Duration::from_secs(60));
    endpoint.set(Misbehavior::NotSent);
    for bad in 0..20 {
        let outcome = present(&api, &format!("bad-{bad}")).await.outcome();
        assert_eq!(outcome, Outcome::Unavailable);
    }
    let calls = endpoint.calls();
    for _ in 0..10 {
        assert_eq!(present(&api, &known).await.outcome(), Outcome::Unavailable);
    }
    assert_eq!(endpoint.calls() - calls, 1, "one probe a second");
    endpoint.set(Misbehavior::Nothing);
    server.clock().advance(Duration::from_millis(999));
    assert_eq!(present(&api, "bad").await.outcome(), Outcome::Unavailable);
    server.clock().advance(Duration::from_millis(1));
    assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    assert!(verifier.health().is_ready());
}

#[tokio::test]
async fn failures_are_logged_once_per_kind() {
    let logs = Logs::default();
    let _recording = logs.record();
    let server = server();
    let endpoint = Endpoint::new(Misbehavior::Status(500));
    let api = api_of(endpoint.verifier(&server));
    let clock = server.clock();
    for second in 0..600 {
        for number in 0..5 {
            present(&api, &format!("bad-{second}-{number}")).await;
            // Each response ends a series of failures.
            present(&api, &format!("unknown-{second}-{number}")).await;
        }
        clock.advance(Duration::from_secs(1));
    }
    let text = logs.take();
    let lines = |word: &str| text.lines().filter(|line| line.contains(word)).count();
    for word in ["WARN", "INFO"] {
        // Among them a reminder each minute that no token was ever accepted.
        assert!((1..=50).contains(&lines(word)), "{word}: {}", lines(word));
    }
    // A failure of another kind is logged in the middle of the flood.
    for (misbehavior, word) in [
        (Misbehavior::Status(503), "503"),
        (Misbehavior::Reset, "connection reset"),
        (Misbehavior::Status(401), "401"),
    ] {
        present(&api, "bad-first").await;
        logs.take();
        endpoint.set(misbehavior);
        present(&api, "bad-then").await;
        let text = logs.take();
        let line = text.lines().find(|line| line.contains(word));
        let line = line.unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains("WARN"), "{line}");
        endpoint.set(Misbehavior::Status(500));
    }
}
