//! The test browser implements the browser rules that servers rely on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::any;
use http::StatusCode;
use tower_oauth::testing::{Browser, BrowserError, CookieSameSite, ManualClock};

const SHOP: &str = "https://shop.example.com";
const EVIL: &str = "https://evil.test";

/// The requests that the sites received.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<http::request::Parts>>>);

impl Log {
    fn last(&self, name: &str) -> String {
        let log = self.0.lock().unwrap();
        let value = log.last().unwrap().headers.get(name);
        value
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default()
    }

    fn all(&self, name: &str) -> Vec<String> {
        let log = self.0.lock().unwrap();
        let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        log.iter()
            .map(|parts| parts.headers.get(name).map(text).unwrap_or_default())
            .collect()
    }

    fn methods(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap()
            .iter()
            .map(|parts| parts.method.to_string())
            .collect()
    }

    fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// A site that logs everything; `/to?URL` redirects, `/see?URL` by 303, `/keep?URL` by 307.
fn site(log: &Log) -> Router {
    let log = log.clone();
    Router::new().fallback(any(async move |request: Request| -> Response {
        let (parts, _) = request.into_parts();
        let target = parts.uri.query().unwrap_or_default().to_owned();
        let path = parts.uri.path().to_owned();
        log.0.lock().unwrap().push(parts);
        match path.as_str() {
            "/to" => (StatusCode::FOUND, [("location", target)]).into_response(),
            "/see" => Redirect::to(&target).into_response(),
            "/keep" => Redirect::temporary(&target).into_response(),
            "/open" => ([("access-control-allow-origin", "*")], "for all").into_response(),
            "/no-referrer" => ([("referrer-policy", "no-referrer")], Html(PAGE)).into_response(),
            _ => Html(PAGE).into_response(),
        }
    }))
}

const PAGE: &str = "<!doctype html><title>A &amp; B</title><style>p > a {}</style>
<p>Hello,&nbsp;<b>you</b><!-- not <a href=/no>this</a> -->
<a href='/next?a=1&amp;b=2'>Go <i>on</i></a> <a href=https://evil.test/x>away</a>
<script>'<a href=/script>script</a>'</script>
<form id=search action=/search><input name=q value='&quot;x&quot;'><button>Find</button></form>
<form id=order method=POST action=/order><input type=hidden name=token value=t>
<input name=count value=1><input type=checkbox name=gift value=yes>
<textarea name=note>as it is</textarea>
<button name=decision value=buy>Buy now</button><button name=decision value=leave>Leave</button></form>";

fn browser(log: &Log) -> Browser {
    let mut browser = Browser::new().with_clock(ManualClock::new(1_800_000_000));
    for origin in [
        SHOP,
        "https://www.example.com",
        EVIL,
        "http://plain.example.com",
    ] {
        browser = browser.with_origin(origin, site(log)).unwrap();
    }
    browser
}

fn names(browser: &Browser, url: &str) -> Vec<String> {
    browser
        .cookies(url)
        .iter()
        .map(|cookie| cookie.name().to_owned())
        .collect()
}

#[test]
fn cookies_are_stored_or_ignored_by_the_rules() {
    let sub = "https://shop.example.com/a/b/c";
    let plain = "http://plain.example.com/";
    let loopback = "http://127.0.0.1:3000/";
    for (name, url, field, is_stored) in [
        ("plain", sub, "n=v", true),
        ("no name", sub, "=v", false),
        ("no equals sign", sub, "n", false),
        ("control character", sub, "n=a\u{1}b", false),
        ("secure over https", sub, "n=v; Secure", true),
        ("secure over http", plain, "n=v; Secure", false),
        ("secure on loopback", loopback, "n=v; Secure", false),
        (
            "not secure on loopback",
            loopback,
            "n=v; HttpOnly; SameSite=Lax",
            true,
        ),
        ("own domain", sub, "n=v; Domain=shop.example.com", true),
        ("parent domain", sub, "n=v; Domain=.Example.com", true),
        ("other domain", sub, "n=v; Domain=evil.test", false),
        ("child domain", sub, "n=v; Domain=x.shop.example.com", false),
        ("half a label", sub, "n=v; Domain=ple.com", false),
        ("public suffix", sub, "n=v; Domain=com", false),
        ("none without secure", sub, "n=v; SameSite=None", false),
        ("none with secure", sub, "n=v; SameSite=None; Secure", true),
        ("__Secure-", sub, "__Secure-n=v; Secure", true),
        ("__Secure- without secure", sub, "__Secure-n=v", false),
        ("__Host-", sub, "__Host-n=v; Secure; Path=/", true),
        ("__Host- without secure", sub, "__Host-n=v; Path=/", false),
        ("__Host- without path", sub, "__Host-n=v; Secure", false),
        (
            "__Host- with another path",
            sub,
            "__Host-n=v; Secure; Path=/a",
            false,
        ),
        (
            "__Host- with domain",
            sub,
            "__Host-n=v; Secure; Path=/; Domain=shop.example.com",
            false,
        ),
        ("__HOST- in capitals", sub, "__HOST-n=v; Path=/", false),
        ("__Http-", sub, "__Http-n=v; Secure; HttpOnly", true),
        ("__Http- for scripts", sub, "__Http-n=v; Secure", false),
        (
            "__Host-Http-",
            sub,
            "__Host-Http-n=v; Secure; HttpOnly; Path=/",
            true,
        ),
        (
            "__Host-Http- for scripts",
            sub,
            "__Host-Http-n=v; Secure; Path=/",
            false,
        ),
        ("expires immediately", sub, "n=v; Max-Age=0", false),
        (
            "expired",
            sub,
            "n=v; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
            false,
        ),
        (
            "Max-Age and Expires",
            sub,
            "n=v; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=9",
            true,
        ),
    ] {
        let browser = browser(&Log::default());
        browser.set_cookie(url, field);
        assert_eq!(
            browser.cookies(url).len(),
            usize::from(is_stored),
            "{name}: {field}"
        );
    }
    let browser = browser(&Log::default());
    browser.set_cookie(sub, &format!("n={}", "v".repeat(4096)));
    assert_eq!(browser.cookies(sub).len(), 0);
}

#[test]
fn cookies_are_sent_by_host_and_path() {
    let browser = browser(&Log::default());
    browser.set_cookie("https://shop.example.com/a/b", "default=1");
    browser.set_cookie("https://shop.example.com/", "deep=1; Path=/a/b");
    browser.set_cookie("https://shop.example.com/", "root=1; Path=/; Secure");
    browser.set_cookie("https://shop.example.com/", "wide=1; Domain=example.com");
    for (url, expected) in [
        (
            "https://shop.example.com/a/b",
            vec!["deep", "default", "root", "wide"],
        ),
        (
            "https://shop.example.com/a/b/c",
            vec!["deep", "default", "root", "wide"],
        ),
        (
            "https://shop.example.com/a",
            vec!["default", "root", "wide"],
        ),
        ("https://shop.example.com/ab", vec!["root", "wide"]),
        ("https://shop.example.com:8443/", vec!["root", "wide"]),
        ("http://shop.example.com/", vec!["wide"]),
        ("https://www.example.com/", vec!["wide"]),
        ("https://example.com/", vec!["wide"]),
        ("https://evil.test/", vec![]),
    ] {
        assert_eq!(names(&browser, url), expected, "{url}");
    }
}

#[test]
fn cookies_expire_are_replaced_and_are_hidden_from_scripts() {
    let log = Log::default();
    let clock = ManualClock::new(1_800_000_000);
    let browser = browser(&log).with_clock(clock.clone());
    let url = "https://shop.example.com/";
    browser.set_cookie(url, "short=1; Max-Age=60");
    browser.set_cookie(url, "hidden=1; HttpOnly; SameSite=strict; Secure");
    browser.set_cookie(url, "short=2; Max-Age=60");
    assert_eq!(browser.cookie(url, "short").unwrap().value(), "2");
    assert_eq!(browser.script_cookies(url), "short=2");
    let hidden = browser.cookie(url, "hidden").unwrap();
    assert!(hidden.is_http_only() && hidden.is_secure() && hidden.is_host_only());
    assert_eq!(
        (hidden.same_site(), hidden.expires()),
        (CookieSameSite::Strict, None)
    );
    // A response over http neither overwrites nor shadows a Secure cookie.
    browser.set_cookie("http://shop.example.com/", "hidden=tossed");
    browser.set_cookie(
        "http://plain.example.com/",
        "hidden=tossed; Domain=example.com",
    );
    assert_eq!(
        browser
            .cookies(url)
            .iter()
            .filter(|cookie| cookie.name() == "hidden")
            .count(),
        1
    );
    clock.advance(Duration::from_secs(60));
    assert_eq!(names(&browser, url), ["hidden"]);
    browser.set_cookie(url, "hidden=; Max-Age=-1; Secure");
    assert_eq!(names(&browser, url), [""; 0]);
}

#[tokio::test]
async fn same_site_decides_which_cookies_cross_site_requests_send() {
    let log = Log::default();
    let browser = browser(&log);
    for field in [
        "none=1; SameSite=None; Secure",
        "lax=1; SameSite=Lax",
        "strict=1; SameSite=Strict",
        "default=1",
    ] {
        browser.set_cookie(SHOP, &format!("{field}; Path=/"));
    }
    let all = "none=1; lax=1; strict=1; default=1";
    browser.navigate("https://shop.example.com/").await.unwrap();
    assert_eq!(log.last("cookie"), all, "typed");
    // A redirect does not change the initiator.
    browser
        .navigate("https://evil.test/to?https://shop.example.com/")
        .await
        .unwrap();
    assert_eq!(log.last("cookie"), all, "typed, by redirect");

    let html = "<a href=https://shop.example.com/>link</a>
        <form id=post method=post action=https://shop.example.com/><button>go</button></form>
        <form id=see method=post action=https://evil.test/see?https://shop.example.com/></form>";
    let evil = browser.document("https://evil.test/", html).unwrap();
    evil.click("link").await.unwrap();
    assert_eq!(log.last("cookie"), "none=1; lax=1; default=1", "link");
    evil.form("#post").unwrap().submit().await.unwrap();
    assert_eq!(log.last("cookie"), "none=1", "form");
    evil.form("#see").unwrap().submit().await.unwrap();
    assert_eq!(
        log.last("cookie"),
        "none=1; lax=1; default=1",
        "form, then 303"
    );
    for destination in ["image", "iframe"] {
        evil.load("https://shop.example.com/", destination)
            .await
            .unwrap();
        assert_eq!(log.last("cookie"), "none=1", "{destination}");
    }
    let sibling = browser.document("https://www.example.com/", html).unwrap();
    sibling.form("#post").unwrap().submit().await.unwrap();
    assert_eq!(log.last("cookie"), all, "same site, other origin");
    let plain = browser.document("http://plain.example.com/", html).unwrap();
    plain.click("link").await.unwrap();
    assert_eq!(
        log.last("cookie"),
        "none=1; lax=1; default=1",
        "http is another site"
    );
}

#[tokio::test]
async fn fetch_metadata_covers_the_whole_redirect_chain() {
    let log = Log::default();
    let browser = browser(&log);
    let metadata = || {
        ["site", "mode", "dest", "user"]
            .map(|name| log.last(&format!("sec-fetch-{name}")))
            .join(" ")
    };
    let page = browser.navigate("https://shop.example.com/").await.unwrap();
    assert_eq!(metadata(), "none navigate document ?1");
    page.click("Go on").await.unwrap();
    assert_eq!(metadata(), "same-origin navigate document ?1");
    assert!(log.last("accept").contains("text/html"));
    page.follow("/script").await.unwrap();
    assert_eq!(metadata(), "same-origin navigate document ");
    page.follow("https://www.example.com/").await.unwrap();
    assert_eq!(metadata(), "same-site navigate document ");
    page.follow("https://www.example.com/to?https://shop.example.com/")
        .await
        .unwrap();
    assert_eq!(metadata(), "same-site navigate document ");
    page.follow("https://evil.test/to?https://shop.example.com/")
        .await
        .unwrap();
    assert_eq!(
        metadata(),
        "cross-site navigate document ",
        "same origin, by way of another site"
    );
    browser
        .navigate("https://evil.test/to?https://shop.example.com/")
        .await
        .unwrap();
    assert_eq!(
        metadata(),
        "none navigate document ?1",
        "redirects of a typed URL"
    );
    page.load("/logo", "image").await.unwrap();
    assert_eq!(metadata(), "same-origin no-cors image ");
    page.load("https://evil.test/", "iframe").await.unwrap();
    assert_eq!(metadata(), "cross-site navigate iframe ");
    page.fetch(http::Request::get("/api").body("").unwrap())
        .await
        .unwrap();
    assert_eq!(metadata(), "same-origin cors empty ");
    assert_eq!(log.last("accept"), "*/*");
    browser.navigate("http://plain.example.com/").await.unwrap();
    assert_eq!(metadata(), "   ", "not to untrustworthy URLs");
    browser
        .without_fetch_metadata()
        .navigate("https://shop.example.com/")
        .await
        .unwrap();
    assert_eq!(metadata(), "   ", "an older browser");
}

#[tokio::test]
async fn pages_send_origin_and_referrer() {
    let log = Log::default();
    let browser = browser(&log);
    let html = "<form id=here method=post action=/x></form>
        <form id=there method=post action=https://evil.test/x></form>
        <form id=keep method=post action=/keep?https://evil.test/x></form>
        <form id=round method=post action=https://evil.test/keep?https://shop.example.com/x></form>";
    let page = browser
        .document("https://shop.example.com/a?b#c", html)
        .unwrap();
    for (form, origin, referrer) in [
        ("#here", SHOP, "https://shop.example.com/a?b"),
        ("#there", SHOP, "https://shop.example.com/"),
        ("#keep", SHOP, "https://shop.example.com/"),
        ("#round", "null", "https://shop.example.com/a?b"),
    ] {
        page.form(form).unwrap().submit().await.unwrap();
        assert_eq!(log.last("origin"), origin, "{form}");
        assert_eq!(log.last("referer"), referrer, "{form}");
    }
    page.follow("/x").await.unwrap();
    assert_eq!(log.last("origin"), "", "not with GET");

    // A page with `no-referrer` sends `Origin: null`, even to its own origin.
    let no_referrer = browser
        .navigate("https://shop.example.com/no-referrer")
        .await
        .unwrap();
    no_referrer
        .form("/order")
        .unwrap()
        .press("Leave")
        .await
        .unwrap();
    assert_eq!(
        (log.last("origin"), log.last("referer")),
        ("null".to_owned(), String::new())
    );
}

#[tokio::test]
async fn a_redirect_keeps_the_method_for_307_only() {
    let log = Log::default();
    let browser = browser(&log);
    for (path, methods) in [
        ("to", ["POST", "GET"]),
        ("see", ["POST", "GET"]),
        ("keep", ["POST", "POST"]),
    ] {
        let html = format!("<form method=post action=/{path}?/x><input name=a value=1></form>");
        let page = browser.document(SHOP, &html).unwrap();
        log.clear();
        let page = page.form("").unwrap().submit().await.unwrap();
        assert_eq!(log.methods(), methods, "{path}");
        let lengths = log.all("content-length");
        assert_eq!(
            lengths[1].is_empty(),
            methods[1] == "GET",
            "{path}: {lengths:?}"
        );
        assert_eq!(page.redirects(), [format!("{SHOP}/{path}?/x")]);
        assert_eq!(page.url(), format!("{SHOP}/x"));
    }
    let endless = Router::new().fallback(any(async || Redirect::to("/again")));
    let endless = browser.clone().with_origin(SHOP, endless).unwrap();
    let endless = endless.navigate(SHOP).await.unwrap_err();
    assert!(
        matches!(endless, BrowserError::TooManyRedirects(_)),
        "{endless}"
    );
    let page = browser.navigate("https://evil.test/to?/x#top").await;
    assert_eq!(page.unwrap().url(), "https://evil.test/x#top");
}

#[tokio::test]
async fn scripts_are_limited_by_cors() {
    let log = Log::default();
    let browser = browser(&log);
    browser.set_cookie(EVIL, "n=v; Path=/; SameSite=None; Secure");
    browser.set_cookie(SHOP, "n=v; Path=/; SameSite=Strict");
    let page = browser.navigate(SHOP).await.unwrap();
    let get = |url: &str| http::Request::get(url).body("").unwrap();
    page.fetch(get("/api")).await.unwrap();
    assert_eq!(
        (log.last("cookie"), log.last("origin")),
        ("n=v".to_owned(), String::new())
    );
    let post = http::Request::post("/api")
        .header("x-csrf", "1")
        .body("{}")
        .unwrap();
    page.fetch(post).await.unwrap();
    assert_eq!(log.last("origin"), SHOP);

    let error = page.fetch(get("https://evil.test/api")).await.unwrap_err();
    assert!(matches!(error, BrowserError::Cors(_)), "{error}");
    assert_eq!(
        (log.last("cookie"), log.last("origin")),
        (String::new(), SHOP.to_owned())
    );
    assert_eq!(
        page.fetch(get("https://evil.test/open"))
            .await
            .unwrap()
            .body(),
        "for all"
    );
    log.clear();
    let custom = http::Request::get("https://evil.test/open")
        .header("x-csrf", "1")
        .body("")
        .unwrap();
    assert!(page.fetch(custom).await.is_err());
    assert_eq!(log.methods().len(), 0, "never sent");
}

#[tokio::test]
async fn a_web_socket_handshake_has_origin_and_same_site_cookies() {
    let log = Log::default();
    let browser = browser(&log);
    browser.set_cookie(SHOP, "lax=1; Path=/; SameSite=Lax");
    browser.set_cookie(SHOP, "none=1; Path=/; SameSite=None; Secure");
    for (page, site, cookies) in [
        (SHOP, "same-origin", "lax=1; none=1"),
        ("https://www.example.com", "same-site", "lax=1; none=1"),
        (EVIL, "cross-site", "none=1"),
    ] {
        let view = browser.document(page, "").unwrap();
        let socket = "wss://shop.example.com/socket";
        view.open_web_socket(socket).await.unwrap();
        assert_eq!(log.last("origin"), page);
        assert_eq!(log.last("cookie"), cookies, "{page}");
        assert_eq!(log.last("sec-fetch-site"), site);
        assert_eq!(log.last("sec-fetch-mode"), "websocket");
        assert_eq!(
            (log.last("upgrade"), log.last("connection")),
            ("websocket".into(), "Upgrade".into())
        );
        log.clear();
        let response = view.open_web_socket("wss://shop.example.com/to?/on").await;
        assert_eq!(
            response.unwrap().status(),
            302,
            "redirects are not followed"
        );
        assert_eq!(log.methods().len(), 1);
    }
}

#[tokio::test]
async fn no_cors_requests_send_cookies_to_any_origin() {
    let log = Log::default();
    let browser = browser(&log);
    browser.set_cookie(SHOP, "lax=1; Path=/; SameSite=Lax");
    browser.set_cookie(SHOP, "none=1; Path=/; SameSite=None; Secure");
    let target = format!("{SHOP}/order");
    for (page, cookies) in [
        ("https://www.example.com", "lax=1; none=1"),
        (EVIL, "none=1"),
    ] {
        let view = browser.document(page, "").unwrap();
        let post = http::Request::post(&target).body("count=1").unwrap();
        view.fetch_no_cors(post).await.unwrap();
        assert_eq!(
            (log.last("origin"), log.last("cookie")),
            (page.into(), cookies.into())
        );
        assert_eq!(log.last("sec-fetch-mode"), "no-cors");
        log.clear();
        let custom = http::Request::post(&target)
            .header("x-csrf", "1")
            .body("")
            .unwrap();
        assert!(
            view.fetch_no_cors(custom).await.is_err(),
            "not without a preflight"
        );
        assert_eq!(log.methods().len(), 0, "never sent");
    }
}

#[tokio::test]
async fn clones_of_a_browser_share_cookies() {
    let log = Log::default();
    let first = browser(&log);
    let second = first.clone();
    first.set_cookie(SHOP, "session=1; Path=/");
    second.navigate(SHOP).await.unwrap();
    assert_eq!(log.last("cookie"), "session=1");
    second.clear_cookies();
    first.navigate(SHOP).await.unwrap();
    assert_eq!(log.last("cookie"), "");
}

#[tokio::test]
async fn links_are_followed_and_forms_are_filled() {
    let log = Log::default();
    let page = browser(&log).navigate(SHOP).await.unwrap();
    assert_eq!(page.title(), "A & B");
    assert!(
        page.text().starts_with("Hello, you Go on away"),
        "{}",
        page.text()
    );
    assert_eq!(
        page.click("Go on").await.unwrap().url(),
        format!("{SHOP}/next?a=1&b=2")
    );
    assert_eq!(
        page.click("https://evil.test/x").await.unwrap().url(),
        "https://evil.test/x"
    );
    for hidden in ["this", "script"] {
        assert!(
            matches!(page.click(hidden).await, Err(BrowserError::NotOnPage(..))),
            "{hidden}"
        );
    }
    let search = page.form("#search").unwrap();
    assert_eq!(search.value("q"), Some("\"x\""));
    let found = search.fill("q", "a b&c").unwrap().submit().await.unwrap();
    assert_eq!(found.url(), format!("{SHOP}/search?q=a+b%26c"));

    let order = page.form("/order").unwrap().fill("count", "2").unwrap();
    assert!(order.clone().fill("nothing", "x").is_err() && order.press("Sell").await.is_err());
    order.press("Leave").await.unwrap();
    let length = "token=t&count=2&note=as+it+is&decision=leave".len();
    assert_eq!(log.last("content-length"), length.to_string());
    assert_eq!(
        log.last("content-type"),
        "application/x-www-form-urlencoded"
    );
    assert!(page.form("#nothing").is_err());
}

#[test]
fn only_origins_are_accepted_as_origins() {
    for invalid in [
        "shop.example.com",
        "https://shop.example.com/path",
        "data:x",
        "",
    ] {
        let error = Browser::new()
            .with_origin(invalid, site(&Log::default()))
            .unwrap_err();
        assert!(error.to_string().contains(invalid), "{error}");
    }
    for valid in [
        "https://shop.example.com",
        "https://shop.example.com/",
        "http://[::1]:3000",
    ] {
        assert!(
            Browser::new()
                .with_origin(valid, site(&Log::default()))
                .is_ok(),
            "{valid}"
        );
    }
}

/// Checked by the compiler, so that a test can drive several browsers in tasks.
#[test]
fn futures_of_a_browser_are_send() {
    fn spawnable(_: impl Future<Output: Send> + Send + 'static) {}
    let page = || {
        let html = "<form id=sign-in method=post></form>";
        Browser::new().document(SHOP, html).unwrap()
    };
    spawnable(async { Browser::new().navigate(SHOP).await });
    let view = page();
    spawnable(async move { view.sign_in("alice", "wonderland").await });
    let view = page();
    spawnable(async move { view.click("More").await });
    let view = page();
    spawnable(async move { view.follow("/more").await });
    let view = page();
    spawnable(async move { view.load("/image", "image").await });
    let view = page();
    spawnable(async move { view.fetch(http::Request::new("")).await });
    let view = page();
    spawnable(async move { view.fetch_no_cors(http::Request::new("")).await });
    let view = page();
    spawnable(async move { view.open_web_socket("/socket").await });
    let view = page();
    spawnable(async move { view.load_frames().await });
    let form = page().form("").unwrap();
    spawnable(async move { form.press("Go").await });
    let form = page().form("").unwrap();
    spawnable(async move { form.submit().await });
}
