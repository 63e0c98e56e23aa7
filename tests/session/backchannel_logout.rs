//! OpenID Connect Back-Channel Logout: which sessions a logout token ends, and which requests are rejected.

mod shared_sid;

use std::time::Duration;

use axum::Router;
use http::StatusCode;
use tower::ServiceExt as _;
use tower_oauth::Algorithm;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Endpoint, Fault, Gate, TestClient};

use crate::support::logs;
use crate::support::modes::{Mode, session_modes};
use crate::support::nodes::*;
use crate::support::shop::*;

session_modes! {
    with_store: [
        a_sid_ends_its_session_on_every_node_and_no_other,
        a_sub_without_a_sid_ends_all_sessions_of_that_user,
        a_logout_of_an_unknown_session_succeeds,
        a_logout_token_is_accepted_once_on_all_nodes,
        a_late_token_ends_no_later_session,
        anything_but_one_valid_logout_token_is_rejected_and_ends_nothing,
        cookies_and_origin_do_not_affect_a_backchannel_logout,
        a_delivery_that_failed_can_be_repeated,
        a_logout_during_a_login_creates_no_session,
        a_sign_out_at_the_server_ends_the_session_at_the_application,
        a_copy_of_an_ended_cookie_is_never_accepted,
    ],
}

fn assert_done(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(answer.header("cache-control").contains("no-store"));
    assert_eq!(answer.body.len(), 0);
    assert_eq!(answer.set_cookies(), [""; 0]);
}

fn assert_refused(answer: &Answer, name: &str) {
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}: {answer:?}");
    assert!(
        answer.header("cache-control").contains("no-store"),
        "{name}"
    );
    assert_eq!(answer.header("content-type"), "application/json", "{name}");
    assert_eq!(answer.json()["error"], "invalid_request", "{name}");
    assert!(answer.json()["error_description"].is_string(), "{name}");
    assert!(!answer.text().contains("evil"), "{name}: {}", answer.text());
    assert_eq!(answer.set_cookies(), [""; 0], "{name}");
}

/// A token with a `sid` (Back-Channel Logout §2.7).
async fn a_sid_ends_its_session_on_every_node_and_no_other(mode: Mode) {
    let nodes = Nodes::new(mode);
    let one = nodes.signed_in("alice").await;
    let sid = nodes.sid_besides("alice", &[]);
    let other = nodes.signed_in("alice").await;
    let bob = nodes.signed_in("bob").await;
    assert_eq!(nodes.greeting(&one).await, ALICE);

    // The browser of that session sends no request in between.
    let token = nodes.one(&sid).sign();
    assert_done(&nodes.send_logout_token(&token).await);
    assert_eq!(nodes.greeting(&one).await, STRANGER);
    assert_eq!(nodes.greeting(&other).await, ALICE);
    assert_eq!(nodes.greeting(&bob).await, "hello bob");

    // Without `sub`, and for a session that has ended already.
    let token = nodes.one(&sid).without_claim("sub").sign();
    assert_done(&nodes.send_logout_token(&token).await);
}

/// A token with a `sub` alone ends all sessions of the user (Back-Channel Logout §2.7).
async fn a_sub_without_a_sid_ends_all_sessions_of_that_user(mode: Mode) {
    let nodes = Nodes::new(mode);
    let one = nodes.signed_in("alice").await;
    let other = nodes.signed_in("alice").await;
    let bob = nodes.signed_in("bob").await;
    assert_done(&nodes.send_logout_token(&nodes.all_of("alice").sign()).await);
    for jar in [&one, &other] {
        assert_eq!(nodes.greeting(jar).await, STRANGER);
    }
    assert_eq!(nodes.greeting(&bob).await, "hello bob");
    // A later login.
    nodes.server.clock().advance(Duration::from_secs(1));
    let again = nodes.signed_in("alice").await;
    assert_eq!(nodes.greeting(&again).await, ALICE);
}

