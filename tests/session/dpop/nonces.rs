//! Nonces of DPoP proofs (RFC 9449 §8, §9).

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use tower_oauth::clock::Clock as _;
use tower_oauth::testing::{Endpoint, Fault, TestClient};
use tower_oauth::{Client, CookieKey, CredentialSource, LoginLayer, SigningKey};

use crate::support::logs::Logs;
use crate::support::modes::Mode;
use crate::support::proofs::{Proof, dpop_server, dpop_shop, proofs, shop_of, userinfo};
use crate::support::refresh::{Switched, begin, in_time, shop, token};
use crate::support::shop::{CALLBACK, Jar, KEY, SESSION, login};

const NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The server accepts neither a proof nor an assertion twice.
#[tokio::test]
async fn a_nonce_is_answered_with_one_retry_that_has_new_ids_in_proof_and_assertion() {
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let key = SigningKey::from_pem(&pem).unwrap();
    let registered = TestClient::private_key_jwt("shop", key.public_jwk())
        .add_redirect_uri(CALLBACK)
        .unwrap()
        .without_consent()
        .with_required_dpop();
    let server = dpop_server(|_| registered).with_dpop_nonces();
    let client = Client::private_key_jwt("shop", key);
    let cookie_key = CookieKey::from_bytes(&KEY).unwrap();
    let layer = LoginLayer::new(&server.authorization_server(), client, CALLBACK, cookie_key);
    let shop = shop_of(&server, layer.unwrap().with_dpop());
    let jar = shop.signed_in().await;
    assert_eq!(userinfo(&shop, &jar).await.text(), "userinfo of alice");

    for endpoint in [Endpoint::Token, Endpoint::UserInfo] {
        let sent = proofs(&server, endpoint);
        assert_eq!(sent.len(), 2, "{endpoint:?}");
        assert!(sent[0].claims.get("nonce").is_none());
        assert_ne!(sent[1].claim("nonce"), "");
        assert_ne!(sent[0].claim("jti"), sent[1].claim("jti"));
    }
    let requests = server.requests();
    let assertions: Vec<_> = requests
        .iter()
        .filter(|request| request.endpoint() == Endpoint::Token)
        .map(|request| Proof::read(&request.parameter("client_assertion").unwrap()))
        .collect();
    assert_ne!(assertions[0].claim("jti"), assertions[1].claim("jti"));
    // RFC 10070 §4: not the endpoint that asks for the nonce.
    for assertion in &assertions {
        assert_eq!(assertion.claims["aud"], server.issuer());
    }

    // The nonces are known now.
    server.clear_requests();
    shop.signed_in().await;
    assert_eq!(userinfo(&shop, &jar).await.text(), "userinfo of alice");
    assert_eq!(server.count(Endpoint::Token), 1);
    assert_eq!(server.count(Endpoint::UserInfo), 1);
}

#[tokio::test]
async fn a_second_demand_for_a_nonce_is_an_error_that_says_so() {
    for (nonce, requests, code) in [
        (Some("n1"), 2, "dpop_nonce_refused"),
        (None, 1, "dpop_nonce_missing"),
        (Some("not a nonce"), 1, "dpop_nonce_missing"),
    ] {
        let server = dpop_server(|client| client);
        let shop = dpop_shop(&server);
        server.fail(Endpoint::Token, Fault::refusal("use_dpop_nonce"));
        if let Some(nonce) = nonce {
            let field = Fault::header(NONCE, HeaderValue::from_static(nonce));
            server.fail(Endpoint::Token, field);
        }
        let log = Logs::default();
        let recording = log.record_only("login_failed");
        let mut jar = Jar::default();
        let answer = shop.sign_in("alice", &mut jar).await;
        drop(recording);
        assert_eq!(answer.status, 502, "{nonce:?}");
        assert!(!jar.names().contains(&SESSION));
        assert_eq!(server.count(Endpoint::Token), requests, "{nonce:?}");
        let text = log.text();
        assert!(
            text.contains(code) && text.contains("use_dpop_nonce"),
            "{text}"
        );
    }
    // Userinfo.
    for (nonce, requests, expected) in [
        (Some("n1"), 2, "rejected the one that it had sent"),
        (None, 1, "sent no valid `DPoP-Nonce`"),
    ] {
        let server = dpop_server(|client| client);
        let shop = dpop_shop(&server);
        let jar = shop.signed_in().await;
        let challenge = HeaderValue::from_static("dpop ERROR=\"Use_DPoP_Nonce\"");
        server.fail(Endpoint::UserInfo, Fault::status(401));
        let field = http::header::WWW_AUTHENTICATE;
        server.fail(Endpoint::UserInfo, Fault::header(field, challenge));
        if let Some(nonce) = nonce {
            let field = Fault::header(NONCE, HeaderValue::from_static(nonce));
            server.fail(Endpoint::UserInfo, field);
        }
        let text = userinfo(&shop, &jar).await.text();
        assert!(text.contains(expected), "{text}");
        assert_eq!(server.count(Endpoint::UserInfo), requests, "{nonce:?}");
    }
}

/// A session survives a refresh that the server does not process for lack of a nonce.
#[tokio::test]
async fn a_refused_nonce_at_a_refresh_ends_no_session() {
    let server = dpop_server(|client| client);
    let shop = shop(&server, login(&server).with_dpop(), &Default::default());
    let jar = shop.signed_in().await;
    server.clock().advance(Duration::from_secs(300));
    server.clear_requests();
    server.fail(Endpoint::Token, Fault::refusal("use_dpop_nonce"));
    server.fail(
        Endpoint::Token,
        Fault::header(NONCE, HeaderValue::from_static("n1")),
    );
    assert_eq!(token(&shop, &jar).await.status, 503);
    assert_eq!(server.count(Endpoint::Token), 2);
    server.clear_faults(Endpoint::Token);
    server.clock().advance(Duration::from_secs(60));
    assert_eq!(token(&shop, &jar).await.status, 200);
}

