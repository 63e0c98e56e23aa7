//! Refreshes of session tokens: one refresh for all callers, and no token is lost.

mod responses;

use std::time::Duration;

use tower_oauth::testing::{Endpoint, Fault, Gate, GrantType, TestServer, TestUser};

use crate::support::logs::Logs;
use crate::support::modes::{Mode, session_modes};
use crate::support::refresh;
use crate::support::refresh::{World, begin, response_of, settle, status_and_text, token};
use crate::support::shop;
use crate::support::shop::{Ask, Jar, PAGE};

session_modes! {
    all: [
        two_hundred_requests_at_expiry_share_one_refresh,
        a_late_request_with_the_old_cookie_gets_the_refreshed_tokens,
        a_refresh_starts_before_expiry_with_jitter,
        a_short_lived_token_is_used_for_half_its_lifetime,
        a_refresh_completes_if_the_client_disconnects,
        a_shutdown_can_wait_for_refreshes_in_progress,
        a_lost_response_is_followed_by_a_delay_and_another_attempt,
        a_slow_refresh_does_not_restore_an_ended_session,
        a_rejected_client_ends_no_session,
        an_outage_ends_no_session_and_is_retried_with_backoff,
        retry_after_of_the_token_endpoint_is_respected,
        a_failed_proactive_refresh_affects_no_request,
        a_token_that_an_api_rejected_is_refreshed_once_for_all_callers,
        tokens_of_another_subject_end_the_session,
        scopes_that_a_refresh_removed_are_removed_from_the_session,
        a_session_refreshes_tokens_after_the_response_was_sent,
        without_a_refresh_token_the_session_outlives_its_access_token,
        a_refresh_token_that_has_expired_is_not_sent,
        a_clock_that_is_set_back_does_not_extend_a_token,
    ],
    with_store: [
        processes_with_the_default_clock_wait_for_each_other,
        no_request_waits_while_the_token_is_valid,
        a_process_that_lost_its_lease_uses_the_tokens_of_the_next_holder,
        after_a_lost_response_other_processes_wait_too,
        refreshed_tokens_are_saved_when_the_store_is_available_again,
        a_rejected_refresh_token_ends_the_session_in_every_process,
        a_concurrent_refresh_and_touch_are_both_saved,
    ],
}

const OWN: [(&str, &str); 2] = [PAGE[0], ("sec-fetch-site", "same-origin")];

async fn logout(shop: &shop::Shop, jar: &Jar) {
    let ask = Ask::new("POST", "/auth/logout").with(&OWN).jar(jar);
    assert_eq!(shop.send(ask).await.status, 303);
}

/// Concurrent callers share one refresh, in a process and across processes.
async fn two_hundred_requests_at_expiry_share_one_refresh(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    let old = token(&world.a, &jar).await.text();
    world.expire_token();
    let requests: Vec<_> = (0..200)
        .map(|n| begin([&world.a, &world.b][n % 2], "/token", &jar))
        .collect();
    let mut answers = Vec::new();
    for request in requests {
        answers.push(world.in_time(request).await.unwrap());
    }
    let new = answers[0].text();
    assert_ne!(new, old);
    for answer in &answers {
        assert_eq!(status_and_text(answer), (200, new.clone()));
    }
    assert_eq!(world.refreshes(), 1);
    // Later callers do not refresh either.
    assert_eq!(token(&world.b, &jar).await.text(), new);
    assert_eq!(world.refreshes(), 1);
}

/// The browser sent the request before it had the response to the first.
async fn a_late_request_with_the_old_cookie_gets_the_refreshed_tokens(mode: Mode) {
    let world = World::new(mode);
    let old = world.a.signed_in().await;
    world.expire_token();
    let first = world.token(&world.a, &old).await;
    let mut new = old.clone();
    new.take(&first);
    for (seconds, jar) in [(0, &old), (30, &old), (1, &new), (20, &old)] {
        world.advance(seconds);
        let late = world.token(&world.b, jar).await;
        assert_eq!(status_and_text(&late), status_and_text(&first), "{seconds}");
    }
    assert_eq!(world.refreshes(), 1);
    if mode != Mode::Store {
        assert_ne!(old.header(), new.header(), "the cookie is a new one");
        let late = token(&world.b, &old).await;
        assert!(!late.sets().is_empty(), "and who has the old gets it");
        assert!(token(&world.b, &new).await.sets().is_empty());
    }
}

