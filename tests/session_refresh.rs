//! Sessions that stay fresh: one refresh for all who want it, and nothing lost on the way.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::as_conversions
)]

mod login_support;
mod refresh_support;

use std::time::Duration;

use login_support::logs::Logs;
use login_support::{Ask, Jar, PAGE};
use refresh_support::{LIFE, MODES, Mode, World, begin, said, settle, token, told};
use tower_oauth::testing::{Endpoint, Fault, Gate, GrantType};

const OWN: [(&str, &str); 2] = [PAGE[0], ("sec-fetch-site", "same-origin")];

async fn logout(shop: &login_support::Shop, jar: &Jar) {
    let ask = Ask::new("POST", "/auth/logout").with(&OWN).jar(jar);
    assert_eq!(shop.send(ask).await.status, 303);
}

/// `L51`.
#[tokio::test]
async fn two_hundred_requests_at_the_moment_of_expiry_make_one_refresh() {
    for mode in MODES {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        let old = token(&world.a, &jar).await.text();
        world.clock().advance(LIFE);
        let requests: Vec<_> = (0..200)
            .map(|n| begin([&world.a, &world.b][n % 2], "/token", &jar))
            .collect();
        let mut answers = Vec::new();
        for request in requests {
            answers.push(world.in_time(request).await.unwrap());
        }
        let new = answers[0].text();
        assert_ne!(new, old, "{mode:?}");
        for answer in &answers {
            assert_eq!(said(answer), (200, new.clone()), "{mode:?}");
        }
        assert_eq!(world.refreshes(), 1, "{mode:?}");
        // Nor does anybody who comes later.
        assert_eq!(token(&world.b, &jar).await.text(), new, "{mode:?}");
        assert_eq!(world.refreshes(), 1, "{mode:?}");
    }
}

/// `L52`: the browser sent it before it had the answer to the first.
#[tokio::test]
async fn a_late_request_with_the_old_cookie_gets_the_successor() {
    for mode in MODES {
        let world = World::new(mode);
        let old = world.a.signed_in().await;
        world.clock().advance(LIFE);
        let first = world.in_time(token(&world.a, &old)).await;
        let mut new = old.clone();
        new.take(&first);
        for (seconds, jar) in [(0, &old), (30, &old), (1, &new), (20, &old)] {
            world.advance(seconds);
            let late = world.in_time(token(&world.b, jar)).await;
            assert_eq!(said(&late), said(&first), "{mode:?} {seconds}");
        }
        assert_eq!(world.refreshes(), 1, "{mode:?}");
        if mode != Mode::Store {
            assert_ne!(old.header(), new.header(), "the cookie is a new one");
            let late = token(&world.b, &old).await;
            assert!(
                !late.sets().is_empty(),
                "{mode:?}: and who has the old gets it"
            );
            assert!(token(&world.b, &new).await.sets().is_empty(), "{mode:?}");
        }
    }
}

/// `L50`: between 60 and 30 seconds before the end, not all at once, and without anybody waiting.
#[tokio::test]
async fn a_refresh_begins_ahead_of_its_time_with_jitter() {
    for mode in MODES {
        let world = World::new(mode);
        let mut jars = Vec::new();
        for _ in 0..12 {
            jars.push(world.a.signed_in().await);
        }
        world.advance(239);
        let mut begun = Vec::new();
        for second in 239..=270 {
            for jar in &mut jars {
                let before = world.refreshes();
                // Nobody asks for the token here.
                let answer = world.a.send(Ask::page("/").jar(jar)).await;
                jar.take(&answer);
                settle().await;
                if world.refreshes() > before {
                    begun.push(second);
                }
            }
            world.advance(1);
        }
        assert_eq!(begun.len(), 12, "{mode:?}: each once: {begun:?}");
        assert!(begun.iter().all(|second| (240..=270).contains(second)));
        begun.dedup();
        assert!(begun.len() > 2, "{mode:?}: not all at once: {begun:?}");
    }
}

