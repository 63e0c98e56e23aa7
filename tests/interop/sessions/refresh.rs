//! Refresh with rotation: oidc-provider revokes the grant if a refresh token is reused.

use std::time::{Duration, Instant};

use http::StatusCode;

use super::Mode::{Cookie, Shared, Store};
use super::{World, seconds};

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_refresh_rotates_and_the_old_refresh_token_is_rejected() {
    for mode in [Cookie, Shared, Store] {
        let world = World::new(mode, 2, 600).await;
        world.sign_in().await;
        seconds(2).await;
        let token = world.token().await;
        assert_eq!(world.token().await, token, "{mode:?}");
        assert_eq!(world.events("refresh_token granted"), 1, "{mode:?}");
        assert!(world.provider.is_active(&token), "{mode:?}");
        let [old, new] = world.refresh_tokens().try_into().unwrap();
        assert!(world.provider.is_active(&new), "{mode:?}");
        let form = format!("grant_type=refresh_token&refresh_token={old}");
        let response = world.provider.token_request(&form);
        assert_eq!(response["error"], "invalid_grant", "{mode:?}: {response}");
    }
}

/// Requests that started before a refresh still have the old cookie.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_request_with_the_old_cookie_gets_the_current_tokens() {
    for mode in [Cookie, Shared, Store] {
        let world = World::new(mode, 2, 600).await;
        world.sign_in().await;
        let before = world.browser.cookies(&world.app);
        seconds(2).await;
        let token = world.token().await;
        for cookie in &before {
            let cookie = format!("{}={}; Path=/", cookie.name(), cookie.value());
            world.browser.set_cookie(&world.app, &cookie);
        }
        assert_eq!(world.token().await, token, "{mode:?}");
        assert_eq!(world.events("refresh_token granted"), 1, "{mode:?}");
        assert_eq!(world.events("refresh_token refused"), 0, "{mode:?}");
    }
}

/// An attacker reuses an old refresh token, and the provider revokes the grant (RFC 9700 §4.14.2).
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn reuse_of_a_stolen_refresh_token_ends_the_session() {
    for mode in [Cookie, Shared, Store] {
        let world = World::new(mode, 1, 6).await;
        world.sign_in().await;
        seconds(1).await;
        let token = world.token().await;
        let refreshed = Instant::now();
        let [old, new] = world.refresh_tokens().try_into().unwrap();
        let form = format!("grant_type=refresh_token&refresh_token={old}");
        world.provider.token_request(&form);
        assert!(!world.provider.is_active(&new), "{mode:?}");

        // The background refresh starts in the second half of the token's lifetime and is rejected.
        seconds(3).await;
        assert_eq!(world.token().await, token, "{mode:?}");
        while world.events("refresh_token refused") < 2 {
            assert!(refreshed.elapsed() < Duration::from_secs(5), "{mode:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if mode == Cookie {
            // Another replica may have refreshed, so the session continues until the access token expires.
            let response = world.fetch("/token").await;
            assert_eq!(response.status(), StatusCode::OK, "{response:?}");
            assert!(
                !response.headers().contains_key("set-cookie"),
                "{response:?}"
            );
            tokio::time::sleep(Duration::from_secs(6).saturating_sub(refreshed.elapsed())).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(
            world.fetch("/token").await.status(),
            StatusCode::UNAUTHORIZED,
            "{mode:?}"
        );
        assert!(!world.is_signed_in().await, "{mode:?}");
        assert_eq!(world.events("refresh_token refused"), 2, "{mode:?}");
    }
}
