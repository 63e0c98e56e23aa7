//! What a caller could try against the judging of tokens beyond what the papers name: other spellings,
//! other kinds of tokens, and floods that are to hurt somebody else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use serde_json::json;
use support::{AUDIENCE, Outcome, api, good, present, server, settle, until};
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer};
use tower_oauth::token::{
    IntrospectionVerifier, IssuerLookup, JwtVerifier, TokenProfile, Verifier, VerifyErrorKind,
};
use tower_oauth::{BearerLayer, Client};

const SECRET: &str = "api-secret";

fn introspecting() -> (TestServer, IntrospectionVerifier) {
    let server = server().add_client(TestClient::confidential("api", SECRET));
    let client = Client::confidential("api", SECRET);
    let verifier = IntrospectionVerifier::new(&server.authorization_server(), client, AUDIENCE);
    (server, verifier.unwrap())
}

/// Servers read JWTs more freely than they write them: one splits at dots and drops empty segments at
/// the end, another looks at the first three only. To both of them these are the refused token.
#[tokio::test]
async fn a_refused_jwt_does_not_become_opaque_by_segments_behind_it() {
    let (server, opaque) = introspecting();
    let jwt = JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap();
    let api = api(BearerLayer::new(Verifier::jwt_or_opaque(jwt, opaque)));
    let refused = good(&server).with_header("typ", "JWT").sign();
    for behind in ["", ".", "..", "...", ".x", ".x.y", ".x.y.z"] {
        let token = format!("{refused}{behind}");
        good(&server).register(&token);
        let outcome = present(&api, &token).await.outcome();
        assert!(
            matches!(outcome, Outcome::InvalidToken(_)),
            "I14 {behind:?}: {outcome:?}"
        );
        assert_eq!(server.count(Endpoint::Introspection), 0, "I14 {behind:?}");
    }
}

/// A filter before the server answers 403 to what looks like an attack, and a token may look like one.
#[tokio::test]
async fn tokens_that_a_filter_forbids_shut_nobody_out() {
    let (server, verifier) = introspecting();
    let api = api(BearerLayer::new(verifier.clone()));
    server.fail_times(Endpoint::Introspection, 20, Fault::status(403));
    for junk in 0..20 {
        let outcome = present(&api, &format!("../../etc/passwd/{junk}")).await;
        assert_eq!(outcome.outcome(), Outcome::Unavailable, "I8");
    }
    assert!(verifier.health().is_ready(), "I11");
    let token = good(&server).opaque();
    let outcome = present(&api, &token).await.outcome();
    assert_eq!(outcome, Outcome::Accepted, "I11");
}

/// Some servers give refresh tokens and ID tokens all that a profile looks for, and say what they are in
/// a claim of their own.
#[tokio::test]
async fn a_token_that_says_it_is_of_another_kind_is_no_access_token() {
    let server = server();
    for profile in [
        TokenProfile::Generic,
        TokenProfile::Auth0,
        TokenProfile::Okta,
        TokenProfile::Entra,
    ] {
        let verifier = JwtVerifier::new(&server.authorization_server(), AUDIENCE).unwrap();
        let api = api(verifier.with_profile(profile));
        let token = |claim: &str, value: &str| {
            let token = good(&server).with_header("typ", "JWT").with_scope("read");
            let token = token.with_claim("scp", json!(["read"]));
            let token = token.with_claim("cid", "shop").with_claim("azp", "shop");
            token.with_claim(claim, value).sign()
        };
        for (claim, value, expect) in [
            ("typ", "Bearer", Outcome::Accepted),
            ("token_use", "access", Outcome::Accepted),
            ("token_type", "Bearer", Outcome::Accepted),
            ("typ", "Refresh", NOT_ACCESS),
            ("typ", "Offline", NOT_ACCESS),
            ("typ", "ID", NOT_ACCESS),
            ("token_use", "id", NOT_ACCESS),
            ("token_use", "refresh", NOT_ACCESS),
            ("token_type", "refresh", NOT_ACCESS),
            ("tokenName", "id_token", NOT_ACCESS),
            ("tokenName", "refresh_token", NOT_ACCESS),
            ("s_hash", "LDktKdoQak3Pk0cnXxCltA", NOT_ACCESS),
        ] {
            let outcome = present(&api, &token(claim, value)).await.outcome();
            assert_eq!(outcome, expect, "A1 {profile:?} {claim} {value}");
        }
    }
}