/// Half the life of a token is its own: one that lives shortly is not refreshed at each request.
#[tokio::test]
async fn a_token_of_a_short_life_is_used_for_half_of_it() {
    let client = |client: tower_oauth::testing::TestClient| {
        client.with_access_token_lifetime(Duration::from_secs(20))
    };
    for mode in MODES {
        let world = World::with(mode, client);
        let mut jar = world.a.signed_in().await;
        for _ in 0..100 {
            let answer = world.in_time(token(&world.a, &jar)).await;
            assert_eq!(answer.status, 200);
            jar.take(&answer);
            settle().await;
            world.advance(1);
        }
        // The steps in which a test lets time pass add a little.
        let refreshes = world.refreshes();
        assert!((9..=11).contains(&refreshes), "{mode:?}: {refreshes}");
    }
}

/// A handler in a hurry is not held up: the old token is good for a while.
#[tokio::test]
async fn nobody_waits_while_the_token_is_good() {
    for mode in [Mode::SharedMemory, Mode::Store] {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        let old = token(&world.a, &jar).await.text();
        let gate = Gate::new();
        let slow = Fault::hold_response(&gate).only_for(GrantType::RefreshToken);
        world.server.fail_once(Endpoint::Token, slow);
        world.advance(280);
        assert_eq!(token(&world.a, &jar).await.text(), old, "{mode:?}");
        world.server.wait_for_grant(GrantType::RefreshToken, 1).await;
        assert_eq!(token(&world.b, &jar).await.text(), old, "{mode:?}");
        gate.open();
        settle().await;
        let new = token(&world.b, &jar).await.text();
        assert_ne!(new, old, "{mode:?}");
        assert_eq!(world.refreshes(), 1, "{mode:?}");
    }
}

/// `L54`: in a sealed cookie the answer that follows the refresh is where its tokens are kept.
#[tokio::test]
async fn the_response_of_the_request_that_began_a_refresh_carries_its_cookie() {
    let world = World::new(Mode::Cookie);
    let mut jar = world.a.signed_in().await;
    let gate = Gate::new();
    let slow = Fault::hold_response(&gate).only_for(GrantType::RefreshToken);
    world.server.fail_once(Endpoint::Token, slow);
    world.advance(280);
    let request = begin(&world.a, "/", &jar);
    world.server.wait_for_grant(GrantType::RefreshToken, 1).await;
    settle().await;
    assert!(!request.is_finished());
    gate.open();
    let answer = request.await.unwrap();
    assert!(!answer.sets().is_empty(), "{answer:?}");
    jar.take(&answer);
    // So a process that restarts has lost nothing.
    let restarted = world.another();
    world.advance(280);
    let answer = world.in_time(token(&restarted, &jar)).await;
    assert_eq!(answer.status, 200);
    settle().await;
    assert_eq!(world.refreshes(), 2);
    jar.take(&answer);
    assert_eq!(restarted.greeting(&jar).await, "hello alice");
}

#[tokio::test]
async fn a_response_does_not_wait_long_for_a_refresh_that_hangs() {
    let world = World::new(Mode::Cookie);
    let jar = world.a.signed_in().await;
    let hang = Fault::hang().only_for(GrantType::RefreshToken);
    world.server.fail(Endpoint::Token, hang);
    world.advance(280);
    let before = world.clock().unix_seconds();
    let answer = world.in_time(world.a.send(Ask::page("/").jar(&jar))).await;
    assert_eq!(said(&answer), (200, "hello alice".to_owned()));
    let waited = world.clock().unix_seconds() - before;
    assert!((1..=3).contains(&waited), "{waited}");
}

/// `L55`.
#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_loses_nothing() {
    for mode in MODES {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        let old = token(&world.a, &jar).await.text();
        let gate = Gate::new();
        let slow = Fault::hold_response(&gate).only_for(GrantType::RefreshToken);
        world.server.fail_once(Endpoint::Token, slow);
        world.clock().advance(LIFE);
        let request = begin(&world.a, "/token", &jar);
        world.server.wait_for_grant(GrantType::RefreshToken, 1).await;
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        gate.open();
        settle().await;
        let answer = world.in_time(token(&world.b, &jar)).await;
        assert_eq!(answer.status, 200, "{mode:?}");
        assert_ne!(answer.text(), old, "{mode:?}");
        assert_eq!(world.refreshes(), 1, "{mode:?}");
    }
}

