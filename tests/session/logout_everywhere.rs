//! Sign-outs with each backend: the session here, then its tokens, then the session at the authorization
//! server. And the administration of sessions.

use std::time::Duration;
use tokio::task::JoinHandle;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tower_oauth::session::{SessionAdminError, SessionId};
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Endpoint, Fault, Gate, GrantType};
use tower_oauth::{LoginLayer, Session};

use crate::support::logs;
use crate::support::modes::{Mode, session_modes};
use crate::support::nodes::*;
use crate::support::shop::*;

session_modes! {
    all: [
        a_sign_out_ends_the_session_then_the_tokens_then_the_session_at_the_server,
        a_failed_revocation_does_not_keep_the_session,
        a_sign_out_waits_two_seconds_for_a_revocation,
        a_closed_connection_does_not_cancel_a_revocation,
        a_cross_site_request_signs_no_user_out,
        a_post_logout_redirect_with_another_state_is_rejected_and_ends_nothing,
        the_front_channel_ends_the_session_that_it_names_in_full,
        the_newest_tokens_are_revoked,
    ],
    with_store: [
        the_oldest_session_ends_if_a_user_has_too_many,
        an_administrator_lists_and_ends_sessions,
        two_concurrent_logins_leave_the_maximum_of_sessions,
        a_refresh_during_a_sign_out_has_its_tokens_revoked,
    ],
}

/// Refresh token first (RFC 7009 §2.1), then a redirect to the `end_session_endpoint` (RP-Initiated Logout
/// §2).
async fn a_sign_out_ends_the_session_then_the_tokens_then_the_session_at_the_server(mode: Mode) {
    let nodes = Nodes::new(mode);
    let jar = nodes.signed_in("alice").await;
    let other = nodes.signed_in("alice").await;
    assert_eq!(nodes.server.refresh_tokens("alice").len(), 2);

    let answer = nodes.first.send(sign_out().jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    assert!(
        answer
            .location()
            .starts_with(&format!("{ISSUER}/end-session?"))
    );
    for (parameter, value) in [
        ("client_id", Some("shop")),
        ("post_logout_redirect_uri", Some(LOGOUT)),
    ] {
        assert_eq!(answer.parameter(parameter).as_deref(), value);
    }
    assert!(answer.parameter("id_token_hint").is_some());
    assert_eq!(answer.parameter("state").unwrap().len(), 43);
    assert_eq!(answer.clears(), [SESSION]);

    assert_eq!(revoked(&nodes.server), ["refresh_token", "access_token"]);
    assert_eq!(nodes.server.refresh_tokens("alice").len(), 1);
    assert_eq!(nodes.server.access_tokens("alice").len(), 1);
    // With a copy of the cookie, on the other node too if there is a store.
    assert_eq!(nodes.first.greeting(&jar).await, STRANGER);
    let elsewhere = if mode == Mode::Cookie {
        ALICE
    } else {
        STRANGER
    };
    assert_eq!(nodes.second.greeting(&jar).await, elsewhere);
    assert_eq!(nodes.greeting(&other).await, ALICE);

    // Again: no session, and nothing to revoke.
    let answer = nodes.first.send(sign_out().jar(&jar)).await;
    assert_eq!(answer.location(), "/notes");
    assert_eq!(revoked(&nodes.server).len(), 2);
}

/// Also if the revocation endpoint fails (RFC 7009 §2.2.1).
async fn a_failed_revocation_does_not_keep_the_session(mode: Mode) {
    for (fault, requests) in [
        (Fault::status(503), 1),
        (Fault::status(500), 1),
        (Fault::refusal("invalid_client"), 1),
        (Fault::refusal("unsupported_token_type"), 2),
        (Fault::disconnect(), 1),
        (Fault::lose_response(), 1),
    ] {
        let name = format!("{fault:?}");
        let nodes = Nodes::new(mode);
        let jar = nodes.signed_in("alice").await;
        nodes.server.fail(Endpoint::Revocation, fault);
        let answer = nodes.first.send(sign_out().jar(&jar)).await;
        assert!(answer.location().starts_with(ISSUER), "{name}");
        assert_eq!(revoked(&nodes.server).len(), requests, "{name}");
        assert_eq!(nodes.first.greeting(&jar).await, STRANGER, "{name}");
    }
    let nodes = Nodes::new(mode);
    let fault = Fault::without_member("revocation_endpoint");
    nodes.server.fail(Endpoint::Metadata, fault);
    let jar = nodes.signed_in("alice").await;
    let answer = nodes.first.send(sign_out().jar(&jar)).await;
    assert!(answer.location().starts_with(ISSUER));
    assert_eq!(revoked(&nodes.server), [""; 0]);
}

/// Begins a sign-out whose first revocation waits for the gate.
async fn sign_out_with_held_revocation(nodes: &Nodes, jar: &Jar) -> (JoinHandle<Answer>, Gate) {
    let gate = Gate::new();
    let fault = Fault::wait_for(&gate);
    nodes.server.fail_once(Endpoint::Revocation, fault);
    let (shop, ask) = (nodes.first.clone(), sign_out().jar(jar));
    let leaving = tokio::spawn(async move { shop.send(ask).await });
    nodes.server.wait_for(Endpoint::Revocation, 1).await;
    (leaving, gate)
}

/// Two seconds for both tokens. The requests continue.
async fn a_sign_out_waits_two_seconds_for_a_revocation(mode: Mode) {
    let nodes = Nodes::new(mode);
    let jar = nodes.signed_in("alice").await;
    let (leaving, gate) = sign_out_with_held_revocation(&nodes, &jar).await;
    let clock = nodes.server.clock();
    // The session has already ended here.
    assert_eq!(nodes.first.greeting(&jar).await, STRANGER);
    clock.advance(Duration::from_millis(1999));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!leaving.is_finished());
    clock.advance(Duration::from_millis(1));
    let answer = leaving.await.unwrap();
    assert!(answer.location().starts_with(ISSUER));
    gate.open();
    nodes.server.wait_for(Endpoint::Revocation, 2).await;
    assert_eq!(revoked(&nodes.server), ["refresh_token", "access_token"]);
}

