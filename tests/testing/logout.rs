//! Back-channel and front-channel logout of the test server, and logout tokens that a test sends.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Form;
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;
use tower_oauth::testing::{Browser, Page, TestClient, TestServer};

use crate::support::authorization_server;
use crate::support::authorization_server::{
    CALLBACK, HOME, ISSUER, authorize, browser, claims, document, part, query, redeem, server,
};

const SHOP: &str = "https://shop.example.com";
const BACK_CHANNEL: &str = "https://shop.example.com/auth/backchannel-logout?from=id";
const FRONT_CHANNEL: &str = "https://shop.example.com/auth/frontchannel-logout?from=id";

fn shop() -> TestClient {
    TestClient::confidential("shop", "shop secret:1")
        .add_redirect_uri(CALLBACK)
        .unwrap()
        .add_post_logout_redirect_uri(HOME)
        .unwrap()
}

/// A relying party that records the logout tokens it receives.
fn relying_party() -> (Router, Arc<Mutex<Vec<String>>>) {
    let received: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = received.clone();
    let handle = async move |Form(form): Form<Vec<(String, String)>>| {
        let [(name, token)] = &form[..] else {
            return StatusCode::BAD_REQUEST;
        };
        assert_eq!(name, "logout_token");
        log.lock().unwrap().push(token.clone());
        StatusCode::OK
    };
    let path = "/auth/backchannel-logout";
    (Router::new().route(path, post(handle)), received)
}

/// Signs Alice in at `shop` and returns the ID token.
async fn sign_in(server: &TestServer, browser: &Browser) -> String {
    let page = browser.navigate(&authorize(&[])).await.unwrap();
    let page = match page.form("#sign-in") {
        Ok(_) => page.sign_in("alice", "wonderland").await.unwrap(),
        Err(_) => page,
    };
    let tokens = redeem(server, &query(&page)["code"], &[]).await;
    authorization_server::json(&tokens)["id_token"]
        .as_str()
        .unwrap()
        .to_owned()
}

async fn sign_out(browser: &Browser, hint: &str) -> Page {
    let url = format!(
        "{ISSUER}/end-session?id_token_hint={hint}&post_logout_redirect_uri={HOME}&state=s"
    );
    browser.navigate(&url).await.unwrap()
}

#[tokio::test]
async fn logout_in_the_browser_sends_a_logout_token() {
    let (party, received) = relying_party();
    let server = server()
        .add_client(shop().with_backchannel_logout_uri(BACK_CHANNEL).unwrap())
        .add_relying_party(SHOP, party)
        .unwrap();
    let browser = browser(&server);
    let id_token = sign_in(&server, &browser).await;
    assert!(server.sent_logout_tokens().is_empty());
    let page = sign_out(&browser, &id_token).await;
    assert_eq!(page.url(), format!("{HOME}?state=s"));

    let sent = server.sent_logout_tokens();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].client_id(), sent[0].uri()), ("shop", BACK_CHANNEL));
    assert_eq!(sent[0].status(), Some(StatusCode::OK));
    assert_eq!(*received.lock().unwrap(), [sent[0].token()]);
    // Back-Channel Logout §2.4.
    assert_eq!(part(sent[0].token(), 0)["typ"], "logout+jwt");
    let token = claims(sent[0].token());
    assert_eq!(token["iss"], ISSUER);
    assert_eq!(token["aud"], "shop");
    assert_eq!(token["sub"], "subject-of-alice");
    assert_eq!(token["sid"], claims(&id_token)["sid"]);
    assert_eq!(token["exp"], 1_800_000_120);
    assert!(token["jti"].is_string() && token["iat"].is_i64());
    let event = "http://schemas.openid.net/event/backchannel-logout";
    assert_eq!(token["events"], json!({ event: {} }));
    assert_eq!(token.get("nonce"), None);

    // The second logout sends nothing.
    sign_out(&browser, &id_token).await;
    assert_eq!(server.sent_logout_tokens().len(), 1);
}

#[tokio::test]
async fn signing_a_subject_out_ends_its_sign_ins_in_all_browsers() {
    let (party, received) = relying_party();
    let server = server()
        .add_client(shop().with_backchannel_logout_uri(BACK_CHANNEL).unwrap())
        .add_relying_party(SHOP, party)
        .unwrap();
    let browsers = [browser(&server), browser(&server)];
    for browser in &browsers {
        sign_in(&server, browser).await;
    }
    let mut sids = server.session_ids("subject-of-alice");
    assert_eq!(sids.len(), 2);

    assert!(server.sign_out("subject-of-bob").await.is_empty());
    let sent = server.sign_out("subject-of-alice").await;
    let mut notified: Vec<String> = sent
        .iter()
        .map(|sent| claims(sent.token())["sid"].as_str().unwrap().to_owned())
        .collect();
    sids.sort();
    notified.sort();
    assert_eq!(notified, sids);
    assert_eq!(received.lock().unwrap().len(), 2);
    for browser in &browsers {
        let url = authorize(&[("prompt", "none")]);
        let page = browser.navigate(&url).await.unwrap();
        assert_eq!(query(&page)["error"], "login_required");
    }
    let valid = server.refresh_tokens("subject-of-alice");
    assert_eq!(valid.len(), 2, "tokens of the clients stay valid");
}

