//! A sign-out while the store is full or unavailable: it takes effect in this process and this browser,
//! reports what failed, and is completed later.

use std::time::Duration;

use http::StatusCode;
use tower_oauth::store::{Expect, Key, MemoryStore, Store as _, StoreError};

use crate::support::logs;
use crate::support::modes::{Mode, session_modes};
use crate::support::nodes::*;
use crate::support::shop::*;

session_modes! {
    with_store: [
        a_sign_out_during_a_store_failure_ends_the_session_in_this_process_and_is_completed_later,
        a_sign_out_during_a_store_failure_shows_scripts_no_id_token,
        one_user_who_signs_out_many_times_during_an_outage_prevents_no_sign_out_of_others,
        one_end_that_the_store_never_accepts_delays_no_other,
    ],
}

/// The store fails during the sign-out, after each number of operations.
async fn a_sign_out_during_a_store_failure_ends_the_session_in_this_process_and_is_completed_later(
    mode: Mode,
) {
    for verbs in 0.. {
        let name = format!("{verbs} verbs");
        let logs = logs::Logs::default();
        let nodes = Nodes::new(mode);
        let jar = nodes.signed_in("alice").await;
        let recording = logs.record();
        nodes.store.fail_after(verbs);
        let (accept, html) = accept_html();
        let answer = nodes
            .first
            .send(sign_out().set(accept, html).jar(&jar))
            .await;
        drop(recording);
        assert_eq!(answer.clears(), [SESSION], "{name}");
        if answer.status == StatusCode::SEE_OTHER {
            // An index entry without a session does no harm.
            assert!(verbs > 1, "{name}");
            nodes.store.clear_faults();
            assert_eq!(nodes.greeting(&jar).await, STRANGER, "{name}");
            break;
        }
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{name}");
        assert!(
            answer.text().contains("other servers"),
            "{name}: {}",
            answer.text()
        );
        assert!(logs.text().contains("session_end_pending"), "{name}");
        assert!(!logs.text().contains("hush"), "{name}");
        // If the record was loaded, its tokens are revoked and the page links to the authorization
        // server.
        if mode == Mode::Shared || verbs > 0 {
            assert_eq!(
                revoked(&nodes.server),
                ["refresh_token", "access_token"],
                "{name}"
            );
            assert!(answer.text().contains("/end-session?"), "{name}");
        }
        nodes.store.clear_faults();
        assert_eq!(nodes.first.greeting(&jar).await, STRANGER, "{name}");
        for _ in 0..3 {
            nodes.server.clock().advance(Duration::from_secs(2));
            settle().await;
        }
        assert_eq!(nodes.greeting(&jar).await, STRANGER, "{name}");
        assert_eq!(revoked(&nodes.server).len(), 2, "{name}");
        assert!(nodes.server.refresh_tokens("alice").is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_sign_out_with_a_full_store_ends_the_session_in_this_process() {
    let server = server();
    let memory = MemoryStore::new().with_clock(server.clock());
    let store = memory.with_max_entries(8).unwrap().with_single_process();
    let node = || Shop {
        server: server.clone(),
        app: app(&login(&server).with_shared_store(store.clone())),
    };
    let (first, second) = (node(), node());
    let jar = first.signed_in().await;
    // Other sign-outs fill the part of the store that is reserved for them.
    for number in 0.. {
        let key = Key::new("cookie", &number.to_string());
        let minute = Duration::from_secs(60);
        let put = store.put(&key, "".into(), minute, Expect::Absent).await;
        if matches!(put, Err(StoreError::Full)) {
            break;
        }
    }
    let answer = first.send(sign_out().jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["code"], "signed_out_here");
    assert!(
        answer.json()["location"]
            .as_str()
            .unwrap()
            .starts_with(ISSUER)
    );
    assert_eq!(answer.clears(), [SESSION]);
    assert_eq!(revoked(&server), ["refresh_token", "access_token"]);
    assert_eq!(first.greeting(&jar).await, STRANGER);
    assert_eq!(second.greeting(&jar).await, ALICE, "as the answer says");
    // Again, with a copy: no token is revoked twice.
    first.send(sign_out().jar(&jar)).await;
    // Entries expire over time.
    server.clock().advance(Duration::from_secs(60));
    settle().await;
    for _ in 0..8 {
        server.clock().advance(Duration::from_secs(20));
        settle().await;
    }
    assert_eq!(second.greeting(&jar).await, STRANGER);
}

#[tokio::test]
async fn forged_secrets_during_an_outage_are_bounded_and_end_no_other_session() {
    let nodes = Nodes::new(Mode::Store);
    let alice = nodes.signed_in("alice").await;
    nodes.store.fail_after(0);
    let mut not_ended = 0;
    for number in 0..2000 {
        let jar = Jar::of(&[(SESSION, &format!("{number:0>42}A"))]);
        let answer = nodes.first.send(sign_out().jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        // A session whose end could not be recorded has not ended and keeps its cookie.
        not_ended += usize::from(answer.clears().is_empty());
    }
    assert_eq!(not_ended, 2000 - 1024);
    nodes.store.clear_faults();
    assert_eq!(nodes.greeting(&alice).await, ALICE);
    nodes.server.clock().advance(Duration::from_secs(2));
    for _ in 0..20 {
        settle().await;
    }
    let bob = nodes.signed_in("bob").await;
    assert_eq!(
        nodes.first.send(sign_out().jar(&bob)).await.status,
        StatusCode::SEE_OTHER
    );
    assert_eq!(nodes.greeting(&bob).await, STRANGER);
}

/// Unlike a redirect, this response can be read by a script on the page.
async fn a_sign_out_during_a_store_failure_shows_scripts_no_id_token(mode: Mode) {
    for accept in ["text/html", "application/json"] {
        let nodes = Nodes::new(mode);
        let jar = nodes.signed_in("alice").await;
        nodes.store.fail_after(1);
        let answer = nodes
            .first
            .send(sign_out().set("accept", accept).jar(&jar))
            .await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        let text = answer.text();
        assert!(text.contains("/end-session?"), "{text}");
        assert!(
            !text.contains("eyJ") && !text.contains("id_token_hint"),
            "{text}"
        );
    }
}

/// Forged secrets have a limit of their own, so sessions that were opened before still end.
#[tokio::test]
async fn forged_secrets_during_an_outage_prevent_no_sign_out() {
    let nodes = Nodes::new(Mode::Store);
    let jars = [nodes.signed_in("alice").await, nodes.signed_in("bob").await];
    nodes.store.fail_after(0);
    for number in 0..2000 {
        let jar = Jar::of(&[(SESSION, &format!("{number:0>42}A"))]);
        nodes.first.send(sign_out().jar(&jar)).await;
    }
    for jar in &jars {
        let answer = nodes.first.send(sign_out().jar(jar)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.json()["code"], "signed_out_here");
        assert_eq!(answer.clears(), [SESSION]);
    }
    nodes.store.clear_faults();
    for jar in &jars {
        assert_eq!(nodes.first.greeting(jar).await, STRANGER);
    }
    nodes.server.clock().advance(Duration::from_secs(2));
    for _ in 0..20 {
        settle().await;
    }
    for jar in &jars {
        assert_eq!(nodes.second.greeting(jar).await, STRANGER);
    }
    assert!(nodes.server.refresh_tokens("alice").is_empty());
}

/// Neither does a user with many sessions that were opened before.
async fn one_user_who_signs_out_many_times_during_an_outage_prevents_no_sign_out_of_others(
    mode: Mode,
) {
    let nodes = Nodes::new(mode);
    let alice = nodes.signed_in("alice").await;
    let mut jars = Vec::new();
    for _ in 0..1100 {
        jars.push(nodes.signed_in("bob").await);
    }
    nodes.store.fail_after(0);
    for jar in &jars {
        nodes.first.send(sign_out().jar(jar)).await;
    }
    let answer = nodes.first.send(sign_out().jar(&alice)).await;
    assert_eq!(answer.json()["code"], "signed_out_here");
    nodes.store.clear_faults();
    assert_eq!(nodes.first.greeting(&alice).await, STRANGER);
    nodes.server.clock().advance(Duration::from_secs(2));
    for _ in 0..20 {
        settle().await;
    }
    assert_eq!(nodes.second.greeting(&alice).await, STRANGER);
}

async fn one_end_that_the_store_never_accepts_delays_no_other(mode: Mode) {
    let nodes = Nodes::new(mode);
    let alice = nodes.signed_in("alice").await;
    let mut jars = Vec::new();
    for _ in 0..12 {
        jars.push(nodes.signed_in("bob").await);
    }
    let sessions = nodes.login.sessions().of_user("alice").await.unwrap();
    nodes.store.fail_after(0);
    for jar in jars.iter().chain([&alice]) {
        let answer = nodes.first.send(sign_out().jar(jar)).await;
        assert_eq!(answer.json()["code"], "signed_out_here");
    }
    nodes.store.refuse(Some(&sessions[0].id().to_string()));
    nodes.store.clear_faults();
    for _ in 0..3 {
        nodes.server.clock().advance(Duration::from_secs(2));
        settle().await;
    }
    for jar in &jars {
        assert_eq!(nodes.greeting(jar).await, STRANGER);
    }
    nodes.store.refuse(None);
    for _ in 0..3 {
        nodes.server.clock().advance(Duration::from_secs(30));
        settle().await;
    }
    assert_eq!(nodes.greeting(&alice).await, STRANGER);
}