const NOT_ACCESS: Outcome = Outcome::InvalidToken(VerifyErrorKind::NotAnAccessToken);

/// How the application's lookup behaves for each call in turn; the last goes on.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Finds,
    FindsNobody,
    Hangs,
    Panics,
}

const TENANTS: &str = "https://tenants.example.test/";

fn tenant(ways: &'static [Way]) -> (TestServer, Router, Arc<AtomicUsize>) {
    support::logs::listen();
    let server = TestServer::new(&format!("{TENANTS}acme")).unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    let known = Mutex::new(server.authorization_server());
    let lookup = IssuerLookup::new(
        |issuer| issuer.starts_with(TENANTS),
        move |_| {
            let at = counted.fetch_add(1, Ordering::SeqCst);
            let way = ways[at.min(ways.len() - 1)];
            assert!(way != Way::Panics, "as it was told");
            let found = JwtVerifier::new(&known.lock().unwrap(), AUDIENCE).unwrap();
            async move {
                match way {
                    Way::Hangs => std::future::pending().await,
                    Way::Finds => Ok::<_, std::io::Error>(Some(found)),
                    _ => Ok(None),
                }
            }
        },
    );
    let api = api(BearerLayer::new(Verifier::from(
        lookup.with_clock(server.clock()),
    )));
    (server, api, asked)
}

/// As many lookups as there may be are under way for issuers that somebody made up.
#[tokio::test]
async fn junk_issuers_do_not_shut_a_known_tenant_out_when_its_time_comes() {
    let (server, api, asked) = tenant(&[Way::Finds, Way::Hangs]);
    let token = good(&server).with_expires_in(3600).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.clock().advance(Duration::from_secs(600));
    let later = |token: String| {
        let api = api.clone();
        tokio::spawn(async move { present(&api, &token).await.outcome() })
    };
    let junk = |at| good(&server).with_issuer(&format!("{TENANTS}{at}")).sign();
    let waiting: Vec<_> = (0..256).map(|at| later(junk(at))).collect();
    until(|| asked.load(Ordering::SeqCst) == 257).await;
    // It is looked up again all the same, so that one that was withdrawn gains nothing by the flood.
    let known = later(token);
    until(|| asked.load(Ordering::SeqCst) == 258).await;
    settle().await;
    server.clock().advance(Duration::from_secs(2));
    assert_eq!(known.await.unwrap(), Outcome::Accepted, "J20");
    for one in waiting {
        assert_eq!(one.await.unwrap(), Outcome::Unavailable);
    }
}

/// An allow-list may change while the application runs, and then a tenant is gone at once.
#[tokio::test]
async fn a_tenant_that_is_no_longer_allowed_is_gone_though_its_token_is_remembered() {
    let server = server();
    let known = server.authorization_server();
    let allowed = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&allowed);
    let lookup = move |_| {
        let found = JwtVerifier::new(&known, AUDIENCE).unwrap();
        async { Ok::<_, std::io::Error>(Some(found)) }
    };
    let lookup = IssuerLookup::new(move |_| asked.load(Ordering::SeqCst), lookup);
    let lookup = Verifier::from(lookup.with_clock(server.clock()));
    let api = api(BearerLayer::new(lookup));
    let token = good(&server).sign();
    for is_allowed in [true, false, true] {
        allowed.store(is_allowed, Ordering::SeqCst);
        let expect = if is_allowed {
            Outcome::Accepted
        } else {
            Outcome::InvalidToken(VerifyErrorKind::Issuer)
        };
        assert_eq!(present(&api, &token).await.outcome(), expect, "J20 A19");
    }
}

/// One lookup that went down must not stand for all those after it.
#[tokio::test]
async fn a_lookup_that_panicked_once_keeps_no_withdrawn_tenant_alive() {
    let (server, api, asked) = tenant(&[Way::Finds, Way::Panics, Way::FindsNobody]);
    let token = good(&server).with_expires_in(7200).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.clock().advance(Duration::from_secs(600));
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.clock().advance(Duration::from_secs(60));
    let outcome = present(&api, &token).await.outcome();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(outcome, Outcome::InvalidToken(VerifyErrorKind::Issuer));
}
