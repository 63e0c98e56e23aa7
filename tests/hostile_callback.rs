//! The way back from the authorization server, for those who would bring somebody else's answer.
//!
//! What is promised is counted: token requests, session cookies, cleared transactions.
#![allow(clippy::unwrap_used, missing_docs)]

mod login_support;

use std::time::Duration;

use axum::Router;
use axum::routing::any;
use http::StatusCode;
use login_support::logs::Logs;
use login_support::*;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer, TestUser};
use tower_oauth::{Client, CookieKey, LoginLayer};

/// A login of Alice that has come back from the authorization server, not yet taken in.
async fn ready_to_return(shop: &Shop) -> (Jar, String) {
    let mut jar = Jar::default();
    let answer = shop.start("/auth/login?return_to=/notes", &mut jar).await;
    let callback = shop.approve(answer.location(), "alice").await;
    (jar, callback)
}

/// A process of its own with the same configuration, so that no case uses up the state of the next.
async fn fresh(shop: &Shop, ask: Ask) -> Answer {
    send(&app(&login(&shop.server)), ask).await
}

/// As a program sees it: the refusal's code stands in a problem document.
fn code_of(answer: &Answer) -> String {
    answer.json()["code"].as_str().unwrap().to_owned()
}

/// The same layer with its callback under another name: same key, client and folder.
fn moved(server: &TestServer) -> LoginLayer {
    let client = Client::confidential("shop", "shop-secret");
    let key = CookieKey::from_bytes(&KEY).unwrap();
    let uri = format!("{SHOP}/auth/return");
    LoginLayer::new(&server.authorization_server(), client, &uri, key).unwrap()
}

/// L11: all that could be wrong at once; each check in its turn, and nothing sent before the last.
#[tokio::test]
async fn the_checks_stand_in_their_order_and_nothing_is_sent_before_the_last() {
    let shop = Shop::new();
    let (jar, good) = ready_to_return(&shop).await;
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
        let answer = fresh(&shop, ask.jar(&jar)).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        if !expected.is_empty() {
            assert_eq!(code_of(&answer), expected, "{name}");
        }
        assert_eq!(answer.sets(), [""; 0], "{name}");
        assert_eq!(shop.server.requests().len(), before, "{name}");
    }
    // Where the login was begun comes before what is said in the answer.
    let ask = Ask::new("GET", &format!("/auth/return?state={state}&{evil}&{error}"));
    let answer = send(&app(&moved(&shop.server)), ask.jar(&jar)).await;
    assert_eq!(code_of(&answer), "transaction_elsewhere");
    assert_eq!(shop.server.requests().len(), before);

    let answer = fresh(&shop, Ask::page(&good).jar(&jar)).await;
    assert_eq!(answer.sets(), [SESSION]);
    assert_eq!(shop.token_calls(), 1);
}

