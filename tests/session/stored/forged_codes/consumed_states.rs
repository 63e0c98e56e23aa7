//! How long a consumed `state` stays in the store.

use std::time::Duration;

use http::StatusCode;
use tower_oauth::store::{Key, Store as _};
use tower_oauth::testing::{Endpoint, Fault};

use super::super::Watched;
use super::*;
use crate::support::modes::{Mode, session_modes};

session_modes! {
    all: [
        a_code_is_not_sent_twice_if_the_clock_is_set_back,
    ],
    with_store: [
        a_code_is_not_sent_twice_if_the_clock_was_ahead_at_the_callback,
    ],
}

fn watched(world: &World) -> (Watched, Shop) {
    let store = Watched::new(&world.server);
    let shop = world.shop(world.login().with_session_store(store.clone()));
    (store, shop)
}

/// Reports at each of these times after the callback whether the consumed state is stored.
async fn stored_after(world: &World, store: &Watched, times: &[u64]) -> Vec<bool> {
    let [(name, _, _)] = &store.entries("state")[..] else {
        panic!("one state was claimed")
    };
    let key = Key::new("state", name.split_once(':').unwrap().1);
    let mut there = Vec::new();
    let mut passed = 0;
    for time in times {
        world.advance(Duration::from_secs(time - passed));
        passed = *time;
        there.push(store.get(&key).await.unwrap().is_some());
    }
    there
}

/// The transaction can be presented for 600 seconds, and for 60 more to a replica whose clock is behind.
#[tokio::test]
async fn a_consumed_state_is_shortened_only_after_a_definitive_rejection_of_the_code() {
    const TIMES: [u64; 4] = [29, 31, 659, 790];
    let short = [true, false, false, false];
    let long = [true, true, true, false];
    let refusal = |status, body| Reply::Status(status, Some(body));
    for (reply, expected) in [
        (Reply::Refuse, short),
        (refusal(400, r#"{"error":"invalid_grant"}"#), short),
        (refusal(200, r#"{"error":"invalid_grant"}"#), short),
        (refusal(400, r#"{"error":"invalid_request"}"#), short),
        (refusal(401, r#"{"error":"invalid_client"}"#), short),
        (refusal(400, r#"{"error":"unauthorized_client"}"#), short),
        (refusal(500, r#"{"error":"invalid_grant"}"#), long),
        (refusal(400, r#"{"error":"server_error"}"#), long),
        (refusal(503, r#"{"error":"temporarily_unavailable"}"#), long),
        (refusal(400, r#"{"error":"something new"}"#), long),
        (refusal(200, "not JSON"), long),
        (refusal(200, "{}"), long),
        (Reply::Status(400, None), long),
        (Reply::Status(401, None), long),
        (Reply::Status(403, None), long),
        (Reply::Status(429, None), long),
        (Reply::Status(500, None), long),
        (Reply::Status(502, None), long),
        (Reply::Status(503, None), long),
        (Reply::Status(504, None), long),
        (Reply::Reset, long),
        (Reply::Close, long),
        (Reply::Hang, long),
    ] {
        let world = World::new();
        let (store, shop) = watched(&world);
        let ask = forged_callback(&shop).await;
        world.channel.answer(reply);
        let answer = world.in_time(async move { shop.send(ask).await }).await;
        assert!(!answer.status.is_redirection(), "{reply:?}");
        let there = stored_after(&world, &store, &TIMES).await;
        // A request that hung was started 5 seconds before.
        let expected = match reply {
            Reply::Hang => [true, true, true, false],
            _ => expected,
        };
        assert_eq!(there, expected, "{reply:?}");
    }
}

#[tokio::test]
async fn the_consumed_state_of_a_redeemed_code_lasts_as_long_as_its_transaction() {
    let world = World::new();
    let (store, shop) = watched(&world);
    let (_, ask) = honest_callback(&shop).await;
    assert_eq!(shop.send(ask).await.sets(), [SESSION]);
    let there = stored_after(&world, &store, &[31, 659, 790]).await;
    assert_eq!(there, [true, true, false]);
}

/// A rejected ID token does not make the code unused.
#[tokio::test]
async fn the_consumed_state_of_a_code_with_a_rejected_id_token_is_kept() {
    let world = World::new();
    let (store, shop) = watched(&world);
    let (_, ask) = honest_callback(&shop).await;
    let broken = Fault::id_token(|mint| mint.with_broken_signature());
    world.server.fail(Endpoint::Token, broken);
    assert_eq!(shop.send(ask).await.status, StatusCode::BAD_GATEWAY);
    let there = stored_after(&world, &store, &[31, 659]).await;
    assert_eq!(there, [true, true]);
}

#[tokio::test]
async fn rejected_codes_occupy_a_fixed_part_of_the_store_at_any_rate() {
    let world = World::new();
    let store = world.memory(2_000);
    let shop = world.shop(world.login().with_session_store(store.clone()));
    for _ in 0..1_500 {
        let ask = forged_callback(&shop).await;
        assert_eq!(shop.send(ask).await.status, StatusCode::BAD_REQUEST);
        assert!(store.len() <= 257, "{}", store.len());
    }
    assert_eq!(world.channel.sent(), 1_500);
    let jar = sign_in(&world, &shop).await;
    assert_eq!(greeting(&shop, &jar).await, "hello alice");
}

/// The code was sent once. A callback at another replica does not send it again.
#[tokio::test]
async fn a_rejected_code_is_not_sent_again_by_another_replica_immediately() {
    let world = World::new();
    let store = world.memory(2_000);
    let shops = [1, 2].map(|_| world.shop(world.login().with_session_store(store.clone())));
    let ask = forged_callback(&shops[0]).await;
    for shop in [&shops[0], &shops[1], &shops[0]] {
        let answer = shop.send(ask.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(world.channel.sent(), 1);
}

/// With a clock that is ahead during the callback the transaction seems old, and a correct clock accepts it
/// for longer.
async fn a_code_is_not_sent_twice_if_the_clock_was_ahead_at_the_callback(mode: Mode) {
    let world = World::new();
    let store = world.memory(2_000);
    let shops = [1, 2].map(|_| world.shop(mode.place_in(world.login(), store.clone())));
    let (_, ask) = honest_callback(&shops[0]).await;
    world.server.clock().adjust_wall_clock(590);
    assert!(shops[0].send(ask.clone()).await.sets().contains(&SESSION));
    world.server.clock().adjust_wall_clock(-590);
    for _ in 0..4 {
        world.advance(Duration::from_secs(140));
        for shop in &shops {
            shop.send(ask.clone()).await;
        }
    }
    assert_eq!(shops[0].token_calls(), 1);
}

async fn a_code_is_not_sent_twice_if_the_clock_is_set_back(mode: Mode) {
    for back in [-400, -650, -720, -3600] {
        let world = World::new();
        let store = world.memory(2_000);
        let shop = world.shop(mode.place_in(world.login(), store));
        let (_, ask) = honest_callback(&shop).await;
        assert!(shop.send(ask.clone()).await.sets().contains(&SESSION));
        world.advance(Duration::from_secs(725));
        world.server.clock().adjust_wall_clock(back);
        for _ in 0..30 {
            shop.send(ask.clone()).await;
            world.advance(Duration::from_secs(150));
        }
        assert_eq!(shop.token_calls(), 1, "{back}");
    }
}
