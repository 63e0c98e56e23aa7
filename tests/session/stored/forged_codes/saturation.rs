//! A saturating attacker beside honest users for ten minutes.

use std::time::Duration;

use http::StatusCode;
use tower_oauth::store::StoreError;
use tower_oauth::store::{Expect, Key, KeyClass, Put, Store as _};

use super::*;
use crate::support::modes::{Mode, session_modes};

session_modes! {
    with_store: [
        for_ten_minutes_no_honest_login_fails_beside_a_flood_of_forged_codes,
        sessions_work_while_unauthenticated_callers_fill_their_part_of_the_store,
        a_store_full_of_sessions_has_room_for_leases_and_sign_outs,
    ],
}

/// What an honest user does, all of which must succeed: uses a session, refreshes its token, signs out.
pub async fn use_and_end(shop: &Shop, jar: &mut Jar) {
    assert_eq!(greeting(shop, jar).await, "hello alice");
    let answer = shop.send(Ask::page("/renew").jar(jar)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    jar.take(&answer);
    let copy = jar.clone();
    let answer = sign_out(shop, jar).await;
    assert!(answer.status.is_redirection(), "{}", answer.text());
    assert_eq!(greeting(shop, &copy).await, "hello stranger");
}

/// Every ten seconds the attacker sends 80 callbacks. With requests that hang for 5 seconds, all permits are
/// in use permanently.
async fn for_ten_minutes_no_honest_login_fails_beside_a_flood_of_forged_codes(mode: Mode) {
    let seconds = if mode == Mode::Store { 600 } else { 110 };
    let world = World::new();
    let store = world.memory(20_000);
    let shop = world.shop(mode.place_in(world.login(), store.clone()));
    let mut kept = sign_in(&world, &shop).await;
    let start = world.server.clock().unix_seconds();
    let mut attackers = Vec::new();
    for round in 0_usize.. {
        if world.server.clock().unix_seconds() - start >= seconds {
            break;
        }
        let reply = REPLIES[round % REPLIES.len()];
        world.channel.answer(reply);
        attackers.extend(attack(&shop, 80).await);
        settle().await;
        // Behind all of them.
        let mut jar = sign_in(&world, &shop).await;
        use_and_end(&shop, &mut jar).await;
        let answer = shop.send(Ask::page("/renew").jar(&kept)).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{reply:?}");
        kept.take(&answer);
        let spent = world.server.clock().unix_seconds() - start;
        let next = i64::try_from(10 * (round + 1)).unwrap();
        for _ in spent..next {
            world.advance(Duration::from_secs(1));
            settle().await;
        }
    }
    assert!(attackers.len() >= 880, "{}", attackers.len());
    assert!(world.channel.peak() <= 64);
    for attacker in attackers {
        let status = attacker.await.unwrap().status;
        assert!(status.is_client_error() || status.is_server_error());
    }
}

/// The attacker fills the part of the store for unauthenticated callers. Only new logins are affected.
async fn sessions_work_while_unauthenticated_callers_fill_their_part_of_the_store(mode: Mode) {
    let world = World::new();
    let store = world.memory(200);
    let shop = world.shop(mode.place_in(world.login(), store.clone()));
    let mut jars = Vec::new();
    for _ in 0..20 {
        jars.push(sign_in(&world, &shop).await);
    }
    world.channel.answer(Reply::Status(500, None));
    for _ in 0..120 {
        let ask = forged_callback(&shop).await;
        assert_eq!(shop.send(ask).await.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    let (_, honest) = honest_callback(&shop).await;
    let answer = shop.send(honest.clone()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.set_cookies(), [""; 0], "the login can be completed");
    assert!(
        world.channel.sent() < 100,
        "a state without a claim is not redeemed"
    );
    for jar in &mut jars {
        use_and_end(&shop, jar).await;
    }
    // The authorization server signs out users without a session here: each has a watermark.
    for n in 0..50 {
        let token = logout_token(&world.server, &format!("user-{n}"));
        let body = format!("logout_token={token}");
        let request = Ask::new("POST", "/auth/backchannel-logout")
            .with(&[("content-type", "application/x-www-form-urlencoded")])
            .body(&body);
        assert_eq!(shop.send(request).await.status, StatusCode::OK, "{n}");
    }
    // There is room again once the transactions have expired.
    world.advance(Duration::from_secs(721));
    sign_in(&world, &shop).await;
}

pub fn logout_token(server: &TestServer, subject: &str) -> String {
    logout_token_of(server, subject, subject)
}

pub fn logout_token_of(server: &TestServer, subject: &str, id: &str) -> String {
    let event = "http://schemas.openid.net/event/backchannel-logout";
    server
        .id_token("shop")
        .with_header("typ", "logout+jwt")
        .with_subject(subject)
        .with_claim("jti", id)
        .with_claim("events", serde_json::json!({ event: {} }))
        .sign()
}

/// A hostile user fills the part of sessions. Other users can still sign out and refresh.
async fn a_store_full_of_sessions_has_room_for_leases_and_sign_outs(mode: Mode) {
    let world = World::new();
    let store = world.memory(200);
    let shop = world.shop(mode.place_in(world.login(), store.clone()));
    let mut jar = sign_in(&world, &shop).await;
    let mut other = sign_in(&world, &shop).await;
    for n in 0.. {
        let key = Key::new("session", &n.to_string());
        assert_eq!(key.class(), KeyClass::Authenticated);
        let day = Duration::from_secs(86_400);
        match store.put(&key, Bytes::new(), day, Expect::Absent).await {
            Ok(Put::Stored(_)) => {}
            Err(StoreError::Full) => break,
            other => panic!("{other:?}"),
        }
    }
    use_and_end(&shop, &mut jar).await;
    use_and_end(&shop, &mut other).await;
}
