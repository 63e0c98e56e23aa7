//! One access token for each resource of a session (RFC 8707), with one refresh token for all of them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tower_oauth::LoginLayer;
use tower_oauth::session::SessionError;
use tower_oauth::testing::{Endpoint, Fault, GrantType, TestClient};

use crate::support::logs::Logs;
use crate::support::modes::{Mode, session_modes};
use crate::support::refresh::{World, begin, server, settle, shop, status_and_text};
use crate::support::shop::{Answer, Ask, Jar, PAGE, Shop, login};

session_modes! {
    all: [
        each_resource_has_an_access_token_of_its_own,
        tokens_for_resources_are_refreshed_like_that_of_the_session,
        concurrent_callers_for_two_resources_send_one_refresh_for_each,
        a_resource_that_is_not_configured_is_refused_with_the_configured_ones,
        without_a_refresh_token_only_the_first_resource_has_a_token,
        a_resource_that_the_server_rejects_ends_no_session_and_delays_no_other_token,
        a_rejected_resource_does_not_fail_the_callers_of_another_token,
        a_forced_refresh_discards_the_tokens_for_other_resources,
        a_forced_refresh_replaces_the_token_although_another_resource_was_refreshed,
        a_forced_refresh_that_joins_the_refresh_of_a_resource_replaces_the_token,
        a_forced_refresh_discards_the_token_of_a_resource_although_the_session_was_refreshed,
        a_refresh_token_that_is_rejected_for_a_resource_ends_the_session,
        a_sign_out_revokes_the_tokens_for_all_resources,
        more_tokens_than_cookies_hold_are_kept_without_the_browser,
    ],
    with_store: [
        processes_share_the_tokens_for_resources,
        a_process_that_lost_its_lease_keeps_the_tokens_of_both,
    ],
}

const ORDERS: &str = "https://orders.example.test";
const PAYMENTS: &str = "https://payments.example.test/v1?tenant=a";
const MORE: [&str; 3] = ["urn:example:a", "urn:example:b", "urn:example:c"];

fn client(client: TestClient) -> TestClient {
    client.with_resources([ORDERS, PAYMENTS].into_iter().chain(MORE))
}

fn two(login: LoginLayer) -> LoginLayer {
    login
        .add_resource(ORDERS)
        .unwrap()
        .add_resource(PAYMENTS)
        .unwrap()
}

fn five(login: LoginLayer) -> LoginLayer {
    MORE.into_iter()
        .fold(two(login), |login, one| login.add_resource(one).unwrap())
}

async fn signed_in(mode: Mode) -> (World, Jar) {
    let world = World::configured(server(client), mode, two);
    let jar = world.a.signed_in().await;
    (world, jar)
}

/// Asks for the token for a resource, and takes over the cookies of the response.
async fn token_for(world: &World, shop: &Shop, jar: &mut Jar, resource: &str) -> Answer {
    let ask = Ask::page(&format!("/token-for?{resource}")).jar(jar);
    let answer = world.in_time(shop.send(ask)).await;
    jar.take(&answer);
    answer
}

/// Asks for the token of the session, and takes over the cookies of the response.
async fn token(world: &World, shop: &Shop, jar: &mut Jar) -> Answer {
    let answer = world.token(shop, jar).await;
    jar.take(&answer);
    answer
}

fn audience(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect(token);
    let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice::<Value>(&payload).unwrap()["aud"].clone()
}

/// The `resource` of each token request.
fn requested(world: &World) -> Vec<String> {
    let requests = world.server.requests();
    let requests = requests
        .iter()
        .filter(|one| one.endpoint() == Endpoint::Token);
    requests
        .map(|request| request.parameter("resource").unwrap_or_default())
        .collect()
}

