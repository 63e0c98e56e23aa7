//! Refresh at Keycloak, also with refresh tokens that hold spaces, and with Keycloak's refusals.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::json;
use tower_oauth::Client;
use url::form_urlencoded;

use super::channel::Rewrite;
use super::definitions::{KeycloakClient, Keys, User};
use super::realm::Realm;
use super::world::{Visitor, World};
use crate::provider::SECRET;
use crate::sessions::Mode;

const MODES: [Mode; 3] = [Mode::Cookie, Mode::Shared, Mode::Store];

async fn world(keys: Keys, client: &str, mode: Mode) -> World {
    let realm = Realm::shared(keys).await;
    World::new(realm, Client::confidential(client, SECRET), mode)
}

async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Each refresh token is valid once (RFC 9700 §4.14.2).
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn twenty_requests_at_expiry_share_one_refresh() {
    let check = async |keys, mode| {
        let world = world(keys, "short", mode).await;
        let visitor = world.visitor();
        visitor.sign_in(&User::alice()).await;
        let mut old = visitor.token().await;
        for _ in 0..2 {
            seconds(4).await;
            let tokens = join_all((0..20).map(|_| visitor.token())).await;
            let tokens = tokens.into_iter().collect::<BTreeSet<_>>();
            assert_eq!(tokens.len(), 1, "{keys:?} {mode:?}");
            assert!(!tokens.contains(&old), "{keys:?} {mode:?}");
            old = tokens.into_iter().next().unwrap();
        }
        assert_eq!(visitor.open("/profile").await.text(), "alice Liddell");
    };
    for keys in Keys::BOTH {
        join_all(MODES.map(|mode| check(keys, mode))).await;
    }
}

/// The proxy changes each refresh token, so that it is known which one the application returns.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn the_latest_refresh_token_is_returned_fifty_times() {
    for (keys, mode) in Keys::BOTH.into_iter().zip([Mode::Cookie, Mode::Store]) {
        let world = world(keys, "web", mode).await;
        let issued = Arc::new(Mutex::new(VecDeque::<(String, String)>::new()));
        let returned = Arc::clone(&issued);
        let rewrite = Rewrite {
            request: Box::new(move |form| restore(&form, &returned)),
            response: Box::new(move |response| {
                let Some(token) = response["refresh_token"].as_str().map(str::to_owned) else {
                    return;
                };
                let mut issued = issued.lock().unwrap();
                let changed = format!("{} of  {token} + 100% =&", issued.len());
                response["refresh_token"] = changed.clone().into();
                issued.push_back((changed, token));
            }),
        };
        world.realm.channel().rewrite_tokens(rewrite);
        let visitor = world.visitor();
        visitor.sign_in(&User::alice()).await;
        let mut tokens = BTreeSet::from([visitor.token().await]);
        for count in 0..50 {
            let page = visitor.open("/refresh").await;
            assert_eq!(page.text(), "refreshed", "{count}: {mode:?}");
            tokens.insert(visitor.token().await);
        }
        assert_eq!(tokens.len(), 51, "{mode:?}");
        assert_eq!(visitor.open("/profile").await.text(), "alice Liddell");
    }
}

/// Replaces the refresh token by the one that Keycloak issued. It must be the latest one, byte for byte.
fn restore(form: &str, issued: &Mutex<VecDeque<(String, String)>>) -> String {
    let pairs = form_urlencoded::parse(form.as_bytes()).map(|(name, value)| {
        if name != "refresh_token" {
            return (name, value);
        }
        let issued = issued.lock().unwrap();
        let (changed, token) = issued.back().unwrap();
        assert_eq!(value, *changed);
        (name, token.clone().into())
    });
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn a_disabled_account_ends_the_session_at_the_next_refresh() {
    let check = async |keys, mode| {
        let world = world(keys, "short", mode).await;
        let visitor = world.visitor();
        let user = world.realm.add_user(&format!("disabled-{mode:?}")).await;
        visitor.sign_in(&user).await;
        let path = format!("/users/{}", world.realm.user_id(&user).await);
        let disabled = Some(json!({ "enabled": false }));
        world.realm.admin(Method::PUT, &path, disabled).await;
        seconds(4).await;
        let response = visitor.fetch("/token").await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{mode:?}");
        assert!(!visitor.is_signed_in().await, "{mode:?}");
        visitor.assert_password_required().await;
    };
    for keys in Keys::BOTH {
        join_all(MODES.map(|mode| check(keys, mode))).await;
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn offline_tokens_outlast_the_session_at_keycloak() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let client = Client::confidential("web", SECRET);
        let world = World::with(realm, client, Mode::Store, |login| {
            login.with_scopes("openid email offline_access").unwrap()
        });
        let visitor = world.visitor();
        let user = world.realm.add_user("offline").await;
        visitor.sign_in(&user).await;
        let user = world.realm.user_id(&user).await;
        let sessions = world.realm.get(&format!("/users/{user}/sessions")).await;
        for session in sessions.as_array().unwrap() {
            let path = format!("/sessions/{}", session["id"].as_str().unwrap());
            world.realm.admin(Method::DELETE, &path, None).await;
        }
        let old = visitor.token().await;
        assert_eq!(visitor.open("/refresh").await.text(), "refreshed");
        assert_ne!(visitor.token().await, old);
    }
}

/// The client's registration is wrong for a while, which is not the user's fault.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn a_session_outlasts_a_wrong_secret_and_a_disabled_realm() {
    for (keys, mode) in Keys::BOTH.into_iter().zip([Mode::Cookie, Mode::Store]) {
        let client = KeycloakClient::new("web");
        let realm = Realm::separate(keys, "outage", client).await;
        let world = World::new(realm, Client::confidential("web", SECRET), mode);
        let realm = &world.realm;
        let visitor = world.visitor();
        visitor.sign_in(&User::alice()).await;

        realm.change_client("web", "secret", "another-secret").await;
        let response = visitor.fetch("/refresh").await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{response:?}");
        assert!(visitor.is_signed_in().await, "{mode:?}");
        realm.change_client("web", "secret", SECRET).await;
        wait_until_refreshed(&visitor).await;

        realm.change(json!({ "enabled": false })).await;
        let response = visitor.fetch("/refresh").await;
        assert!(response.status().is_server_error(), "{response:?}");
        assert!(visitor.is_signed_in().await, "{mode:?}");
        realm.change(json!({ "enabled": true })).await;
        wait_until_refreshed(&visitor).await;
        assert_eq!(visitor.open("/profile").await.text(), "alice Liddell");
    }
}

/// After a failed refresh the next request to the server waits for some seconds.
async fn wait_until_refreshed(visitor: &Visitor) {
    let start = Instant::now();
    while visitor.fetch("/refresh").await.status() != StatusCode::OK {
        assert!(start.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
