//! Session cookies: which are valid, how long, and when they are renewed.

use std::time::Duration;

use http::StatusCode;
use tower_oauth::login::{Csrf, SameSite};
use tower_oauth::testing::{Endpoint, Fault};

use crate::support::shop::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Cookies that are not a valid session.
#[tokio::test]
async fn an_invalid_session_cookie_is_ignored_and_cleared() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let good = jar.value(SESSION).to_owned();
    let mut changed = good.clone();
    changed.replace_range(40..41, if &good[40..41] == "A" { "B" } else { "A" });
    let mut answers = Vec::new();
    for value in [
        "",
        "x",
        "0123456789abcdef",
        &good[..good.len() - 1],
        &good[1..],
        &changed,
    ] {
        let jar = Jar::of(&[(SESSION, value)]);
        let answer = shop.send(Ask::page("/").jar(&jar)).await;
        assert_eq!(answer.text(), "hello stranger", "{value:.20}");
        assert_eq!(answer.clears(), [SESSION], "{value:.20}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("vary"), "cookie");
        answers.push(answer.head());
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

/// Planted cookies under the names of session cookies.
#[tokio::test]
async fn planted_cookies_beside_the_session_are_ignored() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let signed_in = |jar: &Jar| {
        let (shop, jar) = (shop.clone(), jar.clone());
        async move { shop.greeting(&jar).await == "hello alice" }
    };
    for rest in [
        ".0evil",
        "X",
        "-0",
        "",
        ".0",
        ".1",
        ".8",
        ".00",
        ".-1",
        ".0x1",
        ".99999999",
        ".2147483648",
    ] {
        let planted = jar.clone().and(&format!("{SESSION}{rest}"), "planted");
        assert!(signed_in(&planted).await, "after: {rest}");
        let mut planted = planted;
        planted.0.rotate_right(1);
        assert!(signed_in(&planted).await, "before: {rest}");
    }
    let mut many = jar.clone();
    for number in 0..500 {
        many = many.and(&format!("{SESSION}.{number}"), "x");
    }
    let answer = shop.send(Ask::page("/").jar(&many)).await;
    assert_eq!(answer.text(), "hello alice");
    assert!(!answer.clears().contains(&SESSION) && answer.clears().len() <= 24);
}

/// A large session is split, a larger one loses the ID token, and one that is too large is
/// rejected.
#[tokio::test]
async fn a_session_is_split_into_chunks_and_rejected_beyond_five_kibibytes() {
    let shop = Shop::new();
    let sign_in = |size: usize| {
        let shop = shop.clone();
        async move {
            let blob = "b".repeat(size);
            shop.server.fail_once(
                Endpoint::Token,
                Fault::id_token(move |mint| mint.with_claim("blob", blob.as_str())),
            );
            let mut jar = Jar::default();
            let answer = shop.sign_in("alice", &mut jar).await;
            (answer, jar)
        }
    };
    let (_, jar) = sign_in(100).await;
    assert!(jar.names().contains(&SESSION), "{:?}", jar.names());

    let (_, jar) = sign_in(2200).await;
    let (zero, one) = (format!("{SESSION}.0"), format!("{SESSION}.1"));
    assert_eq!(jar.names(), [zero.as_str(), one.as_str()]);
    assert!(jar.bytes() <= 5 * 1024);
    assert_eq!(shop.greeting(&jar).await, "hello alice");
    for (name, broken) in [
        ("only the first", jar.only(|name| name == zero)),
        ("only the second", jar.only(|name| name == one)),
        (
            "swapped",
            Jar::of(&[(&zero, jar.value(&one)), (&one, jar.value(&zero))]),
        ),
    ] {
        let answer = shop.send(Ask::page("/").jar(&broken)).await;
        assert_eq!(answer.text(), "hello stranger", "{name}");
        assert_eq!(
            answer.clears().len(),
            broken
                .only(|_| true)
                .names()
                .iter()
                .collect::<std::collections::HashSet<_>>()
                .len(),
            "{name}"
        );
    }
    for (name, planted) in [
        ("one more", jar.clone().and(&format!("{SESSION}.2"), "")),
        ("a gap", jar.clone().and(&format!("{SESSION}.3"), "x")),
        ("whole as well", jar.clone().and(SESSION, jar.value(&zero))),
        ("first twice", jar.clone().and(&zero, jar.value(&zero))),
    ] {
        let answer = shop.send(Ask::page("/").jar(&planted)).await;
        assert_eq!(answer.text(), "hello alice", "{name}");
        let kept = answer.clears();
        assert!(
            !kept.contains(&zero.as_str()) && !kept.contains(&one.as_str()),
            "{name}"
        );
    }
    let mut swapped = jar.clone();
    swapped.0.reverse();
    assert_eq!(shop.greeting(&swapped).await, "hello alice");

    // Growing and shrinking leaves no stale chunks.
    let mut both = jar.clone();
    shop.sign_in("alice", &mut both).await;
    assert_eq!(both.names(), [SESSION]);

    let (answer, jar) = sign_in(1000).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
    assert!(jar.bytes() <= 5 * 1024);
    assert_eq!(shop.greeting(&jar).await, "hello alice");

    let (answer, jar) = sign_in(6000).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        answer.text().contains("session_too_large"),
        "{}",
        answer.text()
    );
    assert_eq!(jar.names(), [""; 0]);
}