/// `L55`: a process that is told to stop can let its refreshes come to their end first.
#[tokio::test]
async fn who_is_told_to_stop_can_wait_for_refreshes_under_way() {
    for mode in MODES {
        let world = World::new(mode);
        let layer = refresh_support::layer(&world.server, mode, &world.store);
        let shop = refresh_support::shop(&world.server, layer.clone(), &world.kept);
        assert!(
            layer.wait_for_refreshes(Duration::ZERO).await,
            "{mode:?}: nothing is under way"
        );
        let jar = shop.signed_in().await;
        let gate = Gate::new();
        let slow = Fault::hold_response(&gate).only_for(GrantType::RefreshToken);
        world.server.fail_once(Endpoint::Token, slow);
        world.clock().advance(LIFE);
        let request = begin(&shop, "/token", &jar);
        world.server.wait_for_grant(GrantType::RefreshToken, 1).await;
        request.abort();
        assert!(!layer.wait_for_refreshes(Duration::ZERO).await, "{mode:?}");
        gate.open();
        assert!(
            layer.wait_for_refreshes(Duration::from_secs(5)).await,
            "{mode:?}"
        );
        // The tokens are kept: whoever comes needs no other.
        let answer = world.in_time(token(&shop, &jar)).await;
        assert_eq!(
            (answer.status.as_u16(), world.refreshes()),
            (200, 1),
            "{mode:?}"
        );
    }
}

/// `L51`: a process dies after it took the lease, and nobody hears of it any more.
#[test]
fn another_process_goes_on_when_the_lease_of_a_dead_one_has_run_out() {
    let not_carried_out = Fault::hang();
    let carried_out = Fault::hold_response(&Gate::new());
    for (name, fault, rotates, expected) in [
        ("not carried out", not_carried_out.clone(), true, 200),
        ("carried out", carried_out.clone(), false, 200),
        // RFC 9700 §4.14.2: the server takes the second use for a theft. Nobody could know.
        ("carried out and rotated", carried_out, true, 401),
    ] {
        for mode in [Mode::SharedMemory, Mode::Store] {
            let runtime = || {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                builder.enable_all().build().unwrap()
            };
            let (one, other) = (runtime(), runtime());
            let world = World::with(mode, |client| match rotates {
                true => client,
                false => client.without_rotation(),
            });
            let jar = other.block_on(world.b.signed_in());
            let fault = fault.clone().only_for(GrantType::RefreshToken);
            world.server.fail_once(Endpoint::Token, fault);
            world.clock().advance(LIFE);
            one.block_on(async {
                begin(&world.a, "/token", &jar);
                world.server.wait_for_grant(GrantType::RefreshToken, 1).await;
            });
            drop(one);
            let died_at = world.clock().unix_seconds();
            let answer = other.block_on(world.in_time(token(&world.b, &jar)));
            assert_eq!(answer.status.as_u16(), expected, "{name} {mode:?}");
            assert_eq!(world.refreshes(), 2, "{name} {mode:?}");
            let waited = world.clock().unix_seconds() - died_at;
            assert!((9..=12).contains(&waited), "{name} {mode:?}: {waited}");
        }
    }
}

/// `H76`: the request was carried out, and its answer is lost. The refresh token is not sent again before the
/// lease has run out.
#[tokio::test]
async fn a_lost_answer_is_followed_by_a_pause_and_another_attempt() {
    for mode in MODES {
        for (rotates, status) in [(false, 200), (true, 401)] {
            let world = World::with(mode, |client| match rotates {
                true => client,
                false => client.without_rotation(),
            });
            let jar = world.a.signed_in().await;
            let lost = Fault::lose_response().only_for(GrantType::RefreshToken);
            world.server.fail_once(Endpoint::Token, lost);
            world.clock().advance(LIFE);
            for _ in 0..3 {
                let answer = token(&world.a, &jar).await;
                assert_eq!(answer.status, 503, "{mode:?} {rotates}");
                assert!(answer.sets().is_empty() && answer.clears().is_empty());
            }
            world.advance(9);
            assert_eq!(token(&world.a, &jar).await.status, 503);
            assert_eq!(world.refreshes(), 1, "{mode:?} {rotates}");
            assert_eq!(world.a.greeting(&jar).await, "hello alice");
            world.advance(2);
            let answer = world.in_time(token(&world.a, &jar)).await;
            assert_eq!(answer.status.as_u16(), status, "{mode:?} {rotates}");
            assert_eq!(world.refreshes(), 2, "{mode:?} {rotates}");
        }
    }
}

