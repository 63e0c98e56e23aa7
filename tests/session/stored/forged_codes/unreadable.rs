//! A process that lacks a cookie key or runs an older release removes and replaces nothing that others can
//! read.

use std::time::Duration;

use http::StatusCode;
use tower_oauth::LoginLayer;
use tower_oauth::store::{Expect, Key, Put, Store as _};

use super::super::Watched;
use super::*;

/// One replica has the new cookie key, and the other does not have it yet.
struct Rotation {
    world: World,
    store: Watched,
    new: Shop,
    old: Shop,
}

impl Rotation {
    fn new(mode: impl Fn(LoginLayer, Watched) -> LoginLayer) -> Self {
        let world = World::new();
        let store = Watched::new(&world.server);
        let old_key = || CookieKey::from_bytes(&KEY).unwrap();
        let new_key = CookieKey::from_bytes(&[8; 32]).unwrap();
        let node = |key| world.shop(mode(world.login_with(key), store.clone()));
        let new = node(new_key.add_previous(old_key()));
        let old = node(old_key());
        Self {
            world,
            store,
            new,
            old,
        }
    }

    async fn replace(&self, name: &str, value: &'static [u8]) {
        let (purpose, id) = name.split_once(':').unwrap();
        let purpose = match purpose {
            "session" => "session",
            "cookie" => "cookie",
            "user" => "user",
            "ended-user" => "ended-user",
            _ => panic!("{purpose}"),
        };
        let hour = Duration::from_secs(3600);
        let value = Bytes::from_static(value);
        let key = Key::new(purpose, id);
        let put = self.store.put(&key, value, hour, Expect::Anything);
        assert!(matches!(put.await, Ok(Put::Stored(_))));
    }
}

#[tokio::test]
async fn a_stored_session_with_an_unknown_key_is_anonymous_and_kept() {
    let nodes = Rotation::new(LoginLayer::with_session_store);
    let jar = sign_in(&nodes.world, &nodes.new).await;
    let before = nodes.store.entries("session");
    for _ in 0..3 {
        for path in ["/", "/auth/session"] {
            let answer = nodes.old.send(Ask::page(path).jar(&jar)).await;
            assert!(!answer.text().contains("alice"), "{}", answer.text());
            assert_eq!(
                answer.set_cookies(),
                [""; 0],
                "{path}: the browser keeps its ticket"
            );
        }
        let answer = nodes.old.send(Ask::page("/renew").jar(&jar)).await;
        assert!(!answer.status.is_success());
        assert_eq!(greeting(&nodes.new, &jar).await, "hello alice");
    }
    assert_eq!(nodes.store.entries("session"), before);
}

#[tokio::test]
async fn a_stored_session_of_an_unknown_format_is_kept() {
    for value in [
        &b""[..],
        b"x",
        b"{\"sub\":\"alice\"}",
        b"\x01\x01\x01\x01\x01",
        b"\x02 a format of a later release, and a long one at that, with an id of a key",
    ] {
        let nodes = Rotation::new(LoginLayer::with_session_store);
        let jar = sign_in(&nodes.world, &nodes.new).await;
        let (name, _, _) = nodes.store.entries("session").remove(0);
        nodes.replace(&name, value).await;
        let before = nodes.store.entries("session");
        for shop in [&nodes.old, &nodes.new] {
            let answer = shop.send(Ask::page("/").jar(&jar)).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.text(), "hello stranger");
            assert_eq!(answer.set_cookies(), [""; 0], "{value:?}");
        }
        assert_eq!(nodes.store.entries("session"), before, "{value:?}");
    }
}

/// An explicit sign-out takes effect: the secret identifies the session without its record.
#[tokio::test]
async fn a_sign_out_or_login_at_a_process_without_the_key_ends_the_session() {
    let nodes = Rotation::new(LoginLayer::with_session_store);
    let jar = sign_in(&nodes.world, &nodes.new).await;
    let answer = sign_out(&nodes.old, &jar).await;
    assert!(answer.status.is_redirection());
    assert_eq!(greeting(&nodes.new, &jar).await, "hello stranger");

    let before = sign_in(&nodes.world, &nodes.new).await;
    let mut after = before.clone();
    let answer = nodes.old.sign_in("alice", &mut after).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(greeting(&nodes.old, &after).await, "hello alice");
    assert_eq!(greeting(&nodes.new, &before).await, "hello stranger");
}

