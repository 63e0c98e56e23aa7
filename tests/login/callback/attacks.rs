//! The callback under attack: forged, replayed and mixed-up authorization responses.
//!
//! The tests count what matters: token requests, session cookies, cleared transactions.

use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::StatusCode;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer, TestUser};
use tower_oauth::{Client, CookieKey, LoginLayer};

use crate::support::logs::Logs;
use crate::support::shop::*;

/// Starts a login of Alice, up to its callback.
async fn callback_of_alice(shop: &Shop) -> (Jar, String) {
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login?return_to=/notes", &mut jar).await;
    let callback = shop.approve(answer.location(), "alice").await;
    (jar, callback)
}

/// Sends the request to a new process with the same configuration, so that no case uses up the
/// state of the next.
async fn send_to_new_process(shop: &Shop, ask: Ask) -> Answer {
    send(&app(&login(&shop.server)), ask).await
}

/// Returns the code in the problem document.
fn code_of(answer: &Answer) -> String {
    answer.json()["code"].as_str().unwrap().to_owned()
}

/// The same layer with another callback path: same key, client and folder.
fn with_moved_callback(server: &TestServer) -> LoginLayer {
    let client = Client::confidential("shop", "shop-secret");
    let key = CookieKey::from_bytes(&KEY).unwrap();
    let uri = format!("{SHOP}/auth/return");
    LoginLayer::new(&server.authorization_server(), client, &uri, key).unwrap()
}

/// Several errors at once: the checks run in their order, and nothing is sent before the last.
#[tokio::test]
async fn the_checks_run_in_order_and_nothing_is_sent_before_the_last() {
    let shop = Shop::new();
    let (jar, good) = callback_of_alice(&shop).await;
    let state = parameter(&good, "state").unwrap();
    let code = parameter(&good, "code").unwrap();
    let before = shop.server.requests().len();
    let evil = "iss=https://evil.example";
    let error = "error=access_denied";
    let fetch = [("sec-fetch-mode", "cors")];
    for (name, method, query, fields, status, expected) in [
        (
            "method",
            "POST",
            format!("state=x&state=y&{evil}&{error}"),
            &fetch[..],
            405,
            "",
        ),
        (
            "mode",
            "GET",
            format!("state=x&state=y&{evil}&{error}"),
            &fetch,
            400,
            "callback_no_navigation",
        ),
        (
            "repeated",
            "GET",
            format!("state=x&state=y&{evil}&{error}"),
            &[],
            400,
            "callback_repeated_parameter",
        ),
        (
            "state",
            "GET",
            format!("state=x&{evil}&{error}&code={code}"),
            &[],
            400,
            "login_unknown",
        ),
        (
            "issuer",
            "GET",
            format!("state={state}&{evil}&{error}&code={code}"),
            &[],
            400,
            "issuer_mismatch",
        ),
        (
            "error",
            "GET",
            format!("state={state}&iss={ISSUER}&{error}&code={code}"),
            &[],
            403,
            "access_denied",
        ),
        (
            "code",
            "GET",
            format!("state={state}&iss={ISSUER}"),
            &[],
            400,
            "code_missing",
        ),
    ] {
        let ask = Ask::new(method, &format!("/auth/callback?{query}")).with(fields);
        let answer = send_to_new_process(&shop, ask.jar(&jar)).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        if !expected.is_empty() {
            assert_eq!(code_of(&answer), expected, "{name}");
        }
        assert_eq!(answer.sets(), [""; 0], "{name}");
        assert_eq!(shop.server.requests().len(), before, "{name}");
    }
    // The transaction is checked before the issuer.
    let ask = Ask::new("GET", &format!("/auth/return?state={state}&{evil}&{error}"));
    let answer = send(&app(&with_moved_callback(&shop.server)), ask.jar(&jar)).await;
    assert_eq!(code_of(&answer), "transaction_elsewhere");
    assert_eq!(shop.server.requests().len(), before);

    let answer = send_to_new_process(&shop, Ask::page(&good).jar(&jar)).await;
    assert_eq!(answer.sets(), [SESSION]);
    assert_eq!(shop.token_calls(), 1);
}

