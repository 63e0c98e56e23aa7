//! The same attacks with a real Redis with `maxmemory` and `noeviction`. `tests/interop/run store` runs
//! these.
//!
//! Tests advance the clock of the layer but not that of Redis, so they advance it only while no operation is
//! in progress.

use std::time::Duration;

use http::StatusCode;
use tower_oauth::store::{Expect, Key, Put, RedisStore, Store as _, StoreError};

use super::saturation::{logout_token, use_and_end};
use super::*;

use crate::support::modes::Mode;
use crate::support::redis::Redis;

const DAY: Duration = Duration::from_secs(86_400);

/// Starts a server with `bytes` of memory beyond its own use.
fn redis(bytes: u64) -> Redis {
    let redis = Redis::start_with(&["--maxmemory-policy", "noeviction"]);
    limit(&redis, used(&redis) * 8 / 7 + bytes);
    redis
}

fn used(redis: &Redis) -> u64 {
    let memory = redis.cli(&["info", "memory"]);
    let used = memory
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    used.unwrap().trim().parse().unwrap()
}

fn limit(redis: &Redis, bytes: u64) {
    let set = redis.cli(&["config", "set", "maxmemory", &bytes.to_string()]);
    assert_eq!(set, "OK");
}

async fn until(condition: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("it did not come about in 20 seconds");
}

/// Signs in without advancing time.
async fn sign_in_at_once(shop: &Shop) -> Jar {
    let (mut jar, ask) = honest_callback(shop).await;
    let answer = shop.send(ask).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    jar.take(&answer);
    jar
}

/// Puts entries of this purpose until the store is full.
async fn fill(store: &RedisStore, purpose: &'static str) -> usize {
    let value = Bytes::from(vec![7; 2_000]);
    for n in 0.. {
        let key = Key::new(purpose, &format!("filler-{n}"));
        match store.put(&key, value.clone(), DAY, Expect::Absent).await {
            Ok(Put::Stored(_)) => {}
            Err(StoreError::Full) => return n,
            other => panic!("{other:?}"),
        }
    }
    unreachable!()
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn for_ten_minutes_no_honest_login_fails_on_a_real_redis() {
    for (mode, rounds) in [(Mode::Store, 60), (Mode::Shared, 11)] {
        let redis = redis(8 << 20);
        let store = RedisStore::new(&redis.url()).unwrap();
        let world = World::new();
        let shop = world.shop(mode.place_in(world.login(), store));
        let start = world.server.clock().unix_seconds();
        for round in 0..rounds {
            let reply = REPLIES[round % REPLIES.len()];
            world.channel.answer(reply);
            let sent = world.channel.sent();
            let attackers = attack(&shop, 80).await;
            if reply == Reply::Hang {
                for batch in [64, 80] {
                    until(|| world.channel.sent() == sent + batch).await;
                    world.advance(Duration::from_secs(5));
                }
            }
            let mut jar = sign_in_at_once(&shop).await;
            use_and_end(&shop, &mut jar).await;
            until(|| attackers.iter().all(tokio::task::JoinHandle::is_finished)).await;
            assert_eq!(world.channel.sent(), sent + 80, "{reply:?}");
            if reply != Reply::Hang {
                world.advance(Duration::from_secs(10));
            }
        }
        let passed = world.server.clock().unix_seconds() - start;
        assert_eq!(passed, i64::try_from(10 * rounds).unwrap());
    }
}

/// First unauthenticated callers fill their part of the store, then a hostile user fills that of sessions.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_out_of_memory_still_accepts_sign_outs_leases_and_logout_tokens() {
    for mode in [Mode::Store, Mode::Shared] {
        let redis = redis(1 << 20);
        let store = RedisStore::new(&redis.url()).unwrap();
        let world = World::new();
        let shop = world.shop(mode.place_in(world.login(), store.clone()));
        let mut jars = Vec::new();
        for _ in 0..20 {
            jars.push(sign_in_at_once(&shop).await);
        }
        let (_, in_time) = honest_callback(&shop).await;
        assert!(fill(&store, "state").await > 100);
        // Connection buffers vary in size, so the limit has a margin.
        limit(&redis, used(&redis) * 14 / 13);
        // A login in progress gets 503 and is completed once there is room.
        let answer = shop.send(in_time.clone()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.set_cookies(), [""; 0]);
        assert_eq!(shop.token_calls(), 20);
        for jar in &mut jars[..10] {
            use_and_end(&shop, jar).await;
        }
        // The room that is not available to unauthenticated callers is available to sessions.
        assert!(fill(&store, "session").await > 20);
        limit(&redis, used(&redis) * 14 / 15);
        for jar in &mut jars[10..] {
            use_and_end(&shop, jar).await;
        }
        for n in 0..50 {
            let token = logout_token(&world.server, &format!("user-{n}"));
            let request = Ask::new("POST", "/auth/backchannel-logout")
                .with(&[("content-type", "application/x-www-form-urlencoded")])
                .body(&format!("logout_token={token}"));
            assert_eq!(shop.send(request).await.status, StatusCode::OK, "{n}");
        }
        limit(&redis, 64 << 20);
        assert_eq!(shop.send(in_time).await.sets(), [SESSION]);
    }
}
