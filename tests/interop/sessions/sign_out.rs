//! Sign-out with oidc-provider: revocation, RP-initiated logout and back-channel logout.

use http::StatusCode;

use super::Mode::{Cookie, Shared, Store};
use super::World;

/// RFC 7009 §2.1, RP-Initiated Logout §2: ends the session, its tokens, and the session at the provider.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn sign_out_revokes_the_tokens_and_returns_with_state() {
    for mode in [Cookie, Shared, Store] {
        let world = World::new(mode, 600, 600).await;
        world.sign_in().await;
        let token = world.token().await;
        let [refresh_token] = world.refresh_tokens().try_into().unwrap();
        for token in [&token, &refresh_token] {
            assert!(world.provider.is_active(token), "{mode:?}");
        }
        let copy = world.browser.cookies(&world.app);

        let home = world.open("/").await;
        let confirm = home.form("/auth/logout").unwrap().submit().await.unwrap();
        let issuer = world.provider.issuer();
        assert!(confirm.url().starts_with(issuer), "{}", confirm.url());
        for token in [&token, &refresh_token] {
            assert!(!world.provider.is_active(token), "{mode:?}");
        }
        assert_eq!(
            world.provider.requests()["/token/revocation"],
            2,
            "{mode:?}"
        );
        assert!(!world.is_signed_in().await, "{mode:?}");

        let home = confirm.form("").unwrap().press("yes").await.unwrap();
        let back = format!("{}/auth/logout?state=", world.app);
        let redirects = home.redirects();
        assert!(
            redirects.iter().any(|url| url.starts_with(&back)),
            "{redirects:?}"
        );
        assert_eq!(home.url(), format!("{}/", world.app));
        assert!(home.text().contains("signed out"), "{mode:?}");

        // A copy of the cookie is rejected.
        for cookie in &copy {
            let cookie = format!("{}={}; Path=/", cookie.name(), cookie.value());
            world.browser.set_cookie(&world.app, &cookie);
        }
        assert!(!world.is_signed_in().await, "{mode:?}");
    }
}

/// Back-Channel Logout §2.5: the logout token ends the session without the browser.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn sign_out_at_the_provider_ends_the_session() {
    for mode in [Shared, Store] {
        let mut world = World::new(mode, 600, 600).await;
        world.sign_in().await;
        assert!(world.is_signed_in().await, "{mode:?}");
        let here = std::mem::take(&mut world.browser);
        world.sign_in().await;
        let elsewhere = std::mem::replace(&mut world.browser, here);

        world.sign_out_at_the_provider().await;
        assert_eq!(world.events("backchannel.success"), 1, "{mode:?}");
        assert_eq!(world.events("backchannel.error"), 0, "{mode:?}");
        assert!(!world.is_signed_in().await, "{mode:?}");
        assert_eq!(
            world.fetch("/token").await.status(),
            StatusCode::UNAUTHORIZED
        );

        // A session of the same user in another browser has another `sid`.
        world.browser = elsewhere;
        assert!(world.is_signed_in().await, "{mode:?}");
        world.sign_out_at_the_provider().await;
        assert!(!world.is_signed_in().await, "{mode:?}");
        world.sign_in().await;
        assert!(world.is_signed_in().await, "{mode:?}: signed in again");
    }
}

/// Without a store, a logout would be lost at a restart, so logout tokens are rejected.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn logout_tokens_are_rejected_without_a_store() {
    let world = World::new(Cookie, 600, 600).await;
    world.sign_in().await;
    world.sign_out_at_the_provider().await;
    assert_eq!(world.events("backchannel.error"), 1);
    assert!(world.is_signed_in().await);
}
