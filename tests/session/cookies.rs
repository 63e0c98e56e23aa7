//! Session cookies that are changed, truncated, swapped, planted or multiplied.

mod planted;

use std::collections::HashSet;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderValue, Request, StatusCode};
use proptest::prelude::*;
use tower::ServiceExt as _;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestServer, TestUser};
use tower_oauth::{Client, CookieKey, LoginLayer};

use crate::support::logs::Logs;
use crate::support::modes::{Mode, session_modes};
use crate::support::nodes::*;
use crate::support::shop::*;

session_modes! {
    all: [
        mixed_cookies_are_anonymous,
    ],
}

const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Returns what a browser sees of a response.
fn seen(answer: &Answer) -> String {
    format!("{} {} {:?}", answer.status, answer.head(), answer.body)
}

async fn answers(shop: &Shop, jars: impl IntoIterator<Item = Jar>) -> HashSet<String> {
    let mut answers = HashSet::new();
    for jar in jars {
        answers.insert(seen(&shop.send(Ask::page("/").jar(&jar)).await));
    }
    answers
}

/// Creates a session with about `size` bytes of claims.
async fn large_session(shop: &Shop, size: usize, jar: &mut Jar) -> Answer {
    let blob = "b".repeat(size);
    shop.server.fail_once(
        Endpoint::Token,
        Fault::id_token(move |mint| mint.with_claim("blob", blob.as_str())),
    );
    shop.sign_in("alice", jar).await
}

/// All failures have the same response, so that an attacker learns nothing from it.
#[tokio::test]
async fn every_changed_bit_rejects_a_session_with_the_same_response() {
    let shop = Shop::new();
    let good = shop.signed_in().await.value(SESSION).to_owned();
    let mut bad = Vec::new();
    for (at, byte) in good.bytes().enumerate() {
        let value = BASE64URL.iter().position(|&digit| digit == byte).unwrap();
        for bit in 0..6 {
            let mut changed = good.clone().into_bytes();
            changed[at] = BASE64URL[value ^ (1 << bit)];
            bad.push(String::from_utf8(changed).unwrap());
        }
    }
    bad.extend((0..good.len()).map(|length| good[..length].to_owned()));
    bad.extend((1..good.len()).map(|length| good[length..].to_owned()));
    for character in [b'A', b'=', b'.', b'"', b',', b'%'] {
        let character = char::from(character);
        bad.push(format!("{good}{character}x"));
        bad.push(format!("{character}{good}"));
    }
    bad.push(format!("\"{good}\""));
    bad.push(format!("{good}{good}"));
    let count = bad.len();
    let jars = bad.iter().map(|value| Jar::of(&[(SESSION, value)]));
    let answers = answers(&shop, jars).await;
    assert!(count > 8000, "{count}");
    assert_eq!(answers.len(), 1, "{answers:#?}");
    let answer = answers.iter().next().unwrap();
    assert!(answer.contains("hello stranger") && answer.contains("Max-Age=0"));
    assert_eq!(
        shop.greeting(&Jar::of(&[(SESSION, &good)])).await,
        "hello alice"
    );
}

/// The encryption is bound to the name, the purpose, the application and the key.
#[tokio::test]
async fn a_session_is_accepted_by_its_own_application_only() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let value = jar.value(SESSION);

    let other_issuer = crate::support::still_server("https://other.example.test").unwrap();
    let key = || CookieKey::from_bytes(&KEY).unwrap();
    let layer = |server: &TestServer, client: &str, uri: &str, key: CookieKey| {
        let client = Client::confidential(client, "secret");
        LoginLayer::new(&server.authorization_server(), client, uri, key).unwrap()
    };
    let other_key = CookieKey::from_bytes(&[8; 32]).unwrap();
    for (name, cookie, layer, known) in [
        (
            "itself",
            SESSION,
            layer(&shop.server, "shop", CALLBACK, key()),
            true,
        ),
        (
            "another key",
            SESSION,
            layer(&shop.server, "shop", CALLBACK, other_key.clone()),
            false,
        ),
        (
            "a ring",
            SESSION,
            layer(
                &shop.server,
                "shop",
                CALLBACK,
                other_key.add_previous(key()),
            ),
            true,
        ),
        (
            "another issuer",
            SESSION,
            layer(&other_issuer, "shop", CALLBACK, key()),
            false,
        ),
        (
            "another client under the same name",
            SESSION,
            layer(&shop.server, "shop2", CALLBACK, key())
                .with_cookie_name("shop")
                .unwrap(),
            false,
        ),
        (
            "another name",
            "__Host-Http-shop2-session",
            layer(&shop.server, "shop", CALLBACK, key())
                .with_cookie_name("shop2")
                .unwrap(),
            false,
        ),
        (
            "another scheme",
            "shop-session",
            layer(
                &shop.server,
                "shop",
                "http://localhost:3000/auth/callback",
                key(),
            ),
            false,
        ),
    ] {
        let jar = Jar::of(&[(cookie, value)]);
        let answer = send(&app(&layer), Ask::page("/").jar(&jar)).await;
        let greeting = if known {
            "hello alice"
        } else {
            "hello stranger"
        };
        assert_eq!(answer.text(), greeting, "{name}");
        let cleared: &[&str] = if known { &[] } else { &[cookie] };
        assert_eq!(answer.clears(), cleared, "{name}");
    }
}