/// An unknown `sid` has ended already, and another issuer has no sessions here.
async fn a_logout_of_an_unknown_session_succeeds(mode: Mode) {
    let nodes = Nodes::new(mode);
    let jar = nodes.signed_in("alice").await;
    for token in [nodes.one("unknown"), nodes.all_of("carol")] {
        assert_done(&nodes.send_logout_token(&token.sign()).await);
    }
    assert_eq!(nodes.greeting(&jar).await, ALICE);
}

/// The `jti` is accepted once (Back-Channel Logout §2.6).
async fn a_logout_token_is_accepted_once_on_all_nodes(mode: Mode) {
    let nodes = Nodes::new(mode);
    let token = nodes.all_of("alice").sign();
    assert_done(&nodes.send_logout_token(&token).await);
    for node in [&nodes.first, &nodes.second] {
        assert_refused(&node.send(delivery(&token)).await, "");
    }
    // For as long as the token would be accepted otherwise.
    nodes.server.clock().advance(Duration::from_secs(120 + 29));
    let answer = nodes.send_logout_token(&token).await;
    assert!(answer.text().contains("already used"), "{}", answer.text());
    nodes.server.clock().advance(Duration::from_secs(1));
    let answer = nodes.send_logout_token(&token).await;
    assert!(answer.text().contains("expired"), "{}", answer.text());
}

/// A late or repeated token ends no later login.
async fn a_late_token_ends_no_later_session(mode: Mode) {
    let nodes = Nodes::new(mode);
    let before = nodes.signed_in("alice").await;
    let (late, newer) = (nodes.all_of("alice"), nodes.all_of("alice"));
    nodes.server.clock().advance(Duration::from_secs(2));
    let newer = newer.with_claim("iat", nodes.server.clock().unix_seconds() - 1);
    let since = nodes.signed_in("alice").await;
    // The older token second: it must not lower the watermark.
    for token in [newer, late] {
        assert_done(&nodes.send_logout_token(&token.sign()).await);
    }
    assert_eq!(nodes.greeting(&before).await, STRANGER);
    assert_eq!(nodes.greeting(&since).await, ALICE);
}

/// The rules of Back-Channel Logout §2.5 and §2.6.
async fn anything_but_one_valid_logout_token_is_rejected_and_ends_nothing(mode: Mode) {
    let nodes = Nodes::new(mode);
    let jar = nodes.signed_in("alice").await;
    let good = || nodes.all_of("alice");
    let text = good().sign();
    let form = |body: &str| delivery("").body(body);
    let other = crate::support::still_server("https://evil.example").unwrap();
    let cases = [
        ("nothing", form("")),
        ("no token", form("evil=1")),
        (
            "two tokens",
            form(&format!("logout_token={text}&logout_token={text}")),
        ),
        ("an empty token", delivery("")),
        (
            "in the query",
            delivery("")
                .at(&format!("/auth/backchannel-logout?logout_token={text}"))
                .body(""),
        ),
        (
            "JSON",
            delivery(&text).set("content-type", "application/json"),
        ),
        ("no type", delivery(&text).without("content-type")),
        (
            "a large form",
            delivery(&text).body(&format!(
                "logout_token={text}&evil={}",
                "x".repeat(16 * 1024)
            )),
        ),
        (
            "a long token",
            delivery(&good().with_claim("evil", "x".repeat(13_000)).sign()),
        ),
        ("words", delivery("evil.evil.evil")),
        ("not UTF-8", form("logout_token=%ff")),
        (
            "another issuer",
            delivery(&other.logout_token("shop").sign()),
        ),
        (
            "another issuer's key",
            delivery(&good().with_wrong_key().sign()),
        ),
        (
            "another client",
            delivery(&good().with_audience("evil").sign()),
        ),
        (
            "an ID token",
            delivery(&nodes.server.id_token("shop").sign()),
        ),
        (
            "an access token",
            delivery(&good().with_header("typ", "at+jwt").sign()),
        ),
        ("a nonce", delivery(&good().with_claim("nonce", "n").sign())),
        ("no jti", delivery(&good().without_claim("jti").sign())),
        (
            "no events",
            delivery(&good().without_claim("events").sign()),
        ),
        ("anonymous", delivery(&good().without_claim("sub").sign())),
        ("expired", delivery(&good().with_expires_in(-31).sign())),
        (
            "old",
            delivery(
                &good()
                    .with_claim("iat", 1_800_000_000 - 700)
                    .without_claim("exp")
                    .sign(),
            ),
        ),
        (
            "the secret as a key",
            delivery(&good().with_hmac(b"shop-secret").sign()),
        ),
        ("no signature", delivery(&good().without_signature().sign())),
        (
            "a broken signature",
            delivery(&good().with_broken_signature().sign()),
        ),
    ];
    for (name, ask) in cases {
        let answer = nodes.second.send(ask).await;
        assert_refused(&answer, name);
        assert_eq!(nodes.greeting(&jar).await, ALICE, "{name}");
    }
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let path = format!("/auth/backchannel-logout?logout_token={text}");
        let answer = nodes.second.send(Ask::new(method, &path)).await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(answer.header("allow"), "POST");
    }
    assert_eq!(nodes.greeting(&jar).await, ALICE);
    assert_done(&nodes.send_logout_token(&text).await);
}

