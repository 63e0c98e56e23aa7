//! A user signs in at the test server, with each kind of client, key and ID token.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use tower_oauth::testing::{
    Browser, ClientAuthentication, Endpoint, Fault, Page, TestClient, TestServer, TestUser,
};
use tower_oauth::{Algorithm, AuthorizationServer, Client, CookieKey, LoginLayer, Session};

const SHOP: &str = "https://shop.example.com";
const CALLBACK: &str = "https://shop.example.com/auth/callback";

fn server_with(client: TestClient) -> TestServer {
    crate::support::still_server("https://id.example.test")
        .unwrap()
        .add_client(client.add_redirect_uri(CALLBACK).unwrap())
        .add_user(TestUser::new("alice", "wonderland").with_claim("email", "alice@example.test"))
}

fn server() -> TestServer {
    server_with(TestClient::confidential("shop", "secret"))
}

async fn home(session: Option<Session>) -> String {
    session.map_or_else(
        || "signed out".to_owned(),
        |session| session.subject().to_owned(),
    )
}

async fn userinfo(session: Session) -> String {
    match session.userinfo().await {
        Ok(userinfo) => userinfo
            .email()
            .map_or_else(String::new, |it| it.address().to_owned()),
        Err(error) => error.to_string(),
    }
}

fn shop(server: &AuthorizationServer, client: Client) -> Router {
    let key = CookieKey::generate().unwrap();
    let login = LoginLayer::new(server, client, CALLBACK, key)
        .unwrap()
        .with_scopes("openid email")
        .unwrap();
    Router::new()
        .route("/", get(home))
        .route("/userinfo", get(userinfo).layer(login.required()))
        .layer(login)
}

fn browser(server: &TestServer, client: Client) -> Browser {
    server
        .browser()
        .with_origin(SHOP, shop(&server.authorization_server(), client))
        .unwrap()
}

async fn sign_in(browser: &Browser) -> Page {
    let page = browser
        .navigate(&format!("{SHOP}/auth/login"))
        .await
        .unwrap();
    page.sign_in("alice", "wonderland").await.unwrap()
}

fn has_session(browser: &Browser) -> bool {
    let cookies = browser.cookies(SHOP);
    cookies.iter().any(|cookie| !cookie.name().contains("-tx-"))
}

#[tokio::test]
async fn each_kind_of_client_signs_in_with_one_token_request() {
    let registered = TestClient::confidential("shop", "s: e%c+r é");
    for (client, registered) in [
        (
            Client::confidential("shop", "s: e%c+r é"),
            registered
                .clone()
                .with_authentication(ClientAuthentication::Basic),
        ),
        (
            Client::confidential_post("shop", "s: e%c+r é"),
            registered.with_authentication(ClientAuthentication::Post),
        ),
        (Client::public("shop"), TestClient::public("shop")),
    ] {
        let server = server_with(registered);
        let browser = browser(&server, client);
        let page = sign_in(&browser).await;
        assert_eq!(page.text(), "alice");
        assert!(has_session(&browser));
        assert_eq!(server.count(Endpoint::Token), 1);
    }
}

#[tokio::test]
async fn a_wrong_client_secret_is_a_500_and_no_session() {
    let server = server();
    let browser = browser(&server, Client::confidential("shop", "wrong"));
    let page = sign_in(&browser).await;
    assert_eq!(page.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!has_session(&browser));
    assert_eq!(server.count(Endpoint::Token), 1);
}

#[tokio::test]
async fn id_tokens_of_every_default_algorithm_are_verified() {
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ] {
        let server = server().with_algorithm(algorithm);
        let browser = browser(&server, Client::confidential("shop", "secret"));
        assert_eq!(sign_in(&browser).await.text(), "alice", "{algorithm}");
    }
}

#[tokio::test]
async fn new_keys_are_fetched_by_the_login_that_needs_them() {
    let server = server();
    let app = shop(
        &server.authorization_server(),
        Client::confidential("shop", "secret"),
    );
    for fetches in [1, 2] {
        let browser = server.browser().with_origin(SHOP, app.clone()).unwrap();
        assert_eq!(sign_in(&browser).await.text(), "alice");
        assert_eq!(server.count(Endpoint::KeySet), fetches);
        server.rotate_keys();
        server.remove_retired_keys();
    }
}

