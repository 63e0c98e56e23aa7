//! The callback: which authorization responses create a session, and which do not.

mod attacks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{Client, CookieKey, CredentialSource, LoginLayer};

use crate::support::shop::*;

/// Starts a login of Alice, up to its callback.
async fn callback_of_alice(shop: &Shop) -> (Jar, String) {
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login?return_to=/notes", &mut jar).await;
    let callback = shop.approve(answer.location(), "alice").await;
    (jar, callback)
}

/// Invalid authorization responses are rejected before a token request is sent.
#[tokio::test]
async fn a_callback_without_a_matching_login_is_rejected_without_a_token_request() {
    let shop = Shop::new();
    let (jar, good) = callback_of_alice(&shop).await;
    let code = parameter(&good, "code").unwrap();
    let state = parameter(&good, "state").unwrap();
    let long = "c".repeat(60_000);
    let cases = [
        ("nothing", "/auth/callback".to_owned()),
        ("no state", format!("/auth/callback?code={code}")),
        (
            "another state",
            format!("/auth/callback?code={code}&state=x{state}"),
        ),
        (
            "array",
            format!("/auth/callback?code={code}&state[]={state}"),
        ),
        (
            "dotted",
            format!("/auth/callback?code={code}&state.x={state}"),
        ),
        (
            "other case",
            format!("/auth/callback?code={code}&State={state}"),
        ),
        ("state twice", format!("{good}&state={state}")),
        ("code twice", format!("{good}&code=x")),
        ("iss twice", format!("{good}&iss={ISSUER}")),
        (
            "session_state twice",
            format!("{good}&session_state=1&session_state=1"),
        ),
        (
            "other issuer",
            with_parameter(&good, "iss", Some("https://evil.example")),
        ),
        (
            "trailing slash",
            with_parameter(&good, "iss", Some(&format!("{ISSUER}/"))),
        ),
        (
            "upper case",
            with_parameter(&good, "iss", Some("https://ID.example.test")),
        ),
        (
            "port",
            with_parameter(&good, "iss", Some(&format!("{ISSUER}:443"))),
        ),
        ("no issuer", with_parameter(&good, "iss", None)),
        (
            "other issuer with an error",
            format!("/auth/callback?error=access_denied&state={state}&iss=https://evil.example"),
        ),
        ("long code", with_parameter(&good, "code", Some(&long))),
        ("CRLF", with_parameter(&good, "code", Some("a\r\nb"))),
        ("NUL", with_parameter(&good, "code", Some("a\0b"))),
        ("beyond ASCII", with_parameter(&good, "code", Some("é"))),
        ("access token", format!("{good}&access_token=a")),
        ("ID token", format!("{good}&id_token=a")),
        ("no code", with_parameter(&good, "code", None)),
    ];
    for (name, callback) in cases {
        // Each case has its own process, so that one does not use up the state of the next.
        let app = app(&login(&shop.server));
        let answer = send(&app, Ask::page(&callback).jar(&jar)).await;
        assert_eq!(
            answer.status,
            StatusCode::BAD_REQUEST,
            "{name}: {}",
            answer.text()
        );
        assert_eq!(answer.sets(), [""; 0], "{name}");
        assert_eq!(shop.token_calls(), 0, "{name}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{name}");
    }
    let answer = shop.send(Ask::page(&good).jar(&jar)).await;
    assert_eq!(answer.location(), "/notes");
}

/// Login CSRF (RFC 6749 §10.12): the response belongs to the browser that started the login.
#[tokio::test]
async fn a_response_in_another_browser_creates_no_session() {
    let shop = Shop::new();
    let (attacker, attackers) = callback_of_alice(&shop).await;
    let (jar, own) = callback_of_alice(&shop).await;
    let session = shop.signed_in().await;
    let both = Jar([session.0.clone(), jar.0.clone()].concat());
    // The cookie of another login, under the name of the right one.
    let name = attacker.transactions()[0];
    let renamed = Jar::of(&[(name, jar.value(jar.transactions()[0]))]);
    let calls = shop.token_calls();
    let answer = shop.send(Ask::page(&attackers).jar(&session)).await;
    assert_eq!(answer.location(), "/notes", "as for the back button");
    assert_eq!(answer.set_cookies(), [""; 0]);
    // Both logins may have the same slot.
    let answer = shop.send(Ask::page(&attackers).jar(&both)).await;
    assert_eq!(answer.set_cookies(), [""; 0]);
    for cookies in [&jar, &Jar::default(), &renamed] {
        let answer = shop.send(Ask::page(&attackers).jar(cookies)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.sets(), [""; 0]);
        assert!(
            answer
                .text()
                .contains("href=\"/auth/login?return_to=%2Fnotes\""),
            "{}",
            answer.text()
        );
    }
    assert_eq!(shop.token_calls(), calls);
    assert_eq!(shop.greeting(&session).await, "hello alice");
    let answer = shop.send(Ask::page(&own).jar(&jar)).await;
    assert_eq!(answer.sets(), [SESSION]);
}

