//! Tools of the test server: request log, faults, keys, token mint, clock and socket.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, StatusCode};
use tower::ServiceExt;
use tower_oauth::bearer::Policy;
use tower_oauth::clock::Clock as _;
use tower_oauth::testing::{
    Browser, Endpoint, Fault, ManualClock, TestClient, TestServer, TestSession, TestSigningKey,
    TestUser,
};
use tower_oauth::token::ScopeClaim;
use tower_oauth::{Algorithm, Session};

use crate::support::authorization_server::{
    AUDIENCE, CALLBACK, CHALLENGE, VERIFIER, authorize, basic, browser, claims, code, document,
    error, json, part, post, query, redeem, server,
};
use crate::support::modes::{Mode, session_modes};
use crate::support::shop::{self, Ask, Shop};

session_modes! {
    all: [a_test_session_has_a_cookie_for_requests_through_the_layer],
}

async fn a_test_session_has_a_cookie_for_requests_through_the_layer(mode: Mode) {
    let login = mode.place(shop::login(&shop::server()));
    let app = shop::app(&login);
    let large = "x".repeat(3000);
    for session in [
        TestSession::new("alice"),
        // In several cookies, unless it is in a store.
        TestSession::new("alice").with_access_token(&large, Duration::from_secs(60)),
    ] {
        let cookie = session.cookie(&login).await;
        let ask = Ask::page("/account").set("cookie", cookie.to_str().unwrap());
        let answer = shop::send(&app, ask.clone()).await;
        assert_eq!(answer.text(), "account of alice");
        assert_eq!(answer.set_cookies(), [""; 0]);
        let out = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
        let out = out.set("cookie", cookie.to_str().unwrap());
        assert_eq!(shop::send(&app, out).await.status, StatusCode::SEE_OTHER);
        assert_ne!(shop::send(&app, ask).await.text(), "account of alice");
    }
}

/// As real servers do: standard claims by scope (OpenID Connect Core §5.4), others only if they were configured.
#[tokio::test]
async fn the_claims_of_a_user_are_in_the_tokens_by_scope_or_by_configuration() {
    let user = TestUser::new("alice", "wonderland")
        .with_claim("email", "alice@example.test")
        .with_claim("name", "Alice")
        .with_claim("roles", ["userinfo"])
        .with_id_token_claim("groups", ["id token"])
        .with_access_token_claim("roles", ["access token"]);
    for (scopes, expected) in [
        ("openid", "groups"),
        ("openid email", "email groups"),
        ("openid profile", "groups name preferred_username"),
        (
            "openid profile email",
            "email groups name preferred_username",
        ),
    ] {
        let server = shop::server().add_user(user.clone());
        let login = shop::login(&server).with_scopes(scopes).unwrap();
        let show = async |session: Session| {
            let has = |name: &&str| session.claims().get(name).is_some();
            let names = ["email", "groups", "name", "preferred_username", "roles"];
            let names: Vec<_> = names.into_iter().filter(has).collect();
            let token = session.access_token().await.unwrap();
            let userinfo = session.userinfo().await.unwrap();
            let roles = part(token.expose(), 1)["roles"].clone();
            format!(
                "{} | {roles} | {}",
                names.join(" "),
                userinfo.get("roles").unwrap()
            )
        };
        let app = Router::new().route("/", get(show)).layer(login);
        let shop = Shop { server, app };
        let jar = shop.signed_in().await;
        let shown = shop.greeting(&jar).await;
        let roles = r#"["access token"] | ["userinfo"]"#;
        assert_eq!(shown, format!("{expected} | {roles}"), "{scopes}");
    }
}