/// `L51`: a process that was stopped so long that another took its turn comes back with an answer. What the
/// other brought stays, whatever the answer is.
#[tokio::test]
async fn a_holder_that_lost_its_lease_takes_what_the_next_one_brought() {
    for mode in [Mode::SharedMemory, Mode::Store] {
        for refused in [true, false] {
            let world = World::with(mode, |client| match refused {
                true => client,
                false => client.without_rotation(),
            });
            let jar = world.a.signed_in().await;
            world.a.send(Ask::page("/keep").jar(&jar)).await;
            let gate = Gate::new();
            let once = |fault: Fault| {
                let fault = fault.only_for(GrantType::RefreshToken);
                world.server.fail_once(Endpoint::Token, fault);
            };
            match refused {
                true => {
                    once(Fault::wait_for(&gate));
                    once(Fault::refusal("invalid_grant"));
                }
                false => once(Fault::hold_response(&gate)),
            }
            world.clock().advance(LIFE);
            let stopped = begin(&world.a, "/token", &jar);
            world.server.wait_for_grant(GrantType::RefreshToken, 1).await;
            world.lose_lease().await;
            let next = world.in_time(token(&world.b, &jar)).await;
            assert_eq!(next.status, 200, "{mode:?} {refused}");
            gate.open();
            let stopped = world.in_time(stopped).await.unwrap();
            assert_eq!(said(&stopped), said(&next), "{mode:?} {refused}");
            for shop in [&world.a, &world.b] {
                let later = world.in_time(token(shop, &jar)).await;
                assert_eq!(said(&later), said(&next), "{mode:?} {refused}");
            }
            assert_eq!(world.refreshes(), 2, "{mode:?} {refused}");
        }
    }
}

/// The server may still be at work on the request whose answer was lost: no other process sends the refresh
/// token beside it.
#[tokio::test]
async fn after_a_lost_answer_other_processes_wait_as_well() {
    for mode in [Mode::SharedMemory, Mode::Store] {
        let world = World::with(mode, |client| client.without_rotation());
        let jar = world.a.signed_in().await;
        let lost = Fault::lose_response().only_for(GrantType::RefreshToken);
        world.server.fail_once(Endpoint::Token, lost);
        world.clock().advance(LIFE);
        assert_eq!(token(&world.a, &jar).await.status, 503, "{mode:?}");
        let lost_at = world.clock().unix_seconds();
        let answer = world.in_time(token(&world.b, &jar)).await;
        assert_eq!(answer.status, 200, "{mode:?}");
        let waited = world.clock().unix_seconds() - lost_at;
        assert!((9..=12).contains(&waited), "{mode:?}: {waited}");
        // The first has given up for a while, and still gets what the other brought.
        let other = world.in_time(token(&world.a, &jar)).await;
        assert_eq!(said(&other), said(&answer), "{mode:?}");
        assert_eq!(world.refreshes(), 2, "{mode:?}");
    }
}

/// `L54`: nobody has a token that is not kept, and a store that comes back loses none.
#[tokio::test]
async fn a_store_that_is_away_when_the_tokens_come_gets_them_when_it_is_back() {
    for mode in [Mode::SharedMemory, Mode::Store] {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        let old = token(&world.a, &jar).await.text();
        let gate = Gate::new();
        let slow = Fault::hold_response(&gate).only_for(GrantType::RefreshToken);
        world.server.fail_once(Endpoint::Token, slow);
        world.clock().advance(LIFE);
        let request = begin(&world.a, "/token", &jar);
        world.server.wait_for_grant(GrantType::RefreshToken, 1).await;
        world.store.off();
        gate.open();
        for _ in 0..8 {
            settle().await;
            world.advance(1);
        }
        settle().await;
        assert!(!request.is_finished(), "{mode:?}");
        // Meanwhile nothing can be said of anybody, and nobody is signed out.
        let answer = world.b.send(Ask::page("/").jar(&jar)).await;
        assert_eq!(answer.status, 503, "{mode:?}");
        assert!(answer.clears().is_empty(), "{mode:?}");
        world.store.on();
        let answer = world.in_time(request).await.unwrap();
        assert_eq!(answer.status, 200, "{mode:?}");
        assert_ne!(answer.text(), old, "{mode:?}");
        let other = world.in_time(token(&world.b, &jar)).await;
        assert_eq!(said(&other), said(&answer), "{mode:?}");
        assert_eq!(world.refreshes(), 1, "{mode:?}");
    }
}