/// RFC 8707 §2.1, §2.2: all resources in the authorization request, one in each token request.
async fn each_resource_has_an_access_token_of_its_own(mode: Mode) {
    let (world, mut jar) = signed_in(mode).await;
    let authorization = world.server.requests().into_iter();
    let authorization = authorization
        .filter(|request| request.endpoint() == Endpoint::Authorization)
        .find_map(|request| request.uri().query().map(str::to_owned))
        .unwrap();
    let resources: Vec<String> = url::form_urlencoded::parse(authorization.as_bytes())
        .filter_map(|(name, value)| (name == "resource").then(|| value.into_owned()))
        .collect();
    assert_eq!(resources, [ORDERS, PAYMENTS]);

    let main = token(&world, &world.a, &mut jar).await;
    assert_eq!(audience(&main.text()), json!(ORDERS));
    let same = token_for(&world, &world.a, &mut jar, ORDERS).await;
    assert_eq!(same.text(), main.text());
    let further = token_for(&world, &world.a, &mut jar, PAYMENTS).await;
    assert_eq!(audience(&further.text()), json!(PAYMENTS));
    let again = token_for(&world, &world.a, &mut jar, PAYMENTS).await;
    assert_eq!(status_and_text(&again), status_and_text(&further));
    let kept = token(&world, &world.a, &mut jar).await;
    assert_eq!(kept.text(), main.text(), "that of the session is kept");
    assert_eq!(requested(&world), [ORDERS, PAYMENTS]);

    let session = world.kept_session(&jar).await;
    let scopes = session
        .scopes_for(PAYMENTS)
        .map(|scopes| scopes.to_string());
    assert_eq!(scopes, Some(session.scopes().to_string()));
    assert_eq!(session.scopes_for(ORDERS), Some(session.scopes().clone()));
    assert_eq!(session.scopes_for("urn:example:other"), None);
}

async fn tokens_for_resources_are_refreshed_like_that_of_the_session(mode: Mode) {
    let (world, mut jar) = signed_in(mode).await;
    world.advance(100);
    let first = token_for(&world, &world.a, &mut jar, PAYMENTS).await;
    // That of the session expires first, and its refresh keeps the other token.
    world.advance(205);
    let main = token(&world, &world.a, &mut jar).await;
    assert_eq!(audience(&main.text()), json!(ORDERS));
    let same = token_for(&world, &world.a, &mut jar, PAYMENTS).await;
    assert_eq!(same.text(), first.text());
    assert_eq!(requested(&world), [ORDERS, PAYMENTS, ORDERS]);
    // Ahead of its expiry, without a waiting request.
    world.advance(65);
    let early = token_for(&world, &world.a, &mut jar, PAYMENTS).await;
    assert_eq!(early.status, 200);
    settle().await;
    assert_eq!(requested(&world).len(), 4);
    world.advance(40);
    let second = token_for(&world, &world.a, &mut jar, PAYMENTS).await;
    assert_eq!(audience(&second.text()), json!(PAYMENTS));
    assert_ne!(second.text(), first.text());
    assert_eq!(requested(&world), [ORDERS, PAYMENTS, ORDERS, PAYMENTS]);
}

/// The refresh token rotates, so the requests must follow each other: a second use would revoke the grant.
async fn concurrent_callers_for_two_resources_send_one_refresh_for_each(mode: Mode) {
    let (world, mut jar) = signed_in(mode).await;
    token_for(&world, &world.a, &mut jar, PAYMENTS).await;
    world.advance(301);
    let further = format!("/token-for?{PAYMENTS}");
    let requests: Vec<_> = (0..100)
        .map(|n| {
            let path = if n % 3 == 0 { "/token" } else { &further };
            (n % 3 == 0, begin([&world.a, &world.b][n % 2], path, &jar))
        })
        .collect();
    for (is_main, request) in requests {
        let answer = world.in_time(request).await.unwrap();
        let expected = if is_main { ORDERS } else { PAYMENTS };
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(audience(&answer.text()), json!(expected));
    }
    assert_eq!(world.refreshes(), 3);
    let session = world.kept_session(&jar).await;
    world.in_time(session.refresh()).await.unwrap();
}