/// Names of roles and groups differ by server; the places are those of the servers that the methods name.
#[tokio::test]
async fn roles_and_groups_of_a_user_are_where_the_servers_put_them() {
    let user = TestUser::new("alice", "wonderland")
        .with_groups(["/staff"])
        .with_roles(["Orders.Read"])
        .with_realm_roles(["clerk"]);
    let server = shop::server().add_user(user);
    let login = shop::login(&server);
    let realm_role = ScopeClaim::nested(["realm_access", "roles"]);
    let policy = Policy::role(realm_role, "clerk").unwrap();
    let policy = policy.and_role("roles", "Orders.Read").unwrap();
    let policy = policy.and_role("groups", "/staff").unwrap();
    let show = async |session: Session| {
        let token = session.access_token().await.unwrap();
        let token = part(token.expose(), 1);
        let userinfo = session.userinfo().await.unwrap();
        let names = ["groups", "roles", "realm_access"];
        let userinfo = names.map(|name| userinfo.get(name).cloned().unwrap_or_default());
        serde_json::json!([names.map(|name| token[name].clone()), userinfo]).to_string()
    };
    // The policy reads the claims of the ID token.
    let required = login.required().with_policy(policy).unwrap();
    let route = get(show).layer(required);
    let app = Router::new().route("/", route).layer(login);
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    assert_eq!(
        shop.greeting(&jar).await,
        r#"[[["/staff"],["Orders.Read"],{"roles":["clerk"]}],[["/staff"],null,null]]"#
    );
}

/// As servers that release claims from the userinfo endpoint alone (OpenID Connect Core §5.4).
#[tokio::test]
async fn a_client_without_claims_in_id_tokens_has_those_that_were_configured_or_requested() {
    let user = TestUser::new("alice", "wonderland")
        .with_claim("email", "alice@example.test")
        .with_claim("name", "Alice")
        .with_id_token_claim("tenant", "one");
    let server = shop::server().add_user(user);
    let client = shop::client().without_claims_in_id_token();
    let server = server.add_client(client);
    let requested = serde_json::json!({ "id_token": { "name": null } });
    let plain = shop::login(&server)
        .with_scopes("openid profile email")
        .unwrap();
    let by_name = plain.clone().with_requested_claims(requested).unwrap();
    for (login, expected) in [(plain, "tenant"), (by_name, "name tenant")] {
        let show = async |session: Session| {
            let names = ["email", "name", "preferred_username", "tenant"];
            let in_id_token = |name: &&str| session.claims().get(name).is_some();
            let in_id_token: Vec<_> = names.into_iter().filter(in_id_token).collect();
            let userinfo = session.userinfo().await.unwrap();
            let in_userinfo = |name: &&str| userinfo.get(name).is_some();
            let in_userinfo: Vec<_> = names.into_iter().filter(in_userinfo).collect();
            format!("{} | {}", in_id_token.join(" "), in_userinfo.join(" "))
        };
        let app = Router::new().route("/", get(show)).layer(login);
        let server = server.clone();
        let shop = Shop { server, app };
        let jar = shop.signed_in().await;
        let userinfo = "email name preferred_username";
        assert_eq!(
            shop.greeting(&jar).await,
            format!("{expected} | {userinfo}")
        );
    }
}

/// The default clock of the test server: what waits makes progress, and time passes only meanwhile.
#[tokio::test]
async fn a_sleep_that_no_test_ends_ends_in_real_time_and_advances_the_clock() {
    let server = TestServer::new(shop::ISSUER).unwrap();
    let clock = server.clock();
    let (long, short) = (Duration::from_secs(3600), Duration::from_millis(30));
    let longer = tokio::spawn(clock.sleep(long));
    clock.sleep(short).await;
    assert_eq!(clock.monotonic(), short);
    assert!(!longer.is_finished());
    clock.advance(long);
    longer.await.unwrap();
    assert_eq!(clock.monotonic(), short + long);
}