/// Idle and absolute limits.
#[tokio::test]
async fn a_session_ends_when_idle_or_old_and_its_cookie_is_renewed() {
    let shop = Shop::new();
    shop.forget_refresh_tokens();
    let mut jar = shop.signed_in().await;
    shop.clock().advance(HOUR / 10 - Duration::from_secs(1));
    let answer = shop.send(Ask::page("/cached").jar(&jar)).await;
    assert_eq!(answer.set_cookies(), [""; 0]);
    assert_eq!(answer.header("cache-control"), "public, max-age=600");

    shop.clock().advance(Duration::from_secs(1));
    let answer = shop.send(Ask::page("/cached").jar(&jar)).await;
    assert_eq!(answer.sets(), [SESSION]);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("vary"), "cookie");
    let old = jar.clone();
    jar.take(&answer);

    shop.clock().advance(HOUR - HOUR / 10);
    let answer = shop.send(Ask::page("/").jar(&old)).await;
    assert_eq!(answer.text(), "hello stranger");
    assert_eq!(answer.clears(), [SESSION]);
    for _ in 0..14 {
        let answer = shop.send(Ask::page("/").jar(&jar)).await;
        assert_eq!(answer.text(), "hello alice");
        jar.take(&answer);
        shop.clock().advance(HOUR / 2);
    }
    // After seven hours, half an hour more, and the eighth.
    shop.clock().advance(Duration::from_secs(0));
    let mut greetings = Vec::new();
    for _ in 0..3 {
        let answer = shop.send(Ask::page("/").jar(&jar)).await;
        jar.take(&answer);
        greetings.push(answer.text());
        shop.clock().advance(HOUR / 2);
    }
    assert_eq!(greetings.last().unwrap(), "hello stranger");
    assert_eq!(jar.names(), [""; 0]);
}

/// Scripts that poll must not keep a session alive.
#[tokio::test]
async fn the_session_route_does_not_extend_the_session_unless_requested() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    shop.clock().advance(HOUR / 2);
    let answer = shop.send(Ask::new("GET", "/auth/session").jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.set_cookies(), [""; 0]);
    assert_eq!(answer.header("cache-control"), "no-store");
    let view = answer.json();
    assert_eq!(view["subject"], "alice");
    assert_eq!(view["issuer"], ISSUER);
    let at = view["signed_in_at"].as_i64().unwrap();
    assert_eq!(view["expires_at"], at + 3600);
    assert_eq!(view["ends_at"], at + 8 * 3600);
    assert!(!answer.text().contains("token"), "{}", answer.text());

    let answer = shop
        .send(Ask::new("GET", "/auth/session?extend=true").jar(&jar))
        .await;
    assert_eq!(answer.sets(), [SESSION]);
    assert_eq!(answer.json()["expires_at"], at + 1800 + 3600);

    let answer = shop.send(Ask::new("GET", "/auth/session")).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.json()["login_url"], "/auth/login");
    let answer = shop.send(Ask::new("POST", "/auth/session")).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// Cross-site request forgery.
#[tokio::test]
async fn requests_that_may_change_state_must_be_same_origin() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let upgrade = ("upgrade", "websocket");
    for (name, method, fields, status) in [
        (
            "same origin",
            "POST",
            &[("sec-fetch-site", "same-origin")][..],
            200,
        ),
        ("own origin", "POST", &[("origin", SHOP)], 200),
        ("static header", "PUT", &[("x-csrf", "1")], 200),
        ("nothing", "POST", &[], 403),
        (
            "cross site",
            "POST",
            &[("sec-fetch-site", "cross-site"), ("origin", SHOP)],
            403,
        ),
        ("same site", "PUT", &[("sec-fetch-site", "same-site")], 403),
        ("null origin", "POST", &[("origin", "null")], 403),
        (
            "foreign origin",
            "POST",
            &[("origin", "https://evil.example")],
            403,
        ),
        (
            "foreign websocket",
            "GET",
            &[upgrade, ("origin", "https://evil.example")],
            403,
        ),
        ("own websocket", "GET", &[upgrade, ("origin", SHOP)], 200),
        ("reading", "GET", &[("sec-fetch-site", "cross-site")], 200),
    ] {
        let answer = shop
            .send(Ask::new(method, "/notes").with(fields).jar(&jar))
            .await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
    }
    let answer = shop.send(Ask::new("POST", "/notes")).await;
    assert_eq!(answer.text(), "hello stranger");

    let unchecked = Shop::with(|login| login.with_csrf(Csrf::Unchecked));
    let jar = unchecked.signed_in().await;
    let answer = unchecked.send(Ask::new("POST", "/notes").jar(&jar)).await;
    assert_eq!(answer.text(), "hello alice");
}

/// `SameSite=Strict`.
#[tokio::test]
async fn a_strict_session_cookie_works_after_the_redirect_from_the_server() {
    let shop = Shop::with(|login| login.with_same_site(SameSite::Strict));
    let browser = shop.browser();
    let page = browser.navigate(&format!("{SHOP}/account")).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(page.status(), StatusCode::OK);
    let cookie = browser.cookie(SHOP, SESSION);
    assert!(cookie.is_some());
    assert!(page.html().contains("url=/account"), "{}", page.html());
    let page = page.click("Continue").await.unwrap();
    assert_eq!(page.text(), "account of alice");
}

/// Caching of responses that depend on the session.
#[tokio::test]
async fn responses_that_depend_on_the_session_are_not_stored() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    for path in ["/", "/account", "/mine"] {
        let answer = shop.send(Ask::page(path).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("vary"), "cookie", "{path}");
    }
    let answer = shop.send(Ask::page("/cached").jar(&jar)).await;
    assert_eq!(answer.header("cache-control"), "public, max-age=600");
}
