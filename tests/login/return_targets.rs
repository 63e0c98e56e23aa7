//! Return targets: every parameter and header that a target can come from, and what is rejected
//! (RFC 9700 §4.11).
//!
//! An unacceptable target becomes the default, `/`; an acceptable one is kept byte for byte. There
//! is nothing in between: a repaired payload could be a new attack.

use axum::Router;
use axum::routing::post;
use http::StatusCode;
use tower_oauth::Session;
use tower_oauth::login::SameSite;
use tower_oauth::testing::{Endpoint, Fault};
use url::Url;

use crate::support::shop::*;

/// Targets that applications use.
const LEGITIMATE: [&str; 62] = [
    "/",
    "/account",
    "/account/",
    "/a/b/c.html",
    "/a.b-c_d~e",
    "/index.php",
    "/?",
    "/#",
    "/?#",
    "/?q",
    "/?q=1&r=2&q=3",
    "/?=&&==",
    "/?a=1;b=2",
    "/search?q=a+b%20c&lang=de",
    "/search?next=https://other.example/x//y?z=1#top",
    "/search?next=https%3A%2F%2Fother.example%2Fx%3Fy%3D1",
    "/search?next=%2F%2Fother.example",
    "/search?next=//other.example",
    "/search?q=a%0Ab%09c%5Cd%00",
    "/search?filter[name]=x&filter[age]=7",
    "/search?q={%22a%22:1}",
    "/search?q=a|b^c`d",
    "/search?email=a@b.example",
    "/search?return_to=/auth/login",
    "/search?q=%F0%9F%8E%89",
    "/search?q=%25%2e%2e",
    "/search?q=/../..//x",
    "/p#section-2",
    "/p#//other.example",
    "/p#/route/in/a/script?x=1",
    "/p#!/hashbang",
    "/p#a=1&b=https://other.example",
    "/a//b",
    "/a//b//c//",
    "/a///b",
    "/a/../b",
    "/a/./b",
    "/a/b/..",
    "/./a",
    "/../a",
    "/a/%2e%2e/b",
    "/a%20b",
    "/a%2Fb",
    "/a%2f%2fb",
    "/a%5Cb",
    "/a%25b",
    "/caf%C3%A9/%E2%82%AC",
    "/%zz/100%",
    "/@me",
    "/~user",
    "/user:7",
    "/:8080",
    "/a;v=1/b;w=2",
    "/(x)!*'$,+&=",
    "/https://other.example",
    "/https:/other.example",
    "/javascript:alert(1)",
    "/www.other.example",
    "/auth",
    "/auth/",
    "/authentication/login",
    "/docs/auth/login",
];

/// Prefixes that could lead to another host.
const WAYS: [&str; 96] = [
    "//",
    "///",
    "////",
    "/////",
    "/\\",
    "\\/",
    "\\\\",
    "/\\/",
    "/\\\\",
    "\\",
    "\\/\\/",
    "//\\",
    "/\t/",
    "/\n/",
    "/\r/",
    "/\r\n/",
    "/\t\\",
    "\t//",
    "\n//",
    "\u{1}//",
    "\u{1f}//",
    " //",
    "  \\\\",
    "//\t",
    "/ /",
    "\0//",
    "/\0/",
    "/\u{b}/",
    "/\u{c}/",
    "/\u{7f}/",
    "/\u{85}/",
    "/\u{a0}/",
    "/\u{ad}/",
    "/\u{feff}/",
    "/\u{200b}/",
    "/\u{2028}/",
    "/\u{202e}/",
    "/\u{3000}/",
    "/%09/",
    "/%0a/",
    "/%0A%09/",
    "/%0d/",
    "/%0d%0a/",
    "/%00/",
    "/%7f/",
    "/%2f",
    "/%2F",
    "/%5c",
    "/%5C",
    "/%2f%2f",
    "/%5c%5c",
    "/%2f/",
    "/%5c/",
    "/%2F%5c",
    "%2f%2f",
    "%5c%5c",
    "/.//",
    "/././/",
    "/..//",
    "/../..//",
    "/a/..//",
    "/a/b/../..//",
    "/%2e//",
    "/%2e%2e//",
    "/.%2e//",
    "/%2E.//",
    "/a/%2e%2e//",
    "/.%2f/",
    "/..%2f/",
    "/a%2f..%2f/",
    "/a/..%2f%2f",
    "/%2e%2f%2f",
    "/.%5c/",
    "/..%5c\\",
    "/a/..%5c%5c",
    "https:",
    "https:/",
    "https://",
    "https:///",
    "HTTPS://",
    "hTtP://",
    "https:\\\\",
    "ht\ttps://",
    "\nhttps://",
    "javascript:",
    "java\nscript:",
    "vbscript:",
    "data:text/html,",
    "blob:https://",
    "file://",
    "ftp://",
    "ws://",
    "view-source:https://",
    "//user:pw@",
    "https://shop.example.com@",
    "https://shop.example.com:443@",
];