#[tokio::test]
async fn an_unreachable_client_does_not_delay_the_logout() {
    let unreachable = shop().with_backchannel_logout_uri(BACK_CHANNEL).unwrap();
    let server = server().add_client(unreachable);
    let browser = browser(&server);
    let id_token = sign_in(&server, &browser).await;
    let page = sign_out(&browser, &id_token).await;
    assert_eq!(page.url(), format!("{HOME}?state=s"));
    assert_eq!(server.sent_logout_tokens()[0].status(), None);

    let silent = tower::service_fn(async |_| std::future::pending::<Result<_, Infallible>>().await);
    let silent =
        tower::util::MapResponse::new(silent, |never: Infallible| -> http::Response<String> {
            match never {}
        });
    let server = server.add_relying_party(SHOP, silent).unwrap();
    let id_token = sign_in(&server, &browser).await;
    let clock = server.clock();
    let (page, ()) = tokio::join!(sign_out(&browser, &id_token), async {
        clock.wait_for_sleepers(1).await;
        clock.advance(Duration::from_secs(5));
    });
    assert_eq!(page.url(), format!("{HOME}?state=s"));
    assert_eq!(server.sent_logout_tokens()[1].status(), None);
}

#[tokio::test]
async fn logout_tokens_are_sent_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (party, received) = relying_party();
    let task = tokio::spawn(async { axum::serve(listener, party).await });
    let uri = format!("http://{address}/auth/backchannel-logout");
    let server = server().add_client(shop().with_backchannel_logout_uri(&uri).unwrap());
    sign_in(&server, &browser(&server)).await;
    let sent = server.sign_out("subject-of-alice").await;
    assert_eq!(sent[0].status(), Some(StatusCode::OK));
    assert_eq!(received.lock().unwrap().len(), 1);
    task.abort();
}

#[tokio::test]
async fn a_test_can_send_an_invalid_logout_token() {
    let (party, received) = relying_party();
    let server = server()
        .add_client(shop().with_backchannel_logout_uri(BACK_CHANNEL).unwrap())
        .add_relying_party(SHOP, party)
        .unwrap();
    let valid = server.logout_token("shop");
    assert_eq!(claims(&valid.sign())["sub"], "alice");
    assert_eq!(claims(&valid.sign()).get("sid"), None);
    let invalid = valid
        .with_claim("nonce", "n")
        .without_claim("events")
        .with_header("typ", "JWT")
        .sign();
    let sent = server.send_logout_token("shop", &invalid).await.unwrap();
    assert_eq!(sent.status(), Some(StatusCode::OK));
    assert_eq!(*received.lock().unwrap(), [invalid]);
    assert!(server.send_logout_token("app", "token").await.is_none());
}

#[tokio::test]
async fn the_signed_out_page_loads_front_channel_logout_frames() {
    let party = Router::new()
        .route("/auth/callback", get(async || "callback"))
        .route(
            "/auth/frontchannel-logout",
            get(async |uri: http::Uri| uri.query().unwrap_or_default().to_owned()),
        );
    let server = server().add_client(shop().with_frontchannel_logout_uri(FRONT_CHANNEL).unwrap());
    let browser = server.browser().with_origin(SHOP, party).unwrap();
    let id_token = sign_in(&server, &browser).await;
    let page = sign_out(&browser, &id_token).await;
    assert_eq!(page.title(), "Signed out");
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("frame-src https://shop.example.com"),
        "{policy}"
    );
    assert_eq!(
        page.header("refresh"),
        Some("2; url=https://shop.example.com/?state=s")
    );

    let frames = page.load_frames().await.unwrap();
    assert_eq!(frames.len(), 1);
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(frames[0].body())
        .into_owned()
        .collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sid = claims(&id_token)["sid"].as_str().unwrap().to_owned();
    assert_eq!(
        pairs,
        [pair("from", "id"), pair("iss", ISSUER), pair("sid", &sid)]
    );
    let page = page.click("Continue").await.unwrap();
    assert_eq!(page.url(), format!("{HOME}?state=s"));
}

#[tokio::test]
async fn metadata_announces_back_channel_and_front_channel_logout() {
    let metadata = document(&server(), "/.well-known/openid-configuration").await;
    for member in [
        "backchannel_logout_supported",
        "backchannel_logout_session_supported",
        "frontchannel_logout_supported",
        "frontchannel_logout_session_supported",
    ] {
        assert_eq!(metadata[member], true, "{member}");
    }
    for invalid in ["not a url", "https://shop.example.com/#out"] {
        assert!(shop().with_backchannel_logout_uri(invalid).is_err());
        assert!(shop().with_frontchannel_logout_uri(invalid).is_err());
    }
}