/// A double click, or a proxy that retries.
#[tokio::test]
async fn fifty_equal_callbacks_cause_one_token_request_and_one_session() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    let answers: Vec<Answer> = {
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (shop, ask) = (shop.clone(), Ask::page(&callback).jar(&jar));
                tokio::spawn(async move { shop.send(ask).await })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        answers
    };
    assert_eq!(shop.token_calls(), 1);
    for answer in &answers {
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.sets(), [SESSION]);
    }
    // All copies are one session: a sign-out with one ends them all.
    let mut copies: Vec<Jar> = Vec::new();
    for answer in &answers {
        let mut jar = Jar::default();
        jar.take(answer);
        assert_eq!(shop.greeting(&jar).await, "hello alice");
        copies.push(jar);
    }
    let logout = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
    shop.send(logout.jar(&copies[0])).await;
    for jar in &copies {
        assert_eq!(shop.greeting(jar).await, "hello stranger");
    }
}

/// A state is used once, even with a copy of its cookie.
#[tokio::test]
async fn a_state_is_used_once_even_with_a_copy_of_its_cookie() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    shop.send(Ask::page(&callback).jar(&jar)).await;
    shop.clock().advance(Duration::from_secs(61));
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text().contains("login_used"), "{}", answer.text());
    assert_eq!(answer.clears(), jar.transactions());
    assert_eq!(answer.sets(), [""; 0]);
    assert_eq!(shop.token_calls(), 1);
}

/// The back button after a login.
#[tokio::test]
async fn the_back_button_after_a_login_leads_to_the_return_target() {
    let shop = Shop::new();
    let (mut jar, callback) = callback_of_alice(&shop).await;
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    jar.take(&answer);
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(answer.location(), "/notes");
    assert_eq!(answer.set_cookies(), [""; 0]);
    assert_eq!(shop.token_calls(), 1);
}

/// Expired, truncated and foreign transactions.
#[tokio::test]
async fn an_expired_truncated_or_foreign_transaction_is_rejected() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    let name = jar.transactions()[0].to_owned();
    let value = jar.value(&name).to_owned();
    for length in 0..value.len() {
        let cut = Jar::of(&[(&name, &value[..length])]);
        let answer = shop.send(Ask::page(&callback).jar(&cut)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{length}");
        // It may be the cookie of another login, sealed with a key that this process lacks.
        assert_eq!(answer.set_cookies(), [""; 0], "{length}");
    }
    let other = CookieKey::from_bytes(&[8; 32]).unwrap();
    let answer = send(
        &app(&login_with(&shop.server, other.clone())),
        Ask::page(&callback).jar(&jar),
    )
    .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(shop.token_calls(), 0);

    let ring = other.add_previous(CookieKey::from_bytes(&KEY).unwrap());
    let answer = send(
        &app(&login_with(&shop.server, ring)),
        Ask::page(&callback).jar(&jar),
    )
    .await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);

    shop.clock().advance(Duration::from_secs(600));
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.clears(), [name.as_str()]);
    assert!(answer.text().contains("took too long"), "{}", answer.text());
    assert_eq!(shop.token_calls(), 1);
}

/// RFC 6265 §5.4: a browser may send two cookies with one name, one of them set by a sibling
/// domain.
#[tokio::test]
async fn a_planted_transaction_cookie_does_not_block_a_login() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    let name = jar.transactions()[0].to_owned();
    let planted = jar.clone().and(&name, "other");
    let answer = shop.send(Ask::page(&callback).jar(&planted)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(shop.token_calls(), 1);
}

