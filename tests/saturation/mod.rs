//! One caller whose tokens upset the introspection endpoint, beside callers with good tokens.

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

use super::support::logs::Logs;
use super::support::{AUDIENCE, Outcome, good, present, settle, soon};
use super::{api_of, client, server};

/// What the endpoint does when it is asked about a token that begins with `junk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oddity {
    Status(u16),
    /// The same with `Retry-After: 30`.
    SlowDown(u16),
    Reset,
    Hang,
    /// About every token: the server cannot be reached.
    NotSent,
    Nothing,
}

const ODDITIES: [Oddity; 12] = [
    Oddity::Status(401),
    Oddity::Status(403),
    Oddity::Status(429),
    Oddity::SlowDown(429),
    Oddity::Status(500),
    Oddity::Status(502),
    Oddity::Status(503),
    Oddity::SlowDown(503),
    Oddity::Status(504),
    Oddity::Reset,
    Oddity::Hang,
    Oddity::Nothing,
];

#[derive(Clone)]
struct Endpoint {
    oddity: Arc<Mutex<Oddity>>,
    calls: Arc<AtomicUsize>,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Endpoint {
    fn new(oddity: Oddity) -> Self {
        Self {
            oddity: Arc::new(Mutex::new(oddity)),
            calls: Arc::default(),
        }
    }

    fn turn(&self, oddity: Oddity) {
        *self.oddity.lock().unwrap() = oddity;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn answer(
        self,
        server: TestServer,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, BoxError> {
        let is_junk = request.body().starts_with(b"token=junk");
        let is_question = request.body().starts_with(b"token=");
        self.calls
            .fetch_add(usize::from(is_question), Ordering::SeqCst);
        let oddity = *self.oddity.lock().unwrap();
        let status = |status, wait: Option<u64>| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            if let Some(wait) = wait {
                response.headers_mut().insert(RETRY_AFTER, wait.into());
            }
            Ok(response)
        };
        match oddity {
            Oddity::NotSent if is_question => {
                Err(BackChannelError::NotSent("no route to host".into()).into())
            }
            Oddity::Status(code) if is_junk => status(code, None),
            Oddity::SlowDown(code) if is_junk => status(code, Some(30)),
            Oddity::Reset if is_junk => Err("connection reset by peer".into()),
            Oddity::Hang if is_junk => std::future::pending().await,
            _ => Ok(server.back_channel().oneshot(request).await?),
        }
    }

    fn verifier(&self, server: &TestServer) -> IntrospectionVerifier {
        let (endpoint, of) = (self.clone(), server.clone());
        let service =
            tower::service_fn(move |request| endpoint.clone().answer(of.clone(), request));
        let server = server.authorization_server().with_back_channel(service);
        IntrospectionVerifier::new(&server, client(), AUDIENCE).unwrap()
    }
}

fn later(api: &Router, token: String) -> JoinHandle<Outcome> {
    let api = api.clone();
    tokio::spawn(async move { present(&api, &token).await.outcome() })
}

/// Lets time pass until a request is answered.
async fn answered(clock: &ManualClock, request: JoinHandle<Outcome>) -> Outcome {
    settle().await;
    while !request.is_finished() {
        clock.advance(Duration::from_millis(50));
        settle().await;
    }
    soon(request).await.unwrap()
}

/// The requests of an attacker, all of them unlike.
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
                .push_back(later(&self.api, format!("junk-{}", self.sent)));
        }
        settle().await;
        self.waiting.retain(|request| !request.is_finished());
    }
}

/// Each second so many odd tokens, a good token that is new, and one that is asked about again.
async fn beside_an_attacker(
    seconds: usize,
    junk_a_second: usize,
    oddity: impl Fn(usize) -> Oddity,
) {
    let server = server();
    let endpoint = Endpoint::new(Oddity::Nothing);
    let verifier = endpoint.verifier(&server);
    let api = api_of(verifier.with_cache_ttl(Duration::ZERO).unwrap());
    let mut attacker = Attacker::new(&api);
    let clock = server.clock();
    let known = good(&server).without_claim("exp").opaque();
    assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    let mut failed = Vec::new();
    for second in 0..seconds {
        let oddity = oddity(second);
        endpoint.turn(oddity);
        attacker.send(junk_a_second).await;
        let new = good(&server).opaque();
        for (name, token) in [("new", new), ("known", known.clone())] {
            let outcome = answered(&clock, later(&api, token)).await;
            if outcome != Outcome::Accepted {
                failed.push((oddity, second, name, outcome));
            }
        }
        clock.advance(Duration::from_secs(1));
        settle().await;
    }
    assert!(failed.is_empty(), "{} {failed:?}", failed.len());
}

#[tokio::test]
async fn odd_tokens_of_one_caller_fail_no_request_of_another() {
    let each = 600 / ODDITIES.len();
    beside_an_attacker(600, 20, |second| ODDITIES[second / each]).await;
}

#[tokio::test]
async fn tokens_that_hang_leave_turns_for_others() {
    beside_an_attacker(30, 100, |_| Oddity::Hang).await;
}