async fn a_resource_that_is_not_configured_is_refused_with_the_configured_ones(mode: Mode) {
    let (world, jar) = signed_in(mode).await;
    let session = world.kept_session(&jar).await;
    for resource in ["", "https://orders.example.test/", MORE[0]] {
        let error = session.access_token_for(resource).await.unwrap_err();
        assert!(
            matches!(error, SessionError::UnknownResource { .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains(ORDERS) && text.contains(PAYMENTS), "{text}");
    }
    assert_eq!(world.refreshes(), 0);
}

async fn without_a_refresh_token_only_the_first_resource_has_a_token(mode: Mode) {
    let server = server(|one| client(one).with_grant_types([GrantType::AuthorizationCode]));
    let world = World::configured(server, mode, two);
    let jar = world.a.signed_in().await;
    let session = world.kept_session(&jar).await;
    let error = session.access_token_for(PAYMENTS).await.unwrap_err();
    assert!(matches!(error, SessionError::NoRefreshToken), "{error}");
    let token = session.access_token_for(ORDERS).await.unwrap();
    assert_eq!(audience(token.expose()), json!(ORDERS));
    world.advance(301);
    let error = session.access_token_for(ORDERS).await.unwrap_err();
    assert!(matches!(error, SessionError::AccessTokenExpired), "{error}");
}

fn reject_target(world: &World) {
    let body = br#"{"error":"invalid_target"}"#.to_vec();
    world.fail_refreshes(Fault::status(400));
    world.fail_refreshes(Fault::body("application/json", body));
}

/// RFC 8707 §2: `invalid_target` is about the resource, and neither about the session nor about the client.
async fn a_resource_that_the_server_rejects_ends_no_session_and_delays_no_other_token(mode: Mode) {
    let (world, mut jar) = signed_in(mode).await;
    reject_target(&world);
    let log = Logs::default();
    let recording = log.record();
    for _ in 0..3 {
        let answer = token_for(&world, &world.a, &mut jar, PAYMENTS).await;
        assert_eq!(status_and_text(&answer), (502, "refused".to_owned()));
    }
    drop(recording);
    assert_eq!(world.refreshes(), 1, "the next attempt is delayed");
    let text = log.text();
    assert!(
        text.contains("resource_refused") && text.contains(PAYMENTS),
        "{text}"
    );
    assert!(text.contains("LoginLayer::add_resource"), "{text}");
    world.server.clear_faults(Endpoint::Token);
    let main = token(&world, &world.a, &mut jar).await;
    assert_eq!(main.status, 200);
    let session = world.kept_session(&jar).await;
    world.in_time(session.refresh()).await.unwrap();
    // The back-off of the resource goes on.
    let token = session.access_token_for(PAYMENTS).await;
    assert!(matches!(token, Err(SessionError::Refused { .. })));
    world.advance(2);
    let token = world.in_time(session.access_token_for(PAYMENTS)).await;
    assert_eq!(audience(token.unwrap().expose()), json!(PAYMENTS));
}

async fn a_rejected_resource_does_not_fail_the_callers_of_another_token(mode: Mode) {
    let (world, jar) = signed_in(mode).await;
    let session = world.kept_session(&jar).await;
    let old = session.access_token().await.unwrap();
    let gate = world.hold_refresh();
    let body = br#"{"error":"invalid_target"}"#.to_vec();
    world.fail_refresh_once(Fault::status(400));
    world.fail_refresh_once(Fault::body("application/json", body));
    let further = begin(&world.a, &format!("/token-for?{PAYMENTS}"), &jar);
    world.refresh_arrived().await;
    let kept = session.clone();
    let forced = tokio::spawn(async move { kept.refresh().await });
    settle().await;
    gate.open();
    let further = world.in_time(further).await.unwrap();
    assert_eq!(status_and_text(&further), (502, "refused".to_owned()));
    world.in_time(forced).await.unwrap().unwrap();
    let new = session.access_token().await.unwrap();
    assert_ne!(new.expose(), old.expose());
    assert_eq!(audience(new.expose()), json!(ORDERS));
    assert_eq!(requested(&world), [ORDERS, PAYMENTS, ORDERS]);
}

async fn a_forced_refresh_discards_the_tokens_for_other_resources(mode: Mode) {
    let (world, mut jar) = signed_in(mode).await;
    let first = token_for(&world, &world.a, &mut jar, PAYMENTS).await;
    world.advance(1);
    let renewed = world
        .in_time(world.a.send(Ask::page("/renew").jar(&jar)))
        .await;
    jar.take(&renewed);
    let second = token_for(&world, &world.a, &mut jar, PAYMENTS).await;
    assert_eq!(audience(&second.text()), json!(PAYMENTS));
    assert_ne!(second.text(), first.text());
    assert_eq!(requested(&world), [ORDERS, PAYMENTS, ORDERS, PAYMENTS]);
}

async fn a_refresh_token_that_is_rejected_for_a_resource_ends_the_session(mode: Mode) {
    let (world, mut jar) = signed_in(mode).await;
    let body = br#"{"error":"invalid_grant"}"#.to_vec();
    world.fail_refreshes(Fault::status(400));
    world.fail_refreshes(Fault::body("application/json", body));
    let answer = token_for(&world, &world.a, &mut jar, PAYMENTS).await;
    assert_eq!(status_and_text(&answer), (401, "ended".to_owned()));
    if mode == Mode::Cookie {
        // Another process may have used the refresh token: the access token is used until it expires.
        assert_eq!(token(&world, &world.a, &mut jar).await.status, 200);
        world.advance(301);
    }
    assert_eq!(world.a.greeting(&jar).await, "hello stranger");
}

async fn a_sign_out_revokes_the_tokens_for_all_resources(mode: Mode) {
    let (world, mut jar) = signed_in(mode).await;
    let main = token(&world, &world.a, &mut jar).await.text();
    let further = token_for(&world, &world.a, &mut jar, PAYMENTS).await.text();
    let own = [PAGE[0], ("sec-fetch-site", "same-origin")];
    let logout = Ask::new("POST", "/auth/logout").with(&own).jar(&jar);
    assert_eq!(world.a.send(logout).await.status, 303);
    let revoked = world.revoked();
    assert!(revoked.contains(&main) && revoked.contains(&further));
}

/// The cookies leave them out, since they can be requested again, and never the refresh token.
async fn more_tokens_than_cookies_hold_are_kept_without_the_browser(mode: Mode) {
    let server = server(|one| client(one).without_rotation());
    let world = World::configured(server, mode, five);
    let mut jar = world.a.signed_in().await;
    let all = [PAYMENTS].into_iter().chain(MORE);
    for resource in all.clone() {
        let answer = token_for(&world, &world.a, &mut jar, resource).await;
        assert_eq!(audience(&answer.text()), json!(resource));
        let cookies = jar.header().len();
        assert!(cookies < 3 * 1024 + 512, "{cookies}");
    }
    for resource in all.clone() {
        let answer = token_for(&world, &world.a, &mut jar, resource).await;
        assert_eq!(audience(&answer.text()), json!(resource));
        assert!(
            answer.set_cookies().is_empty(),
            "no cookie is set at each request"
        );
    }
    assert_eq!(world.refreshes(), 4);
    // A process that does not have them requests them again.
    let other = world.another();
    for resource in all {
        let answer = token_for(&world, &other, &mut jar, resource).await;
        assert_eq!(audience(&answer.text()), json!(resource));
    }
    let expected = if mode == Mode::Cookie { 4..=8 } else { 4..=4 };
    assert!(
        expected.contains(&world.refreshes()),
        "{}",
        world.refreshes()
    );
}

async fn processes_share_the_tokens_for_resources(mode: Mode) {
    let (world, mut jar) = signed_in(mode).await;
    let first = token_for(&world, &world.a, &mut jar.clone(), PAYMENTS).await;
    // With the cookie from before, too.
    let second = token_for(&world, &world.b, &mut jar, PAYMENTS).await;
    assert_eq!(first.text(), second.text());
    assert_eq!(world.refreshes(), 1);
}

/// The lease of the first process expires while its response is late. The newer tokens win, and none is lost.
async fn a_process_that_lost_its_lease_keeps_the_tokens_of_both(mode: Mode) {
    let server = server(|one| client(one).without_rotation());
    let world = World::configured(server, mode, two);
    let jar = world.a.signed_in().await;
    world.kept_session(&jar).await;
    let gate = world.hold_refresh();
    let late = begin(&world.a, &format!("/token-for?{PAYMENTS}"), &jar);
    world.refresh_arrived().await;
    world.lose_lease().await;
    let main = begin(&world.b, "/renew", &jar);
    let main = world.in_time(main).await.unwrap();
    assert_eq!(audience(&main.text()), json!(ORDERS));
    gate.open();
    let late = world.in_time(late).await.unwrap();
    assert_eq!(late.status, 200, "{}", late.text());
    assert_eq!(audience(&late.text()), json!(PAYMENTS));
    let again = world.token(&world.a, &jar).await;
    assert_eq!(
        again.text(),
        main.text(),
        "the newer token of the session is kept"
    );
}

/// An API has rejected the token of the session. Another request needs a token for another API meanwhile.
async fn a_forced_refresh_replaces_the_token_although_another_resource_was_refreshed(mode: Mode) {
    let (world, mut jar) = signed_in(mode).await;
    let session = world.kept_session(&jar).await;
    let rejected = world.in_time(session.access_token()).await.unwrap();
    let answer = token_for(&world, &world.a, &mut jar, PAYMENTS).await;
    assert_eq!(answer.status, 200);
    world.in_time(session.refresh()).await.unwrap();
    let new = world.in_time(session.access_token()).await.unwrap();
    assert_ne!(new, rejected, "{mode:?}");
}

async fn a_forced_refresh_that_joins_the_refresh_of_a_resource_replaces_the_token(mode: Mode) {
    let (world, jar) = signed_in(mode).await;
    let session = world.kept_session(&jar).await;
    let rejected = world.in_time(session.access_token()).await.unwrap();
    let gate = world.hold_refresh();
    let other = begin(&world.a, &format!("/token-for?{PAYMENTS}"), &jar);
    world.refresh_arrived().await;
    let forced = {
        let session = session.clone();
        tokio::spawn(async move { session.refresh().await })
    };
    settle().await;
    gate.open();
    assert_eq!(world.in_time(other).await.unwrap().status, 200);
    world.in_time(forced).await.unwrap().unwrap();
    let new = world.in_time(session.access_token()).await.unwrap();
    assert_ne!(new, rejected, "{mode:?}");
}

async fn a_forced_refresh_discards_the_token_of_a_resource_although_the_session_was_refreshed(
    mode: Mode,
) {
    let (world, mut jar) = signed_in(mode).await;
    world.advance(200);
    token_for(&world, &world.a, &mut jar, PAYMENTS).await;
    let session = world.kept_session(&jar).await;
    let rejected = world.in_time(session.access_token_for(PAYMENTS)).await;
    // The token of the session expires, and another request refreshes it.
    world.advance(101);
    assert_eq!(world.token(&world.a, &jar).await.status, 200);
    world.in_time(session.refresh()).await.unwrap();
    let new = world.in_time(session.access_token_for(PAYMENTS)).await;
    assert_ne!(new.unwrap(), rejected.unwrap(), "{mode:?}");
}

/// The list of resources changes in a new release, and sessions outlive it.
#[tokio::test]
async fn no_api_gets_the_token_of_another_after_a_change_of_the_resources() {
    type Configure = fn(LoginLayer) -> LoginLayer;
    let cases: [(&str, Configure, Configure); 3] = [
        ("swapped", two, |login| {
            let login = login.add_resource(PAYMENTS).unwrap();
            login.add_resource(ORDERS).unwrap()
        }),
        (
            "replaced",
            |login| login.add_resource(ORDERS).unwrap(),
            |login| login.add_resource(PAYMENTS).unwrap(),
        ),
        (
            "added",
            |login| login,
            |login| login.add_resource(PAYMENTS).unwrap(),
        ),
    ];
    for (name, before, after) in cases {
        let server = server(client);
        let old = shop(&server, before(login(&server)), &Arc::default());
        let kept = Arc::default();
        let new = shop(&server, after(login(&server)), &kept);
        let mut jar = old.signed_in().await;
        let ask = Ask::page("/keep").jar(&jar);
        new.send(ask).await;
        let session = kept.lock().unwrap().pop().unwrap();
        assert_eq!(session.scopes_for(PAYMENTS), None, "{name}");
        for path in [format!("/token-for?{PAYMENTS}"), "/token".to_owned()] {
            let answer = new.send(Ask::page(&path).jar(&jar)).await;
            jar.take(&answer);
            // Without a grant for it, the server rejects the resource.
            match answer.status.as_u16() {
                200 => assert_eq!(audience(&answer.text()), json!(PAYMENTS), "{name}"),
                _ => assert!(name != "swapped", "{name} {}", answer.text()),
            }
        }
    }
}