/// Cookies of different purposes cannot be exchanged.
#[tokio::test]
async fn cookies_cannot_be_exchanged_for_one_another() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    let name = jar.transactions()[0].to_owned();
    let pasted = Jar::of(&[(SESSION, jar.value(&name))]);
    assert_eq!(shop.greeting(&pasted).await, "hello stranger");
    let session = shop.signed_in().await;
    let pasted = Jar::of(&[(&name, session.value(SESSION))]);
    let answer = shop.send(Ask::page(&callback).jar(&pasted)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

/// RFC 6749 §4.1.2.1: error responses.
#[tokio::test]
async fn an_error_response_is_shown_escaped_and_sends_no_token_request() {
    let shop = Shop::new();
    let (jar, good) = callback_of_alice(&shop).await;
    let state = parameter(&good, "state").unwrap();
    let with = |parameters: &[(&str, &str)]| {
        let mut url = url::Url::parse(CALLBACK).unwrap();
        url.query_pairs_mut()
            .extend_pairs(parameters)
            .append_pair("state", &state)
            .append_pair("iss", ISSUER);
        url.as_str().strip_prefix(SHOP).unwrap().to_owned()
    };
    for (name, parameters, status) in [
        ("denied", &[("error", "access_denied")][..], 403),
        (
            "with a code",
            &[("error", "access_denied"), ("code", "c")],
            403,
        ),
        (
            "markup",
            &[
                ("error", "<script>alert(1)</script>"),
                ("error_description", "\"><img onerror=x>"),
            ],
            400,
        ),
        (
            "control characters",
            &[
                ("error", "invalid_scope"),
                ("error_description", "a\0b\r\nSet-Cookie: c=d"),
            ],
            400,
        ),
        ("busy", &[("error", "temporarily_unavailable")], 400),
        ("broken", &[("error", "server_error")], 400),
        ("not silent", &[("error", "login_required")], 400),
    ] {
        let app = app(&login(&shop.server));
        let answer = send(&app, Ask::page(&with(parameters)).jar(&jar)).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(answer.clears(), jar.transactions(), "{name}");
        assert_eq!(answer.sets(), [""; 0], "{name}");
        assert!(
            answer
                .header("content-security-policy")
                .contains("default-src 'none'"),
            "{name}"
        );
        assert!(
            answer
                .header("content-security-policy")
                .contains("frame-ancestors 'none'"),
            "{name}"
        );
        let text = answer.text();
        assert!(
            !text.contains("<script") && !text.contains("<img"),
            "{name}: {text}"
        );
        assert!(!answer.head().contains("c=d"), "{name}");
    }
    assert_eq!(shop.token_calls(), 0);
}

/// OpenID Connect Core §3.1.2.6: `prompt=none` without a session.
#[tokio::test]
async fn a_failed_silent_login_returns_to_its_target() {
    let shop = Shop::new();
    let mut jar = Jar::default();
    let answer = shop
        .start("/auth/login?prompt=none&return_to=/notes", &mut jar)
        .await;
    let state = answer.parameter("state").unwrap();
    for error in [
        "login_required",
        "interaction_required",
        "consent_required",
        "account_selection_required",
    ] {
        let app = app(&login(&shop.server));
        let callback = format!("/auth/callback?error={error}&state={state}&iss={ISSUER}");
        let answer = send(&app, Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{error}");
        assert_eq!(answer.location(), "/notes", "{error}");
        assert_eq!(answer.sets(), [""; 0], "{error}");
        assert_eq!(answer.clears(), jar.transactions(), "{error}");
    }
}

/// Only a navigation can complete a login.
#[tokio::test]
async fn only_a_navigation_completes_a_login() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    for (name, ask, status) in [
        ("post", Ask::new("POST", &callback), 405),
        ("head", Ask::new("HEAD", &callback), 405),
        (
            "fetch",
            Ask::page(&callback).set("sec-fetch-mode", "cors"),
            400,
        ),
        (
            "frame",
            Ask::page(&callback).set("sec-fetch-dest", "iframe"),
            400,
        ),
        (
            "prefetch",
            Ask::page(&callback).set("sec-purpose", "prefetch"),
            400,
        ),
        (
            "prerender",
            Ask::page(&callback).set("sec-purpose", "prefetch;prerender"),
            400,
        ),
    ] {
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(answer.set_cookies(), [""; 0], "{name}");
    }
    assert_eq!(shop.token_calls(), 0);
    let ask = Ask::page(&callback)
        .set("sec-fetch-dest", "empty")
        .set("sec-fetch-site", "cross-site");
    let answer = shop.send(ask.jar(&jar)).await;
    assert_eq!(answer.sets(), [SESSION]);
}

/// Session fixation: a login never keeps the session id.
#[tokio::test]
async fn a_login_creates_a_new_session_and_ends_the_previous_one() {
    let shop = Shop::new();
    let alice = shop.signed_in().await;
    let mut jar = alice.clone();
    let answer = shop.sign_in("bob", &mut jar).await;
    assert_eq!(answer.sets(), [SESSION]);
    assert_eq!(shop.greeting(&jar).await, "hello bob");
    assert_eq!(shop.greeting(&alice).await, "hello stranger");

    let mut planted = Jar::of(&[(SESSION, "planted")]);
    shop.sign_in("alice", &mut planted).await;
    assert_ne!(planted.value(SESSION), "planted");
    assert_eq!(shop.greeting(&planted).await, "hello alice");
    assert_eq!(
        shop.greeting(&Jar::of(&[(SESSION, "planted")])).await,
        "hello stranger"
    );
}

/// A token response that was lost may have redeemed the code, so the code is not sent again.
#[tokio::test]
async fn a_code_is_not_sent_twice_after_a_failure() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    shop.server.fail_once(Endpoint::Token, Fault::status(500));
    for _ in 0..3 {
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers.contains_key("retry-after"));
        assert_eq!(answer.clears(), jar.transactions());
    }
    assert_eq!(shop.token_calls(), 1);
}

