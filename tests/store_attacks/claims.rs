//! How long a claimed state stays in the store.

use std::time::Duration;

use http::StatusCode;
use tower_oauth::store::{Key, Store as _};
use tower_oauth::testing::{Endpoint, Fault};

use super::*;
use crate::Watched;

fn watched(world: &World) -> (Watched, Shop) {
    let store = Watched::new(&world.server);
    let shop = world.shop(world.login().with_session_store(store.clone()));
    (store, shop)
}

/// The one claim: whether it is there after this time, counted from its callback.
async fn claimed_after(world: &World, store: &Watched, times: &[u64]) -> Vec<bool> {
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

/// The transaction can be presented for 600 seconds, and to a replica with a clock behind for 60 more.
#[tokio::test]
async fn a_claim_is_short_only_after_a_definitive_refusal_of_the_code() {
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
        let ask = made_up_callback(&shop).await;
        world.channel.answer(reply);
        let answer = world.in_time(async move { shop.send(ask).await }).await;
        assert!(!answer.status.is_redirection(), "{reply:?}");
        let there = claimed_after(&world, &store, &TIMES).await;
        // A request that hung was claimed 5 seconds before.
        let expected = match reply {
            Reply::Hang => [true, true, true, false],
            _ => expected,
        };
        assert_eq!(there, expected, "{reply:?}");
    }
}

#[tokio::test]
async fn the_claim_of_a_redeemed_code_lasts_as_long_as_its_transaction() {
    let world = World::new();
    let (store, shop) = watched(&world);
    let (_, ask) = honest_callback(&shop).await;
    assert_eq!(shop.send(ask).await.sets(), [SESSION]);
    let there = claimed_after(&world, &store, &[31, 659, 790]).await;
    assert_eq!(there, [true, true, false]);
}

/// An ID token that is refused does not make the code unused.
#[tokio::test]
async fn the_claim_of_a_code_whose_id_token_is_refused_stays() {
    let world = World::new();
    let (store, shop) = watched(&world);
    let (_, ask) = honest_callback(&shop).await;
    let broken = Fault::id_token(|mint| mint.with_broken_signature());
    world.server.fail(Endpoint::Token, broken);
    assert_eq!(shop.send(ask).await.status, StatusCode::BAD_GATEWAY);
    let there = claimed_after(&world, &store, &[31, 659]).await;
    assert_eq!(there, [true, true]);
}

#[tokio::test]
async fn refused_codes_occupy_a_fixed_part_of_the_store_however_fast_they_come() {
    let world = World::new();
    let store = world.memory(2_000);
    let shop = world.shop(world.login().with_session_store(store.clone()));
    for _ in 0..1_500 {
        let ask = made_up_callback(&shop).await;
        assert_eq!(shop.send(ask).await.status, StatusCode::BAD_REQUEST);
        assert!(store.len() <= 257, "{}", store.len());
    }
    assert_eq!(world.channel.sent(), 1_500);
    let jar = sign_in(&world, &shop).await;
    assert_eq!(greeting(&shop, &jar).await, "hello alice");
}

/// The code was sent once, so a callback that reaches another replica sends it no second time.
#[tokio::test]
async fn a_refused_code_is_not_sent_again_by_another_replica_at_once() {
    let world = World::new();
    let store = world.memory(2_000);
    let shops = [1, 2].map(|_| world.shop(world.login().with_session_store(store.clone())));
    let ask = made_up_callback(&shops[0]).await;
    for shop in [&shops[0], &shops[1], &shops[0]] {
        let answer = shop.send(ask.clone()).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(world.channel.sent(), 1);
}

/// A clock that is ahead at the callback makes the transaction look old, and a clock that is right accepts it for
/// longer than that.
#[tokio::test]
async fn a_clock_that_was_ahead_at_the_callback_lets_no_code_be_sent_twice() {
    for mode in modes() {
        let world = World::new();
        let store = world.memory(2_000);
        let shops = [1, 2].map(|_| world.shop(mode(world.login(), store.clone())));
        let (_, ask) = honest_callback(&shops[0]).await;
        world.server.clock().turn_wall(590);
        assert!(shops[0].send(ask.clone()).await.sets().contains(&SESSION));
        world.server.clock().turn_wall(-590);
        for _ in 0..4 {
            world.advance(Duration::from_secs(140));
            for shop in &shops {
                shop.send(ask.clone()).await;
            }
        }
        assert_eq!(shops[0].token_calls(), 1);
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_lets_no_code_be_sent_twice() {
    // With the store of sessions, with that of cookies, and without.
    for mode in [0, 1, 2] {
        for back in [-400, -650, -720, -3600] {
            let world = World::new();
            let store = world.memory(2_000);
            let login = world.login();
            let shop = world.shop(match mode {
                2 => login,
                mode => modes()[mode](login, store),
            });
            let (_, ask) = honest_callback(&shop).await;
            assert!(shop.send(ask.clone()).await.sets().contains(&SESSION));
            world.advance(Duration::from_secs(725));
            world.server.clock().turn_wall(back);
            for _ in 0..30 {
                shop.send(ask.clone()).await;
                world.advance(Duration::from_secs(150));
            }
            assert_eq!(shop.token_calls(), 1, "{mode} {back}");
        }
    }
}