const HOSTS: [&str; 18] = [
    "evil.example",
    "evil.example/",
    "evil.example:443",
    "evil.example:80@shop.example.com",
    "evil.example%00",
    "evil.example%2f..",
    "evil.example/%2e%2e",
    "evil.example/..",
    "evil.example#@shop.example.com",
    "evil.example?shop.example.com",
    "shop.example.com@evil.example",
    "shop.example.com%40evil.example",
    "shop.example.com.evil.example",
    "xn--80ak6aa92e.com",
    "\u{430}pple.com",
    "evil\u{3002}example",
    "127.1",
    "[::1]",
];

/// Complete values without a host, and the paths of the layer in spellings that a proxy may
/// normalize.
const WHOLE: [&str; 73] = [
    "",
    " ",
    " /notes",
    "/notes ",
    "/no tes",
    "notes",
    "./notes",
    "../notes",
    "?a",
    "#a",
    ".",
    "..",
    "*",
    "~",
    "%",
    "evil.example",
    "@evil.example",
    ":443",
    "/a\\b",
    "/a?b\\c",
    "/a#b\\c",
    "/a\tb",
    "/a?b\nc",
    "/a#b\rc",
    "/a\u{0}b",
    "/a?\u{7f}",
    "/caf\u{e9}",
    "/a?\u{20ac}",
    "/%00",
    "/a%00b",
    "/a%0d%0aSet-Cookie:x=y",
    "/a%0aLocation:%20https://evil.example",
    "/%1b",
    "/%7f",
    "/a\r\nSet-Cookie: x=y",
    "/a\r\n\r\n<script>alert(1)</script>",
    "https://shop.example.com/",
    "https://shop.example.com/notes",
    "https://shop.example.com:443/notes",
    "//shop.example.com/notes",
    "///shop.example.com/notes",
    "https:/notes",
    "https:notes",
    "mailto:a@evil.example",
    "tel:1",
    "about:blank",
    "chrome://settings",
    "/auth/login",
    "/auth/login/",
    "/auth/login//",
    "/auth/login?return_to=/notes",
    "/auth/login#x",
    "/auth/callback",
    "/auth/callback?code=1&state=2",
    "/auth/logout",
    "/auth/logout?return_to=/notes",
    "/AUTH/LOGIN",
    "/Auth/Logout/",
    "/auth//login",
    "/auth///logout",
    "/auth/./login",
    "/auth/.//login",
    "/auth/x/../login",
    "/notes/../auth/logout",
    "/x/%2e%2e/auth/login",
    "/auth/%6cogin",
    "/%61uth/%63allback",
    "/auth%2flogin",
    "/auth%2Flogout",
    "/auth%5clogin",
    "/auth/x/..%2flogin",
    "/auth/%256cogin",
    "/auth/login;x=1",
];