/// Variations of invalid responses (RFC 6749 §4.1.2, RFC 9207 §2.4). Those with a valid state use
/// the login up.
#[tokio::test]
async fn an_almost_valid_response_is_rejected_without_a_token_request() {
    let shop = Shop::new();
    let (jar, good) = callback_of_alice(&shop).await;
    let state = parameter(&good, "state").unwrap();
    let with = |name: &str, value: &str| with_parameter(&good, name, Some(value));
    let more = |text: &str| format!("{good}&{text}");
    let c = |length: usize| "c".repeat(length);
    const CLEARED: bool = true;
    const UNTOUCHED: bool = false;
    for (name, callback, code, cleared) in [
        (
            "error twice",
            more("error=a&error=b"),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "description twice",
            more("error_description=a&error_description=b"),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "response twice",
            more("response=a&response=b"),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "id_token twice, empty",
            more("id_token=&id_token="),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "state twice, once escaped",
            more(&format!("%73tate={state}")),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "code again, empty",
            more("code="),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "code again, bare",
            more("code"),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "iss twice, once escaped",
            more(&format!("i%73s={ISSUER}")),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        ("empty", with("iss", ""), "issuer_missing", CLEARED),
        (
            "NUL behind",
            with("iss", &format!("{ISSUER}\0")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "space before",
            with("iss", &format!(" {ISSUER}")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "newline behind",
            with("iss", &format!("{ISSUER}\n")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "query",
            with("iss", &format!("{ISSUER}?x")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "fragment",
            with("iss", &format!("{ISSUER}#x")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "path",
            with("iss", &format!("{ISSUER}/tenant")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "dot segment",
            with("iss", &format!("{ISSUER}/.")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "trailing dot",
            with("iss", &format!("{ISSUER}.")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "scheme in capitals",
            with("iss", "HTTPS://id.example.test"),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "http",
            with("iss", "http://id.example.test"),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "escaped letter",
            with("iss", "https://%69d.example.test"),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "user",
            with("iss", "https://x@id.example.test"),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "prefix",
            with("iss", "https://id.example.tes"),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "look-alike",
            with("iss", "https://\u{456}d.example.test"),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "other case of the name",
            format!("{}&Iss={ISSUER}", with_parameter(&good, "iss", None)),
            "issuer_missing",
            CLEARED,
        ),
        (
            "state in capitals",
            with("state", &state.to_uppercase()),
            "login_unknown",
            UNTOUCHED,
        ),
        (
            "state cut",
            with("state", &state[1..]),
            "login_unknown",
            UNTOUCHED,
        ),
        (
            "state with a blank",
            with("state", &format!("{state} ")),
            "login_unknown",
            UNTOUCHED,
        ),
        (
            "NUL behind the state",
            with("state", &format!("{state}\0")),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        ("empty", with("state", ""), "state_missing", UNTOUCHED),
        (
            "blank before the name",
            format!("/auth/callback?+state={state}&code=c"),
            "state_missing",
            UNTOUCHED,
        ),
        (
            "nothing but separators",
            "/auth/callback?&&&".to_owned(),
            "state_missing",
            UNTOUCHED,
        ),
        (
            "state of a kilobyte",
            with("state", &c(1024)),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        (
            "code of 4097",
            with("code", &c(4097)),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        (
            "code of 50 000",
            with("code", &c(50_000)),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        (
            "tab",
            with("code", "a\tb"),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        (
            "DEL",
            with("code", "a\u{7f}"),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        (
            "CR alone",
            with("code", "a\rSet-Cookie: x=y"),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        (
            "not UTF-8",
            with_parameter(&good, "code", None) + "&code=%ff%fe",
            "callback_malformed",
            UNTOUCHED,
        ),
        (
            "overlong",
            with_parameter(&good, "code", None) + "&code=%c0%80",
            "callback_malformed",
            UNTOUCHED,
        ),
        (
            "access token",
            more("access_token=a&token_type=bearer"),
            "callback_token",
            UNTOUCHED,
        ),
        (
            "refresh token",
            more("refresh_token=a"),
            "callback_token",
            UNTOUCHED,
        ),
        (
            "ID token alone",
            format!("/auth/callback?state={state}&id_token=e.y.J&iss={ISSUER}"),
            "callback_token",
            UNTOUCHED,
        ),
        ("no code, empty", with("code", ""), "code_missing", CLEARED),
        (
            "a response object instead",
            format!("/auth/callback?state={state}&response=e.y.J&iss={ISSUER}"),
            "response_mode_mismatch",
            UNTOUCHED,
        ),
        (
            "two hundred parameters",
            more(&"a=b&".repeat(200)),
            "callback_malformed",
            UNTOUCHED,
        ),
    ] {
        let ask = Ask::new("GET", &callback).jar(&jar);
        let answer = send_to_new_process(&shop, ask).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(code_of(&answer), code, "{name}");
        assert_eq!(answer.sets(), [""; 0], "{name}");
        let expected = if cleared {
            jar.transactions()
        } else {
            Vec::new()
        };
        assert_eq!(answer.clears(), expected, "{name}");
        assert_eq!(shop.token_calls(), 0, "{name}");
    }
}

/// RFC 6749 §4.1.2: unknown parameters are ignored.
#[tokio::test]
async fn unknown_parameters_and_a_code_at_the_limit_are_accepted() {
    let shop = Shop::new();
    for more in [
        "x=1&x=2&y[]=3",
        "session_state=abc",
        "error=",
        "scope=openid&authuser=0&prompt=none&hd=example.com",
        "%00=%00",
        "State=x&CODE=y&Iss=z",
        "code_=x&state.=y",
        &"a=b&".repeat(120),
    ] {
        let (jar, callback) = callback_of_alice(&shop).await;
        let answer = shop
            .send(Ask::page(&format!("{callback}&{more}")).jar(&jar))
            .await;
        assert_eq!(answer.sets(), [SESSION], "{more:.40}");
    }
    // A code of 4096 characters is sent, and rejected by the server that never issued it.
    let (jar, callback) = callback_of_alice(&shop).await;
    let callback = with_parameter(&callback, "code", Some(&"c".repeat(4096)));
    let calls = shop.token_calls();
    let answer = shop.send(Ask::new("GET", &callback).jar(&jar)).await;
    assert_eq!(code_of(&answer), "code_refused");
    assert_eq!(shop.token_calls(), calls + 1);
}

/// RFC 9207 §2.4: a server that does not announce `iss` may omit it, but a wrong value is rejected.
#[tokio::test]
async fn an_unannounced_issuer_may_be_missing_but_not_wrong() {
    for (name, issuer, error, expected) in [
        ("missing", None, None, ""),
        ("right", Some(ISSUER), None, ""),
        (
            "wrong",
            Some("https://evil.example"),
            None,
            "issuer_mismatch",
        ),
        (
            "wrong with an error",
            Some("https://evil.example"),
            Some("access_denied"),
            "issuer_mismatch",
        ),
        (
            "right with an error",
            Some(ISSUER),
            Some("access_denied"),
            "access_denied",
        ),
        (
            "missing with an error",
            None,
            Some("access_denied"),
            "access_denied",
        ),
    ] {
        let shop = Shop::new();
        shop.server.fail(
            Endpoint::Metadata,
            Fault::without_member("authorization_response_iss_parameter_supported"),
        );
        let (jar, callback) = callback_of_alice(&shop).await;
        let callback = with_parameter(&callback, "iss", issuer);
        let callback = with_parameter(&callback, "error", error);
        let answer = shop.send(Ask::new("GET", &callback).jar(&jar)).await;
        assert_eq!(answer.clears(), jar.transactions(), "{name}");
        if expected.is_empty() {
            assert_eq!(answer.sets(), [SESSION], "{name}");
        } else {
            assert_eq!(code_of(&answer), expected, "{name}");
            assert_eq!(shop.token_calls(), 0, "{name}");
        }
    }
}

/// Whatever the result, the transaction is cleared, and a second use sends no token request.
#[tokio::test]
async fn every_response_clears_its_transaction_and_none_is_redeemed_twice() {
    for (name, fault, status, session) in [
        ("success", None, 303, 1),
        ("token endpoint down", Some(Fault::status(500)), 503, 0),
        ("token endpoint busy", Some(Fault::status(429)), 503, 0),
        ("answer lost", Some(Fault::lose_response()), 503, 0),
        ("connection cut", Some(Fault::disconnect()), 503, 0),
        ("HTML", Some(Fault::body("text/html", "<h1>x</h1>")), 502, 0),
        (
            "another person's nonce",
            Some(Fault::id_token(|it| it.with_claim("nonce", "x"))),
            502,
            0,
        ),
        (
            "no ID token",
            Some(Fault::without_member("id_token")),
            502,
            0,
        ),
    ] {
        let shop = Shop::new();
        let (jar, callback) = callback_of_alice(&shop).await;
        if let Some(fault) = fault {
            shop.server.fail(Endpoint::Token, fault);
        }
        for _ in 0..3 {
            let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
            assert_eq!(answer.status.as_u16(), status, "{name}");
            assert_eq!(answer.sets().len(), session, "{name}");
            assert_eq!(answer.clears(), jar.transactions(), "{name}");
            assert_eq!(shop.token_calls(), 1, "{name}");
        }
        // After the result has expired, the state is still known to be used.
        shop.server.clear_faults(Endpoint::Token);
        shop.clock().advance(Duration::from_secs(61));
        let answer = shop.send(Ask::new("GET", &callback).jar(&jar)).await;
        assert_eq!(code_of(&answer), "login_used", "{name}");
        assert_eq!(answer.clears(), jar.transactions(), "{name}");
        assert_eq!(shop.token_calls(), 1, "{name}");
    }
}

/// Fifty concurrent callbacks, half of them with a forged code.
#[tokio::test]
async fn only_the_first_of_many_different_responses_to_one_login_is_processed() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    let forged = with_parameter(&callback, "code", Some("stolen"));
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let callback = if number % 2 == 0 { &callback } else { &forged };
            let (shop, ask) = (shop.clone(), Ask::page(callback).jar(&jar));
            tokio::spawn(async move { shop.send(ask).await })
        })
        .collect();
    let mut statuses = std::collections::HashSet::new();
    for task in tasks {
        statuses.insert(task.await.unwrap().status.as_u16());
    }
    assert_eq!(shop.token_calls(), 1);
    assert_eq!(statuses.len(), 1, "{statuses:?}");
}

/// A callback that is repeated after the sign-out, with copies of all cookies.
#[tokio::test]
async fn a_callback_repeated_after_the_sign_out_restores_nothing() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    let mut session = Jar::default();
    session.take(&shop.send(Ask::page(&callback).jar(&jar)).await);
    let ask = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
    shop.send(ask.jar(&session)).await;
    let answer = shop.send(Ask::new("GET", &callback).jar(&jar)).await;
    assert_eq!(code_of(&answer), "login_used");
    assert_eq!(answer.sets(), [""; 0]);
    assert_eq!(answer.clears(), jar.transactions());
    assert_eq!(shop.token_calls(), 1);
}

/// A token endpoint that hangs: a request that gave up waiting can be repeated, the code is not
/// sent again, and the request times out.
#[tokio::test]
async fn a_hanging_token_endpoint_is_called_once_and_times_out() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    shop.server.fail(Endpoint::Token, Fault::hang());
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let (shop, ask) = (shop.clone(), Ask::page(&callback).jar(&jar));
            tokio::spawn(async move { shop.send(ask).await })
        })
        .collect();
    shop.server.wait_for(Endpoint::Token, 1).await;
    waiting[0].abort();
    waiting[1].abort();
    shop.clock().advance(Duration::from_secs(6));
    for task in waiting.into_iter().skip(2) {
        let answer = task.await.unwrap();
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.clears(), jar.transactions());
        assert_eq!(answer.sets(), [""; 0]);
    }
    assert_eq!(shop.token_calls(), 1);
}

/// With a live session, another user's response leads to a page of the application, as any link could,
/// and changes nothing.
#[tokio::test]
async fn another_users_response_does_not_replace_a_live_session() {
    let shop = Shop::with(|login| login.with_default_return_to("/notes").unwrap());
    let jar = shop.signed_in().await;
    let mut other = Jar::default();
    let answer = shop
        .start("/auth/login?return_to=/account", &mut other)
        .await;
    let attackers = shop.approve(answer.location(), "bob").await;
    let calls = shop.token_calls();
    for (callback, target) in [
        (&*attackers, "/account"),
        ("/auth/callback?state=x&code=y", "/notes"),
    ] {
        let answer = shop.send(Ask::page(callback).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.location(), target);
        assert_eq!(answer.set_cookies(), [""; 0]);
    }
    assert_eq!(shop.token_calls(), calls);
    assert_eq!(shop.greeting(&jar).await, "hello alice");
    // An ended session does not count.
    shop.clock().advance(Duration::from_secs(3600));
    let answer = shop
        .send(Ask::new("GET", "/auth/callback?state=x&code=y").jar(&jar))
        .await;
    assert!(answer.text().contains("login_unknown"));
}

/// The text of the authorization server is shown, but is not interpreted in the page, the header or
/// the log.
#[tokio::test]
async fn text_of_the_server_is_neither_markup_nor_a_header_nor_a_log_line() {
    let log = Logs::default();
    let _recording = log.record();
    let shop = Shop::new();
    let (jar, good) = callback_of_alice(&shop).await;
    let state = parameter(&good, "state").unwrap();
    let long = "L".repeat(30_000);
    for (name, error, description) in [
        (
            "script",
            "<script>alert(1)</script>",
            "\"><img onerror=MARK>",
        ),
        ("attribute", "x\" onmouseover=\"MARK", "' onfocus='MARK"),
        ("entity", "x", "&lt;script&gt;MARK&#60;script&#62;"),
        ("comment", "x", "--><svg/onload=MARK>"),
        ("lines", "x", "MARK\r\nSet-Cookie: MARK=1\r\n\r\n<h1>MARK"),
        ("NUL", "x", "MARK\0MARK"),
        ("terminal", "x", "\u{1b}[31mMARK\u{1b}]0;MARK\u{7}"),
        ("direction", "x", "MARK\u{202e}MARK\u{2066}"),
        ("long", "x", &long),
        ("long code", &long, "MARK"),
        ("lines in the code", "x\r\nMARK", "MARK"),
        ("beyond ASCII", "\u{e9}MARK", "\u{1f389}MARK"),
    ] {
        let query: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("error", error),
                ("error_description", description),
                ("error_uri", "javascript:alert(1)"),
                ("state", &state),
                ("iss", ISSUER),
            ])
            .finish();
        let callback = format!("/auth/callback?{query}");
        for ask in [Ask::page(&callback), Ask::new("GET", &callback)] {
            let answer = send_to_new_process(&shop, ask.jar(&jar)).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
            assert_eq!(answer.clears(), jar.transactions(), "{name}");
            assert_eq!(answer.sets(), [""; 0], "{name}");
            let headers = answer.head();
            assert!(!headers.contains("MARK"), "{name}: {headers}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{name}");
            let text = answer.text();
            assert!(text.len() < 4096, "{name}: {}", text.len());
            for sign in [
                "<script",
                "<img",
                "<svg",
                "<h1>MARK",
                "-->",
                "onmouseover=\"",
                "onfocus='",
                "javascript:",
            ] {
                assert!(!text.contains(sign), "{name} {sign}: {text}");
            }
            assert!(
                !text.contains(|it: char| it.is_control() && it != '\n'),
                "{name}"
            );
            if answer.header("content-type").starts_with("text/html") {
                let policy = answer.header("content-security-policy");
                assert!(policy.starts_with("default-src 'none'"), "{name}: {policy}");
                assert!(!policy.contains("script-src"), "{name}: {policy}");
            } else {
                assert!(!text.contains("MARK"), "{name}: {text}");
            }
        }
    }
    for query in [
        "error=x&error_description=%ff%fe",
        "error=%ff",
        "%c3%28=1&error=x",
    ] {
        let callback = format!("/auth/callback?{query}&state={state}&iss={ISSUER}");
        let answer = send_to_new_process(&shop, Ask::new("GET", &callback).jar(&jar)).await;
        assert_eq!(code_of(&answer), "callback_malformed", "{query}");
    }
    assert_eq!(shop.token_calls(), 0);
    let log = log.text();
    assert!(log.contains("login_failed"), "{log}");
    for line in log.lines() {
        assert!(line.len() < 1024, "{}", line.len());
        assert!(
            !line.contains("onerror") && !line.contains("MARK=1"),
            "{line}"
        );
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

/// No secret is in the response, in the page after it, or in the log.
#[tokio::test]
async fn a_login_leaves_no_secret_in_a_url_a_page_or_the_log() {
    let log = Logs::default();
    let _recording = log.record();
    let shop = Shop::new();
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login?return_to=/notes", &mut jar).await;
    let mut secrets: Vec<String> = ["state", "nonce"]
        .map(|name| answer.parameter(name).unwrap())
        .into();
    secrets.push(jar.0[0].1.clone());
    let callback = shop.approve(answer.location(), "alice").await;
    secrets.push(parameter(&callback, "code").unwrap());
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    let sent = shop.server.requests();
    let token_request = sent
        .iter()
        .find(|it| it.endpoint() == Endpoint::Token)
        .unwrap();
    secrets.push(token_request.parameter("code_verifier").unwrap());
    secrets.push("shop-secret".to_owned());
    jar.take(&answer);
    secrets.push(jar.value(SESSION).to_owned());
    let page = shop.send(Ask::page("/notes").jar(&jar)).await;
    let view = shop.send(Ask::new("GET", "/auth/session").jar(&jar)).await;

    assert_eq!(answer.location(), "/notes");
    assert!(answer.body.is_empty());
    let log = log.text();
    assert!(log.contains("login_succeeded"), "{log}");
    for secret in &secrets {
        for text in [page.text(), view.text(), answer.location().to_owned()] {
            assert!(!text.contains(secret.as_str()), "{text}");
        }
        assert!(!log.contains(secret.as_str()), "{secret} is in the log");
    }
    assert!(!log.contains("eyJ"), "{log}");
}

/// Mix-up attacks (RFC 9700 §4.4): a response of one server at the callback of another, in one
/// browser, with one key and even one cookie name.
#[tokio::test]
async fn a_response_at_the_callback_of_another_server_is_rejected() {
    let issuers = ["https://a.example.test", "https://b.example.test"];
    let folders = ["/a", "/b"];
    let servers: Vec<TestServer> = issuers
        .iter()
        .zip(folders)
        .map(|(issuer, folder)| {
            let client = TestClient::confidential("shop", "shop-secret")
                .add_redirect_uri(&format!("{SHOP}{folder}/callback"))
                .unwrap()
                .without_consent();
            crate::support::still_server(issuer)
                .unwrap()
                .add_client(client)
                .add_user(TestUser::new("alice", "wonderland"))
        })
        .collect();
    let layers: Vec<LoginLayer> = servers
        .iter()
        .zip(folders)
        .map(|(server, folder)| {
            LoginLayer::new(
                &server.authorization_server(),
                Client::confidential("shop", "shop-secret"),
                &format!("{SHOP}{folder}/callback"),
                CookieKey::from_bytes(&KEY).unwrap(),
            )
            .unwrap()
            .with_cookie_name("shop")
            .unwrap()
        })
        .collect();
    let app = Router::new()
        .fallback(any(|| async { "inside" }))
        .layer(layers[0].clone())
        .layer(layers[1].clone());
    let shop = Shop {
        server: servers[0].clone(),
        app,
    };
    let mut jar = Jar::default();
    let answer = shop.start("/a/login", &mut jar).await;
    let callback = shop.approve(answer.location(), "alice").await;
    let crossed = callback.replacen("/a/", "/b/", 1);
    for callback in [
        crossed.clone(),
        with_parameter(&crossed, "iss", Some(issuers[1])),
        with_parameter(&crossed, "iss", None),
    ] {
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        // The cookie is that of the other layer.
        assert_eq!(answer.set_cookies(), [""; 0]);
        assert!(answer.text().contains("login_unknown"));
    }
    for server in &servers {
        assert_eq!(server.count(Endpoint::Token), 0);
    }
    // RFC 9207: the reverse, a code of the attacker's server at the honest callback.
    let mixed = with_parameter(&callback, "iss", Some(issuers[1]));
    let answer = shop.send(Ask::page(&mixed).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(servers[0].count(Endpoint::Token), 0);
}

/// The callback moved while a user was signing in. The response is rejected, and the encrypted
/// return target is not offered if it is a route of the layer now.
#[tokio::test]
async fn an_encrypted_target_is_checked_again_against_the_current_routes() {
    let shop = Shop::new();
    for (target, offered) in [
        ("/auth/return", "/"),
        ("/AUTH//return", "/"),
        ("/notes", "/notes"),
    ] {
        let mut jar = Jar::default();
        let answer = shop
            .start(&format!("/auth/login?return_to={target}"), &mut jar)
            .await;
        let state = answer.parameter("state").unwrap();
        let callback = format!("/auth/return?state={state}&code=c&iss={ISSUER}");
        let answer = send(
            &app(&with_moved_callback(&shop.server)),
            Ask::new("GET", &callback).jar(&jar),
        )
        .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(code_of(&answer), "transaction_elsewhere");
        assert_eq!(answer.clears(), jar.transactions());
        let login_url = answer.json()["login_url"].as_str().unwrap().to_owned();
        assert_eq!(parameter(&login_url, "return_to").as_deref(), Some(offered));
    }
    assert_eq!(shop.token_calls(), 0);
}

/// Requests that are not navigations use nothing up, and the user who then navigates is signed in.
#[tokio::test]
async fn only_a_navigation_can_complete_a_login_or_use_it_up() {
    let shop = Shop::new();
    let (jar, callback) = callback_of_alice(&shop).await;
    let page = || Ask::page(&callback);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = callback.split_once('?').unwrap().1;
    for (name, ask, status) in [
        (
            "form post",
            Ask::new("POST", "/auth/callback")
                .with(&PAGE)
                .with(&form)
                .body(body),
            405,
        ),
        (
            "both",
            Ask::new("POST", &callback)
                .with(&PAGE)
                .with(&form)
                .body(body),
            405,
        ),
        (
            "post of 10 MiB",
            Ask::new("POST", "/auth/callback")
                .with(&form)
                .body(&"a".repeat(10 << 20)),
            405,
        ),
        (
            "token in a post",
            Ask::new("POST", "/auth/callback")
                .with(&form)
                .body("access_token=a&id_token=b"),
            405,
        ),
        ("put", Ask::new("PUT", &callback).with(&PAGE), 405),
        ("options", Ask::new("OPTIONS", &callback).with(&PAGE), 405),
        (
            "get in lower case",
            Ask::new("get", &callback).with(&PAGE),
            405,
        ),
        (
            "method in a header",
            Ask::new("POST", &callback)
                .with(&PAGE)
                .with(&[("x-http-method-override", "GET")]),
            405,
        ),
        ("no-cors", page().set("sec-fetch-mode", "no-cors"), 400),
        (
            "same-origin",
            page().set("sec-fetch-mode", "same-origin"),
            400,
        ),
        (
            "websocket",
            page()
                .set("sec-fetch-mode", "websocket")
                .set("sec-fetch-dest", "websocket"),
            400,
        ),
        ("frame", page().set("sec-fetch-dest", "frame"), 400),
        (
            "fenced frame",
            page().set("sec-fetch-dest", "fencedframe"),
            400,
        ),
        ("embed", page().set("sec-fetch-dest", "embed"), 400),
        ("object", page().set("sec-fetch-dest", "object"), 400),
        ("image", page().set("sec-fetch-dest", "image"), 400),
        (
            "two destinations",
            page().with(&[("sec-fetch-dest", "document")]),
            400,
        ),
        ("old prefetch", page().set("purpose", "prefetch"), 400),
        ("Firefox", page().set("x-moz", "prefetch"), 400),
        ("preview", page().set("x-purpose", "preview"), 400),
        (
            "prefetch in capitals",
            page().set("sec-purpose", "PREFETCH"),
            400,
        ),
    ] {
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(answer.set_cookies(), [""; 0], "{name}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{name}");
        if status == 405 {
            assert_eq!(answer.header("allow"), "GET", "{name}");
        }
        assert_eq!(shop.token_calls(), 0, "{name}");
    }
    let answer = shop.send(page().jar(&jar)).await;
    assert_eq!(answer.sets(), [SESSION]);
    assert_eq!(answer.location(), "/notes");
}

/// Two tabs whose responses are exchanged in every way can both complete.
#[tokio::test]
async fn the_response_of_one_tab_does_not_match_the_cookie_of_another() {
    let shop = Shop::new();
    let (a, answer_a) = callback_of_alice(&shop).await;
    let (b, answer_b) = callback_of_alice(&shop).await;
    let crossed = with_parameter(&answer_a, "state", parameter(&answer_b, "state").as_deref());
    for (callback, jar) in [(&answer_a, &b), (&answer_b, &a)] {
        let answer = shop.send(Ask::page(callback).jar(jar)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.set_cookies(), [""; 0]);
    }
    assert_eq!(shop.token_calls(), 0);
    // A's code with B's state is sent with B's verifier, and rejected by the server (RFC 7636
    // §4.6).
    let answer = send_to_new_process(&shop, Ask::new("GET", &crossed).jar(&b)).await;
    assert_eq!(code_of(&answer), "code_refused");
    assert_eq!(answer.sets(), [""; 0]);
    let answer = shop.send(Ask::page(&answer_b).jar(&b)).await;
    assert_eq!(answer.sets(), [SESSION]);
}

/// Session fixation: nothing that was planted before a login is valid after it, not even a valid
/// session.
#[tokio::test]
async fn nothing_planted_before_a_login_is_valid_after_it() {
    let shop = Shop::new();
    let mallory = {
        let mut jar = Jar::default();
        shop.sign_in("bob", &mut jar).await;
        jar
    };
    let good = mallory.value(SESSION).to_owned();
    for (name, planted) in [
        ("a word", Jar::of(&[(SESSION, "planted")])),
        ("an attacker's live session", Jar::of(&[(SESSION, &good)])),
        (
            "two of one name",
            Jar::of(&[(SESSION, &good), (SESSION, "x")]),
        ),
        (
            "chunks",
            Jar::of(&[
                (&format!("{SESSION}.0"), "x"),
                (&format!("{SESSION}.1"), "y"),
            ]),
        ),
        (
            "a chunk beside it",
            Jar::of(&[(SESSION, &good), (&format!("{SESSION}.7"), "y")]),
        ),
    ] {
        let mut jar = planted.clone();
        let answer = shop.sign_in("alice", &mut jar).await;
        assert_eq!(answer.sets(), [SESSION], "{name}");
        assert_eq!(jar.names(), [SESSION], "{name}");
        assert_eq!(shop.greeting(&jar).await, "hello alice", "{name}");
        assert_ne!(jar.value(SESSION), planted.0[0].1, "{name}");
        assert_ne!(shop.greeting(&planted).await, "hello alice", "{name}");
    }
    // Mallory's session was opened and ended; it did not become Alice's.
    assert_eq!(shop.greeting(&mallory).await, "hello stranger");

    // Signing in again as the same user creates a new session and ends the previous one.
    let mut jar = shop.signed_in().await;
    let before = jar.clone();
    shop.sign_in("alice", &mut jar).await;
    assert_eq!(shop.greeting(&before).await, "hello stranger");
    assert_eq!(shop.greeting(&jar).await, "hello alice");
}

/// Other spellings of the route paths are not routes: they handle, start and end nothing, and inner
/// routes cannot replace them.
#[tokio::test]
async fn only_the_exact_path_is_a_route_of_the_layer() {
    let server = server();
    let inside = Router::new()
        .route("/auth/callback", any(|| async { "shadow" }))
        .route("/auth/login", any(|| async { "shadow" }))
        .fallback(|| async { "inside" });
    let shop = Shop {
        app: inside.layer(login(&server)),
        server,
    };
    let (jar, callback) = callback_of_alice(&shop).await;
    let query = callback.split_once('?').unwrap().1;
    let session = shop.signed_in().await;
    // The last two are routes only if they are enabled; disabled, they are not exempt from the CSRF
    // check either.
    for word in [
        "callback",
        "login",
        "logout",
        "session",
        "backchannel-logout",
        "frontchannel-logout",
    ] {
        let escaped = format!("%{:02x}{}", word.as_bytes()[0], &word[1..]);
        for path in [
            format!("/auth/{escaped}"),
            format!("/%61uth/{word}"),
            format!("/auth%2f{word}"),
            format!("/auth//{word}"),
            format!("//auth/{word}"),
            format!("/auth/{word}/"),
            format!("/auth/{word};x=1"),
            format!("/auth;x/{word}"),
            format!("/auth/{word}%00"),
            format!("/auth/{word}%20"),
            format!("/auth/{word}."),
            format!("/auth/./{word}"),
            format!("/x/../auth/{word}"),
            format!("/auth/{}", word.to_uppercase()),
            format!("/Auth/{word}"),
            format!("/auth\\{word}"),
            format!("/{word}"),
        ] {
            let ask = Ask::page(&format!("{path}?{query}"));
            let answer = shop
                .send(ask.set("sec-fetch-site", "same-origin").jar(&jar))
                .await;
            assert_eq!(answer.text(), "inside", "{path}");
            assert_eq!(answer.set_cookies(), [""; 0], "{path}");
            let ask = Ask::new("POST", &path).with(&[("sec-fetch-site", "cross-site")]);
            let answer = shop.send(ask.jar(&session)).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        }
    }
    assert_eq!(shop.token_calls(), 1);
    assert_eq!(
        shop.send(Ask::page("/auth/login")).await.status,
        StatusCode::SEE_OTHER
    );
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.sets(), [SESSION]);
}

/// The bytes read from `Cookie` are limited.
#[tokio::test]
async fn a_flood_of_cookies_fails_at_most_one_login() {
    let shop = Shop::new();
    let junk = Jar(vec![("junk".to_owned(), "x".repeat(100_000)); 10]);
    let ours: Vec<(String, String)> = (0..500)
        .map(|n| (format!("{SLOT}{}", n % 5), "x".repeat(130)))
        .collect();
    for (name, flood) in [("foreign", junk), ("in our name", Jar(ours))] {
        let (jar, callback) = callback_of_alice(&shop).await;
        let mut before = flood.clone();
        before.0.extend(jar.0.clone());
        let answer = shop.send(Ask::page(&callback).jar(&before)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(answer.sets(), [""; 0], "{name}");
        let mut after = jar.clone();
        after.0.extend(flood.0.clone());
        let answer = shop.send(Ask::page(&callback).jar(&after)).await;
        assert_eq!(answer.sets(), [SESSION], "{name}");
        assert!(answer.clears().len() <= 24, "{name}");
    }
}

/// Login CSRF in a browser: an attacker's page navigates, frames and posts to the callback with the
/// attacker's own valid response.
#[tokio::test]
async fn an_attackers_page_cannot_sign_its_visitor_in_as_another_user() {
    let shop = Shop::new();
    let (_, attackers) = callback_of_alice(&shop).await;
    let url = format!("{SHOP}{attackers}");
    let browser = shop.browser();
    let page = browser
        .document("https://evil.example/", "<h1>Kittens</h1>")
        .unwrap();
    for kind in ["iframe", "image", "script"] {
        let answer = page.load(&url, kind).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{kind}");
    }
    let reached = page.follow(&url).await.unwrap();
    assert_eq!(reached.status(), StatusCode::BAD_REQUEST);
    assert!(
        reached.text().contains("Sign in again"),
        "{}",
        reached.text()
    );
    let query = attackers.split_once('?').unwrap().1;
    let inputs: String = url::form_urlencoded::parse(query.as_bytes())
        .map(|(name, value)| format!("<input name=\"{name}\" value=\"{value}\">"))
        .collect();
    for method in ["get", "post"] {
        let html = format!(
            "<form method={method} action=\"{CALLBACK}\">{inputs}<button>Go</button></form>"
        );
        let page = browser.document("https://evil.example/", &html).unwrap();
        let reached = page.form("").unwrap().submit().await.unwrap();
        assert!(reached.status().is_client_error(), "{method}");
    }
    assert_eq!(browser.cookies(SHOP).len(), 0);
    assert_eq!(shop.token_calls(), 0);
}
