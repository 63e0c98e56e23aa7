//! The provider revokes tokens, asks the person who leaves, and says it when somebody signed out there.

use http::StatusCode;

use super::Mode::{Cookie, Shared, Store};
use super::World;

/// L62, L65: the session ends here, its tokens at the provider, and then the person's session there.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn signing_out_revokes_the_tokens_and_comes_back_with_its_state() {
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
        assert!(home.text().contains("nobody"), "{mode:?}");

        // A copy of the cookie is no session any more.
        for cookie in &copy {
            let cookie = format!("{}={}; Path=/", cookie.name(), cookie.value());
            world.browser.set_cookie(&world.app, &cookie);
        }
        assert!(!world.is_signed_in().await, "{mode:?}");
    }
}

/// L66: the provider's word is enough, and the browser has nothing to do with it.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn signing_out_at_the_provider_ends_the_session() {
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

        // The same person's session in another browser is another `sid`.
        world.browser = elsewhere;
        assert!(world.is_signed_in().await, "{mode:?}");
        world.sign_out_at_the_provider().await;
        assert!(!world.is_signed_in().await, "{mode:?}");
        world.sign_in().await;
        assert!(world.is_signed_in().await, "{mode:?}: and in again");
    }
}

/// L66: what one process alone would forget is not promised: the provider is told that nobody listens.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn without_a_store_nobody_listens_to_the_provider() {
    let world = World::new(Cookie, 600, 600).await;
    world.sign_in().await;
    world.sign_out_at_the_provider().await;
    assert_eq!(world.events("backchannel.error"), 1);
    assert!(world.is_signed_in().await);
}