/// `L47`.
#[tokio::test]
async fn a_slow_refresh_brings_nobody_back_who_signed_out() {
    for mode in MODES {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        let gate = Gate::new();
        let slow = Fault::hold_response(&gate).only_for(GrantType::RefreshToken);
        world.server.fail_once(Endpoint::Token, slow);
        world.clock().advance(LIFE);
        let request = begin(&world.a, "/token", &jar);
        world.server.wait_for_grant(GrantType::RefreshToken, 1).await;
        logout(&world.b, &jar).await;
        let revoked = world.revoked().len();
        gate.open();
        let answer = world.in_time(request).await.unwrap();
        assert_eq!(said(&answer), (401, "ended".to_owned()), "{mode:?}");
        assert!(answer.sets().is_empty(), "{mode:?}: {answer:?}");
        for shop in [&world.a, &world.b] {
            assert_eq!(shop.greeting(&jar).await, "hello stranger", "{mode:?}");
        }
        // The tokens that came too late, each of them.
        assert_eq!(world.revoked().len() - revoked, 2, "{mode:?}");
        assert_eq!(world.refreshes(), 1, "{mode:?}");
    }
}

/// `L53`, `H76`.
#[tokio::test]
async fn a_refused_refresh_token_ends_the_session_wherever_it_is_known() {
    for mode in [Mode::SharedMemory, Mode::Store] {
        for seconds in [280, 300] {
            let world = World::new(mode);
            let jar = world.a.signed_in().await;
            let refused = Fault::refusal("invalid_grant").only_for(GrantType::RefreshToken);
            world.server.fail(Endpoint::Token, refused);
            world.advance(seconds);
            let answer = world.in_time(token(&world.a, &jar)).await;
            assert_eq!(answer.status == 401, seconds == 300, "{mode:?}");
            settle().await;
            for shop in [&world.a, &world.b] {
                let answer = shop.send(Ask::page("/").jar(&jar)).await;
                assert_eq!(answer.text(), "hello stranger", "{mode:?} {seconds}");
                assert!(!answer.clears().is_empty(), "{mode:?} {seconds}");
            }
            assert_eq!(world.refreshes(), 1, "{mode:?} {seconds}");
        }
    }
}

/// Decision 16.
#[tokio::test]
async fn in_cookies_alone_a_refused_refresh_token_ends_the_session_with_its_access_token() {
    let world = World::new(Mode::Cookie);
    let jar = world.a.signed_in().await;
    let old = token(&world.a, &jar).await.text();
    let refused = Fault::refusal("invalid_grant").only_for(GrantType::RefreshToken);
    world.server.fail(Endpoint::Token, refused);
    let log = Logs::default();
    let _recording = log.record();
    world.advance(280);
    for _ in 0..19 {
        let answer = token(&world.a, &jar).await;
        assert_eq!(said(&answer), (200, old.clone()));
        assert!(answer.set_cookies().is_empty(), "{answer:?}");
        world.advance(1);
    }
    assert!(log.text().contains("refresh_reuse_suspected"));
    world.advance(1);
    let answer = world.a.send(Ask::page("/").jar(&jar)).await;
    assert_eq!(answer.text(), "hello stranger");
    assert!(!answer.clears().is_empty());
    assert_eq!(world.refreshes(), 1);
}