/// The connection closes while the tokens are revoked.
async fn a_closed_connection_does_not_cancel_a_revocation(mode: Mode) {
    let nodes = Nodes::new(mode);
    let jar = nodes.signed_in("alice").await;
    let (leaving, gate) = sign_out_with_held_revocation(&nodes, &jar).await;
    leaving.abort();
    assert!(leaving.await.unwrap_err().is_cancelled());
    gate.open();
    nodes.server.wait_for(Endpoint::Revocation, 2).await;
    assert_eq!(revoked(&nodes.server), ["refresh_token", "access_token"]);
    assert_eq!(nodes.first.greeting(&jar).await, STRANGER);
}

/// A sign-out requires a same-origin request, against cross-site request forgery.
async fn a_cross_site_request_signs_no_user_out(mode: Mode) {
    let html = accept_html();
    let image = |site: &str| {
        Ask::page("/auth/logout")
            .set("sec-fetch-site", site)
            .set("sec-fetch-mode", "no-cors")
            .set("sec-fetch-dest", "image")
    };
    let nodes = Nodes::new(mode);
    let jar = nodes.signed_in("alice").await;
    let form = || Ask::new("POST", "/auth/logout").with(&[html]);
    for (name, ask) in [
        ("image from elsewhere", image("cross-site")),
        ("image on our page", image("same-origin")),
        (
            "form from elsewhere",
            form().with(&[("sec-fetch-site", "cross-site")]),
        ),
        (
            "form of a sibling",
            form().with(&[("sec-fetch-site", "same-site")]),
        ),
        (
            "form of an opaque origin",
            form().with(&[("origin", "null")]),
        ),
        (
            "form of evil",
            form().with(&[("origin", "https://evil.example")]),
        ),
        ("form without any evidence", form()),
        (
            "link from elsewhere",
            Ask::page("/auth/logout").set("sec-fetch-site", "cross-site"),
        ),
        (
            "prefetch of our link",
            Ask::page("/auth/logout")
                .set("sec-fetch-site", "same-origin")
                .set("sec-purpose", "prefetch"),
        ),
        (
            "a forged return",
            Ask::page("/auth/logout?state=x").set("sec-fetch-site", "cross-site"),
        ),
    ] {
        for jar in [&jar, &Jar::default()] {
            let answer = nodes.first.send(ask.clone().jar(jar)).await;
            assert_eq!(answer.set_cookies(), [""; 0], "{name}");
        }
        assert_eq!(nodes.greeting(&jar).await, ALICE, "{name}");
    }
    assert_eq!(revoked(&nodes.server), [""; 0]);
    assert_eq!(nodes.server.count(Endpoint::EndSession), 0);
}