/// The cookies of a login, a session and a logout in progress share a key and are rejected in place of each
/// other.
#[tokio::test]
async fn cookies_of_one_purpose_are_rejected_for_another() {
    let shop = Shop::new();
    let mut jar = shop.signed_in().await;
    let session = jar.value(SESSION).to_owned();
    let start = shop.start("/auth/login", &mut jar).await;
    let transaction_name = jar.transactions()[0].to_owned();
    let transaction = jar.value(&transaction_name).to_owned();
    let ask = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
    let answer = shop.send(ask.jar(&jar)).await;
    let logout_state = answer.parameter("state").unwrap();
    jar.take(&answer);
    let logout_name = "__Host-Http-shop-logout";
    let logout = jar.value(logout_name).to_owned();

    for value in [&transaction, &logout] {
        let jar = Jar::of(&[(SESSION, value)]);
        let answer = shop.send(Ask::page("/").jar(&jar)).await;
        assert_eq!(answer.text(), "hello stranger");
        assert_eq!(answer.clears(), [SESSION]);
    }
    let callback = shop.approve(start.location(), "alice").await;
    let calls = shop.token_calls();
    for value in [&session, &logout] {
        let jar = Jar::of(&[(&transaction_name, value)]);
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.set_cookies(), [""; 0]);
    }
    assert_eq!(shop.token_calls(), calls);
    for value in [&session, &transaction] {
        let jar = Jar::of(&[(logout_name, value)]);
        let back = format!("/auth/logout?state={logout_state}");
        let answer = shop.send(Ask::page(&back).jar(&jar)).await;
        assert_eq!(answer.location(), "/");
        assert_eq!(answer.set_cookies(), [""; 0]);
    }
    // Each is still accepted in its own place.
    let jar = Jar::of(&[(&transaction_name, &transaction)]);
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.sets(), [SESSION]);
}

/// A previous key decrypts, the first key encrypts at the next write, and then the previous key can be
/// removed.
#[tokio::test]
async fn a_session_of_a_previous_key_is_encrypted_again_with_the_first() {
    let old = Shop::new();
    let mut jar = old.signed_in().await;
    let before = jar.clone();
    let key = |byte: u8| CookieKey::from_bytes(&[byte; 32]).unwrap();
    let ring = key(9).add_previous(key(KEY[0]));
    let with_ring = app(&login_with(&old.server, ring));
    let with_new = app(&login_with(&old.server, key(9)));

    let answer = send(&with_ring, Ask::page("/").jar(&jar)).await;
    assert_eq!(answer.text(), "hello alice");
    assert_eq!(answer.set_cookies(), [""; 0]);
    old.clock().advance(Duration::from_secs(360));
    let answer = send(&with_ring, Ask::page("/").jar(&jar)).await;
    assert_eq!(answer.sets(), [SESSION]);
    jar.take(&answer);

    for (jar, greeting) in [(&jar, "hello alice"), (&before, "hello stranger")] {
        let answer = send(&with_new, Ask::page("/").jar(jar)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.text(), greeting);
    }
    for length in [0, 1, 31] {
        assert!(CookieKey::from_bytes(&vec![1; length]).is_err(), "{length}");
    }
}