/// Each payload as it is, and as a decoder in front of the application would make it.
fn payloads() -> Vec<String> {
    let mut all: Vec<String> = WHOLE.iter().map(|&text| text.to_owned()).collect();
    for way in WAYS {
        all.extend(HOSTS.iter().map(|host| format!("{way}{host}")));
    }
    let decoded: Vec<String> = all.iter().filter_map(|text| decode(text)).collect();
    all.extend(decoded);
    all.sort();
    all.dedup();
    all
}

fn decode(text: &str) -> Option<String> {
    let form = format!("v={}", text.replace('+', "%2B").replace('&', "%26"));
    let (_, value) = url::form_urlencoded::parse(form.as_bytes()).next().unwrap();
    (!value.contains('\u{fffd}')).then(|| value.into_owned())
}

fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Asserts that a browser resolves the target to this origin, also after decoding.
fn assert_stays(location: &str, name: &str) {
    let base = Url::parse(SHOP).unwrap();
    for text in std::iter::once(location.to_owned()).chain(decode(location)) {
        let url = base.join(&text).unwrap();
        assert_eq!(url.origin(), base.origin(), "{name:?} -> {location:?}");
        assert!(!url.path().starts_with("//"), "{name:?} -> {location:?}");
    }
    let bytes = location.as_bytes();
    assert_eq!(bytes.first(), Some(&b'/'), "{name:?} -> {location:?}");
    assert!(
        !matches!(bytes.get(1), Some(b'/' | b'\\')),
        "{name:?} -> {location:?}"
    );
}

/// Asserts that the location is the default or the payload itself, and on this origin.
fn assert_default_or_itself(location: &str, payload: &str) {
    assert!(
        location == "/" || location == payload,
        "{payload:?} was mended to {location:?}"
    );
    assert_stays(location, payload);
    let path = Url::parse(SHOP).unwrap().join(location).unwrap();
    let path = path.path().to_ascii_lowercase();
    for own in ["/auth/login", "/auth/callback", "/auth/logout"] {
        assert!(!path.starts_with(own), "{payload:?} -> {location:?}");
    }
}

/// Returns where a failed silent login redirects to, after the target was kept in the encrypted
/// cookie.
async fn through_a_login(shop: &Shop, address: &str) -> String {
    let mut jar = Jar::default();
    let answer = shop.start(address, &mut jar).await;
    assert!(jar.bytes() < 3072, "{address:.100}");
    let state = answer.parameter("state").unwrap();
    let callback = format!("/auth/callback?error=login_required&state={state}&iss={ISSUER}");
    let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{address:.100}");
    answer.location().to_owned()
}

/// The `return_to` of a login.
#[tokio::test]
async fn at_login_hostile_targets_become_the_default_and_valid_ones_are_kept() {
    let shop = Shop::new();
    for payload in payloads() {
        let address = format!("/auth/login?prompt=none&return_to={}", encode(&payload));
        let location = through_a_login(&shop, &address).await;
        assert_default_or_itself(&location, &payload);
    }
    for target in LEGITIMATE {
        let address = format!("/auth/login?prompt=none&return_to={}", encode(target));
        assert_eq!(through_a_login(&shop, &address).await, target);
    }
    assert_eq!(shop.token_calls(), 0);
}

/// All but a few payloads are rejected, not merely harmless.
#[tokio::test]
async fn the_accepted_payloads_of_the_hostile_list_are_known_one_by_one() {
    let shop = Shop::new();
    assert!(payloads().len() > 1900, "{}", payloads().len());
    let mut passed = Vec::new();
    for payload in payloads() {
        let answer = shop
            .send(Ask::page(&format!(
                "/auth/logout?return_to={}",
                encode(&payload)
            )))
            .await;
        if answer.location() != "/" {
            passed.push(payload);
        }
    }
    assert_eq!(passed, [""; 0]);
}