/// Between 60 and 30 seconds before expiry, with jitter, and without a waiting request.
async fn a_refresh_starts_before_expiry_with_jitter(mode: Mode) {
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
            // This page does not use the token.
            let answer = world.a.send(Ask::page("/").jar(jar)).await;
            jar.take(&answer);
            settle().await;
            if world.refreshes() > before {
                begun.push(second);
            }
        }
        world.advance(1);
    }
    assert_eq!(begun.len(), 12, "each once: {begun:?}");
    assert!(begun.iter().all(|second| (240..=270).contains(second)));
    begun.dedup();
    assert!(begun.len() > 2, "not all at once: {begun:?}");
}

/// A short-lived token is used for half its lifetime, so that not every request refreshes it.
async fn a_short_lived_token_is_used_for_half_its_lifetime(mode: Mode) {
    let client = |client: tower_oauth::testing::TestClient| {
        client.with_access_token_lifetime(Duration::from_secs(20))
    };
    let world = World::with(mode, client);
    let mut jar = world.a.signed_in().await;
    for _ in 0..100 {
        let answer = world.token(&world.a, &jar).await;
        assert_eq!(answer.status, 200);
        jar.take(&answer);
        settle().await;
        world.advance(1);
    }
    // The steps in which a test advances time add a little.
    let refreshes = world.refreshes();
    assert!((9..=11).contains(&refreshes), "{refreshes}");
}

/// A handler does not wait: the current token is still valid.
async fn no_request_waits_while_the_token_is_valid(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    let old = token(&world.a, &jar).await.text();
    let gate = world.hold_refresh();
    world.advance(280);
    assert_eq!(token(&world.a, &jar).await.text(), old);
    world.refresh_arrived().await;
    assert_eq!(token(&world.b, &jar).await.text(), old);
    gate.open();
    settle().await;
    let new = token(&world.b, &jar).await.text();
    assert_ne!(new, old);
    assert_eq!(world.refreshes(), 1);
}

/// With an encrypted cookie, the response after the refresh carries the new tokens.
#[tokio::test]
async fn the_response_of_the_request_that_started_a_refresh_carries_its_cookie() {
    let (world, mut jar) = World::signed_in(Mode::Cookie).await;
    let gate = world.hold_refresh();
    world.advance(280);
    let request = begin(&world.a, "/", &jar);
    world.refresh_arrived().await;
    settle().await;
    assert!(!request.is_finished());
    gate.open();
    let answer = request.await.unwrap();
    assert!(!answer.sets().is_empty(), "{answer:?}");
    jar.take(&answer);
    // So a restart of the process loses nothing.
    let restarted = world.another();
    world.advance(280);
    let answer = world.token(&restarted, &jar).await;
    assert_eq!(answer.status, 200);
    settle().await;
    assert_eq!(world.refreshes(), 2);
    jar.take(&answer);
    assert_eq!(restarted.greeting(&jar).await, "hello alice");
}

#[tokio::test]
async fn a_response_does_not_wait_long_for_a_refresh_that_hangs() {
    let (world, jar) = World::signed_in(Mode::Cookie).await;
    world.fail_refreshes(Fault::hang());
    world.advance(280);
    let before = world.clock().unix_seconds();
    let answer = world.in_time(world.a.send(Ask::page("/").jar(&jar))).await;
    assert_eq!(status_and_text(&answer), (200, "hello alice".to_owned()));
    let waited = world.clock().unix_seconds() - before;
    assert!((1..=3).contains(&waited), "{waited}");
}