/// Two replicas that share nothing: what one of them did not see is no reason to sign anybody out at the
/// other, or to take the newer cookie away.
#[tokio::test]
async fn a_replica_that_shares_nothing_does_not_harm_the_newer_cookie() {
    let world = World::new(Mode::Cookie);
    let replica = world.another();
    let old = world.a.signed_in().await;
    world.clock().advance(LIFE);
    let mut new = old.clone();
    new.take(&world.in_time(token(&world.a, &old)).await);
    let late = token(&replica, &old).await;
    assert_eq!(said(&late), (401, "ended".to_owned()));
    assert!(late.set_cookies().is_empty(), "{late:?}");
    assert_eq!(world.refreshes(), 2);
    for shop in [&world.a, &replica] {
        assert_eq!(shop.greeting(&new).await, "hello alice");
        assert_eq!(token(shop, &new).await.status, 200);
    }
}

#[tokio::test]
async fn cookies_alone_say_once_what_they_cannot_promise() {
    for (mode, rotates, expected) in [
        (Mode::Cookie, true, 1),
        (Mode::Cookie, false, 0),
        (Mode::SharedMemory, true, 0),
        (Mode::Store, true, 0),
    ] {
        let world = World::with(mode, |client| match rotates {
            true => client,
            false => client.without_rotation(),
        });
        let log = Logs::default();
        let _recording = log.record();
        for _ in 0..2 {
            let mut jar = world.a.signed_in().await;
            for _ in 0..2 {
                world.clock().advance(LIFE);
                jar.take(&world.in_time(token(&world.a, &jar)).await);
            }
        }
        assert_eq!(world.refreshes(), 4);
        let said = log.text().matches("rotation_without_store").count();
        assert_eq!(said, expected, "{mode:?} {rotates}");
    }
}

/// `L53`: a secret that was changed signs nobody out.
#[tokio::test]
async fn a_server_that_refuses_the_client_ends_no_session() {
    for mode in MODES {
        for code in [
            "invalid_client",
            "unauthorized_client",
            "unsupported_grant_type",
        ] {
            let world = World::new(mode);
            let jar = world.a.signed_in().await;
            let refused = Fault::refusal(code).only_for(GrantType::RefreshToken);
            world.server.fail(Endpoint::Token, refused);
            world.clock().advance(LIFE);
            for _ in 0..5 {
                let answer = token(&world.a, &jar).await;
                assert_eq!(
                    said(&answer),
                    (502, "refused".to_owned()),
                    "{mode:?} {code}"
                );
                assert!(answer.set_cookies().is_empty(), "{mode:?} {code}");
            }
            assert_eq!(world.refreshes(), 1, "{mode:?} {code}");
            assert_eq!(
                world.b.greeting(&jar).await,
                "hello alice",
                "{mode:?} {code}"
            );
            world.server.clear_faults(Endpoint::Token);
            world.advance(1);
            let answer = world.in_time(token(&world.a, &jar)).await;
            assert_eq!(answer.status, 200, "{mode:?} {code}");
        }
    }
}