/// The lease of the session may be lost by then, and another process may send the refresh token.
#[tokio::test]
async fn a_refresh_is_not_repeated_with_a_nonce_that_arrives_late() {
    let seconds = Duration::from_secs_f32;
    for (credential_delay, delay, requests, status) in [
        (seconds(0.0), seconds(0.0), 2, 200),
        (seconds(2.0), seconds(2.0), 2, 503),
        (seconds(3.0), seconds(3.0), 1, 503),
        (seconds(4.5), seconds(4.5), 1, 503),
    ] {
        let server = dpop_server(|client| client).with_dpop_nonces();
        let clock = server.clock();
        let is_slow = Arc::new(AtomicBool::new(false));
        let (slow, timer) = (Arc::clone(&is_slow), clock.clone());
        let source = CredentialSource::from_fn(move || {
            let sleep = slow
                .load(Ordering::SeqCst)
                .then(|| timer.sleep(credential_delay));
            async move {
                if let Some(sleep) = sleep {
                    sleep.await;
                }
                Ok("shop-secret")
            }
        });
        let client = Client::confidential("shop", source);
        let key = CookieKey::from_bytes(&KEY).unwrap();
        let layer = LoginLayer::new(&server.authorization_server(), client, CALLBACK, key);
        let layer = layer.unwrap().with_dpop();
        let store = Switched::new(clock.clone());
        let shop = shop(
            &server,
            Mode::Store.place_in(layer, store),
            &Default::default(),
        );
        let jar = shop.signed_in().await;
        clock.advance(Duration::from_secs(600));
        server.clear_requests();
        is_slow.store(true, Ordering::SeqCst);
        server.fail(Endpoint::Token, Fault::delay(delay));
        let began = clock.monotonic();
        let answer = in_time(&clock, token(&shop, &jar)).await;
        let case = format!("{credential_delay:?} {delay:?}");
        assert_eq!(answer.status, status, "{case}: {}", answer.text());
        assert_eq!(server.count(Endpoint::Token), requests, "{case}");
        assert!(
            clock.monotonic() - began <= seconds(7.5),
            "{case}: the lease lasts 10 seconds"
        );
    }
}

#[tokio::test]
async fn concurrent_requests_share_one_refresh_and_its_retry() {
    let server = dpop_server(|client| client).with_dpop_nonces();
    let shop = shop(&server, login(&server).with_dpop(), &Default::default());
    let jar = shop.signed_in().await;
    // The nonce of the login has expired too.
    server.clock().advance(Duration::from_secs(600));
    server.clear_requests();
    let requests: Vec<_> = (0..50).map(|_| begin(&shop, "/token", &jar)).collect();
    let mut tokens = HashSet::new();
    for request in requests {
        let answer = request.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        tokens.insert(answer.text());
    }
    assert_eq!(tokens.len(), 1);
    let jwt_ids: HashSet<_> = proofs(&server, Endpoint::Token)
        .iter()
        .map(|proof| proof.claim("jti").to_owned())
        .collect();
    assert_eq!((server.count(Endpoint::Token), jwt_ids.len()), (2, 2));
}

/// RFC 9449 §8.2: a response of any status may have the next nonce.
#[tokio::test]
async fn nonces_are_learned_from_successful_responses() {
    let hour = Duration::from_secs(3600);
    let server = dpop_server(|client| client.with_access_token_lifetime(hour)).with_dpop_nonces();
    let shop = dpop_shop(&server);
    let jar = shop.signed_in().await;
    userinfo(&shop, &jar).await;
    server.clear_requests();
    // The server changes its nonces every two minutes and accepts the previous one.
    for _ in 0..5 {
        server.clock().advance(Duration::from_secs(120));
        assert_eq!(userinfo(&shop, &jar).await.text(), "userinfo of alice");
    }
    let nonces = proofs(&server, Endpoint::UserInfo);
    let nonces: HashSet<_> = nonces.iter().map(|proof| proof.claim("nonce")).collect();
    assert_eq!(server.count(Endpoint::UserInfo), 5, "none was rejected");
    assert_eq!(nonces.len(), 5, "each proof had a newer nonce");
    // After a pause, the nonce is too old.
    server.clock().advance(Duration::from_secs(600));
    assert_eq!(userinfo(&shop, &jar).await.text(), "userinfo of alice");
    assert_eq!(server.count(Endpoint::UserInfo), 7);
}

/// Token endpoint and userinfo have the same origin here, and nonces of their own.
#[tokio::test]
async fn a_nonce_never_reaches_another_server() {
    let server = dpop_server(|client| client).with_dpop_nonces();
    let shop = dpop_shop(&server);
    let mut jar = shop.signed_in().await;
    for _ in 0..3 {
        userinfo(&shop, &jar).await;
        server.clock().advance(Duration::from_secs(150));
        jar.take(&userinfo(&shop, &jar).await);
        jar = shop.signed_in().await;
    }
    let nonces = |endpoint| -> HashSet<String> {
        let proofs = proofs(&server, endpoint).into_iter();
        let nonces = proofs.map(|proof| proof.claim("nonce").to_owned());
        nonces.filter(|nonce| !nonce.is_empty()).collect()
    };
    let (token, userinfo) = (nonces(Endpoint::Token), nonces(Endpoint::UserInfo));
    assert!(token.len() > 1 && userinfo.len() > 1);
    assert!(token.is_disjoint(&userinfo));
}