#[tokio::test]
async fn the_first_good_token_after_minutes_of_odd_ones_is_asked_about() {
    for oddity in ODDITIES {
        let server = server();
        let endpoint = Endpoint::new(oddity);
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
            assert!(verifier.health().is_ready(), "{oddity:?}");
            let token = good(&server).opaque();
            let outcome = answered(&clock, later(&api, token)).await;
            assert_eq!(outcome, Outcome::Accepted, "{oddity:?} {minute}");
        }
    }
}

#[tokio::test]
async fn tokens_that_were_active_have_turns_that_no_other_token_takes() {
    let server = server();
    let endpoint = Endpoint::new(Oddity::Hang);
    let verifier = endpoint.verifier(&server).with_concurrency(2).unwrap();
    let api = api_of(verifier.with_cache_ttl(Duration::ZERO).unwrap());
    let known = good(&server).opaque();
    assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    // More than can wait, and the clock stands still.
    Attacker::new(&api).send(1500).await;
    for _ in 0..3 {
        assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    }
    // What it was does not decide what it is.
    server.revoke(&known);
    let inactive = Outcome::InvalidToken(super::VerifyErrorKind::Inactive);
    assert_eq!(present(&api, &known).await.outcome(), inactive);
    assert_eq!(
        present(&api, &format!("{known}-other")).await.outcome(),
        Outcome::Unavailable
    );
}

#[tokio::test]
async fn only_requests_that_were_not_sent_pause_the_questions() {
    let server = server();
    let endpoint = Endpoint::new(Oddity::Nothing);
    let verifier = endpoint.verifier(&server);
    let api = api_of(verifier.clone());
    let known = good(&server).without_claim("exp").opaque();
    assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    let new = || good(&server).opaque();

    endpoint.turn(Oddity::NotSent);
    let before = endpoint.calls();
    for _ in 0..50 {
        let outcome = present(&api, &new()).await.outcome();
        assert_eq!(outcome, Outcome::Unavailable);
    }
    assert_eq!(endpoint.calls() - before, 5);
    assert!(!verifier.health().is_ready() && verifier.health().is_paused);

    // After the pause one request finds out, and the next pause is twice as long.
    for (advance, calls) in [(1, 6), (1, 6), (1, 7), (3, 7), (1, 8)] {
        server.clock().advance(Duration::from_secs(advance));
        for _ in 0..10 {
            present(&api, &new()).await;
        }
        assert_eq!(endpoint.calls() - before, calls);
    }
    // Any answer ends it, also one about an odd token.
    server.clock().advance(Duration::from_secs(8));
    endpoint.turn(Oddity::Status(500));
    present(&api, "junk").await;
    assert!(verifier.health().is_ready());
    let outcome = present(&api, &new()).await.outcome();
    assert_eq!(outcome, Outcome::Accepted);
}

#[tokio::test]
async fn a_token_that_was_active_finds_out_that_the_server_is_back() {
    let server = server();
    let endpoint = Endpoint::new(Oddity::Nothing);
    let verifier = endpoint.verifier(&server);
    let api = api_of(verifier.clone());
    let known = good(&server).without_claim("exp").opaque();
    assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    server.clock().advance(Duration::from_secs(60));
    endpoint.turn(Oddity::NotSent);
    for junk in 0..20 {
        let outcome = present(&api, &format!("junk-{junk}")).await.outcome();
        assert_eq!(outcome, Outcome::Unavailable);
    }
    let calls = endpoint.calls();
    for _ in 0..10 {
        assert_eq!(present(&api, &known).await.outcome(), Outcome::Unavailable);
    }
    assert_eq!(endpoint.calls() - calls, 1, "one probe a second");
    endpoint.turn(Oddity::Nothing);
    server.clock().advance(Duration::from_millis(999));
    assert_eq!(present(&api, "junk").await.outcome(), Outcome::Unavailable);
    server.clock().advance(Duration::from_millis(1));
    assert_eq!(present(&api, &known).await.outcome(), Outcome::Accepted);
    assert!(verifier.health().is_ready());
}

#[tokio::test]
async fn odd_tokens_fill_no_log_and_hide_no_other_failure() {
    let logs = Logs::default();
    let _recording = logs.record();
    let server = server();
    let endpoint = Endpoint::new(Oddity::Status(500));
    let api = api_of(endpoint.verifier(&server));
    let clock = server.clock();
    for second in 0..600 {
        for number in 0..5 {
            present(&api, &format!("junk-{second}-{number}")).await;
            // Each answer ends a series of failures.
            present(&api, &format!("unknown-{second}-{number}")).await;
        }
        clock.advance(Duration::from_secs(1));
    }
    let text = logs.take();
    let lines = |word: &str| text.lines().filter(|line| line.contains(word)).count();
    for word in ["WARN", "INFO"] {
        assert!((1..=33).contains(&lines(word)), "{word}: {}", lines(word));
    }
    // In the middle of the flood, a failure of another kind has its line.
    for (oddity, word) in [
        (Oddity::Status(503), "503"),
        (Oddity::Reset, "connection reset"),
        (Oddity::Status(401), "401"),
    ] {
        present(&api, "junk-first").await;
        logs.take();
        endpoint.turn(oddity);
        present(&api, "junk-then").await;
        let text = logs.take();
        let line = text.lines().find(|line| line.contains(word));
        let line = line.unwrap_or_else(|| panic!("{text}"));
        assert!(line.contains("WARN"), "{line}");
        endpoint.turn(Oddity::Status(500));
    }
}