/// The cookie has the old key and the newer record has the new one. With the tokens of the cookie this
/// process would send a used refresh token and overwrite newer tokens.
#[tokio::test]
async fn a_refreshed_cookie_session_with_an_unknown_key_is_not_overwritten() {
    let nodes = Rotation::new(LoginLayer::with_shared_store);
    let jar = sign_in(&nodes.world, &nodes.old).await;
    assert_eq!(greeting(&nodes.new, &jar).await, "hello alice");
    let answer = nodes.new.send(Ask::page("/renew").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let before = nodes.store.entries("cookie");
    assert_eq!(before.len(), 1);
    let requests = nodes.new.token_calls();
    for seconds in [0, 200, 60, 60] {
        nodes.world.advance(Duration::from_secs(seconds));
        let answer = nodes.old.send(Ask::page("/renew").jar(&jar)).await;
        assert!(!answer.status.is_success());
        let answer = nodes.old.send(Ask::page("/").jar(&jar)).await;
        assert_eq!(answer.text(), "hello stranger");
        assert_eq!(answer.set_cookies(), [""; 0]);
        settle().await;
    }
    assert_eq!(nodes.new.token_calls(), requests);
    assert_eq!(nodes.store.entries("cookie"), before);
    assert_eq!(greeting(&nodes.new, &jar).await, "hello alice");
}

#[tokio::test]
async fn an_unreadable_newer_record_of_a_cookie_session_is_kept() {
    for value in [
        &b""[..],
        b"\x01",
        b"\x01 no record",
        b"\x02 of a later release",
    ] {
        let nodes = Rotation::new(LoginLayer::with_shared_store);
        let jar = sign_in(&nodes.world, &nodes.old).await;
        let answer = nodes.old.send(Ask::page("/renew").jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        let (name, _, _) = nodes.store.entries("cookie").remove(0);
        nodes.replace(&name, value).await;
        let before = nodes.store.entries("cookie");
        for path in ["/", "/renew"] {
            let answer = nodes.old.send(Ask::page(path).jar(&jar)).await;
            assert!(!answer.text().contains("alice"), "{value:?}");
            assert_eq!(answer.set_cookies(), [""; 0], "{value:?}");
        }
        assert_eq!(nodes.store.entries("cookie"), before, "{value:?}");
    }
}

/// An index that is treated as empty would be overwritten, and a bulk logout would miss its sessions.
#[tokio::test]
async fn an_unreadable_session_index_is_kept() {
    for value in [&b""[..], b"\x63 of a later release", b"\x01 cut off"] {
        let nodes = Rotation::new(LoginLayer::with_session_store);
        let login = nodes.world.login().with_session_store(nodes.store.clone());
        let sessions = login.sessions();
        let jar = sign_in(&nodes.world, &nodes.old).await;
        let (name, _, _) = nodes.store.entries("user").remove(0);
        nodes.replace(&name, value).await;
        let before = nodes.store.entries("user");
        let (_, ask) = honest_callback(&nodes.old).await;
        let answer = nodes.old.send(ask).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{value:?}");
        assert!(sessions.of_user("alice").await.is_err(), "not: none");
        assert!(sessions.end_user("alice").await.is_err(), "not: none");
        assert!(sign_out(&nodes.old, &jar).await.status.is_redirection());
        assert_eq!(nodes.store.entries("user"), before, "{value:?}");
    }
}

/// A watermark that is treated as missing would let sessions continue that the authorization server has
/// ended.
#[tokio::test]
async fn an_unreadable_logout_watermark_is_an_error_and_kept() {
    for value in [
        &b""[..],
        b"\x63 of a later release",
        b"\0\0\0\0\0\0\0\x01 cut",
    ] {
        let nodes = Rotation::new(LoginLayer::with_shared_store);
        let token = |id: &str| {
            let token = saturation::logout_token_of(&nodes.world.server, "alice", id);
            Ask::new("POST", "/auth/backchannel-logout")
                .with(&[("content-type", "application/x-www-form-urlencoded")])
                .body(&format!("logout_token={token}"))
        };
        assert_eq!(nodes.old.send(token("1")).await.status, StatusCode::OK);
        nodes.world.advance(Duration::from_secs(1));
        let jar = sign_in(&nodes.world, &nodes.old).await;
        let (name, _, _) = nodes.store.entries("ended-user").remove(0);
        nodes.replace(&name, value).await;
        let before = nodes.store.entries("ended-user");
        let answer = nodes.old.send(Ask::page("/").jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{value:?}");
        assert_eq!(answer.set_cookies(), [""; 0], "{value:?}");
        let (_, ask) = honest_callback(&nodes.old).await;
        let answer = nodes.old.send(ask).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{value:?}");
        let answer = nodes.old.send(token("2")).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{value:?}");
        assert_eq!(nodes.store.entries("ended-user"), before, "{value:?}");
    }
}

/// This process knows the tokens in the cookie: they are revoked, and the session at the authorization server
/// ends.
#[tokio::test]
async fn a_sign_out_revokes_the_tokens_in_the_cookie_if_the_newer_record_cannot_be_read() {
    let nodes = Rotation::new(LoginLayer::with_shared_store);
    let jar = sign_in(&nodes.world, &nodes.old).await;
    let answer = nodes.new.send(Ask::page("/renew").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let answer = sign_out(&nodes.old, &jar).await;
    assert!(answer.location().starts_with(ISSUER), "{answer:?}");
    let requests = nodes.world.server.requests();
    let revocations = requests
        .iter()
        .filter(|one| one.endpoint() == tower_oauth::testing::Endpoint::Revocation);
    assert_eq!(revocations.count(), 2);
    for shop in [&nodes.old, &nodes.new] {
        assert_eq!(greeting(shop, &jar).await, "hello stranger");
    }
}
