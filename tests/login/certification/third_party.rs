//! The plan for logins that another party starts.

use tower_oauth::testing::Endpoint;

use super::Outcome::Accepts;
use super::World;
use crate::support::shop::{ISSUER, SHOP};

/// `oidcc-client-test-3rd-party-init-login`: a page of the authorization server sends the user to the login route
/// (OpenID Connect Core §4).
#[tokio::test]
async fn a_login_that_the_authorization_server_starts_completes() {
    let module = "oidcc-client-test-3rd-party-init-login";
    let world = World::new(|login| {
        let login = login.with_default_return_to("/account").unwrap();
        login.with_third_party_login()
    });
    let initiate = format!("{SHOP}/auth/login?iss={ISSUER}&login_hint=alice");
    let link = format!("<a href=\"{initiate}\">Shop</a>");
    let portal = world
        .browser
        .document(&format!("{ISSUER}/portal"), &link)
        .unwrap();
    let page = portal.click("Shop").await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    world.assert_outcome(module, Accepts, &page);
    let requests = world.server.requests();
    let mut requests = requests.iter();
    let request = requests.find(|it| it.endpoint() == Endpoint::Authorization);
    assert_eq!(request.unwrap().parameter("login_hint").unwrap(), "alice");
}