/// The request comes from a server: fields that a browser would send have no effect.
async fn cookies_and_origin_do_not_affect_a_backchannel_logout(mode: Mode) {
    let nodes = Nodes::new(mode);
    let alice = nodes.signed_in("alice").await;
    let bob = nodes.signed_in("bob").await;
    let token = nodes.all_of("alice").sign();
    let ask = delivery(&token)
        .with(&[
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://evil.example"),
        ])
        .body(&format!("x=1&logout_token={token}&state=s"))
        .jar(&bob);
    assert_done(&nodes.second.send(ask).await);
    assert_eq!(nodes.greeting(&alice).await, STRANGER);
    assert_eq!(nodes.greeting(&bob).await, "hello bob");
    let ask =
        delivery(&nodes.all_of("alice").sign()).with(&[("cookie", &format!("{SESSION}=junk"))]);
    assert_done(&nodes.second.send(ask).await);
}

/// The route exists if every process learns of the logout.
#[tokio::test]
async fn without_a_shared_store_there_is_no_backchannel_route() {
    let declared = || MemoryStore::new().with_single_process();
    for (name, shop, there) in [
        ("no store", Shop::new(), false),
        (
            "memory",
            Shop::with(|login| login.with_session_store(MemoryStore::new())),
            false,
        ),
        (
            "memory beside",
            Shop::with(|login| login.with_shared_store(MemoryStore::new())),
            false,
        ),
        (
            "declared",
            Shop::with(|login| login.with_session_store(declared())),
            true,
        ),
        (
            "declared beside",
            Shop::with(|login| login.with_shared_store(declared())),
            true,
        ),
    ] {
        let token = shop.server.logout_token("shop").sign();
        let answer = shop.send(delivery(&token)).await;
        let expected = if there {
            StatusCode::OK
        } else {
            StatusCode::NOT_FOUND
        };
        assert_eq!(answer.status, expected, "{name}");
    }
}

/// Wherever the store fails, the server is told to retry, and the same token is accepted then.
async fn a_delivery_that_failed_can_be_repeated(mode: Mode) {
    for verbs in 0.. {
        let name = format!("{verbs} verbs");
        let nodes = Nodes::new(mode);
        let jars = [
            nodes.signed_in("alice").await,
            nodes.signed_in("alice").await,
        ];
        let token = nodes.all_of("alice").sign();
        nodes.store.fail_after(verbs);
        let answer = nodes.send_logout_token(&token).await;
        nodes.store.clear_faults();
        if answer.status == StatusCode::OK {
            assert!(verbs > 2, "{name}");
            break;
        }
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{name}");
        assert!(answer.headers.contains_key("retry-after"), "{name}");
        assert!(!answer.text().contains("redis"), "{name}");
        assert_done(&nodes.send_logout_token(&token).await);
        for jar in &jars {
            assert_eq!(nodes.greeting(jar).await, STRANGER, "{name}");
        }
    }
}