/// A planted second session signs no user in, in any order and field. The same cookie twice counts as one.
#[tokio::test]
async fn two_sessions_under_one_name_are_rejected_in_every_order() {
    let shop = Shop::new();
    let alice = shop.signed_in().await.value(SESSION).to_owned();
    let mut bob = Jar::default();
    shop.sign_in("bob", &mut bob).await;
    let bob = bob.value(SESSION).to_owned();
    for (one, two) in [(&alice, &bob), (&bob, &alice), (&alice, &alice)] {
        let together = format!("{SESSION}={one}; {SESSION}={two}");
        let first = format!("a=b; {SESSION}={one}");
        let second = format!("{SESSION}={two}; c=d");
        for fields in [&[together.as_str()][..], &[first.as_str(), second.as_str()]] {
            let mut ask = Ask::page("/");
            for field in fields {
                ask = ask.with(&[("cookie", field)]);
            }
            let answer = shop.send(ask).await;
            if one == two {
                assert_eq!(answer.text(), "hello alice");
                assert_eq!(answer.clears(), [""; 0]);
                continue;
            }
            assert_eq!(answer.text(), "hello stranger");
            assert_eq!(answer.clears(), [SESSION]);
        }
    }
}

/// No chunk number causes work or a session, in any notation. Planted chunks are cleared.
#[tokio::test]
async fn forged_chunks_are_rejected_and_cleared() {
    let shop = Shop::new();
    let mut jar = Jar::default();
    large_session(&shop, 2200, &mut jar).await;
    let zero = jar.value(&format!("{SESSION}.0")).to_owned();
    let one = jar.value(&format!("{SESSION}.1")).to_owned();
    let chunks = |indexes: &[(&str, &str)]| {
        Jar(indexes
            .iter()
            .map(|(index, value)| (format!("{SESSION}{index}"), (*value).to_owned()))
            .collect())
    };
    assert_eq!(
        shop.greeting(&chunks(&[(".0", &zero), (".1", &one)])).await,
        "hello alice"
    );
    // The split position is not secret: with another split the text is the same. A third chunk is rejected.
    let (early, late) = (&zero[..100], format!("{}{one}", &zero[100..]));
    assert_eq!(
        shop.greeting(&chunks(&[(".0", early), (".1", &late)]))
            .await,
        "hello alice"
    );
    let (middle, rest) = zero.split_at(500);
    for planted in [
        chunks(&[(".0", middle), (".1", rest), (".2", &one)]),
        chunks(&[("", &format!("{zero}{one}"))]),
        chunks(&[(".0", &format!("{zero}{one}"))]),
        chunks(&[(".1", &zero), (".2", &one)]),
        chunks(&[(".0", &zero), (".2", &one)]),
        chunks(&[(".0", &zero), (".01", &one)]),
    ] {
        let answer = shop.send(Ask::page("/").jar(&planted)).await;
        assert_eq!(answer.text(), "hello stranger", "{:?}", planted.names());
        let cleared: HashSet<&str> = answer.clears().into_iter().collect();
        let names: HashSet<&str> = planted.names().into_iter().collect();
        assert_eq!(cleared, names);
    }
    // Ignored beside a complete session.
    for planted in [
        chunks(&[(".0", &zero), (".1", &one), (".2147483648", "x")]),
        chunks(&[(".0", &zero), (".1", &one), (".18446744073709551616", "x")]),
        chunks(&[(".0", &zero), (".1", &one), (".-1", "x")]),
        chunks(&[(".0", &zero), (".1", &one), (".+1", "x")]),
        chunks(&[(".0", &zero), (".1", &one), (".0x1", "x")]),
        chunks(&[(".0", &zero), (".1", &one), (".7", "")]),
        chunks(&[(".0", &zero), (".1", &one), (".2", "x")]),
        chunks(&[(".0", &zero), (".1", &one), ("", "x")]),
        chunks(&[
            (".0", &zero),
            (".1", &one),
            (".0", "x"),
            (".1", "y"),
            (".7", "z"),
        ]),
    ] {
        let answer = shop.send(Ask::page("/").jar(&planted)).await;
        assert_eq!(answer.text(), "hello alice", "{:?}", planted.names());
        let mut names = planted.names();
        names.retain(|name| !name.ends_with(".0") && !name.ends_with(".1"));
        assert_eq!(answer.clears(), names);
    }
}

