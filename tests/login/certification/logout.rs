//! The logout plans: RP-initiated, back-channel and front-channel.

use http::StatusCode;
use serde_json::json;
use tower_oauth::Algorithm;
use tower_oauth::testing::{Endpoint, Fault, Page, TestClient, TokenMint};

use super::Outcome::Accepts;
use super::{Behaviour, World, client};
use crate::support::shop::{ISSUER, SHOP};

type Alteration = fn(TokenMint) -> TokenMint;

const BACK_CHANNEL: &str = "https://shop.example.com/auth/backchannel-logout";
const FRONT_CHANNEL: &str = "https://shop.example.com/auth/frontchannel-logout";

/// An issuer on the site of the relying party: browsers send no Lax cookie into a frame of another site.
const SAME_SITE: &str = "https://id.example.com";

fn back_channel() -> TestClient {
    client().with_backchannel_logout_uri(BACK_CHANNEL).unwrap()
}

fn front_channel() -> TestClient {
    client()
        .with_frontchannel_logout_uri(FRONT_CHANNEL)
        .unwrap()
}

/// Signs in with a client that has a logout URI.
async fn signed_in(module: &str, issuer: &str, client: TestClient) -> World {
    let mut world = World::at(issuer, |login| login);
    world.server = world.server.add_client(client);
    let page = world.sign_in().await;
    world.assert_outcome(module, Accepts, &page);
    world
}

/// Signs out with the form of an application.
async fn sign_out(world: &World) -> Page {
    let form = "<form method=post action=\"/auth/logout\"><button>Sign out</button></form>";
    let page = world.browser.document(&format!("{SHOP}/"), form).unwrap();
    page.form("").unwrap().submit().await.unwrap()
}

/// RP-Initiated Logout §2, §3: the user is signed out whatever the redirect says.
#[tokio::test]
async fn a_logout_by_the_relying_party_survives_another_state() {
    let modules: [(&str, Behaviour); 3] = [
        ("oidcc-client-test-rp-init-logout", |_| {}),
        ("oidcc-client-test-rp-init-logout-other-state", |server| {
            server.fail(Endpoint::EndSession, Fault::parameter("state", "other"))
        }),
        ("oidcc-client-test-rp-init-logout-no-state", |server| {
            server.fail(Endpoint::EndSession, Fault::without_parameter("state"))
        }),
    ];
    for (module, behave) in modules {
        let world = signed_in(module, ISSUER, back_channel()).await;
        behave(&world.server);
        let page = sign_out(&world).await;
        assert_eq!(page.url(), format!("{SHOP}/"), "{module}");
        assert_eq!(page.status(), StatusCode::OK, "{module}");
        let requests = world.server.requests();
        let mut sent = requests
            .iter()
            .filter(|it| it.endpoint() == Endpoint::EndSession);
        let request = sent.next().unwrap();
        assert!(request.parameter("id_token_hint").is_some(), "{module}");
        assert!(request.parameter("state").is_some(), "{module}");
        assert!(sent.next().is_none(), "{module}");
        assert!(!world.is_signed_in(), "{module}");
        assert_eq!(world.open("/").await.text(), "signed out", "{module}");
    }
}

/// Back-Channel Logout §2.6: a logout token that the plan makes invalid is a 400, and the sign-out of the browser
/// is completed.
#[tokio::test]
async fn a_logout_token_during_a_logout_is_accepted_only_if_it_is_valid() {
    let modules: [(&str, Alteration, StatusCode); 8] = [
        (
            "oidcc-client-test-rp-backchannel-rpinitlogout",
            |mint| mint,
            StatusCode::OK,
        ),
        (
            "oidcc-client-test-rp-backchannel-rpinitlogout-alg-none",
            |mint| mint.without_signature(),
            StatusCode::BAD_REQUEST,
        ),
        (
            "oidcc-client-test-rp-backchannel-rpinitlogout-no-event",
            |mint| mint.without_claim("events"),
            StatusCode::BAD_REQUEST,
        ),
        (
            "oidcc-client-test-rp-backchannel-rpinitlogout-with-nonce",
            |mint| mint.with_claim("nonce", "n-0S6_WzA2Mj"),
            StatusCode::BAD_REQUEST,
        ),
        (
            "oidcc-client-test-rp-backchannel-rpinitlogout-wrong-alg",
            |mint| mint.with_algorithm(Algorithm::Es256),
            StatusCode::BAD_REQUEST,
        ),
        (
            "oidcc-client-test-rp-backchannel-rpinitlogout-wrong-aud",
            |mint| mint.with_audience("another-client"),
            StatusCode::BAD_REQUEST,
        ),
        (
            "oidcc-client-test-rp-backchannel-rpinitlogout-wrong-event",
            |mint| mint.with_claim("events", json!({ "http://schemas.example.test/other": {} })),
            StatusCode::BAD_REQUEST,
        ),
        (
            "oidcc-client-test-rp-backchannel-rpinitlogout-wrong-iss",
            |mint| mint.with_issuer("https://other.example.test"),
            StatusCode::BAD_REQUEST,
        ),
    ];
    for (module, alter, expected) in modules {
        let world = signed_in(module, ISSUER, back_channel()).await;
        world
            .server
            .fail(Endpoint::EndSession, Fault::logout_token(alter));
        let page = sign_out(&world).await;
        let sent = world.server.sent_logout_tokens();
        let statuses: Vec<_> = sent.iter().map(|one| one.status()).collect();
        assert_eq!(statuses, [Some(expected)], "{module}");
        assert_eq!(page.url(), format!("{SHOP}/"), "{module}");
        assert_eq!(page.text(), "signed out", "{module}");
    }
}

/// Front-Channel Logout §2: the relying party or the authorization server starts the logout.
#[tokio::test]
async fn a_frame_ends_the_session_if_either_party_started_the_logout() {
    for (module, by_relying_party) in [
        ("oidcc-client-test-rp-frontchannel-rpinitlogout", true),
        ("oidcc-client-test-rp-frontchannel-opinitlogout", false),
    ] {
        let world = signed_in(module, SAME_SITE, front_channel()).await;
        let page = if by_relying_party {
            sign_out(&world).await
        } else {
            let end = format!("{}/end-session", world.server.issuer());
            let page = world.browser.navigate(&end).await.unwrap();
            assert!(world.is_signed_in(), "{module}");
            page.form("").unwrap().submit().await.unwrap()
        };
        let frames = page.load_frames().await.unwrap();
        let statuses: Vec<_> = frames.iter().map(|one| one.status()).collect();
        assert_eq!(statuses, [StatusCode::OK], "{module}");
        assert_eq!(world.open("/").await.text(), "signed out", "{module}");
        if by_relying_party {
            let page = page.click("Continue").await.unwrap();
            assert_eq!(page.url(), format!("{SHOP}/"), "{module}");
            assert_eq!(page.text(), "signed out", "{module}");
        }
    }
}
