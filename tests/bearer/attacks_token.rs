//! Attacks on token validation that the specifications do not list: unusual serializations, other types of tokens, and
//! floods that affect other clients.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use serde_json::json;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer};
use tower_oauth::token::{
    IntrospectionVerifier, IssuerLookup, JwtVerifier, TokenProfile, Verifier, VerifyErrorKind,
};
use tower_oauth::{BearerLayer, Client};

use crate::support::api::{AUDIENCE, Outcome, api, good, present, server, settle, until};

const SECRET: &str = "api-secret";

fn introspecting() -> (TestServer, IntrospectionVerifier) {
    let server = server().add_client(TestClient::confidential("api", SECRET));
    let client = Client::confidential("api", SECRET);
    let verifier = IntrospectionVerifier::new(&server.authorization_server(), client, AUDIENCE);
    (server, verifier.unwrap())
}

/// Authorization servers parse JWTs leniently: some drop empty segments at the end, others ignore segments after the
/// third. To them these tokens are the rejected one.
#[tokio::test]
async fn additional_segments_do_not_make_a_rejected_jwt_opaque() {
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
            "{behind:?}: {outcome:?}"
        );
        assert_eq!(server.count(Endpoint::Introspection), 0, "{behind:?}");
    }
}

/// A firewall in front of the authorization server responds 403 to tokens that look like an attack.
#[tokio::test]
async fn tokens_blocked_by_a_firewall_do_not_open_the_circuit() {
    let (server, verifier) = introspecting();
    let api = api(BearerLayer::new(verifier.clone()));
    server.fail_times(Endpoint::Introspection, 20, Fault::status(403));
    for junk in 0..20 {
        let outcome = present(&api, &format!("../../etc/passwd/{junk}")).await;
        assert_eq!(outcome.outcome(), Outcome::Unavailable);
    }
    assert!(verifier.health().is_ready());
    let token = good(&server).opaque();
    let outcome = present(&api, &token).await.outcome();
    assert_eq!(outcome, Outcome::Accepted);
}

/// Some authorization servers issue refresh and ID tokens with all claims that a profile requires, and state their type
/// in another claim.
#[tokio::test]
async fn a_token_that_states_another_type_is_rejected() {
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
            assert_eq!(outcome, expect, "{profile:?} {claim} {value}");
        }
    }
}

const NOT_ACCESS: Outcome = Outcome::InvalidToken(VerifyErrorKind::NotAnAccessToken);

/// How the application's lookup behaves on each call; the last one repeats.
#[derive(Clone, Copy, PartialEq)]
enum Behavior {
    Finds,
    FindsNothing,
    Hangs,
    Panics,
}

const TENANTS: &str = "https://tenants.example.test/";

fn tenant(behaviors: &'static [Behavior]) -> (TestServer, Router, Arc<AtomicUsize>) {
    crate::support::logs::listen();
    let server = TestServer::new(&format!("{TENANTS}acme")).unwrap();
    let asked = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&asked);
    let known = Mutex::new(server.authorization_server());
    let lookup = IssuerLookup::new(
        |issuer| issuer.starts_with(TENANTS),
        move |_| {
            let at = counted.fetch_add(1, Ordering::SeqCst);
            let behavior = behaviors[at.min(behaviors.len() - 1)];
            assert!(behavior != Behavior::Panics, "the lookup panics");
            let found = JwtVerifier::new(&known.lock().unwrap(), AUDIENCE).unwrap();
            async move {
                match behavior {
                    Behavior::Hangs => std::future::pending().await,
                    Behavior::Finds => Ok::<_, std::io::Error>(Some(found)),
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

/// The maximum number of lookups is in progress, all for invented issuers.
#[tokio::test]
async fn unknown_issuers_do_not_block_the_lookup_of_a_known_tenant() {
    let (server, api, asked) = tenant(&[Behavior::Finds, Behavior::Hangs]);
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
    // The known tenant is still looked up again, so a flood does not keep a removed one.
    let known = later(token);
    until(|| asked.load(Ordering::SeqCst) == 258).await;
    settle().await;
    server.clock().advance(Duration::from_secs(2));
    assert_eq!(known.await.unwrap(), Outcome::Accepted);
    for one in waiting {
        assert_eq!(one.await.unwrap(), Outcome::Unavailable);
    }
}

/// A change of the allow-list applies immediately.
#[tokio::test]
async fn a_tenant_that_is_no_longer_allowed_is_rejected_despite_the_cache() {
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
        assert_eq!(present(&api, &token).await.outcome(), expect);
    }
}

/// A lookup that panicked must not block later ones.
#[tokio::test]
async fn a_lookup_that_panicked_does_not_keep_a_removed_tenant() {
    let (server, api, asked) = tenant(&[Behavior::Finds, Behavior::Panics, Behavior::FindsNothing]);
    let token = good(&server).with_expires_in(7200).sign();
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.clock().advance(Duration::from_secs(600));
    assert_eq!(present(&api, &token).await.outcome(), Outcome::Accepted);
    server.clock().advance(Duration::from_secs(60));
    let outcome = present(&api, &token).await.outcome();
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(outcome, Outcome::InvalidToken(VerifyErrorKind::Issuer));
}