/// The `return_to` of a sign-out.
#[tokio::test]
async fn at_logout_hostile_targets_become_the_default_and_valid_ones_are_kept() {
    let shop = Shop::new();
    let form = |target: &str| {
        Ask::new("POST", "/auth/logout")
            .with(&[
                ("sec-fetch-site", "same-origin"),
                ("content-type", "application/x-www-form-urlencoded"),
            ])
            .body(&format!("return_to={}", encode(target)))
    };
    let link = |target: &str| Ask::page(&format!("/auth/logout?return_to={}", encode(target)));
    for payload in payloads() {
        for ask in [form(&payload), link(&payload)] {
            let answer = shop.send(ask).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{payload:?}");
            assert_default_or_itself(answer.location(), &payload);
        }
    }
    for target in LEGITIMATE {
        for ask in [form(target), link(target)] {
            assert_eq!(shop.send(ask).await.location(), target);
        }
    }
}

/// The target that is kept in an encrypted cookie during the sign-out at the authorization server.
#[tokio::test]
async fn a_sign_out_through_the_authorization_server_ends_at_its_target() {
    let shop = Shop::new();
    for (target, expected) in [
        (
            "/notes?next=//other.example#x",
            "/notes?next=//other.example#x",
        ),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/auth//logout", "/"),
        ("/a b", "/"),
    ] {
        let mut jar = shop.signed_in().await;
        let ask = Ask::new(
            "POST",
            &format!("/auth/logout?return_to={}", encode(target)),
        )
        .with(&[("sec-fetch-site", "same-origin")]);
        let answer = shop.send(ask.jar(&jar)).await;
        let state = answer.parameter("state").unwrap();
        jar.take(&answer);
        let back = format!("/auth/logout?state={state}");
        let answer = shop.send(Ask::page(&back).jar(&jar)).await;
        assert_eq!(answer.location(), expected, "{target}");
    }
}

/// The URL of the request, as far as a request line can contain it.
#[tokio::test]
async fn the_url_of_a_guarded_page_is_checked_too() {
    let server = server();
    let login = login(&server);
    let app = Router::new()
        .fallback(|| async { "secret" })
        .layer(login.required())
        .layer(login);
    let shop = Shop { server, app };
    let mut tried = 0;
    for payload in payloads() {
        let fits = payload.starts_with('/') && payload.parse::<http::Uri>().is_ok();
        // Routes of the layer respond themselves, and a fragment is never sent.
        if !fits || payload.contains('#') || payload.starts_with("/auth/") {
            continue;
        }
        tried += 1;
        for ask in [
            Ask::page(&payload),
            Ask::page(&format!("https://evil.example{payload}")),
        ] {
            let answer = shop.send(ask).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{payload:?}");
            let location = answer.location();
            assert!(
                location == "/auth/login" || location.starts_with("/auth/login?return_to=%2F"),
                "{payload:?} -> {location:?}"
            );
            let target = parameter(location, "return_to").unwrap_or_else(|| "/".to_owned());
            assert_default_or_itself(&target, &payload);
        }
    }
    assert!(tried > 300, "{tried}");
    for target in LEGITIMATE {
        let (address, _) = target.split_once('#').unwrap_or((target, ""));
        let answer = shop.send(Ask::page(address)).await;
        let door = format!("{}&prompt=none", answer.location());
        assert_eq!(through_a_login(&shop, &door).await, address);
    }
}

/// Only a GET can be repeated after the login.
#[tokio::test]
async fn only_the_url_of_a_get_is_a_return_target() {
    let shop = Shop::new();
    for method in [
        "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "PROPFIND",
    ] {
        for path in ["/account?step=2", "/mine?step=2"] {
            let answer = shop.send(Ask::new(method, path).with(&PAGE)).await;
            let all = format!("{:?} {}", answer.headers, answer.text());
            assert!(!all.contains("step"), "{method} {path}: {all}");
            assert!(!all.contains("return_to"), "{method} {path}: {all}");
            assert_eq!(answer.header("location"), "", "{method} {path}");
        }
    }
}