/// `shop-admin` on the same host has the same prefix as `shop` and is another application.
#[tokio::test]
async fn cookies_with_a_longer_name_are_not_touched() {
    let shop = Shop::new();
    let theirs = [
        "__Host-Http-shop-admin-session",
        "__Host-Http-shop-admin-tx-123456789012",
        "__Host-Http-shop-tx-session",
        "__Host-Http-shop-tx-123456789012",
        "__Host-Http-shop-session2",
        "__Host-Http-shop-session.0evil",
        "__Host-Http-shop-session-0",
        "__Host-Http-shop-cart",
        "__host-http-shop-session",
        "__Host-shop-session",
        "shop-session",
    ];
    let mut jar = shop.signed_in().await;
    for name in theirs {
        jar = jar.and(name, "theirs").and(name, "theirs too");
    }
    assert_eq!(shop.greeting(&jar).await, "hello alice");
    let answer = shop.send(Ask::page("/auth/login").jar(&jar)).await;
    assert_eq!(answer.clears(), [""; 0]);
    let ask = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
    let answer = shop.send(ask.jar(&jar)).await;
    assert_eq!(answer.clears(), [SESSION]);
}

/// A name with white space around it or in another case is not a cookie of this layer: it is neither read nor
/// does it hide the session.
#[tokio::test]
async fn a_session_is_read_under_its_exact_name_only() {
    let shop = Shop::new();
    let session = shop.signed_in().await.value(SESSION).to_owned();
    let lower = SESSION.to_lowercase();
    for name in [
        format!("{SESSION} "),
        format!("{SESSION}\t"),
        format!("\t{SESSION}"),
        format!("  {SESSION}"),
        format!("={SESSION}"),
        lower,
        format!("{SESSION}\u{a0}"),
    ] {
        let line = format!("a=1; {name}={session}");
        let answer = shop.send(Ask::page("/").with(&[("cookie", &line)])).await;
        assert_eq!(answer.text(), "hello stranger", "{name:?}");
        assert_eq!(answer.clears(), [""; 0], "{name:?}");
        for line in [
            format!("a=1; {name}=x; {SESSION}={session}"),
            format!("a=1;{SESSION}={session};{name}=x"),
        ] {
            let answer = shop.send(Ask::page("/").with(&[("cookie", &line)])).await;
            assert_eq!(answer.text(), "hello alice", "{line:?}");
        }
    }
}

/// A session among many planted cookies is still found and still cleared.
#[tokio::test]
async fn a_flood_of_planted_cookies_hides_no_session() {
    let shop = Shop::new();
    let session = shop.signed_in().await;
    let logins = (0..100).map(|n| (format!("{SLOT}{}", n % 5), n.to_string()));
    let chunks = (0..100).map(|n| (format!("{SESSION}.{n}"), "x".to_owned()));
    let behind = |flood: Vec<(String, String)>| Jar([flood, session.0.clone()].concat());
    let (logins, chunks) = (behind(logins.collect()), behind(chunks.collect()));

    assert_eq!(shop.greeting(&logins).await, "hello alice");
    let answer = shop.send(Ask::page("/").jar(&chunks)).await;
    assert_eq!(answer.text(), "hello alice");
    assert!(!answer.clears().contains(&SESSION) && answer.clears().len() <= 24);
    for jar in [logins, chunks] {
        let ask = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.clears()[0], SESSION);
        assert!(answer.clears().len() <= 24);
    }
}

/// Proxies limit the `Cookie` field to 8 KiB. A browser beyond the limit could not even sign out.
#[tokio::test]
async fn all_our_cookies_together_stay_below_eight_kibibytes() {
    let shop = Shop::new();
    // The size of claims that leaves the least room.
    let (mut size, mut most) = (0, 0);
    for tried in (0..3500).step_by(30) {
        let mut jar = Jar::default();
        let answer = large_session(&shop, tried, &mut jar).await;
        for cookie in answer.set_cookies() {
            assert!(cookie.len() <= 4093, "{tried}: {}", cookie.len());
        }
        assert!(jar.bytes() <= 5 * 1024, "{tried}: {}", jar.bytes());
        if jar.bytes() > most {
            (size, most) = (tried, jar.bytes());
        }
    }
    assert!(most > 4900, "{most}");

    let mut largest = 0;
    for length in (0..500).step_by(50) {
        // An unfinished logout, then the largest session, then more logins than are kept.
        let mut jar = shop.signed_in().await;
        let target = format!("/notes?{}", "x".repeat(length));
        let path = format!("/auth/logout?return_to=/{}", "x".repeat(500));
        let ask = Ask::new("POST", &path).with(&[("sec-fetch-site", "same-origin")]);
        jar.take(&shop.send(ask.jar(&jar)).await);
        assert_eq!(jar.names(), ["__Host-Http-shop-logout"]);
        large_session(&shop, size, &mut jar).await;
        for _ in 0..7 {
            shop.start(&format!("/auth/login?return_to={target}"), &mut jar)
                .await;
        }
        let field = format!("cookie: {}\r\n", jar.header());
        assert!(field.len() < 8192, "{length}: {}", field.len());
        largest = largest.max(field.len());
    }
    assert!(largest > 6400, "nothing was tried: {largest}");
}