#[tokio::test]
async fn keys_can_be_rotated_and_removed() {
    let server = server();
    let kids = async || -> Vec<String> {
        let set = document(&server, "/jwks").await;
        let keys = set["keys"].as_array().unwrap();
        keys.iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = server.key(Algorithm::Rs256);
    assert_eq!(kids().await, [first.kid()]);
    server.rotate_keys();
    let second = server.key(Algorithm::Rs256);
    assert_eq!(kids().await, [first.kid(), second.kid()]);
    assert_eq!(part(&server.access_token().sign(), 0)["kid"], second.kid());
    server.remove_retired_keys();
    assert_eq!(kids().await, [second.kid()]);

    let elliptic = server.key(Algorithm::Es256);
    assert_eq!(kids().await, [second.kid(), elliptic.kid()]);
    let added = TestSigningKey::generate(Algorithm::Es256).with_kid("added");
    server.publish_key(&added);
    server.remove_key(elliptic.kid());
    assert_eq!(kids().await, [second.kid(), "added"]);
    server.sign_with(&added);
    let token = server
        .access_token()
        .with_algorithm(Algorithm::Es256)
        .sign();
    assert_eq!(part(&token, 0)["kid"], "added");
    server.publish_jwk(serde_json::json!({ "kty": "oct", "k": "AA", "kid": "odd" }));
    assert_eq!(kids().await.last().unwrap(), "odd");
}

#[tokio::test]
async fn requests_are_recorded_and_counted_and_can_be_awaited() {
    let server = server();
    let waiting = {
        let server = server.clone();
        tokio::spawn(async move { server.wait_for(Endpoint::Token, 2).await })
    };
    tokio::task::yield_now().await;
    post(&server, None, &[("grant_type", "x"), ("client_id", "cli")]).await;
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    post(&server, Some("Basic x"), &[("grant_type", "y")]).await;
    waiting.await.unwrap();

    assert_eq!(server.count(Endpoint::Token), 2);
    assert_eq!(server.count(Endpoint::KeySet), 0);
    let requests = server.requests();
    assert_eq!(requests[0].endpoint(), Endpoint::Token);
    assert_eq!(requests[0].parameter("client_id").as_deref(), Some("cli"));
    assert_eq!(requests[1].header("authorization"), Some("Basic x"));
    server.clear_requests();
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn faults_apply_until_they_are_used_up_or_cleared() {
    let server = server();
    let fetch = async || {
        let request = Request::get("/jwks").body(Bytes::new()).unwrap();
        server.back_channel().oneshot(request).await
    };
    server.fail_once(Endpoint::KeySet, Fault::status(503));
    assert_eq!(fetch().await.unwrap().status(), 503);
    assert_eq!(fetch().await.unwrap().status(), 200);

    server.fail_times(Endpoint::KeySet, 2, Fault::disconnect());
    assert!(fetch().await.is_err() && fetch().await.is_err());
    assert_eq!(fetch().await.unwrap().status(), 200);

    server.fail(Endpoint::KeySet, Fault::body("text/html", "<p>no</p>"));
    server.fail(Endpoint::KeySet, Fault::status(502));
    for _ in 0..3 {
        let response = fetch().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), response.body().as_ref()),
            (502, &b"<p>no</p>"[..])
        );
    }
    server.clear_faults(Endpoint::KeySet);
    server.fail_once(Endpoint::KeySet, Fault::without_member("keys"));
    assert_eq!(json(&fetch().await.unwrap()), serde_json::json!({}));

    server.fail_once(Endpoint::KeySet, Fault::delay(Duration::from_secs(10)));
    let clock = server.clock();
    let (response, ()) = tokio::join!(fetch(), async {
        clock.wait_for_sleepers(1).await;
        clock.advance(Duration::from_secs(10));
    });
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(
        server.count(Endpoint::KeySet),
        10,
        "failed requests are counted"
    );
}

#[tokio::test]
async fn a_request_is_processed_even_if_its_response_is_lost() {
    let server = server();
    let code = code(&server).await;
    server.fail_once(Endpoint::Token, Fault::lose_response());
    let body = format!(
        "grant_type=authorization_code&code={code}&code_verifier={VERIFIER}&redirect_uri={CALLBACK}"
    );
    let request = Request::post("/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", basic("shop", "shop secret:1"))
        .body(Bytes::from(body))
        .unwrap();
    assert!(server.back_channel().oneshot(request).await.is_err());
    assert_eq!(error(&redeem(&server, &code, &[]).await), "invalid_grant");
}

#[tokio::test]
async fn faults_change_tokens_and_redirects() {
    let server = server();
    server.fail_once(
        Endpoint::Token,
        Fault::id_token(|mint| mint.with_claim("nonce", "other").without_claim("at_hash")),
    );
    server.fail_once(
        Endpoint::Token,
        Fault::access_token(|mint| mint.with_audience("https://other.example.test")),
    );
    server.fail_once(Endpoint::Token, Fault::member("token_type", "mac"));
    let tokens = json(&redeem(&server, &code(&server).await, &[]).await);
    let id = claims(tokens["id_token"].as_str().unwrap());
    assert_eq!((&id["nonce"], id.get("at_hash")), (&"other".into(), None));
    let access = claims(tokens["access_token"].as_str().unwrap());
    assert_eq!(access["aud"], "https://other.example.test");
    assert_eq!(tokens["token_type"], "mac");

    // The fault applies although the sign-in page sends the redirect.
    server.fail_once(
        Endpoint::Authorization,
        Fault::parameter("iss", "https://evil.example"),
    );
    server.fail_once(Endpoint::Authorization, Fault::without_parameter("state"));
    let page = browser(&server).navigate(&authorize(&[])).await.unwrap();
    let response = query(&page.sign_in("alice", "wonderland").await.unwrap());
    assert_eq!(response["iss"], "https://evil.example");
    assert!(response.contains_key("code") && !response.contains_key("state"));
}