#[tokio::test]
async fn an_invalid_id_token_creates_no_session_and_requests_no_userinfo() {
    refuses(
        "another client",
        Fault::id_token(|mint| mint.with_claim("aud", "other")),
    )
    .await;
    refuses(
        "no nonce",
        Fault::id_token(|mint| mint.without_claim("nonce")),
    )
    .await;
    refuses("another key", Fault::id_token(|mint| mint.with_wrong_key())).await;
    refuses(
        "no signature",
        Fault::id_token(|mint| mint.without_signature()),
    )
    .await;
    refuses("none at all", Fault::without_member("id_token")).await;
}

async fn refuses(name: &str, fault: Fault) {
    let server = server();
    server.fail(Endpoint::Token, fault);
    let browser = browser(&server, Client::confidential("shop", "secret"));
    let page = sign_in(&browser).await;
    assert_eq!(page.status(), StatusCode::BAD_GATEWAY, "{name}");
    assert!(!has_session(&browser), "{name}");
    assert_eq!(server.count(Endpoint::Token), 1, "{name}");
    assert_eq!(server.count(Endpoint::UserInfo), 0, "{name}");
}

#[tokio::test]
async fn userinfo_is_requested_on_demand_and_must_have_the_same_subject() {
    let server = server();
    let browser = browser(&server, Client::confidential("shop", "secret"));
    sign_in(&browser).await;
    assert_eq!(server.count(Endpoint::UserInfo), 0);
    let url = format!("{SHOP}/userinfo");
    let page = browser.navigate(&url).await.unwrap();
    assert_eq!(page.text(), "alice@example.test");
    assert_eq!(server.count(Endpoint::UserInfo), 1);

    server.fail(Endpoint::UserInfo, Fault::member("sub", "bob"));
    let page = browser.navigate(&url).await.unwrap();
    assert_eq!(
        page.text(),
        "the userinfo response belongs to another subject"
    );
}

#[tokio::test]
async fn the_issuer_audience_and_subject_of_signed_userinfo_are_verified() {
    let server = server();
    let browser = browser(&server, Client::confidential("shop", "secret"));
    sign_in(&browser).await;
    let good = || {
        server
            .id_token("shop")
            .with_subject("alice")
            .with_claim("email", "signed@example.test")
            .without_claim("exp")
            .without_claim("nonce")
    };
    let cannot = "the signed userinfo response is invalid";
    for (name, mint, expected) in [
        ("good", good(), "signed@example.test"),
        ("wrong signature", good().with_broken_signature(), cannot),
        ("foreign key", good().with_wrong_key(), cannot),
        ("no signature", good().without_signature(), cannot),
        ("no issuer", good().without_claim("iss"), cannot),
        (
            "other issuer",
            good().with_issuer("https://evil.test"),
            cannot,
        ),
        ("no audience", good().without_claim("aud"), cannot),
        ("other audience", good().with_audience("other"), cannot),
        ("access token", good().with_header("typ", "at+jwt"), cannot),
        ("expired", good().with_claim("exp", 1_000_000_000), cannot),
        (
            "other subject",
            good().with_subject("bob"),
            "the userinfo response belongs to another subject",
        ),
    ] {
        let fault = Fault::body("application/jwt", mint.sign());
        server.fail_once(Endpoint::UserInfo, fault);
        let page = browser.navigate(&format!("{SHOP}/userinfo")).await.unwrap();
        assert_eq!(page.text(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_code_is_not_sent_again_if_the_token_response_was_lost() {
    let server = server();
    server.fail(Endpoint::Token, Fault::lose_response());
    let browser = browser(&server, Client::confidential("shop", "secret"));
    let page = sign_in(&browser).await;
    assert_eq!(page.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(page.header("retry-after").is_some());
    assert!(!has_session(&browser));
    assert_eq!(server.count(Endpoint::Token), 1);
}