/// An outage of the key set neither accepts nor rejects a token (Back-Channel Logout §2.8).
#[tokio::test]
async fn a_logout_token_that_cannot_be_verified_can_be_repeated() {
    let nodes = Nodes::new(Mode::Store);
    // So far only the first node has needed keys.
    let jar = nodes.signed_in("alice").await;
    nodes.server.fail(Endpoint::KeySet, Fault::status(500));
    let token = nodes.all_of("alice").sign();
    let answer = nodes.send_logout_token(&token).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers.contains_key("retry-after"));
    assert_eq!(nodes.greeting(&jar).await, ALICE);
    assert_done(&nodes.first.send(delivery(&token)).await);
    assert_eq!(nodes.greeting(&jar).await, STRANGER);
}

/// A flood of invalid tokens.
#[tokio::test]
async fn a_flood_of_invalid_logout_tokens_fetches_keys_three_times_and_affects_no_other_request() {
    let server = server().with_algorithm(Algorithm::EdDsa);
    let nodes = Nodes::with(Mode::Store, &server, |login| login);
    let jar = nodes.signed_in("alice").await;
    let (keys, entries) = (nodes.server.count(Endpoint::KeySet), nodes.store.len());
    let total = nodes.server.requests().len();
    for n in 0..10_000 {
        let junk = nodes
            .all_of("alice")
            .with_header("kid", format!("evil-{n}"));
        let answer = nodes.first.send(delivery(&junk.sign())).await;
        assert!(
            answer.status.is_client_error() || answer.status == 503,
            "{answer:?}"
        );
    }
    assert_eq!(nodes.server.count(Endpoint::KeySet) - keys, 3);
    assert_eq!(nodes.server.requests().len() - total, 3);
    assert_eq!(nodes.store.len(), entries);
    // Logins, sessions and valid logout tokens are not affected.
    assert_eq!(nodes.greeting(&jar).await, ALICE);
    nodes.signed_in("bob").await;
    let token = nodes.all_of("alice").sign();
    assert_done(&nodes.first.send(delivery(&token)).await);
    assert_eq!(nodes.greeting(&jar).await, STRANGER);
}

/// The token arrives while the code is redeemed.
async fn a_logout_during_a_login_creates_no_session(mode: Mode) {
    for by_sid in [true, false] {
        let name = format!("by sid: {by_sid}");
        let nodes = Nodes::new(mode);
        let mut jar = Jar::default();
        let answer = nodes.first.start("/auth/login", &mut jar).await;
        let callback = nodes.first.approve(answer.location(), "alice").await;
        let gate = Gate::new();
        let fault = Fault::hold_response(&gate);
        nodes.server.fail_once(Endpoint::Token, fault);
        let shop = nodes.first.clone();
        let ask = Ask::page(&callback).jar(&jar);
        let login = tokio::spawn(async move { shop.send(ask).await });
        nodes.server.wait_for(Endpoint::Token, 1).await;

        let token = match by_sid {
            true => nodes.one(&nodes.sid_besides("alice", &[])),
            false => nodes.all_of("alice"),
        };
        assert_done(&nodes.send_logout_token(&token.sign()).await);
        gate.open();
        let answer = login.await.unwrap();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}: {answer:?}");
        assert!(answer.sets().is_empty(), "{name}: {answer:?}");
        jar.take(&answer);
        assert_eq!(nodes.greeting(&jar).await, STRANGER, "{name}");
        assert!(nodes.server.refresh_tokens("alice").is_empty(), "{name}");
        let revoked = nodes.server.count(Endpoint::Revocation);
        assert_eq!(revoked, 2, "{name}: each token once");
    }
}

