//! The limit on concurrent token requests of callbacks.

use std::time::Duration;

use http::StatusCode;

use super::*;

/// The maximum of concurrent token requests of callbacks.
const LIMIT: usize = 64;

#[tokio::test]
async fn forged_codes_cause_at_most_64_concurrent_token_requests() {
    let world = World::new();
    let shop = world.shop(world.login());
    world.channel.answer(Reply::Hang);
    let attackers = attack(&shop, 300).await;
    settle().await;
    assert_eq!(world.channel.sent(), LIMIT);
    for round in 2..=4 {
        world.advance(Duration::from_secs(5));
        settle().await;
        assert_eq!(world.channel.sent(), round * LIMIT);
    }
    for _ in 0..2 {
        world.advance(Duration::from_secs(5));
        settle().await;
    }
    assert_eq!(world.channel.sent(), 300);
    for attacker in attackers {
        assert!(attacker.is_finished());
        let answer = attacker.await.unwrap();
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!(world.channel.peak(), LIMIT);
}

/// The oldest and the newest waiting callback alternate, so that a burst delays neither those before it nor
/// those after it.
#[tokio::test]
async fn an_honest_callback_before_or_after_a_burst_of_hanging_codes_signs_in() {
    for after in [LIMIT, 500] {
        let world = World::new();
        let shop = world.shop(world.login());
        world.channel.answer(Reply::Hang);
        let mut attackers = attack(&shop, LIMIT).await;
        settle().await;
        let (_, before) = honest_callback(&shop).await;
        let shop_of_it = shop.clone();
        let before = tokio::spawn(async move { shop_of_it.send(before).await });
        settle().await;
        attackers.extend(attack(&shop, after).await);
        settle().await;
        let start = world.server.clock().unix_seconds();
        let jar = sign_in(&world, &shop).await;
        let waited = world.server.clock().unix_seconds() - start;
        assert!((5..=6).contains(&waited), "{waited}");
        assert_eq!(greeting(&shop, &jar).await, "hello alice");
        settle().await;
        assert!(before.is_finished());
        assert_eq!(before.await.unwrap().sets(), [SESSION]);
        drop(attackers);
    }
}

/// No request was sent: neither the code nor the transaction is used.
#[tokio::test]
async fn a_callback_that_timed_out_in_the_queue_is_completed_by_a_reload() {
    for with_store in [false, true] {
        let world = World::new();
        let login = match with_store {
            true => world.login().with_session_store(world.memory(10_000)),
            false => world.login(),
        };
        let shop = world.shop(login);
        world.channel.answer(Reply::Hang);
        // In the middle of a flood, far from both of its ends.
        let mut attackers = attack(&shop, 5 * LIMIT).await;
        let (_, ask) = honest_callback(&shop).await;
        let (again, shop_of_it) = (ask.clone(), shop.clone());
        let waiting = tokio::spawn(async move { shop_of_it.send(ask).await });
        settle().await;
        attackers.extend(attack(&shop, 5 * LIMIT).await);
        let answer = world.in_time(async move { waiting.await.unwrap() }).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.text().contains("reload"), "{}", answer.text());
        assert_eq!(answer.header("retry-after"), "5");
        assert_eq!(answer.set_cookies(), [""; 0], "the transaction stays");
        world.channel.answer(Reply::Refuse);
        world.advance(Duration::from_secs(5));
        settle().await;
        assert!(attackers.iter().all(tokio::task::JoinHandle::is_finished));
        let answer = shop.send(again).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.sets(), [SESSION]);
    }
}

#[tokio::test]
async fn a_caller_that_disconnects_leaves_the_queue() {
    let world = World::new();
    let shop = world.shop(world.login());
    world.channel.answer(Reply::Hang);
    let attackers = attack(&shop, 3 * LIMIT).await;
    settle().await;
    for attacker in &attackers {
        attacker.abort();
    }
    settle().await;
    // Requests in progress complete; those in the queue are never sent.
    for _ in 0..4 {
        world.advance(Duration::from_secs(5));
        settle().await;
    }
    assert_eq!(world.channel.sent(), LIMIT);
}

#[tokio::test]
async fn a_callback_beyond_the_queue_limit_is_rejected_immediately_and_stores_nothing() {
    let world = World::new();
    let shop = world.shop(world.login());
    world.channel.answer(Reply::Hang);
    let attackers = attack(&shop, LIMIT + 1024).await;
    settle().await;
    let (_, ask) = honest_callback(&shop).await;
    let answer = shop.send(ask.clone()).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.set_cookies(), [""; 0]);
    attackers.iter().for_each(tokio::task::JoinHandle::abort);
    for _ in 0..2 {
        world.advance(Duration::from_secs(5));
        settle().await;
    }
    assert_eq!(shop.send(ask).await.sets(), [SESSION]);
}