/// The attempt runs in its own task.
async fn a_refresh_completes_if_the_client_disconnects(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    let old = token(&world.a, &jar).await.text();
    let gate = world.hold_refresh();
    world.expire_token();
    let request = begin(&world.a, "/token", &jar);
    world.refresh_arrived().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    gate.open();
    settle().await;
    let answer = world.token(&world.b, &jar).await;
    assert_eq!(answer.status, 200);
    assert_ne!(answer.text(), old);
    assert_eq!(world.refreshes(), 1);
}

/// A process that shuts down can let its refreshes complete first.
async fn a_shutdown_can_wait_for_refreshes_in_progress(mode: Mode) {
    let world = World::new(mode);
    let layer = refresh::layer(&world.server, mode, &world.store);
    let shop = refresh::shop(&world.server, layer.clone(), &world.kept);
    assert!(
        layer.wait_for_refreshes(Duration::ZERO).await,
        "nothing is under way"
    );
    let jar = shop.signed_in().await;
    let gate = world.hold_refresh();
    world.expire_token();
    let request = begin(&shop, "/token", &jar);
    world.refresh_arrived().await;
    request.abort();
    assert!(!layer.wait_for_refreshes(Duration::ZERO).await);
    gate.open();
    assert!(layer.wait_for_refreshes(Duration::from_secs(5)).await);
    // The tokens are saved: later requests need no refresh.
    let answer = world.token(&shop, &jar).await;
    assert_eq!((answer.status.as_u16(), world.refreshes()), (200, 1));
}