/// The login URL of error responses, for pages and programs.
#[tokio::test]
async fn an_error_page_links_to_no_other_origin() {
    let shop = Shop::new();
    let mut targets = payloads();
    targets.retain(|payload| payload.len() % 3 == 0);
    targets.extend(LEGITIMATE.map(str::to_owned));
    for target in targets {
        let mut jar = Jar::default();
        let address = format!("/auth/login?return_to={}", encode(&target));
        let answer = shop.start(&address, &mut jar).await;
        let state = answer.parameter("state").unwrap();
        let callback = format!("/auth/callback?error=access_denied&state={state}&iss={ISSUER}");
        let ask = Ask::page(&callback).jar(&jar);
        for (ask, html) in [(ask.clone(), true), (ask.set("accept", "*/*"), false)] {
            let answer = shop.send(ask).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{target:?}");
            let login_url = if html {
                let text = answer.text();
                let (_, link) = text.split_once("href=\"").unwrap();
                let (link, _) = link.split_once('"').unwrap();
                link.replace("&amp;", "&")
            } else {
                answer.json()["login_url"].as_str().unwrap().to_owned()
            };
            assert!(
                login_url.starts_with("/auth/login?return_to="),
                "{login_url}"
            );
            let back = parameter(&login_url, "return_to").unwrap();
            assert_default_or_itself(&back, &target);
        }
    }
}

/// An htmx request names its page, but any client can send the header.
#[tokio::test]
async fn the_page_that_htmx_names_is_checked_too() {
    let shop = Shop::new();
    for payload in payloads() {
        for current in [format!("{SHOP}{payload}"), payload.clone()] {
            let Ok(value) = http::HeaderValue::from_str(&current) else {
                continue;
            };
            let Ok(value) = value.to_str() else { continue };
            let ask = Ask::page("/account")
                .set("hx-request", "true")
                .set("hx-current-url", value);
            let answer = shop.send(ask).await;
            let location = answer.header("hx-redirect");
            assert!(location.starts_with("/auth/login"), "{location}");
            let target = parameter(location, "return_to").unwrap_or_else(|| "/".to_owned());
            // A URL of this origin is where the browser is.
            let named = current.strip_prefix(SHOP).unwrap_or_default();
            assert_default_or_itself(&target, named);
        }
    }
    let ask = Ask::page("/account")
        .set("hx-request", "true")
        .set("hx-current-url", &format!("{SHOP}/notes?a=1#b"));
    let answer = shop.send(ask).await;
    let back = parameter(answer.header("hx-redirect"), "return_to");
    assert_eq!(back.as_deref(), Some("/notes?a=1#b"));
}

/// The default is checked at configuration.
#[test]
fn a_default_on_another_origin_is_rejected() {
    let server = server();
    for payload in payloads() {
        let made = login(&server).with_default_return_to(&payload);
        assert!(made.is_err(), "{payload:?}");
    }
    for target in LEGITIMATE {
        assert!(
            login(&server).with_default_return_to(target).is_ok(),
            "{target}"
        );
    }
    // A default that is too long to be stored would fail for every login.
    let long = format!("/{}", "a".repeat(600));
    assert!(login(&server).with_default_return_to(&long).is_err());
}

/// Repeated, encoded and long parameters.
#[tokio::test]
async fn a_repeated_oddly_encoded_or_long_target_becomes_the_default() {
    let shop = Shop::new();
    let kept = format!("/a,;^{}", "z".repeat(2043));
    let long = format!("{kept}z");
    let longer = format!("/{}", "a".repeat(8 * 1024));
    let mut nested = "/auth/login".to_owned();
    for _ in 0..6 {
        nested = format!("/auth/login?return_to={}", encode(&nested));
    }
    let chain = "/auth/login?return_to=".repeat(1000);
    for (name, query, expected) in [
        (
            "good then evil",
            "return_to=/notes&return_to=//evil.example",
            "/",
        ),
        (
            "evil then good",
            "return_to=//evil.example&return_to=/notes",
            "/",
        ),
        ("twice the same", "return_to=/notes&return_to=/notes", "/"),
        ("once escaped", "return_to=/notes&return%5Fto=/mine", "/"),
        ("empty then good", "return_to=&return_to=/notes", "/"),
        ("bare then good", "return_to&return_to=/notes", "/"),
        ("escaped name", "return%5fto=/notes", "/notes"),
        (
            "wholly escaped name",
            "%72%65%74%75%72%6e%5f%74%6f=%2Fnotes",
            "/notes",
        ),
        ("escaped name, evil", "return%5fto=//evil.example", "/"),
        ("other case is another name", "Return_To=/notes", "/"),
        ("array is another name", "return_to[]=/notes", "/"),
        ("a blank before is another name", "+return_to=/notes", "/"),
        ("a semicolon separates nothing", "a=b;return_to=/notes", "/"),
        ("nested", &format!("return_to={}", encode(&nested)), "/"),
        ("a thousand times", &format!("return_to={chain}"), "/"),
        ("2048 bytes", &format!("return_to={kept}"), &kept),
        ("2049 bytes", &format!("return_to={long}"), "/"),
        ("8 KiB", &format!("return_to={longer}"), "/"),
        ("nothing", "return_to", "/"),
        ("empty", "return_to=", "/"),
    ] {
        let door = format!("/auth/login?prompt=none&{query}");
        assert_eq!(through_a_login(&shop, &door).await, expected, "{name}");
    }
}