/// Not a limit of the session, which has its own.
#[tokio::test]
async fn a_session_cookie_for_the_life_of_the_browser_has_no_max_age() {
    let shop = Shop::with(|login| login.with_browser_session_cookie());
    let mut jar = Jar::default();
    let answer = shop.sign_in("alice", &mut jar).await;
    let is_session = |cookie: &&str| cookie.starts_with(SESSION);
    let cookie = answer.set_cookies().into_iter().find(is_session).unwrap();
    assert!(
        cookie.ends_with("; Secure; HttpOnly; SameSite=Lax"),
        "{cookie}"
    );
    assert_eq!(shop.greeting(&jar).await, "hello alice");
    let ask = Ask::new("POST", "/auth/logout").with(&[("sec-fetch-site", "same-origin")]);
    assert!(shop.send(ask.jar(&jar)).await.clears().contains(&SESSION));
    shop.clock().advance(Duration::from_secs(3600));
    assert_eq!(shop.greeting(&jar).await, "hello stranger");
}

/// The ID token is left out before the response exceeds what nginx accepts by default, and the first
/// large session is logged with a way out.
#[tokio::test]
async fn a_large_session_fits_into_four_kibibytes_without_its_id_token_and_is_logged_once() {
    let log = Logs::default();
    let _recording = log.record();
    let shop = Shop::new();
    let (mut warnings, mut largest) = (0, 0);
    for size in (0..2400).step_by(150) {
        let mut jar = Jar::default();
        let answer = large_session(&shop, size, &mut jar).await;
        let logged = log.take();
        if logged.contains("session_is_large") {
            warnings += 1;
            assert!(largest <= 3 * 1024 && jar.bytes() > 3 * 1024, "{size}");
            assert!(logged.contains("with_session_store"), "{logged}");
        }
        largest = largest.max(jar.bytes());
        // 3.5 KiB: beyond it, even a session without its ID token does not fit.
        let head = answer.head().len();
        assert!(head < 4000 || jar.bytes() > 3584, "{size}: {head}");
    }
    assert!(largest > 3584, "{largest}");
    assert_eq!(warnings, 1);
}