/// A process crashes after it acquired the lease.
#[test]
fn another_process_refreshes_when_the_lease_of_a_crashed_one_has_expired() {
    let not_carried_out = Fault::hang();
    let carried_out = Fault::hold_response(&Gate::new());
    for (name, fault, rotates, expected) in [
        ("not carried out", not_carried_out.clone(), true, 200),
        ("carried out", carried_out.clone(), false, 200),
        // The authorization server treats the second use as theft (RFC 9700 §4.14.2). No process can know
        // that.
        ("carried out and rotated", carried_out, true, 401),
    ] {
        for mode in [Mode::Shared, Mode::Store] {
            let runtime = || {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                builder.enable_all().build().unwrap()
            };
            let (one, other) = (runtime(), runtime());
            let world = World::rotating(mode, rotates);
            let jar = other.block_on(world.b.signed_in());
            let fault = fault.clone().only_for(GrantType::RefreshToken);
            world.server.fail_once(Endpoint::Token, fault);
            world.expire_token();
            one.block_on(async {
                begin(&world.a, "/token", &jar);
                world.refresh_arrived().await;
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

/// The request was processed and its response was lost. The refresh token is not sent again before the lease
/// has expired.
async fn a_lost_response_is_followed_by_a_delay_and_another_attempt(mode: Mode) {
    for (rotates, status) in [(false, 200), (true, 401)] {
        let world = World::rotating(mode, rotates);
        let jar = world.a.signed_in().await;
        world.fail_refresh_once(Fault::lose_response());
        world.expire_token();
        for _ in 0..3 {
            let answer = token(&world.a, &jar).await;
            assert_eq!(answer.status, 503, "{rotates}");
            assert!(answer.sets().is_empty() && answer.clears().is_empty());
        }
        world.advance(9);
        assert_eq!(token(&world.a, &jar).await.status, 503);
        assert_eq!(world.refreshes(), 1, "{rotates}");
        assert_eq!(world.a.greeting(&jar).await, "hello alice");
        world.advance(2);
        let answer = world.token(&world.a, &jar).await;
        assert_eq!(answer.status.as_u16(), status, "{rotates}");
        assert_eq!(world.refreshes(), 2, "{rotates}");
    }
}

/// A process was paused for so long that another one acquired the lease, and then receives a response. The
/// tokens of the other process stay, whatever the response is.
async fn a_process_that_lost_its_lease_uses_the_tokens_of_the_next_holder(mode: Mode) {
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
        world.expire_token();
        let stopped = begin(&world.a, "/token", &jar);
        world.refresh_arrived().await;
        world.lose_lease().await;
        let next = world.token(&world.b, &jar).await;
        assert_eq!(next.status, 200, "{refused}");
        gate.open();
        let stopped = world.in_time(stopped).await.unwrap();
        assert_eq!(
            status_and_text(&stopped),
            status_and_text(&next),
            "{refused}"
        );
        for shop in [&world.a, &world.b] {
            let later = world.token(shop, &jar).await;
            assert_eq!(status_and_text(&later), status_and_text(&next), "{refused}");
        }
        assert_eq!(world.refreshes(), 2, "{refused}");
    }
}

/// The server may still process the request whose response was lost. No other process sends the refresh token
/// at the same time.
async fn after_a_lost_response_other_processes_wait_too(mode: Mode) {
    let world = World::rotating(mode, false);
    let jar = world.a.signed_in().await;
    world.fail_refresh_once(Fault::lose_response());
    world.expire_token();
    assert_eq!(token(&world.a, &jar).await.status, 503);
    let lost_at = world.clock().unix_seconds();
    let answer = world.token(&world.b, &jar).await;
    assert_eq!(answer.status, 200);
    let waited = world.clock().unix_seconds() - lost_at;
    assert!((9..=12).contains(&waited), "{waited}");
    // The first process backs off, and still uses the tokens of the other one.
    let other = world.token(&world.a, &jar).await;
    assert_eq!(status_and_text(&other), status_and_text(&answer));
    assert_eq!(world.refreshes(), 2);
}

/// No caller has a token that is not saved, and none is lost once the store is available again.
async fn refreshed_tokens_are_saved_when_the_store_is_available_again(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    let old = token(&world.a, &jar).await.text();
    let gate = world.hold_refresh();
    world.expire_token();
    let request = begin(&world.a, "/token", &jar);
    world.refresh_arrived().await;
    world.store.off();
    gate.open();
    for _ in 0..8 {
        settle().await;
        world.advance(1);
    }
    settle().await;
    assert!(!request.is_finished());
    // Meanwhile sessions cannot be checked, and no user is signed out.
    let answer = world.b.send(Ask::page("/").jar(&jar)).await;
    assert_eq!(answer.status, 503);
    assert!(answer.clears().is_empty());
    world.store.on();
    let answer = world.in_time(request).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_ne!(answer.text(), old);
    let other = world.token(&world.b, &jar).await;
    assert_eq!(status_and_text(&other), status_and_text(&answer));
    assert_eq!(world.refreshes(), 1);
}

/// A sign-out during a refresh ends the session, and the tokens that arrive later are revoked.
async fn a_slow_refresh_does_not_restore_an_ended_session(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    let gate = world.hold_refresh();
    world.expire_token();
    let request = begin(&world.a, "/token", &jar);
    world.refresh_arrived().await;
    logout(&world.b, &jar).await;
    let revoked = world.revoked().len();
    gate.open();
    let answer = world.in_time(request).await.unwrap();
    assert_eq!(status_and_text(&answer), (401, "ended".to_owned()));
    assert!(answer.sets().is_empty(), "{answer:?}");
    for shop in [&world.a, &world.b] {
        assert_eq!(shop.greeting(&jar).await, "hello stranger");
    }
    // The late tokens, both of them.
    assert_eq!(world.revoked().len() - revoked, 2);
    assert_eq!(world.refreshes(), 1);
}

/// `invalid_grant` (RFC 6749 §5.2) ends the session.
async fn a_rejected_refresh_token_ends_the_session_in_every_process(mode: Mode) {
    for seconds in [280, 300] {
        let (world, jar) = World::signed_in(mode).await;
        world.fail_refreshes(Fault::refusal("invalid_grant"));
        world.advance(seconds);
        let answer = world.token(&world.a, &jar).await;
        assert_eq!(answer.status == 401, seconds == 300);
        settle().await;
        for shop in [&world.a, &world.b] {
            let answer = shop.send(Ask::page("/").jar(&jar)).await;
            assert_eq!(answer.text(), "hello stranger", "{seconds}");
            assert!(!answer.clears().is_empty(), "{seconds}");
        }
        assert_eq!(world.refreshes(), 1, "{seconds}");
    }
}

/// Another replica may have used the refresh token, so the access token is used until it expires.
#[tokio::test]
async fn in_cookies_alone_a_rejected_refresh_token_ends_the_session_with_its_access_token() {
    let (world, jar) = World::signed_in(Mode::Cookie).await;
    let old = token(&world.a, &jar).await.text();
    world.fail_refreshes(Fault::refusal("invalid_grant"));
    let log = Logs::default();
    let _recording = log.record();
    world.advance(280);
    for _ in 0..19 {
        let answer = token(&world.a, &jar).await;
        assert_eq!(status_and_text(&answer), (200, old.clone()));
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

/// Two replicas share nothing: neither signs the user out for what it has not seen, nor replaces the newer
/// cookie.
#[tokio::test]
async fn a_replica_without_a_shared_store_keeps_the_newer_cookie() {
    let world = World::new(Mode::Cookie);
    let replica = world.another();
    let old = world.a.signed_in().await;
    world.expire_token();
    let mut new = old.clone();
    new.take(&world.token(&world.a, &old).await);
    let late = token(&replica, &old).await;
    assert_eq!(status_and_text(&late), (401, "ended".to_owned()));
    assert!(late.set_cookies().is_empty(), "{late:?}");
    assert_eq!(world.refreshes(), 2);
    for shop in [&world.a, &replica] {
        assert_eq!(shop.greeting(&new).await, "hello alice");
        assert_eq!(token(shop, &new).await.status, 200);
    }
}

#[tokio::test]
async fn rotation_without_a_store_is_logged_once() {
    for (mode, rotates, expected) in [
        (Mode::Cookie, true, 1),
        (Mode::Cookie, false, 0),
        (Mode::Shared, true, 0),
        (Mode::Store, true, 0),
    ] {
        let world = World::rotating(mode, rotates);
        let log = Logs::default();
        let _recording = log.record();
        for _ in 0..2 {
            let mut jar = world.a.signed_in().await;
            for _ in 0..2 {
                world.expire_token();
                jar.take(&world.token(&world.a, &jar).await);
            }
        }
        assert_eq!(world.refreshes(), 4);
        let status_and_text = log.text().matches("rotation_without_store").count();
        assert_eq!(status_and_text, expected, "{mode:?} {rotates}");
    }
}

/// A changed client secret signs no user out.
async fn a_rejected_client_ends_no_session(mode: Mode) {
    for code in [
        "invalid_client",
        "unauthorized_client",
        "unsupported_grant_type",
    ] {
        let (world, jar) = World::signed_in(mode).await;
        world.fail_refreshes(Fault::refusal(code));
        world.expire_token();
        for _ in 0..5 {
            let answer = token(&world.a, &jar).await;
            assert_eq!(
                status_and_text(&answer),
                (502, "refused".to_owned()),
                "{code}"
            );
            assert!(answer.set_cookies().is_empty(), "{code}");
        }
        assert_eq!(world.refreshes(), 1, "{code}");
        assert_eq!(world.b.greeting(&jar).await, "hello alice", "{code}");
        world.server.clear_faults(Endpoint::Token);
        world.advance(1);
        let answer = world.token(&world.a, &jar).await;
        assert_eq!(answer.status, 200, "{code}");
    }
}

/// One request a second for four minutes.
async fn an_outage_ends_no_session_and_is_retried_with_backoff(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    world.fail_refreshes(Fault::status(503));
    world.expire_token();
    for second in 0..240 {
        let answer = token(&world.a, &jar).await;
        assert_eq!(answer.status, 503, "{second}");
        assert!(answer.clears().is_empty());
        world.advance(1);
    }
    // 1 + 2 + 4 + ... + 60 + 60 seconds, each shortened by up to a quarter.
    let attempts = world.refreshes();
    assert!((9..=12).contains(&attempts), "{attempts}");
    world.server.clear_faults(Endpoint::Token);
    world.advance(60);
    let answer = world.token(&world.a, &jar).await;
    assert_eq!(answer.status, 200);
    assert_eq!(world.refreshes(), attempts + 1);
}

async fn retry_after_of_the_token_endpoint_is_respected(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    let fault = |fault: Fault| fault.only_for(GrantType::RefreshToken);
    world
        .server
        .fail(Endpoint::Token, fault(Fault::status(429)));
    let field = Fault::header("retry-after".parse().unwrap(), "120".parse().unwrap());
    world.server.fail(Endpoint::Token, fault(field));
    world.expire_token();
    let answer = token(&world.a, &jar).await;
    assert_eq!(status_and_text(&answer), (503, "again in 120".to_owned()));
    for _ in 0..119 {
        world.advance(1);
        assert_eq!(token(&world.a, &jar).await.status, 503);
    }
    assert_eq!(world.refreshes(), 1);
    world.server.clear_faults(Endpoint::Token);
    world.advance(1);
    assert_eq!(world.token(&world.a, &jar).await.status, 200);
}

/// A valid token is used until it expires, even if refreshes fail.
async fn a_failed_proactive_refresh_affects_no_request(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    let old = token(&world.a, &jar).await.text();
    world.fail_refreshes(Fault::status(503));
    world.advance(270);
    for _ in 0..30 {
        let answer = token(&world.a, &jar).await;
        assert_eq!(status_and_text(&answer), (200, old.clone()));
        settle().await;
        world.advance(1);
    }
    let attempts = world.refreshes();
    assert!((4..=7).contains(&attempts), "{attempts}");
}

/// An API rejected the token before it expired.
async fn a_token_that_an_api_rejected_is_refreshed_once_for_all_callers(mode: Mode) {
    let (world, mut jar) = World::signed_in(mode).await;
    let old = token(&world.a, &jar).await.text();
    let requests: Vec<_> = (0..20)
        .map(|n| begin([&world.a, &world.b][n % 2], "/renew", &jar))
        .collect();
    let mut news = Vec::new();
    for request in requests {
        let answer = world.in_time(request).await.unwrap();
        assert_eq!(answer.status, 200);
        jar.take(&answer);
        news.push(answer.text());
    }
    news.dedup();
    assert_eq!(news.len(), 1);
    assert_ne!(news[0], old);
    assert_eq!(world.refreshes(), 1);
    let again = world
        .in_time(world.a.send(Ask::page("/renew").jar(&jar)))
        .await;
    assert_ne!(again.text(), news[0]);
    assert_eq!(world.refreshes(), 2);
}

/// The subject of a refreshed ID token must be that of the login (OpenID Connect Core §12.2).
async fn tokens_of_another_subject_end_the_session(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    world.fail_refreshes(Fault::id_token(|mint| mint.with_subject("bob")));
    world.expire_token();
    let answer = world.token(&world.a, &jar).await;
    assert_eq!(status_and_text(&answer), (401, "ended".to_owned()));
    assert!(answer.sets().is_empty());
    for shop in [&world.a, &world.b] {
        assert_eq!(shop.greeting(&jar).await, "hello stranger");
    }
    assert_eq!(world.refreshes(), 1);
}

/// A refresh may narrow the scopes (RFC 6749 §6).
async fn scopes_that_a_refresh_removed_are_removed_from_the_session(mode: Mode) {
    let world = World::with(mode, |client| {
        client
            .with_scopes("openid profile")
            .unwrap()
            .with_refreshed_scopes("openid")
            .unwrap()
    });
    let jar = world.a.signed_in().await;
    world.expire_token();
    world.token(&world.a, &jar).await;
    let answer = world.b.send(Ask::page("/scopes").jar(&jar)).await;
    assert_eq!(answer.text(), "openid");
}

/// A task of the application continues long after the response.
async fn a_session_refreshes_tokens_after_the_response_was_sent(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    let session = world.kept_session(&jar).await;
    let first = session.access_token().await.unwrap();
    world.expire_token();
    let second = world.in_time(session.access_token()).await.unwrap();
    assert_ne!(first, second);
    // Its tokens are those of the session.
    let answer = world.token(&world.b, &jar).await;
    assert_eq!(status_and_text(&answer), (200, second.expose().to_owned()));
    assert_eq!(world.refreshes(), 1);
    world.expire_token();
    logout(&world.b, &jar).await;
    let outcome = world.in_time(session.access_token()).await;
    let outcome = response_of(outcome.map(|it| it.expose().to_owned()));
    assert_eq!(outcome.1, "ended");
    assert_eq!(world.refreshes(), 1);
}

/// Without a refresh token there is no request.
async fn without_a_refresh_token_the_session_outlives_its_access_token(mode: Mode) {
    let world = World::with(mode, |client| {
        client.with_grant_types([GrantType::AuthorizationCode])
    });
    let jar = world.a.signed_in().await;
    assert_eq!(token(&world.a, &jar).await.status, 200);
    world.expire_token();
    for path in ["/token", "/renew"] {
        let answer = world.a.send(Ask::page(path).jar(&jar)).await;
        assert_eq!(
            status_and_text(&answer),
            (401, "expired".to_owned()),
            "{path}"
        );
    }
    assert_eq!(world.a.greeting(&jar).await, "hello alice");
    assert_eq!(world.refreshes(), 0);
}

/// A session whose tokens have all expired needs a login.
async fn a_refresh_token_that_has_expired_is_not_sent(mode: Mode) {
    let world = World::with(mode, |client| {
        client.with_refresh_token_lifetime(Duration::from_secs(310))
    });
    let jar = world.a.signed_in().await;
    world.advance(311);
    assert_eq!(world.a.greeting(&jar).await, "hello stranger");
    assert_eq!(world.refreshes(), 0);
}

/// The time of the last use is written during a refresh.
async fn a_concurrent_refresh_and_touch_are_both_saved(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    let gate = world.hold_refresh();
    // A tenth of the idle limit is 360 seconds.
    world.advance(359);
    let request = begin(&world.a, "/token", &jar);
    world.refresh_arrived().await;
    world.advance(2);
    let mut touched = jar.clone();
    touched.take(&world.b.send(Ask::page("/").jar(&jar)).await);
    gate.open();
    let answer = world.in_time(request).await.unwrap();
    assert_eq!(answer.status, 200);
    let other = world.token(&world.b, &touched).await;
    assert_eq!(status_and_text(&other), status_and_text(&answer));
    assert_eq!(world.refreshes(), 1);
    // An hour after the login, and less than that after the touch.
    world.advance(3550 - 361);
    world.fail_refreshes(Fault::status(503));
    world.advance(100);
    let greeting = world.b.greeting(&touched).await;
    assert_eq!(greeting, "hello alice");
}

/// The test server's default clock: the other process waits for the lease in real time.
async fn processes_with_the_default_clock_wait_for_each_other(mode: Mode) {
    let server = TestServer::new(shop::ISSUER).unwrap();
    let alice = TestUser::new("alice", "wonderland");
    let world = World::at(server.add_client(shop::client()).add_user(alice), mode);
    let jar = world.a.signed_in().await;
    let gate = world.hold_refresh();
    world.expire_token();
    let first = begin(&world.a, "/token", &jar);
    world.refresh_arrived().await;
    let second = begin(&world.b, "/token", &jar);
    settle().await;
    gate.open();
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.text(), second.text());
    assert_eq!(world.refreshes(), 1);
}

/// Setting the wall clock back does not extend the lifetime of a token.
async fn a_clock_that_is_set_back_does_not_extend_a_token(mode: Mode) {
    let (world, jar) = World::signed_in(mode).await;
    let old = token(&world.a, &jar).await.text();
    world.advance(200);
    token(&world.a, &jar).await;
    world.clock().adjust_wall_clock(-25);
    assert_eq!(token(&world.a, &jar).await.text(), old);
    world.advance(101);
    let new = world.token(&world.a, &jar).await;
    assert_eq!(new.status, 200);
    assert_ne!(new.text(), old);
}