/// A complete authorization server that sends logout tokens.
async fn a_sign_out_at_the_server_ends_the_session_at_the_application(mode: Mode) {
    let client = TestClient::confidential("shop", "shop-secret")
        .add_redirect_uri(CALLBACK)
        .unwrap()
        .without_consent()
        .with_backchannel_logout_uri(&format!("{SHOP}/auth/backchannel-logout?from=id"))
        .unwrap();
    let nodes = Nodes::with(mode, &server().add_client(client), |login| login);
    let server = nodes.server.clone();
    let app: Router = nodes.second.app.clone();
    let server = server.add_relying_party(SHOP, app).unwrap();
    let jars = [
        nodes.signed_in("alice").await,
        nodes.signed_in("alice").await,
    ];
    let bob = nodes.signed_in("bob").await;
    let sent = server.sign_out("alice").await;
    let statuses: Vec<_> = sent.iter().map(|one| one.status()).collect();
    assert_eq!(statuses, [Some(StatusCode::OK); 2]);
    for jar in &jars {
        assert_eq!(nodes.greeting(jar).await, STRANGER);
    }
    assert_eq!(nodes.greeting(&bob).await, "hello bob");
}

/// An ended session is rejected for as long as a copy of its cookie could be live.
async fn a_copy_of_an_ended_cookie_is_never_accepted(mode: Mode) {
    let nodes = Nodes::with(mode, &server(), |login| {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        login.with_session_limits(hours(8), hours(8)).unwrap()
    });
    let jar = nodes.signed_in("alice").await;
    assert_done(&nodes.send_logout_token(&nodes.all_of("alice").sign()).await);
    for _ in 0..17 {
        assert_eq!(nodes.greeting(&jar).await, STRANGER);
        nodes.server.clock().advance(Duration::from_secs(1800));
    }
}

#[tokio::test]
async fn the_log_has_the_reason_and_no_claims() {
    let logs = logs::Logs::default();
    let nodes = Nodes::new(Mode::Store);
    let recording = logs.record();
    nodes.signed_in("alice").await;
    let token = nodes.all_of("alice").with_claim("jti", "evil-id").sign();
    nodes.send_logout_token(&token).await;
    nodes.send_logout_token(&token).await;
    nodes.send_logout_token("evil").await;
    drop(recording);
    let text = logs.text();
    for expected in [
        "backchannel_logout",
        "logout_token_replayed",
        "logout_token_malformed",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("evil"), "{text}");
    assert!(!text.contains(&token), "{text}");
}

/// A form that does not arrive occupies neither a task nor a connection for longer than five seconds.
#[tokio::test]
async fn a_logout_request_without_a_body_times_out() {
    let nodes = Nodes::new(Mode::Store);
    for (version, empty_pieces) in [
        (http::Version::HTTP_11, 0),
        (http::Version::HTTP_2, 0),
        (http::Version::HTTP_2, 1_000_000),
    ] {
        let body = NeverEnds { empty_pieces };
        let request = http::Request::post("/auth/backchannel-logout")
            .version(version)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(axum::body::Body::new(body))
            .unwrap();
        let running = tokio::spawn(nodes.second.app.clone().oneshot(request));
        for seconds in [4, 1] {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(!running.is_finished(), "{version:?}");
            nodes.second.clock().advance(Duration::from_secs(seconds));
        }
        let answer = Answer::read(running.await.unwrap().unwrap()).await;
        assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT, "{version:?}");
        let closes = answer.headers.contains_key("connection");
        assert_eq!(closes, version == http::Version::HTTP_11, "{version:?}");
    }
}

/// A body without content, or with pieces that are available immediately, for example empty DATA frames of
/// HTTP/2.
struct NeverEnds {
    empty_pieces: u32,
}

impl http_body::Body for NeverEnds {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Self::Data>, Self::Error>>> {
        if self.empty_pieces == 0 {
            return std::task::Poll::Pending;
        }
        self.empty_pieces -= 1;
        assert!(self.empty_pieces > 0, "the body was read without a pause");
        std::task::Poll::Ready(Some(Ok(http_body::Frame::data(bytes::Bytes::new()))))
    }
}
