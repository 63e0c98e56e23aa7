//! Sign-out with Keycloak: RP-initiated, back-channel and front-channel logout.

use http::{Method, StatusCode};
use tower_oauth::Client;

use super::definitions::{KeycloakClient, Keys, User};
use super::realm::{APP, Realm};
use super::world::World;
use crate::provider::SECRET;
use crate::sessions::Mode;

fn client(id: &str) -> Client {
    Client::confidential(id, SECRET)
}

/// RP-Initiated Logout §2.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn sign_out_ends_the_session_and_its_tokens_at_keycloak() {
    for keys in Keys::BOTH {
        for mode in [Mode::Cookie, Mode::Shared, Mode::Store] {
            let world = World::new(Realm::shared(keys).await, client("web"), mode);
            let visitor = world.visitor();
            visitor.sign_in(&User::alice()).await;
            let token = visitor.token().await;
            let active = world.realm.introspect(&token).await;
            assert_eq!(active["active"], true, "{active}");

            let home = visitor.sign_out().await;
            let back = format!("{APP}/auth/logout?state=");
            let redirects = home.redirects();
            assert!(
                redirects.iter().any(|url| url.starts_with(&back)),
                "{mode:?}: {redirects:?}"
            );
            assert_eq!(home.url(), format!("{APP}/"));
            assert!(home.text().contains("signed out"), "{mode:?}");
            visitor.assert_password_required().await;
            let active = world.realm.introspect(&token).await;
            assert_eq!(active["active"], false, "{active}");
        }
    }
}

/// Back-Channel Logout §2.5: Keycloak posts the logout token to the application itself.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn an_administrator_ends_one_session_or_all_of_a_user() {
    for keys in Keys::BOTH {
        for mode in [Mode::Shared, Mode::Store] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let url = format!("http://{address}/auth/backchannel-logout");
            let id = format!("backchannel-{mode:?}");
            let web = KeycloakClient::new(&id)
                .attribute("backchannel.logout.url", &url)
                .attribute("backchannel.logout.session.required", "true");
            let realm = Realm::shared(keys).await;
            realm.add_client(web).await;
            let alice = realm.add_user(&id).await;
            let world = World::new(realm, client(&id), mode);
            let pages = world.pages.clone();
            tokio::spawn(async move { axum::serve(listener, pages).await });

            let [first, second, bob] = [world.visitor(), world.visitor(), world.visitor()];
            first.sign_in(&alice).await;
            second.sign_in(&alice).await;
            bob.sign_in(&User::bob()).await;
            let admin = world.login.sessions();
            let user = world.realm.user_id(&alice).await;
            if mode == Mode::Store {
                assert_eq!(admin.of_user(&user).await.unwrap().len(), 2);
            }

            let sid = first.sid().await;
            let path = format!("/sessions/{sid}");
            world.realm.admin(Method::DELETE, &path, None).await;
            assert!(!first.is_signed_in().await, "{mode:?}");
            assert!(second.is_signed_in().await, "{mode:?}");

            let path = format!("/users/{user}/logout");
            world.realm.admin(Method::POST, &path, None).await;
            assert!(!second.is_signed_in().await, "{mode:?}");
            let response = second.fetch("/token").await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{mode:?}");
            assert!(bob.is_signed_in().await, "{mode:?}: another user");

            // Both channels at once: Keycloak also tells the application of the sign-out that came from it.
            let home = bob.sign_out().await;
            assert_eq!(home.status(), StatusCode::OK, "{}", home.text());
            assert!(!bob.is_signed_in().await, "{mode:?}");
            first.sign_in(&alice).await;
        }
    }
}

/// Front-Channel Logout §3: the sign-out page of Keycloak loads the application's route in a frame.
#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn sign_out_at_keycloak_loads_the_frame_of_the_application() {
    for keys in Keys::BOTH {
        let url = format!("{APP}/auth/frontchannel-logout");
        let web = KeycloakClient::new("frontchannel")
            .set("frontchannelLogout", true)
            .attribute("frontchannel.logout.url", &url)
            .attribute("frontchannel.logout.session.required", "true");
        let realm = Realm::shared(keys).await;
        realm.add_client(web).await;
        let world = World::new(realm, client("frontchannel"), Mode::Store);
        let visitor = world.visitor();
        visitor.sign_in(&User::alice()).await;
        let logout = world.realm.endpoint("logout");
        let page = visitor.browser.navigate(&logout).await.unwrap();
        let page = page.form("").unwrap().submit().await.unwrap();
        let frames = page.load_frames().await.unwrap();
        assert!(!frames.is_empty(), "{}", page.html());
        for frame in &frames {
            assert_eq!(frame.status(), StatusCode::OK, "{frame:?}");
        }
        assert!(!visitor.is_signed_in().await);
        visitor.assert_password_required().await;
    }
}