/// The `__Host-Http-` prefix requires `Secure`, `HttpOnly` and `Path=/` (RFC 6265bis).
#[tokio::test]
async fn the_session_cookie_has_every_protective_attribute() {
    let shop = Shop::new();
    let answer = shop.sign_in("alice", &mut Jar::default()).await;
    let cookie = answer.set_cookies();
    let cookie = cookie
        .iter()
        .find(|cookie| cookie.starts_with(SESSION))
        .unwrap();
    let (_, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(
        attributes,
        "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=28800"
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("vary"), "cookie");
    // Cleared with the same attributes: browsers ignore other `Set-Cookie` fields with this prefix.
    let jar = Jar::of(&[(SESSION, "x")]);
    let answer = shop.send(Ask::page("/").jar(&jar)).await;
    let expected = format!("{SESSION}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0");
    assert_eq!(answer.set_cookies(), [expected]);

    // Without https, which is allowed for loopback, browsers accept neither the prefix nor `Secure`.
    let uri = "http://localhost:3000/auth/callback";
    let server = crate::support::still_server(ISSUER)
        .unwrap()
        .add_client(
            TestClient::confidential("shop", "shop-secret")
                .add_redirect_uri(uri)
                .unwrap()
                .without_consent(),
        )
        .add_user(TestUser::new("alice", "wonderland"));
    let client = Client::confidential("shop", "shop-secret");
    let key = CookieKey::from_bytes(&KEY).unwrap();
    let login = LoginLayer::new(&server.authorization_server(), client, uri, key).unwrap();
    let browser = server
        .browser()
        .with_origin("http://localhost:3000", app(&login))
        .unwrap();
    let page = browser
        .navigate("http://localhost:3000/account")
        .await
        .unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(page.text(), "account of alice");
    assert!(
        browser
            .cookie("http://localhost:3000/", "shop-session")
            .is_some()
    );
    assert_eq!(browser.script_cookies("http://localhost:3000/"), "");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}

proptest! {
    /// Any field gets a response, and none signs a user in.
    #[test]
    fn any_cookie_field_gets_a_response_and_no_session(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        pairs in prop::collection::vec(("(session|session[.][0-9x+-]{0,4}|tx-[a-z]{4}-[0-9]|logout|[a-z.]{0,9})", "[ -~]{0,40}"), 0..12),
    ) {
        let shop = Shop::new();
        let text: String = pairs.iter().map(|(name, value)| format!("__Host-Http-shop-{name}={value}; ")).collect();
        let fields = [HeaderValue::from_bytes(&bytes), HeaderValue::from_bytes(text.as_bytes())];
        for path in ["/", "/auth/session", "/auth/login", "/auth/logout", "/auth/callback?state=s&code=c"] {
            let mut request = Request::get(path).header("accept", "text/html").body(axum::body::Body::empty()).unwrap();
            for field in fields.iter().flatten() {
                request.headers_mut().append(COOKIE, field.clone());
            }
            let response = runtime().block_on(shop.app.clone().oneshot(request)).unwrap();
            let status = response.status();
            if path == "/" {
                let answer = runtime().block_on(Answer::read(response));
                prop_assert_eq!(answer.text(), "hello stranger");
            } else {
                for cookie in response.headers().get_all(SET_COOKIE) {
                    let cookie = cookie.to_str().unwrap();
                    prop_assert!(!cookie.contains("-session") || cookie.contains("Max-Age=0"), "{}", cookie);
                }
            }
            prop_assert!(!status.is_server_error() || path == "/auth/login", "{} {}", path, status);
        }
    }

    /// No value is a session unless it was issued as one.
    #[test]
    fn any_value_of_the_session_cookie_is_anonymous(value in "[A-Za-z0-9_-]{0,300}") {
        let app = Router::new().route("/", get(|session: Option<tower_oauth::Session>| async move {
            session.is_some().to_string()
        })).layer(login(&server()));
        let jar = Jar::of(&[(SESSION, &value)]);
        let answer = runtime().block_on(send(&app, Ask::page("/").jar(&jar)));
        prop_assert_eq!(answer.text(), "false");
        prop_assert_eq!(answer.clears(), [SESSION]);
    }
}

/// RFC 6265 §8.3, RFC 8725 §2.6: every changed character makes an encrypted cookie invalid.
#[tokio::test]
async fn a_session_cookie_with_a_changed_character_has_no_session() {
    let shop = Shop::new();
    let good = shop.signed_in().await.value(SESSION).to_owned();
    for at in 0..good.len() {
        let other = if good.as_bytes()[at] == b'A' {
            "B"
        } else {
            "A"
        };
        let mut changed = good.clone();
        changed.replace_range(at..=at, other);
        let greeting = shop.greeting(&Jar::of(&[(SESSION, &changed)])).await;
        assert_eq!(greeting, "hello stranger", "character {at}");
    }
    for length in 0..good.len() {
        let greeting = shop.greeting(&Jar::of(&[(SESSION, &good[..length])])).await;
        assert_eq!(greeting, "hello stranger", "length {length}");
    }
}

/// RFC 9700 §4.7: the session of one application is not valid in another with the same key, whatever the cookies of the
/// other are called.
#[tokio::test]
async fn applications_that_share_a_key_do_not_share_sessions() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    let other = TestClient::confidential("admin", "admin-secret")
        .add_redirect_uri(CALLBACK)
        .unwrap();
    let server = server().add_client(other);
    let key = || CookieKey::from_bytes(&KEY).unwrap();
    let client = || Client::confidential("admin", "admin-secret");
    let login =
        |client| LoginLayer::new(&server.authorization_server(), client, CALLBACK, key()).unwrap();
    // Another client, with its own cookie name and with that of the shop.
    let admin = app(&login(client()).with_cookie_name("shop").unwrap());
    let answer = send(&admin, Ask::page("/").jar(&jar)).await;
    assert_eq!(answer.text(), "hello stranger");
    // The same client with another cookie name: the value is moved.
    let renamed = login(Client::confidential("shop", "shop-secret"))
        .with_cookie_name("other")
        .unwrap();
    let moved = Jar::of(&[("__Host-Http-other-session", jar.value(SESSION))]);
    let answer = send(&app(&renamed), Ask::page("/").jar(&moved)).await;
    assert_eq!(answer.text(), "hello stranger");
    // The cookie of a login is neither a session nor another login.
    let mut fresh = Jar::default();
    shop.start("/auth/login", &mut fresh).await;
    let sealed = fresh.value(fresh.transactions()[0]);
    for name in [SESSION, "__Host-Http-shop-logout", &format!("{SLOT}1")] {
        let answer = shop
            .send(Ask::page("/").jar(&Jar::of(&[(name, sealed)])))
            .await;
        assert_eq!(answer.text(), "hello stranger", "{name}");
    }
}