/// `L53`, `H76`: somebody asks each second for four minutes.
#[tokio::test]
async fn an_outage_ends_no_session_and_is_met_with_patience() {
    for mode in MODES {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        let away = Fault::status(503).only_for(GrantType::RefreshToken);
        world.server.fail(Endpoint::Token, away);
        world.clock().advance(LIFE);
        for second in 0..240 {
            let answer = token(&world.a, &jar).await;
            assert_eq!(answer.status, 503, "{mode:?} {second}");
            assert!(answer.clears().is_empty());
            world.advance(1);
        }
        // 1 + 2 + 4 + ... + 60 + 60 seconds, each up to a quarter shorter.
        let attempts = world.refreshes();
        assert!((9..=12).contains(&attempts), "{mode:?}: {attempts}");
        world.server.clear_faults(Endpoint::Token);
        world.advance(60);
        let answer = world.in_time(token(&world.a, &jar)).await;
        assert_eq!(answer.status, 200, "{mode:?}");
        assert_eq!(world.refreshes(), attempts + 1, "{mode:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_when_to_come_back_is_heeded() {
    for mode in MODES {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        let fault = |fault: Fault| fault.only_for(GrantType::RefreshToken);
        world
            .server
            .fail(Endpoint::Token, fault(Fault::status(429)));
        let field = Fault::header("retry-after".parse().unwrap(), "120".parse().unwrap());
        world.server.fail(Endpoint::Token, fault(field));
        world.clock().advance(LIFE);
        let answer = token(&world.a, &jar).await;
        assert_eq!(said(&answer), (503, "again in 120".to_owned()), "{mode:?}");
        for _ in 0..119 {
            world.advance(1);
            assert_eq!(token(&world.a, &jar).await.status, 503);
        }
        assert_eq!(world.refreshes(), 1, "{mode:?}");
        world.server.clear_faults(Endpoint::Token);
        world.advance(1);
        assert_eq!(world.in_time(token(&world.a, &jar)).await.status, 200);
    }
}

/// A good token is used to its end, whatever becomes of the attempts to renew it.
#[tokio::test]
async fn what_fails_ahead_of_time_is_nobodys_business() {
    for mode in MODES {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        let old = token(&world.a, &jar).await.text();
        world.server.fail(
            Endpoint::Token,
            Fault::status(503).only_for(GrantType::RefreshToken),
        );
        world.advance(270);
        for _ in 0..30 {
            let answer = token(&world.a, &jar).await;
            assert_eq!(said(&answer), (200, old.clone()), "{mode:?}");
            settle().await;
            world.advance(1);
        }
        let attempts = world.refreshes();
        assert!((4..=7).contains(&attempts), "{mode:?}: {attempts}");
    }
}

/// An API refused the token before its time.
#[tokio::test]
async fn a_token_that_an_api_refused_is_renewed_once_for_all_who_ask() {
    for mode in MODES {
        let world = World::new(mode);
        let mut jar = world.a.signed_in().await;
        let old = token(&world.a, &jar).await.text();
        let requests: Vec<_> = (0..20)
            .map(|n| begin([&world.a, &world.b][n % 2], "/renew", &jar))
            .collect();
        let mut news = Vec::new();
        for request in requests {
            let answer = world.in_time(request).await.unwrap();
            assert_eq!(answer.status, 200, "{mode:?}");
            jar.take(&answer);
            news.push(answer.text());
        }
        news.dedup();
        assert_eq!(news.len(), 1, "{mode:?}");
        assert_ne!(news[0], old, "{mode:?}");
        assert_eq!(world.refreshes(), 1, "{mode:?}");
        let again = world
            .in_time(world.a.send(Ask::page("/renew").jar(&jar)))
            .await;
        assert_ne!(again.text(), news[0], "{mode:?}");
        assert_eq!(world.refreshes(), 2, "{mode:?}");
    }
}

/// `H83`, `L28`.
#[tokio::test]
async fn tokens_of_somebody_else_end_the_session() {
    for mode in MODES {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        let bob = Fault::id_token(|mint| mint.with_subject("bob")).only_for(GrantType::RefreshToken);
        world.server.fail(Endpoint::Token, bob);
        world.clock().advance(LIFE);
        let answer = world.in_time(token(&world.a, &jar)).await;
        assert_eq!(said(&answer), (401, "ended".to_owned()), "{mode:?}");
        assert!(answer.sets().is_empty(), "{mode:?}");
        for shop in [&world.a, &world.b] {
            assert_eq!(shop.greeting(&jar).await, "hello stranger", "{mode:?}");
        }
        assert_eq!(world.refreshes(), 1, "{mode:?}");
    }
}

/// `L56`.
#[tokio::test]
async fn scopes_that_a_refresh_took_away_are_gone_from_the_session() {
    for mode in MODES {
        let world = World::with(mode, |client| {
            client
                .with_scopes("openid profile")
                .unwrap()
                .with_refreshed_scopes("openid")
                .unwrap()
        });
        let jar = world.a.signed_in().await;
        world.clock().advance(LIFE);
        world.in_time(token(&world.a, &jar)).await;
        let answer = world.b.send(Ask::page("/scopes").jar(&jar)).await;
        assert_eq!(answer.text(), "openid", "{mode:?}");
    }
}

/// A task of the application goes on when the response is long gone.
#[tokio::test]
async fn a_session_gives_fresh_tokens_after_the_response_was_sent() {
    for mode in MODES {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        world.a.send(Ask::page("/keep").jar(&jar)).await;
        let session = world.kept.lock().unwrap()[0].clone();
        let first = session.access_token().await.unwrap();
        world.clock().advance(LIFE);
        let second = world.in_time(session.access_token()).await.unwrap();
        assert_ne!(first, second, "{mode:?}");
        // What it got is the session's, not its own.
        let answer = world.in_time(token(&world.b, &jar)).await;
        assert_eq!(said(&answer), (200, second.expose().to_owned()), "{mode:?}");
        assert_eq!(world.refreshes(), 1, "{mode:?}");
        world.clock().advance(LIFE);
        logout(&world.b, &jar).await;
        let outcome = world.in_time(session.access_token()).await;
        let outcome = told(outcome.map(|it| it.expose().to_owned()));
        assert_eq!(outcome.1, "ended", "{mode:?}");
        assert_eq!(world.refreshes(), 1, "{mode:?}");
    }
}

/// `L50`: without a refresh token there is nothing to send.
#[tokio::test]
async fn without_a_refresh_token_the_session_outlives_its_access_token() {
    for mode in MODES {
        let world = World::with(mode, |client| {
            client.with_grant_types([GrantType::AuthorizationCode])
        });
        let jar = world.a.signed_in().await;
        assert_eq!(token(&world.a, &jar).await.status, 200);
        world.clock().advance(LIFE);
        for path in ["/token", "/renew"] {
            let answer = world.a.send(Ask::page(path).jar(&jar)).await;
            assert_eq!(
                said(&answer),
                (401, "expired".to_owned()),
                "{mode:?} {path}"
            );
        }
        assert_eq!(world.a.greeting(&jar).await, "hello alice", "{mode:?}");
        assert_eq!(world.refreshes(), 0, "{mode:?}");
    }
}

/// `L44`: nothing can be done for a session whose tokens have all expired.
#[tokio::test]
async fn a_refresh_token_that_has_expired_is_not_sent() {
    for mode in MODES {
        let world = World::with(mode, |client| {
            client.with_refresh_token_lifetime(Duration::from_secs(310))
        });
        let jar = world.a.signed_in().await;
        world.advance(311);
        assert_eq!(world.a.greeting(&jar).await, "hello stranger", "{mode:?}");
        assert_eq!(world.refreshes(), 0, "{mode:?}");
    }
}

/// `H61`, `L47`: the time of the last request is written while a refresh is under way.
#[tokio::test]
async fn a_refresh_and_a_touch_at_once_lose_neither() {
    for mode in [Mode::SharedMemory, Mode::Store] {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        let gate = Gate::new();
        let slow = Fault::hold_response(&gate).only_for(GrantType::RefreshToken);
        world.server.fail_once(Endpoint::Token, slow);
        // A tenth of the idle limit is 360 seconds.
        world.advance(359);
        let request = begin(&world.a, "/token", &jar);
        world.server.wait_for_grant(GrantType::RefreshToken, 1).await;
        world.advance(2);
        let mut touched = jar.clone();
        touched.take(&world.b.send(Ask::page("/").jar(&jar)).await);
        gate.open();
        let answer = world.in_time(request).await.unwrap();
        assert_eq!(answer.status, 200, "{mode:?}");
        let other = world.in_time(token(&world.b, &touched)).await;
        assert_eq!(said(&other), said(&answer), "{mode:?}");
        assert_eq!(world.refreshes(), 1, "{mode:?}");
        // An hour after the login, and less than that after the touch.
        world.advance(3550 - 361);
        world.server.fail(
            Endpoint::Token,
            Fault::status(503).only_for(GrantType::RefreshToken),
        );
        world.advance(100);
        let greeting = world.b.greeting(&touched).await;
        assert_eq!(greeting, "hello alice", "{mode:?}");
    }
}

/// Where the wall clock was set back, a token does not live longer for it.
#[tokio::test]
async fn a_clock_that_is_set_back_does_not_prolong_a_token() {
    for mode in MODES {
        let world = World::new(mode);
        let jar = world.a.signed_in().await;
        let old = token(&world.a, &jar).await.text();
        world.advance(200);
        token(&world.a, &jar).await;
        world.clock().adjust_wall_clock(-25);
        assert_eq!(token(&world.a, &jar).await.text(), old, "{mode:?}");
        world.advance(101);
        let new = world.in_time(token(&world.a, &jar)).await;
        assert_eq!(new.status, 200, "{mode:?}");
        assert_ne!(new.text(), old, "{mode:?}");
    }
}