/// Neither without the credential of the client nor without the metadata. The code is still unused.
#[tokio::test]
async fn a_callback_whose_code_was_not_sent_can_be_repeated() {
    for has_store in [false, true] {
        for is_credential_missing in [true, false] {
            let server = server();
            let store = MemoryStore::new().with_clock(server.clock());
            let store = store.with_single_process();
            let place = |login: LoginLayer| match has_store {
                true => login.with_session_store(store.clone()),
                false => login,
            };
            let first = Shop {
                app: app(&place(login(&server))),
                server: server.clone(),
            };
            let (mut jar, callback) = callback_of_alice(&first).await;

            // Another process without metadata.
            let is_down = Arc::new(AtomicBool::new(is_credential_missing));
            let down = Arc::clone(&is_down);
            let source = CredentialSource::from_fn(move || {
                let is_down = down.load(Ordering::SeqCst);
                async move {
                    match is_down {
                        true => Err("the vault does not respond".into()),
                        false => Ok("shop-secret"),
                    }
                }
            });
            let client = Client::confidential("shop", source);
            let key = CookieKey::from_bytes(&KEY).unwrap();
            let layer = LoginLayer::new(&server.authorization_server(), client, CALLBACK, key);
            let shop = Shop {
                app: app(&place(layer.unwrap())),
                server: server.clone(),
            };
            if !is_credential_missing {
                server.fail(Endpoint::Metadata, Fault::status(503));
            }
            let case = format!("store {has_store}, credential {is_credential_missing}");
            for _ in 0..2 {
                let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{case}");
                assert!(answer.headers.contains_key("retry-after"), "{case}");
                assert_eq!(answer.set_cookies(), [""; 0], "{case}");
            }
            assert_eq!(shop.token_calls(), 0, "{case}");

            is_down.store(false, Ordering::SeqCst);
            server.clear_faults(Endpoint::Metadata);
            // Shorter than the lifetime of the code.
            server.clock().advance(Duration::from_secs(20));
            let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
            assert_eq!(answer.sets(), [SESSION], "{case}: {}", answer.text());
            jar.take(&answer);
            assert_eq!(shop.greeting(&jar).await, "hello alice", "{case}");
            assert_eq!(shop.token_calls(), 1, "{case}");
        }
    }
}

/// OpenID Connect Core §3.1.3.7: an invalid ID token creates no session.
#[tokio::test]
async fn an_invalid_id_token_is_rejected_with_a_page() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    shop.server.fail_once(
        Endpoint::Token,
        Fault::id_token(|mint| mint.with_claim("nonce", "other")),
    );
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert_eq!(answer.sets(), [""; 0]);
}

/// Closing the connection while the code is being redeemed loses nothing.
#[tokio::test]
async fn a_callback_whose_connection_closed_can_be_repeated() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    {
        let request = shop.send(Ask::page(&callback).jar(&jar));
        let mut request = std::pin::pin!(request);
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        assert!(request.as_mut().poll(&mut context).is_pending());
    }
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.sets(), [SESSION]);
    assert_eq!(shop.token_calls(), 1);
}
/// started, whichever cookies the victim has.
#[tokio::test]
async fn a_callback_of_another_browsers_login_signs_no_user_in() {
    let shop = Shop::new();
    let mut attacker = Jar::default();
    let answer = shop.start("/auth/login", &mut attacker).await;
    let callback = shop.approve(answer.location(), "bob").await;
    // The victim has a login in progress, or a session, or both.
    let mut pending = Jar::default();
    shop.start("/auth/login", &mut pending).await;
    let session = shop.signed_in().await;
    let mut both = session.clone();
    shop.start("/auth/login", &mut both).await;
    // Even with the right cookie name and a value of another login.
    let name = attacker.transactions()[0].to_owned();
    let own = pending.value(pending.transactions()[0]).to_owned();
    let renamed = Jar::of(&[(&name, &own)]);
    for jar in [Jar::default(), pending, session.clone(), both, renamed] {
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.sets(), [""; 0], "{:?}", jar.names());
    }
    assert_eq!(shop.token_calls(), 1, "that of the session");
    assert_eq!(shop.greeting(&session).await, "hello alice");
}