/// With the same store and the same cookie name.
#[tokio::test]
async fn a_session_of_one_backend_is_anonymous_with_another() {
    let server = server();
    let memory = MemoryStore::new()
        .with_clock(server.clock())
        .with_single_process();
    let node = |mode| {
        let login = Mode::place_in(mode, login(&server), memory.clone());
        Shop {
            server: server.clone(),
            app: app(&login),
        }
    };
    let jar = node(Mode::Store).signed_in().await;
    for mode in [Mode::Shared, Mode::Cookie] {
        let answer = node(mode).send(Ask::page("/").jar(&jar)).await;
        assert_eq!(answer.text(), STRANGER, "{mode:?}");
        assert_eq!(answer.clears(), [SESSION], "{mode:?}");
    }
    for mode in [Mode::Shared, Mode::Cookie] {
        let sealed = node(mode).signed_in().await;
        let answer = node(Mode::Store).send(Ask::page("/").jar(&sealed)).await;
        assert_eq!(answer.text(), STRANGER, "{mode:?}");
        assert!(answer.sets().is_empty(), "{mode:?}");
    }
    assert_eq!(node(Mode::Store).greeting(&jar).await, ALICE);
}

/// The cookies of two users do not form a session, and those of one session do not restore an ended one.
async fn mixed_cookies_are_anonymous(mode: Mode) {
    let nodes = Nodes::new(mode);
    let (alice, bob) = (nodes.signed_in("alice").await, nodes.signed_in("bob").await);
    let both = Jar([alice.0.clone(), bob.0.clone()].concat());
    let mut parts = alice.clone();
    let first = &mut parts.0[0].1;
    first.truncate(first.len() / 2);
    let half = &bob.0[0].1;
    first.push_str(&half[half.len() / 2..]);
    for (name, jar) in [("both", &both), ("halves", &parts)] {
        assert_eq!(nodes.greeting(jar).await, STRANGER, "{name}");
    }
    assert_eq!(nodes.first.greeting(&alice).await, ALICE);
}

/// A session that no cookie can hold leaves nothing behind and evicts nothing.
#[tokio::test]
async fn a_session_that_is_too_large_for_cookies_leaves_nothing_behind() {
    for mode in [Mode::Shared, Mode::Cookie] {
        let nodes = Nodes::with(mode, &server(), |login| match mode {
            Mode::Shared => login.with_max_sessions_per_user(1).unwrap(),
            _ => login,
        });
        let before = nodes.signed_in("alice").await;
        let large = Fault::id_token(|token| token.with_claim("groups", "x".repeat(6000)));
        nodes.server.fail(Endpoint::Token, large);
        let answer = nodes.first.sign_in("alice", &mut Jar::default()).await;
        assert_eq!(answer.status, 500, "{mode:?}");
        assert!(answer.sets().is_empty(), "{mode:?}");
        assert_eq!(nodes.greeting(&before).await, ALICE, "{mode:?}");
        let revoked = nodes.server.count(Endpoint::Revocation);
        assert_eq!(revoked, 2, "{mode:?}: both tokens");
        if mode == Mode::Shared {
            let listed = nodes.login.sessions().of_user("alice").await.unwrap();
            assert_eq!(listed.len(), 1);
        }
    }
}