/// The `state` of the post-logout redirect (RP-Initiated Logout §3).
async fn a_post_logout_redirect_with_another_state_is_rejected_and_ends_nothing(mode: Mode) {
    let nodes = Nodes::new(mode);
    let mut jar = nodes.signed_in("alice").await;
    let answer = nodes.first.send(sign_out().jar(&jar)).await;
    let state = answer.parameter("state").unwrap();
    jar.take(&answer);
    // A login in this browser before the redirect returns.
    nodes.server.clock().advance(Duration::from_secs(1));
    let waiting = jar.clone();
    nodes.first.sign_in("alice", &mut jar).await;
    assert_eq!(nodes.greeting(&jar).await, ALICE);
    let both = waiting
        .0
        .iter()
        .fold(jar.clone(), |jar, (name, value)| jar.and(name, value));
    for (name, query) in [
        ("none", String::new()),
        ("another", "?state=other".to_owned()),
        ("empty", "?state=".to_owned()),
        ("longer", format!("?state={state}x")),
        ("twice", format!("?state={state}&state={state}")),
        ("no cookie", format!("?state={state}")),
    ] {
        let cookies = if name == "no cookie" { &jar } else { &both };
        let path = format!("/auth/logout{query}");
        let ask = Ask::page(&path).set("sec-fetch-site", "cross-site");
        let answer = nodes.first.send(ask.jar(cookies)).await;
        // The page shows that the user is signed in.
        assert_eq!(answer.status, StatusCode::OK, "{name}: {answer:?}");
        assert_eq!(answer.set_cookies(), [""; 0], "{name}");
        assert_eq!(nodes.greeting(&jar).await, ALICE, "{name}");
    }
    let path = format!("/auth/logout?state={state}");
    let ask = Ask::page(&path).set("sec-fetch-site", "cross-site");
    let answer = nodes.first.send(ask.jar(&both)).await;
    assert_eq!(answer.location(), "/notes");
    assert_eq!(answer.clears(), ["__Host-Http-shop-logout"]);
    assert_eq!(nodes.greeting(&jar).await, ALICE);
}

/// `Clear-Site-Data`.
#[tokio::test]
async fn clear_site_data_is_sent_if_configured() {
    for (configured, expected) in [(false, ""), (true, "\"cache\", \"storage\"")] {
        let nodes = Nodes::with(Mode::Store, &server(), |login| match configured {
            true => login.with_clear_site_data(),
            false => login,
        });
        let jar = nodes.signed_in("alice").await;
        let answer = nodes.first.send(sign_out().jar(&jar)).await;
        assert_eq!(answer.header("clear-site-data"), expected);
        assert_eq!(
            answer.sets(),
            ["__Host-Http-shop-logout"],
            "the way back is kept"
        );
        let foreign = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "cross-site")]);
        let answer = nodes.first.send(foreign).await;
        assert!(!answer.headers.contains_key("clear-site-data"));
    }
}

/// Auth0 and Cognito have another logout endpoint.
#[tokio::test]
async fn a_custom_end_session_endpoint_is_used() {
    let own = |login: LoginLayer| {
        login.with_end_session_endpoint("https://tenant.example.com/v2/logout", "returnTo")
    };
    let nodes = Nodes::with(Mode::Cookie, &server(), |login| own(login).unwrap());
    let jar = nodes.signed_in("alice").await;
    let answer = nodes.first.send(sign_out().jar(&jar)).await;
    assert_eq!(
        answer.location(),
        "https://tenant.example.com/v2/logout?client_id=shop\
         &returnTo=https%3A%2F%2Fshop.example.com%2Fauth%2Flogout"
    );
    assert_eq!(answer.sets(), [""; 0], "no state comes back");
    assert_eq!(answer.clears(), [SESSION]);
    // The redirect returns without a state.
    let ask = Ask::page("/auth/logout").set("sec-fetch-site", "cross-site");
    assert_eq!(nodes.first.send(ask).await.location(), "/");
}