/// The page after a login with a Strict cookie has the target in an attribute and in a refresh.
#[tokio::test]
async fn on_the_signed_in_page_a_target_stays_one_attribute() {
    let shop = Shop::with(|login| login.with_same_site(SameSite::Strict));
    for target in [
        "/a?b='\"><script>alert(1)</script>&c=d;url=//evil.example",
        "/';url='//evil.example",
        "/&quot;onclick=alert(1)",
        "/a?x=&lt;&amp;&#39;",
    ] {
        let mut jar = Jar::default();
        let address = format!("/auth/login?return_to={}", encode(target));
        let answer = shop.start(&address, &mut jar).await;
        let callback = shop.approve(answer.location(), "alice").await;
        let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
        assert_eq!(answer.sets(), [SESSION], "{target}");
        let html = answer.text();
        assert!(!html.contains("<script"), "{html}");
        let attribute = |before: &str| {
            let (_, rest) = html.split_once(before).unwrap();
            let (value, _) = rest.split_once('"').unwrap();
            value
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&amp;", "&")
        };
        assert_eq!(attribute("content=\"0;url="), target);
        assert_eq!(attribute("href=\""), target);
        assert!(!answer.headers.contains_key("location"));
    }
}

/// RFC 9700 §4.12: after any redirect, browsers use GET without a body.
#[tokio::test]
async fn every_redirect_is_a_303() {
    let shop = Shop::new();
    shop.server.fail(
        Endpoint::Metadata,
        Fault::without_member("end_session_endpoint"),
    );
    let jar = shop.signed_in().await;
    let own = [("sec-fetch-site", "same-origin")];
    for (name, ask) in [
        ("login", Ask::page("/auth/login")),
        ("required", Ask::page("/account")),
        ("extractor", Ask::page("/mine")),
        (
            "logout form",
            Ask::new("POST", "/auth/logout")
                .with(&own)
                .body("a=b")
                .jar(&jar),
        ),
        ("logout link", Ask::page("/auth/logout")),
    ] {
        let answer = shop.send(ask).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
        assert!(answer.body.is_empty(), "{name}");
    }
    let mut jar = Jar::default();
    let answer = shop.sign_in("alice", &mut jar).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
}

/// The page for an unauthenticated form does not take its target from the form.
#[tokio::test]
async fn an_unauthenticated_form_sets_no_return_target() {
    let app = Router::new()
        .route("/pay", post(|_: Session| async { "paid" }))
        .layer(login(&server()));
    let ask = Ask::new("POST", "/pay?x=%22%3E%3Cscript%3E").with(&[PAGE[0]]);
    let ask = ask.with(&[
        ("referer", "https://evil.example/"),
        ("hx-current-url", "//evil"),
    ]);
    let answer = send(&app, ask).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(!answer.text().contains("evil") && !answer.text().contains("%22"));
    assert_eq!(answer.set_cookies(), [""; 0]);
}