/// L12, L15, L18, H14, H16, H22, H23, H25: neighbours of the cases. Those whose state could be read use the login up.
#[tokio::test]
async fn an_answer_that_is_almost_right_is_refused_without_a_token_request() {
    let shop = Shop::new();
    let (jar, good) = ready_to_return(&shop).await;
    let state = parameter(&good, "state").unwrap();
    let with = |name: &str, value: &str| with_parameter(&good, name, Some(value));
    let more = |text: &str| format!("{good}&{text}");
    let c = |length: usize| "c".repeat(length);
    const CLEARED: bool = true;
    const UNTOUCHED: bool = false;
    for (name, callback, code, cleared) in [
        (
            "L12 error twice",
            more("error=a&error=b"),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "L12 description twice",
            more("error_description=a&error_description=b"),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "L12 response twice",
            more("response=a&response=b"),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "L12 id_token twice, empty",
            more("id_token=&id_token="),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "L12 state twice, once escaped",
            more(&format!("%73tate={state}")),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "L12 code again, empty",
            more("code="),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "L12 code again, bare",
            more("code"),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        (
            "L12 iss twice, once escaped",
            more(&format!("i%73s={ISSUER}")),
            "callback_repeated_parameter",
            UNTOUCHED,
        ),
        ("H14 empty", with("iss", ""), "issuer_missing", CLEARED),
        (
            "H14 NUL behind",
            with("iss", &format!("{ISSUER}\0")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 space before",
            with("iss", &format!(" {ISSUER}")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 newline behind",
            with("iss", &format!("{ISSUER}\n")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 query",
            with("iss", &format!("{ISSUER}?x")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 fragment",
            with("iss", &format!("{ISSUER}#x")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 path",
            with("iss", &format!("{ISSUER}/tenant")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 dot segment",
            with("iss", &format!("{ISSUER}/.")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 trailing dot",
            with("iss", &format!("{ISSUER}.")),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 scheme in capitals",
            with("iss", "HTTPS://id.example.test"),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 http",
            with("iss", "http://id.example.test"),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 escaped letter",
            with("iss", "https://%69d.example.test"),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 user",
            with("iss", "https://x@id.example.test"),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 prefix",
            with("iss", "https://id.example.tes"),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 look-alike",
            with("iss", "https://\u{456}d.example.test"),
            "issuer_mismatch",
            CLEARED,
        ),
        (
            "H14 other case of the name",
            format!("{}&Iss={ISSUER}", with_parameter(&good, "iss", None)),
            "issuer_missing",
            CLEARED,
        ),
        (
            "H04 state in capitals",
            with("state", &state.to_uppercase()),
            "login_unknown",
            UNTOUCHED,
        ),
        (
            "H04 state cut",
            with("state", &state[1..]),
            "login_unknown",
            UNTOUCHED,
        ),
        (
            "H04 state with a blank",
            with("state", &format!("{state} ")),
            "login_unknown",
            UNTOUCHED,
        ),
        (
            "H16 NUL behind the state",
            with("state", &format!("{state}\0")),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        ("H16 empty", with("state", ""), "state_missing", UNTOUCHED),
        (
            "H16 blank before the name",
            format!("/auth/callback?+state={state}&code=c"),
            "state_missing",
            UNTOUCHED,
        ),
        (
            "H16 nothing but separators",
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
            "L18 code of 4097",
            with("code", &c(4097)),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        (
            "H22 code of 50 000",
            with("code", &c(50_000)),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        (
            "H23 tab",
            with("code", "a\tb"),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        (
            "H23 DEL",
            with("code", "a\u{7f}"),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        (
            "H23 CR alone",
            with("code", "a\rSet-Cookie: x=y"),
            "callback_malformed_value",
            UNTOUCHED,
        ),
        (
            "H23 not UTF-8",
            with_parameter(&good, "code", None) + "&code=%ff%fe",
            "callback_malformed",
            UNTOUCHED,
        ),
        (
            "H23 overlong",
            with_parameter(&good, "code", None) + "&code=%c0%80",
            "callback_malformed",
            UNTOUCHED,
        ),
        (
            "H25 access token",
            more("access_token=a&token_type=bearer"),
            "callback_token",
            UNTOUCHED,
        ),
        (
            "H25 refresh token",
            more("refresh_token=a"),
            "callback_token",
            UNTOUCHED,
        ),
        (
            "H25 ID token alone",
            format!("/auth/callback?state={state}&id_token=e.y.J&iss={ISSUER}"),
            "callback_token",
            UNTOUCHED,
        ),
        ("no code, empty", with("code", ""), "code_missing", CLEARED),
        (
            "a response object instead",
            format!("/auth/callback?state={state}&response=e.y.J&iss={ISSUER}"),
            "code_missing",
            CLEARED,
        ),
        (
            "two hundred parameters",
            more(&"a=b&".repeat(200)),
            "callback_malformed",
            UNTOUCHED,
        ),
    ] {
        let ask = Ask::new("GET", &callback).jar(&jar);
        let answer = fresh(&shop, ask).await;
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

/// L12, L18: what is not ours to read does not disturb.
#[tokio::test]
async fn unknown_parameters_and_a_code_at_the_limit_are_taken() {
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
        let (jar, callback) = ready_to_return(&shop).await;
        let answer = shop
            .send(Ask::page(&format!("{callback}&{more}")).jar(&jar))
            .await;
        assert_eq!(answer.sets(), [SESSION], "{more:.40}");
    }
    // A code of 4096 characters is sent on, and refused by the server that never made it.
    let (jar, callback) = ready_to_return(&shop).await;
    let callback = with_parameter(&callback, "code", Some(&"c".repeat(4096)));
    let calls = shop.token_calls();
    let answer = shop.send(Ask::new("GET", &callback).jar(&jar)).await;
    assert_eq!(code_of(&answer), "code_refused");
    assert_eq!(shop.token_calls(), calls + 1);
}

/// L15: a server that does not announce `iss` may leave it out; what it says must be right all the same.
#[tokio::test]
async fn an_issuer_that_is_not_announced_may_be_missing_but_not_wrong() {
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
        let (jar, callback) = ready_to_return(&shop).await;
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

/// L13: whatever came of it, the transaction is gone, and a second use costs nothing.
#[tokio::test]
async fn every_answer_that_found_its_transaction_clears_it_and_none_is_redeemed_twice() {
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
        let (jar, callback) = ready_to_return(&shop).await;
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
        // When the result is forgotten too, the state is still known to be used.
        shop.server.clear_faults(Endpoint::Token);
        shop.clock().advance(Duration::from_secs(61));
        let answer = shop.send(Ask::new("GET", &callback).jar(&jar)).await;
        assert_eq!(code_of(&answer), "login_used", "{name}");
        assert_eq!(answer.clears(), jar.transactions(), "{name}");
        assert_eq!(shop.token_calls(), 1, "{name}");
    }
}

/// L13, H07: fifty at once, half of them with a code of somebody else's making.
#[tokio::test]
async fn of_many_different_answers_to_one_login_only_the_first_is_looked_at() {
    let shop = Shop::new();
    let (jar, callback) = ready_to_return(&shop).await;
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

/// L13, L47: an answer that is sent once more after the sign-out, from a copy of every cookie.
#[tokio::test]
async fn an_answer_sent_again_after_the_sign_out_revives_nothing() {
    let shop = Shop::new();
    let (jar, callback) = ready_to_return(&shop).await;
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

/// L13: a token endpoint that hangs. Whoever gave up waiting can ask again, the code is not sent again,
/// and in the end there is an answer.
#[tokio::test]
async fn a_token_endpoint_that_hangs_is_waited_for_once_and_not_for_ever() {
    let shop = Shop::new();
    let (jar, callback) = ready_to_return(&shop).await;
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

/// L14, L61: with a live session a stranger's answer leads to the default page and changes nothing.
#[tokio::test]
async fn somebody_elses_answer_does_not_replace_a_live_session() {
    let shop = Shop::with(|login| login.with_default_return_to("/notes").unwrap());
    let jar = shop.signed_in().await;
    let mut other = Jar::default();
    let answer = shop
        .start("/auth/login?return_to=/account", &mut other)
        .await;
    let attackers = shop.approve(answer.location(), "bob").await;
    let calls = shop.token_calls();
    for callback in [attackers, "/auth/callback?state=x&code=y".to_owned()] {
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        assert_eq!(answer.location(), "/notes");
        assert_eq!(answer.set_cookies(), [""; 0]);
    }
    assert_eq!(shop.token_calls(), calls);
    assert_eq!(shop.greeting(&jar).await, "hello alice");
    // A session that has ended is none.
    shop.clock().advance(Duration::from_secs(3600));
    let answer = shop
        .send(Ask::new("GET", "/auth/callback?state=x&code=y").jar(&jar))
        .await;
    assert_eq!(code_of(&answer), "login_unknown");
}

/// L16, H17, H19, H20: whatever the server says is said to the person, and means nothing to the page,
/// the headers and the log.
#[tokio::test]
async fn what_a_stranger_wrote_is_neither_markup_nor_a_header_nor_a_line_of_the_log() {
    let log = Logs::default();
    let _recording = log.record();
    let shop = Shop::new();
    let (jar, good) = ready_to_return(&shop).await;
    let state = parameter(&good, "state").unwrap();
    let long = "L".repeat(30_000);
    for (name, error, description) in [
        ("H19", "<script>alert(1)</script>", "\"><img onerror=MARK>"),
        ("H19 attribute", "x\" onmouseover=\"MARK", "' onfocus='MARK"),
        ("H19 entity", "x", "&lt;script&gt;MARK&#60;script&#62;"),
        ("H19 comment", "x", "--><svg/onload=MARK>"),
        (
            "H20 lines",
            "x",
            "MARK\r\nSet-Cookie: MARK=1\r\n\r\n<h1>MARK",
        ),
        ("H20 NUL", "x", "MARK\0MARK"),
        ("H20 terminal", "x", "\u{1b}[31mMARK\u{1b}]0;MARK\u{7}"),
        ("H20 direction", "x", "MARK\u{202e}MARK\u{2066}"),
        ("H20 long", "x", &long),
        ("H20 long code", &long, "MARK"),
        ("H20 lines in the code", "x\r\nMARK", "MARK"),
        ("H20 beyond ASCII", "\u{e9}MARK", "\u{1f389}MARK"),
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
            let answer = fresh(&shop, ask.jar(&jar)).await;
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
        let answer = fresh(&shop, Ask::new("GET", &callback).jar(&jar)).await;
        assert_eq!(code_of(&answer), "callback_malformed", "{query}");
    }
    assert_eq!(shop.token_calls(), 0);
    let log = log.text();
    assert!(log.contains("login_refused"), "{log}");
    for line in log.lines() {
        assert!(line.len() < 1024, "{}", line.len());
        assert!(
            !line.contains("onerror") && !line.contains("MARK=1"),
            "{line}"
        );
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

/// L20: nothing that could be used again is in the answer, in the page behind it or in the log.
#[tokio::test]
async fn a_login_leaves_no_secret_in_an_address_a_page_or_the_log() {
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

/// L19, H13: an answer of one server at the callback of another, in one browser, with one key and even
/// one cookie name.
#[tokio::test]
async fn an_answer_at_the_callback_of_another_server_is_refused_everywhere() {
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
            TestServer::new(issuer)
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
        assert_eq!(answer.sets(), [""; 0]);
        assert_eq!(answer.clears(), jar.transactions());
    }
    for server in &servers {
        assert_eq!(server.count(Endpoint::Token), 0);
    }
    // RFC 9207: the other way round, a code of the evil server at our own callback.
    let mixed = with_parameter(&callback, "iss", Some(issuers[1]));
    let answer = shop.send(Ask::page(&mixed).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(servers[0].count(Endpoint::Token), 0);
}

/// L19, H46: the callback of the shop moved while a person was signing in. The answer is refused, and what was sealed as
/// a page is not offered when it has become a route of ours.
#[tokio::test]
async fn a_sealed_target_is_checked_again_against_todays_routes() {
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
            &app(&moved(&shop.server)),
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

/// H26, H31, H32: neighbours. Nothing is used up, and the person who then goes there is signed in.
#[tokio::test]
async fn no_program_takes_an_answer_in_or_uses_it_up() {
    let shop = Shop::new();
    let (jar, callback) = ready_to_return(&shop).await;
    let page = || Ask::page(&callback);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = callback.split_once('?').unwrap().1;
    for (name, ask, status) in [
        (
            "H26 form post",
            Ask::new("POST", "/auth/callback")
                .with(&PAGE)
                .with(&form)
                .body(body),
            405,
        ),
        (
            "H26 both",
            Ask::new("POST", &callback)
                .with(&PAGE)
                .with(&form)
                .body(body),
            405,
        ),
        (
            "H26 post of 10 MiB",
            Ask::new("POST", "/auth/callback")
                .with(&form)
                .body(&"a".repeat(10 << 20)),
            405,
        ),
        (
            "H25 token in a post",
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
        ("H31 no-cors", page().set("sec-fetch-mode", "no-cors"), 400),
        (
            "H31 same-origin",
            page().set("sec-fetch-mode", "same-origin"),
            400,
        ),
        (
            "H31 websocket",
            page()
                .set("sec-fetch-mode", "websocket")
                .set("sec-fetch-dest", "websocket"),
            400,
        ),
        ("H31 frame", page().set("sec-fetch-dest", "frame"), 400),
        (
            "H31 fenced frame",
            page().set("sec-fetch-dest", "fencedframe"),
            400,
        ),
        ("H31 embed", page().set("sec-fetch-dest", "embed"), 400),
        ("H31 object", page().set("sec-fetch-dest", "object"), 400),
        ("H31 image", page().set("sec-fetch-dest", "image"), 400),
        (
            "H31 two destinations",
            page().with(&[("sec-fetch-dest", "document")]),
            400,
        ),
        ("H32 old prefetch", page().set("purpose", "prefetch"), 400),
        ("H32 Firefox", page().set("x-moz", "prefetch"), 400),
        ("H32 preview", page().set("x-purpose", "preview"), 400),
        (
            "H32 prefetch in capitals",
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

/// H05: two tabs, their answers crossed in every way, and both still end well.
#[tokio::test]
async fn one_tabs_answer_is_nothing_to_another_tabs_cookie() {
    let shop = Shop::new();
    let (a, answer_a) = ready_to_return(&shop).await;
    let (b, answer_b) = ready_to_return(&shop).await;
    let crossed = with_parameter(&answer_a, "state", parameter(&answer_b, "state").as_deref());
    for (callback, jar) in [(&answer_a, &b), (&answer_b, &a)] {
        let answer = shop.send(Ask::page(callback).jar(jar)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.set_cookies(), [""; 0]);
    }
    assert_eq!(shop.token_calls(), 0);
    // A's code under B's state: sent with B's verifier, and refused by the server (RFC 7636).
    let answer = fresh(&shop, Ask::new("GET", &crossed).jar(&b)).await;
    assert_eq!(code_of(&answer), "code_refused");
    assert_eq!(answer.sets(), [""; 0]);
    let answer = shop.send(Ask::page(&answer_b).jar(&b)).await;
    assert_eq!(answer.sets(), [SESSION]);
}

/// L20, H34, H35: what was there before a login is gone after it, even a session that was good.
#[tokio::test]
async fn nothing_planted_before_a_login_is_alive_after_it() {
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
    // Mallory's session was looked at and ended; it did not become Alice's.
    assert_eq!(shop.greeting(&mallory).await, "hello stranger");

    // The same person again is another session, and the one before is over.
    let mut jar = shop.signed_in().await;
    let before = jar.clone();
    shop.sign_in("alice", &mut jar).await;
    assert_eq!(shop.greeting(&before).await, "hello stranger");
    assert_eq!(shop.greeting(&jar).await, "hello alice");
}

/// Our routes in other spellings are not our routes: nothing is taken in, started or ended by them, and
/// nothing inside can take the place of ours.
#[tokio::test]
async fn only_the_exact_path_is_a_route_of_ours() {
    let server = server();
    let inside = Router::new()
        .route("/auth/callback", any(|| async { "shadow" }))
        .route("/auth/login", any(|| async { "shadow" }))
        .fallback(|| async { "inside" });
    let shop = Shop {
        app: inside.layer(login(&server)),
        server,
    };
    let (jar, callback) = ready_to_return(&shop).await;
    let query = callback.split_once('?').unwrap().1;
    let session = shop.signed_in().await;
    // The last two are routes only where they are switched on; switched off, nothing is exempt from the check
    // of the origin either.
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

/// H10: a cookie field of any size is read as far as is reasonable.
#[tokio::test]
async fn a_flood_of_cookies_costs_a_login_at_most() {
    let shop = Shop::new();
    let junk = Jar(vec![("junk".to_owned(), "x".repeat(100_000)); 10]);
    let ours: Vec<(String, String)> = (0..500)
        .map(|n| (format!("__Host-Http-shop-tx-{n:012}"), "x".repeat(100)))
        .collect();
    for (name, flood) in [("foreign", junk), ("in our name", Jar(ours))] {
        let (jar, callback) = ready_to_return(&shop).await;
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

/// A whole attack in a browser: a hostile page navigates, frames and posts to the callback with the
/// attacker's own good answer.
#[tokio::test]
async fn a_hostile_page_cannot_sign_its_visitor_in_as_somebody_else() {
    let shop = Shop::new();
    let (_, attackers) = ready_to_return(&shop).await;
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
