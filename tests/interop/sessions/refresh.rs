//! The provider rotates refresh tokens, and takes a second use of one for a theft.

use std::time::{Duration, Instant};

use http::StatusCode;

use super::Mode::{Cookie, Shared, Store};
use super::{World, seconds};

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_refresh_rotates_and_the_token_of_before_is_refused() {
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
        let answer = world.provider.token_request(&form);
        assert_eq!(answer["error"], "invalid_grant", "{mode:?}: {answer}");
    }
}

/// L52: requests that were under way bring the cookie of before.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_late_request_with_the_cookie_of_before_gets_the_tokens_of_now() {
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

/// L53: somebody else uses an old refresh token, and the provider takes all of them back.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_stolen_refresh_token_that_is_used_ends_the_session() {
    for mode in [Cookie, Shared, Store] {
        let world = World::new(mode, 1, 6).await;
        world.sign_in().await;
        seconds(1).await;
        let token = world.token().await;
        let renewed = Instant::now();
        let [old, new] = world.refresh_tokens().try_into().unwrap();
        let form = format!("grant_type=refresh_token&refresh_token={old}");
        world.provider.token_request(&form);
        assert!(!world.provider.is_active(&new), "{mode:?}");

        // The next refresh begins by itself in the second half of the token's life, and is refused.
        seconds(3).await;
        assert_eq!(world.token().await, token, "{mode:?}");
        while world.events("refresh_token refused") < 2 {
            assert!(renewed.elapsed() < Duration::from_secs(5), "{mode:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if mode == Cookie {
            // Another replica may have refreshed: the session is kept as long as its access token is good.
            let answer = world.fetch("/token").await;
            assert_eq!(answer.status(), StatusCode::OK, "{answer:?}");
            assert!(!answer.headers().contains_key("set-cookie"), "{answer:?}");
            tokio::time::sleep(Duration::from_secs(6).saturating_sub(renewed.elapsed())).await;
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