#[tokio::test]
async fn dropping_the_handle_closes_the_socket() {
    let (server, handle) = TestServer::start("127.0.0.1:0").await.unwrap();
    let callback = format!("{}/nowhere", server.issuer());
    let server = server
        .add_client(
            TestClient::public("app")
                .without_consent()
                .add_redirect_uri(&callback)
                .unwrap(),
        )
        .add_user(TestUser::new("alice", "wonderland"));
    assert_eq!(server.issuer(), format!("http://{}", handle.local_addr()));
    let url = format!(
        "{}/authorize?response_type=code&client_id=app&redirect_uri={callback}&scope=openid\
         &code_challenge={CHALLENGE}&code_challenge_method=S256",
        server.issuer(),
    );
    let page = Browser::new().navigate(&url).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(page.status(), StatusCode::NOT_FOUND);
    assert!(query(&page).contains_key("code"));

    server.fail_once(Endpoint::KeySet, Fault::disconnect());
    let keys = format!("{}/jwks", server.issuer());
    assert!(Browser::new().navigate(&keys).await.is_err());
    assert!(Browser::new().navigate(&keys).await.is_ok());
    drop(handle);
    assert!(Browser::new().navigate(&keys).await.is_err());
}

#[tokio::test]
async fn the_bearer_layer_accepts_tokens_of_every_algorithm() {
    let server = server();
    let api = Router::new()
        .route("/", get(async || "notes"))
        .layer(tower_oauth::BearerLayer::jwt(&server.authorization_server(), AUDIENCE).unwrap());
    let status = async |token: String| {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let request = request.body(axum::body::Body::empty()).unwrap();
        api.clone().oneshot(request).await.unwrap().status()
    };
    let algorithms = [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ];
    // Published before the application fetches the key set.
    algorithms
        .iter()
        .for_each(|algorithm| drop(server.key(*algorithm)));
    for algorithm in algorithms {
        let valid = server
            .access_token()
            .with_audience(AUDIENCE)
            .with_algorithm(algorithm);
        assert_eq!(status(valid.sign()).await, StatusCode::OK, "{algorithm}");
        for (name, invalid) in [
            ("broken", valid.clone().with_broken_signature()),
            ("wrong key", valid.clone().with_wrong_key()),
            ("none", valid.clone().without_signature()),
            (
                "hmac",
                valid
                    .clone()
                    .with_hmac(server.key(algorithm).public_jwk().to_string()),
            ),
            ("twice", valid.clone().add_raw_claim("aud", "\"x\"")),
            ("infinite", valid.clone().with_raw_claim("exp", "1e400")),
            ("raw", valid.clone().with_payload_bytes("[]")),
            ("header", valid.clone().with_header_bytes("{}")),
        ] {
            assert_eq!(
                status(invalid.sign()).await,
                StatusCode::UNAUTHORIZED,
                "{algorithm} {name}"
            );
        }
    }
    assert_eq!(server.count(Endpoint::KeySet), 1);
}

#[tokio::test]
async fn two_servers_have_different_keys() {
    let (first, second) = (server(), server());
    assert_ne!(
        first.key(Algorithm::Rs256).kid(),
        second.key(Algorithm::Rs256).kid()
    );
}

#[tokio::test]
async fn a_ticking_clock_follows_the_system_clock_and_can_be_advanced() {
    use tower_oauth::clock::Clock;

    let clock = ManualClock::ticking();
    let now = clock.unix_seconds();
    let system = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(now.abs_diff(i64::try_from(system).unwrap()) <= 1);
    let sleep = clock.sleep(Duration::from_secs(3600));
    let (_, ()) = tokio::join!(sleep, async {
        clock.wait_for_sleepers(1).await;
        clock.advance(Duration::from_secs(3600));
    });
    assert!(clock.unix_seconds() >= now + 3600);
    assert_eq!(clock.sleepers(), 0);
}