/// No event has tokens, with each backend.
#[tokio::test]
async fn no_token_is_logged() {
    let logs = logs::Logs::default();
    for (fault, reason) in [
        (None, ""),
        (Some(Fault::status(503)), "status 503, expected 200"),
        (Some(Fault::disconnect()), ""),
        (
            Some(Fault::refusal("invalid_client")),
            ", error invalid_client, expected 200",
        ),
    ] {
        let nodes = Nodes::new(Mode::Store);
        let recording = logs.record();
        let jar = nodes.signed_in("alice").await;
        let mut secrets = nodes.server.refresh_tokens("alice");
        secrets.extend(nodes.server.access_tokens("alice"));
        let failing = fault.is_some();
        if let Some(fault) = fault {
            nodes.server.fail(Endpoint::Revocation, fault);
        }
        let answer = nodes.first.send(sign_out().jar(&jar)).await;
        drop(recording);
        secrets.extend(answer.parameter("id_token_hint"));
        let text = logs.take();
        assert_eq!(secrets.len(), 3);
        assert_eq!(text.contains("revocation_failed"), failing, "{text}");
        assert!(text.contains(reason), "{text}");
        assert!(text.contains("logout_completed"), "{text}");
        for secret in secrets {
            assert!(!text.contains(&secret), "{text}");
        }
    }
}

/// Any page could sign users out so (Front-Channel Logout §3).
#[tokio::test]
async fn a_front_channel_logout_that_names_no_session_needs_a_setting_and_a_frame() {
    for (is_set, query, destination, ends) in [
        (false, "", Some("iframe"), false),
        (true, "", Some("iframe"), true),
        (true, "", Some("document"), false),
        (true, "", Some("image"), false),
        (true, "", None, false),
        (true, "?sid=x", Some("iframe"), false),
        (
            true,
            "?iss=https%3A%2F%2Fid.example.test",
            Some("iframe"),
            false,
        ),
        (true, "?sid=&sid=", Some("iframe"), false),
    ] {
        let name = format!("{is_set} {query:?} {destination:?}");
        let (shop, logs) = match is_set {
            true => (
                Shop::with(LoginLayer::with_unnamed_frontchannel_logout),
                logs::Logs::default(),
            ),
            false => (Shop::new(), logs::Logs::default()),
        };
        let jar = shop.signed_in().await;
        let mut ask = Ask::new("GET", &format!("/auth/frontchannel-logout{query}"));
        if let Some(destination) = destination {
            ask = ask.with(&[("sec-fetch-dest", destination)]);
        }
        let recording = logs.record_only("frontchannel_logout_rejected");
        let answer = shop.send(ask.jar(&jar)).await;
        drop(recording);
        assert_eq!(
            answer.status.as_u16(),
            if ends { 200 } else { 400 },
            "{name}"
        );
        assert_eq!(answer.clears().is_empty(), !ends, "{name}");
        let greeting = if ends { STRANGER } else { ALICE };
        assert_eq!(shop.greeting(&jar).await, greeting, "{name}");
        assert_eq!(logs.take().contains("reason"), !ends, "{name}");
        // Only the session here ends.
        assert_eq!(shop.server.count(Endpoint::Revocation), 0, "{name}");
    }
}

