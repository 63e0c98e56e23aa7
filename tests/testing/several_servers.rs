//! Several test servers in one process, and one browser that can reach them all.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::Value;
use tower::ServiceExt;
use tower_oauth::Algorithm;
use tower_oauth::testing::{Browser, Endpoint, TestClient, TestServer, TestUser};

use crate::support::authorization_server::{
    self, CALLBACK, ISSUER, VERIFIER, authorize, basic, json, query, server,
};

/// A server with the clients of `server()`, where `alice` is another user.
fn other(first: &TestServer, issuer: &str) -> TestServer {
    TestServer::new(issuer)
        .unwrap()
        .with_clock(first.clock())
        .add_client(
            TestClient::confidential("shop", "shop secret:1")
                .add_redirect_uri(CALLBACK)
                .unwrap(),
        )
        .add_user(TestUser::new("alice", "liddell").with_subject("another"))
}

fn browser(servers: &[&TestServer]) -> Browser {
    let browser = authorization_server::browser(servers[0]);
    servers[1..]
        .iter()
        .fold(browser, |browser, server| browser.with_server(server))
}

fn authorize_at(server: &TestServer, changes: &[(&str, &str)]) -> String {
    authorize(changes).replace(ISSUER, server.issuer())
}

/// Redeems a code at a server.
async fn redeem_at(server: &TestServer, code: &str) -> (StatusCode, Value) {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "authorization_code")
        .append_pair("code", code)
        .append_pair("redirect_uri", CALLBACK)
        .append_pair("code_verifier", VERIFIER)
        .finish();
    let request = Request::post(format!("{}/token", server.issuer()))
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", basic("shop", "shop secret:1"))
        .body(Bytes::from(body))
        .unwrap();
    let response = server.back_channel().oneshot(request).await.unwrap();
    (response.status(), json(&response))
}

async fn userinfo_at(server: &TestServer, token: &str) -> StatusCode {
    let request = Request::get(format!("{}/userinfo", server.issuer()))
        .header("authorization", format!("Bearer {token}"))
        .body(Bytes::new())
        .unwrap();
    let response = server.back_channel().oneshot(request).await.unwrap();
    response.status()
}

fn key_id(server: &TestServer) -> String {
    server.key(Algorithm::Rs256).kid().to_owned()
}

/// On hosts of their own, on ports of one host, and as paths of one origin such as the realms of Keycloak.
#[tokio::test]
async fn servers_that_share_a_browser_share_nothing_else() {
    for issuer in [
        "https://accounts.example.test",
        "https://id.example.test:8443",
        "https://id.example.test/realms/staff",
    ] {
        let first = server();
        let second = other(&first, issuer);
        let browser = browser(&[&first, &second]);
        let silent = [("prompt", "none")];
        let signed_in = async |server: &TestServer| {
            let page = browser.navigate(&authorize_at(server, &silent)).await;
            query(&page.unwrap()).contains_key("code")
        };

        let page = browser.navigate(&authorize_at(&first, &[])).await.unwrap();
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        let first_code = query(&page)["code"].clone();
        assert_eq!(query(&page)["iss"], ISSUER, "{issuer}");
        assert!(signed_in(&first).await && !signed_in(&second).await);

        let page = browser.navigate(&authorize_at(&second, &[])).await.unwrap();
        let page = page.sign_in("alice", "wonderland").await.unwrap();
        assert_eq!(page.status(), StatusCode::UNPROCESSABLE_ENTITY, "{issuer}");
        let page = page.sign_in("alice", "liddell").await.unwrap();
        let second_code = query(&page)["code"].clone();
        assert_eq!(query(&page)["iss"], issuer);
        assert!(signed_in(&first).await && signed_in(&second).await);

        // Codes, tokens and keys of the one are unknown to the other.
        let (status, error) = redeem_at(&second, &first_code).await;
        assert_eq!(
            (status, error["error"].as_str()),
            (StatusCode::BAD_REQUEST, Some("invalid_grant"))
        );
        let (_, tokens) = redeem_at(&second, &second_code).await;
        let token = tokens["access_token"].as_str().unwrap();
        assert_eq!(userinfo_at(&second, token).await, StatusCode::OK);
        assert_eq!(userinfo_at(&first, token).await, StatusCode::UNAUTHORIZED);
        assert_ne!(key_id(&first), key_id(&second), "{issuer}");

        // Each has a log of its own.
        assert_eq!(
            (first.count(Endpoint::Token), second.count(Endpoint::Token)),
            (0, 2)
        );
        assert_eq!(
            (
                first.count(Endpoint::SignIn),
                second.count(Endpoint::SignIn)
            ),
            (1, 2)
        );
        assert_eq!(
            first.count(Endpoint::Unknown) + second.count(Endpoint::Unknown),
            0
        );

        // A logout at one leaves the session at the other.
        let logout = format!("{issuer}/end-session");
        let page = browser.navigate(&logout).await.unwrap();
        page.form("#end-session")
            .unwrap()
            .press("Sign out")
            .await
            .unwrap();
        assert!(
            signed_in(&first).await && !signed_in(&second).await,
            "{issuer}"
        );
    }
}

#[tokio::test]
async fn the_longest_issuer_that_is_a_prefix_of_the_path_receives_the_request() {
    let root = server();
    let staff = other(&root, "https://id.example.test/realms/staff");
    let team = other(&root, "https://id.example.test/realms/staff/team");
    let all = [&root, &staff, &team];
    for servers in [vec![&root, &staff, &team], vec![&team, &staff, &root]] {
        let browser = browser(&servers);
        for (path, expected) in [
            ("/authorize", [1, 0, 0]),
            ("/realms/staff/authorize", [0, 1, 0]),
            ("/realms/staff/authorize?x=/realms/staff/team", [0, 1, 0]),
            ("/realms/staff/team/authorize", [0, 0, 1]),
            // Not a segment of the path.
            ("/realms/staffroom/authorize", [1, 0, 0]),
            ("/realms/staff/teams", [0, 1, 0]),
            ("/realms/other/authorize", [1, 0, 0]),
        ] {
            all.iter().for_each(|server| server.clear_requests());
            browser.navigate(&format!("{ISSUER}{path}")).await.unwrap();
            assert_eq!(
                all.map(|server| server.requests().len()),
                expected,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn a_shared_clock_advances_for_all_servers_and_another_for_one() {
    let first = server();
    let same = other(&first, "https://same.example.test");
    let own = TestServer::new("https://own.example.test").unwrap();
    let before = own.clock().unix_seconds();
    first.clock().advance(Duration::from_secs(400));
    assert_eq!(same.clock().unix_seconds(), first.clock().unix_seconds());
    assert_eq!(own.clock().unix_seconds(), before);
}