/// `iss` and `sid` must both match (Front-Channel Logout §2).
async fn the_front_channel_ends_the_session_that_it_names_in_full(mode: Mode) {
    let nodes = Nodes::new(mode);
    let jar = nodes.signed_in("alice").await;
    let sid = nodes.sid_besides("alice", &[]);
    let bob = nodes.signed_in("bob").await;
    let issuer = "https%3A%2F%2Fid.example.test";
    let frame = |query: &str| {
        Ask::new("GET", &format!("/auth/frontchannel-logout{query}")).with(&[
            accept_html(),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
            ("sec-fetch-site", "cross-site"),
        ])
    };
    let good = format!("?iss={issuer}&sid={sid}");
    let cases = [
        ("nothing", String::new(), &jar, 400),
        ("sid alone", format!("?sid={sid}"), &jar, 400),
        ("iss alone", format!("?iss={issuer}"), &jar, 400),
        ("an empty sid", format!("?iss={issuer}&sid="), &jar, 400),
        ("two sids", format!("{good}&sid={sid}"), &jar, 400),
        ("two iss", format!("{good}&iss={issuer}"), &jar, 400),
        (
            "another iss",
            format!("?iss=https%3A%2F%2Fevil.example&sid={sid}"),
            &jar,
            200,
        ),
        (
            "iss with a slash",
            format!("?iss={issuer}%2F&sid={sid}"),
            &jar,
            200,
        ),
        ("another sid", format!("?iss={issuer}&sid=other"), &jar, 200),
        (
            "a part of it",
            format!("?iss={issuer}&sid={}", &sid[1..]),
            &jar,
            200,
        ),
        ("another browser", good.clone(), &bob, 200),
        ("no browser", good.clone(), &Jar::default(), 200),
    ];
    for (name, query, cookies, status) in cases {
        let answer = nodes.first.send(frame(&query).jar(cookies)).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(answer.set_cookies(), [""; 0], "{name}");
        assert!(!answer.text().contains("evil"), "{name}");
        assert_eq!(nodes.greeting(&jar).await, ALICE, "{name}");
        assert_eq!(nodes.greeting(&bob).await, "hello bob", "{name}");
    }
    let path = format!("/auth/frontchannel-logout{good}");
    let answer = nodes.first.send(Ask::new("POST", &path).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(nodes.greeting(&jar).await, ALICE);

    let answer = nodes.first.send(frame(&good).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.clears(), [SESSION]);
    assert_eq!(answer.sets(), [""; 0]);
    assert!(answer.header("cache-control").contains("no-store"));
    assert_eq!(
        answer.header("content-security-policy"),
        "default-src 'none'; frame-ancestors https://id.example.test"
    );
    assert!(!answer.headers.contains_key("x-frame-options"));
    assert_eq!(nodes.first.greeting(&jar).await, STRANGER);
    assert_eq!(revoked(&nodes.server), [""; 0], "nothing is revoked");
}

/// Users and sessions are listed and ended by ID, `sub` and `sid`.
async fn an_administrator_lists_and_ends_sessions(mode: Mode) {
    let nodes = Nodes::new(mode);
    let sessions = nodes.login.sessions();
    assert_eq!(sessions.of_user("alice").await.unwrap(), []);
    let mut jars = Vec::new();
    let mut sids: Vec<String> = Vec::new();
    for _ in 0..4 {
        jars.push(nodes.signed_in("alice").await);
        sids.push(nodes.sid_besides("alice", &sids));
        nodes.server.clock().advance(Duration::from_secs(1));
    }
    let bob = nodes.signed_in("bob").await;
    let greetings = async |jars: &[Jar]| {
        let mut known = Vec::new();
        for jar in jars {
            known.push(nodes.greeting(jar).await == ALICE);
        }
        known
    };
    let listed = sessions.of_user("alice").await.unwrap();
    assert_eq!(listed.len(), 4);
    for pair in listed.windows(2) {
        let apart = pair[1]
            .signed_in_at()
            .duration_since(pair[0].signed_in_at());
        assert_eq!(apart.unwrap(), Duration::from_secs(1));
    }
    let lasts = listed[0].ends_at().duration_since(listed[0].signed_in_at());
    assert_eq!(lasts.unwrap(), Duration::from_secs(8 * 3600));
    assert_eq!(
        sessions.of_sid(&sids[2]).await.unwrap(),
        [listed[2].clone()]
    );

    sessions.end(listed[1].id()).await.unwrap();
    assert_eq!(greetings(&jars).await, [true, false, true, true]);
    assert_eq!(sessions.end_sid(&sids[2]).await.unwrap(), 1);
    assert_eq!(greetings(&jars).await, [true, false, false, true]);
    let left = sessions.of_user("alice").await.unwrap();
    assert_eq!(left, [listed[0].clone(), listed[3].clone()]);
    assert_eq!(sessions.of_sid(&sids[2]).await.unwrap(), []);
    sessions.end_user("alice").await.unwrap();
    assert_eq!(greetings(&jars).await, [false; 4]);
    assert_eq!(sessions.of_user("alice").await.unwrap(), []);
    assert_eq!(nodes.greeting(&bob).await, "hello bob");

    // An unknown session has ended already, and a signed-out one is not listed.
    let unknown: SessionId = "A".repeat(43).parse().unwrap();
    sessions.end(&unknown).await.unwrap();
    assert_eq!(sessions.end_user("carol").await.unwrap(), 0);
    nodes.first.send(sign_out().jar(&bob)).await;
    assert_eq!(sessions.of_user("bob").await.unwrap(), []);

    nodes.store.fail_after(0);
    assert!(matches!(
        sessions.of_user("bob").await,
        Err(SessionAdminError::Store(_))
    ));
    assert!(matches!(
        sessions.end_user("bob").await,
        Err(SessionAdminError::Store(_))
    ));
}

/// Without a store sessions cannot be listed, and end in the process that is called.
#[tokio::test]
async fn in_cookies_alone_a_session_is_ended_by_its_id_in_this_process() {
    let nodes = Nodes::new(Mode::Cookie);
    let sessions = nodes.login.sessions();
    let jar = nodes.signed_in("alice").await;
    assert!(matches!(
        sessions.of_user("alice").await,
        Err(SessionAdminError::NoStore)
    ));
    assert!(matches!(
        sessions.of_sid("x").await,
        Err(SessionAdminError::NoStore)
    ));
    assert!(matches!(
        sessions.end_user("alice").await,
        Err(SessionAdminError::NoStore)
    ));
    assert!(matches!(
        sessions.end_sid("x").await,
        Err(SessionAdminError::NoStore)
    ));
    let app = Router::new()
        .route("/", get(async |session: Session| session.id().to_string()))
        .layer(nodes.login.clone());
    let id = send(&app, Ask::page("/").jar(&jar)).await.text();
    sessions.end(&id.parse().unwrap()).await.unwrap();
    assert_eq!(nodes.first.greeting(&jar).await, STRANGER);
    assert_eq!(nodes.second.greeting(&jar).await, ALICE);
}

/// The maximum number of sessions of one user.
async fn the_oldest_session_ends_if_a_user_has_too_many(mode: Mode) {
    let nodes = Nodes::with(mode, &server(), |login| {
        login.with_max_sessions_per_user(2).unwrap()
    });
    let bob = nodes.signed_in("bob").await;
    let first = nodes.signed_in("alice").await;
    nodes.server.clock().advance(Duration::from_secs(1));
    let second = nodes.signed_in("alice").await;
    nodes.server.clock().advance(Duration::from_secs(1));
    assert_eq!(nodes.greeting(&first).await, ALICE);
    let third = nodes.signed_in("alice").await;
    assert_eq!(nodes.greeting(&first).await, STRANGER);
    for jar in [&second, &third] {
        assert_eq!(nodes.greeting(jar).await, ALICE);
    }
    // An expired session makes room: no other session ends for the next login.
    nodes.first.send(sign_out().jar(&third)).await;
    let fourth = nodes.signed_in("alice").await;
    for jar in [&second, &fourth] {
        assert_eq!(nodes.greeting(jar).await, ALICE);
    }
    // So does one that was ended by its ID.
    let sessions = nodes.login.sessions();
    let newest = sessions.of_user("alice").await.unwrap().pop().unwrap();
    sessions.end(newest.id()).await.unwrap();
    let fifth = nodes.signed_in("alice").await;
    for jar in [&second, &fifth] {
        assert_eq!(nodes.greeting(jar).await, ALICE);
    }
    assert_eq!(nodes.greeting(&bob).await, "hello bob");
}

/// The store may be set before or after. Without one, sessions cannot be counted.
#[tokio::test]
async fn a_limit_on_sessions_is_between_1_and_256_and_needs_a_store() {
    let server = server();
    let limited = || login(&server).with_max_sessions_per_user(2).unwrap();
    let error = limited().ready().await.unwrap_err();
    assert_eq!(error.code(), "sessions_not_counted");
    let stored = limited().with_session_store(MemoryStore::new());
    stored.ready().await.unwrap();
    let nodes = Nodes::with(Mode::Cookie, &server, |login| {
        login.with_max_sessions_per_user(2).unwrap()
    });
    let answer = nodes.first.send(Ask::page("/auth/login")).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    for (most, possible) in [(0, false), (1, true), (256, true), (257, false)] {
        let login = login(&server).with_session_store(MemoryStore::new());
        assert_eq!(
            login.with_max_sessions_per_user(most).is_ok(),
            possible,
            "{most}"
        );
    }
}

/// A login that is stored while another takes its place does not become a session that is not indexed.
async fn two_concurrent_logins_leave_the_maximum_of_sessions(mode: Mode) {
    let nodes = Nodes::with(mode, &server(), |login| {
        login.with_max_sessions_per_user(1).unwrap()
    });
    let mut slow = Jar::default();
    let answer = nodes.second.start("/auth/login", &mut slow).await;
    let callback = nodes.second.approve(answer.location(), "alice").await;
    // What is written last: the session itself, or only its index entries.
    let purpose = if mode == Mode::Store {
        "session"
    } else {
        "user"
    };
    let hold = nodes.store.hold(purpose);
    let (shop, ask) = (nodes.second.clone(), Ask::page(&callback).jar(&slow));
    let slower = tokio::spawn(async move { shop.send(ask).await });
    hold.arrived().await;
    let faster = nodes.signed_in("alice").await;
    hold.release();
    slow.take(&slower.await.unwrap());
    let mut greeted = [nodes.greeting(&slow).await, nodes.greeting(&faster).await];
    greeted.sort();
    assert_eq!(greeted, [ALICE, STRANGER]);
    let listed = nodes.login.sessions().of_user("alice").await.unwrap();
    assert_eq!(listed.len(), 1);
}

/// The routes are siblings of the redirect URI and none of them is equal to it.
#[test]
fn a_redirect_uri_is_not_another_route() {
    for name in ["backchannel-logout", "frontchannel-logout"] {
        let (server, uri) = (server(), format!("{SHOP}/auth/{name}"));
        let client = tower_oauth::Client::confidential("shop", "shop-secret");
        let key = tower_oauth::CookieKey::from_bytes(&KEY).unwrap();
        assert!(LoginLayer::new(&server.authorization_server(), client, &uri, key).is_err());
        let login = login(&server);
        assert!(login.with_post_logout_redirect_uri(&uri).is_err());
    }
}

/// What ends a session while its tokens are refreshed.
#[derive(Clone, Copy, Debug)]
enum By {
    Person,
    Server,
    Administrator,
}

/// The session stays ended, its cookie is not set again, and the late tokens are revoked.
#[tokio::test]
async fn a_logout_during_a_refresh_ends_the_session() {
    let cases = [
        (Mode::Store, By::Person),
        (Mode::Shared, By::Person),
        (Mode::Cookie, By::Person),
        (Mode::Store, By::Server),
        (Mode::Shared, By::Server),
        (Mode::Store, By::Administrator),
        (Mode::Shared, By::Administrator),
        (Mode::Cookie, By::Administrator),
    ];
    for (mode, by) in cases {
        let name = format!("{mode:?}, {by:?}");
        let nodes = Nodes::new(mode);
        let app = Router::new()
            .route("/token", get(token))
            .route(
                "/id",
                get(async |session: Session| session.id().to_string()),
            )
            .layer(nodes.login.clone());
        let jar = nodes.signed_in("alice").await;
        let id = send(&app, Ask::page("/id").jar(&jar)).await.text();
        nodes.server.clock().advance(Duration::from_secs(301));
        let gate = Gate::new();
        let fault = Fault::hold_response(&gate).only_for(GrantType::RefreshToken);
        nodes.server.fail_once(Endpoint::Token, fault);
        let ask = Ask::page("/token").jar(&jar);
        let waiting = tokio::spawn(async move { send(&app, ask).await });
        nodes
            .server
            .wait_for_grant(GrantType::RefreshToken, 1)
            .await;

        match by {
            By::Person => drop(nodes.first.send(sign_out().jar(&jar)).await),
            By::Server => {
                let sid = nodes.sid_besides("alice", &[]);
                let answer = nodes.send_logout_token(&nodes.one(&sid).sign()).await;
                assert_eq!(answer.status, StatusCode::OK, "{name}");
            }
            By::Administrator => {
                let sessions = nodes.login.sessions();
                sessions.end(&id.parse().unwrap()).await.unwrap();
            }
        }
        let before = nodes.server.count(Endpoint::Revocation);
        gate.open();
        let answer = waiting.await.unwrap();
        assert!(answer.text().starts_with("none"), "{name}: {answer:?}");
        assert_eq!(answer.sets(), [""; 0], "{name}");
        assert_eq!(nodes.first.greeting(&jar).await, STRANGER, "{name}");
        nodes
            .server
            .wait_for(Endpoint::Revocation, before + 2)
            .await;
        assert!(nodes.server.refresh_tokens("alice").is_empty(), "{name}");
        assert!(nodes.server.access_tokens("alice").is_empty(), "{name}");
        assert_eq!(
            nodes.server.count_grant(GrantType::RefreshToken),
            1,
            "{name}"
        );
    }
}

/// The newest tokens are revoked although the cookie has older ones.
async fn the_newest_tokens_are_revoked(mode: Mode) {
    let nodes = Nodes::new(mode);
    let app = Router::new()
        .route("/token", get(token))
        .layer(nodes.login.clone());
    let jar = nodes.signed_in("alice").await;
    nodes.server.clock().advance(Duration::from_secs(301));
    let answer = send(&app, Ask::page("/token").jar(&jar)).await;
    assert_eq!(answer.text(), "some");
    let newest = [
        nodes.server.refresh_tokens("alice"),
        nodes.server.access_tokens("alice"),
    ]
    .concat();
    assert_eq!(newest.len(), 2);
    // With the cookie from before the refresh.
    send(&app, sign_out().jar(&jar)).await;
    let requests = nodes.server.requests();
    let sent: Vec<String> = requests
        .iter()
        .filter(|request| request.endpoint() == Endpoint::Revocation)
        .map(|request| request.parameter("token").unwrap())
        .collect();
    assert_eq!(sent, newest);
    let again = send(&app, Ask::new("GET", "/token").jar(&jar)).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
}

/// Tokens that were refreshed after the sign-out loaded the session are revoked.
async fn a_refresh_during_a_sign_out_has_its_tokens_revoked(mode: Mode) {
    let nodes = Nodes::new(mode);
    let app = Router::new()
        .route("/token", get(token))
        .layer(nodes.login.clone());
    let jar = nodes.signed_in("alice").await;
    nodes.server.clock().advance(Duration::from_secs(301));
    let purpose = if mode == Mode::Store {
        "session"
    } else {
        "cookie"
    };
    let hold = nodes.store.hold(purpose);
    let (shop, ask) = (nodes.second.clone(), sign_out().jar(&jar));
    let leaving = tokio::spawn(async move { shop.send(ask).await });
    hold.arrived().await;
    // The delayed change has not taken effect, so the session is live.
    let answer = send(&app, Ask::page("/token").jar(&jar)).await;
    assert_eq!(answer.text(), "some");
    let newest = nodes.server.refresh_tokens("alice");
    hold.release();
    let answer = leaving.await.unwrap();
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    let requests = nodes.server.requests();
    let sent: Vec<String> = requests
        .iter()
        .filter(|request| request.endpoint() == Endpoint::Revocation)
        .map(|request| request.parameter("token").unwrap())
        .collect();
    assert_eq!(sent[..1], newest);
    assert_eq!(nodes.greeting(&jar).await, STRANGER);
}

async fn token(session: Session) -> String {
    match session.access_token().await {
        Ok(_) => "some".to_owned(),
        Err(error) => format!("none: {error}"),
    }
}
