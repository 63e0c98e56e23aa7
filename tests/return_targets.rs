//! Where a browser is sent afterwards: every door a target can come in by, and what stays outside.
//!
//! A target that is not acceptable becomes the default, `/`; one that is acceptable arrives byte for
//! byte. Nothing in between: whatever else came out would be somebody's mended payload.
#![allow(clippy::unwrap_used, missing_docs)]

mod login_support;

use http::StatusCode;
use login_support::*;
use tower_oauth::testing::{Endpoint, Fault};
use url::Url;

/// L34: what applications really use.
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

/// Ways to leave, to be put in front of a host.
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

/// Whole values: no host to vary, or our own routes in the spellings a proxy might mend.
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

/// Each payload as it is and as a decoder in front of us would have made it.
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

/// What a browser makes of a target: still this origin, no second host, and the same once decoded.
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

/// The default or the value itself (`L33`), and in either case home.
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

/// Through the sealed cookie and back: a silent login that finds nobody ends in its target.
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

/// L31 to L34, H38
#[tokio::test]
async fn at_login_hostile_targets_become_the_default_and_good_ones_arrive_byte_for_byte() {
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

/// L34: all but a handful of the payloads are refused outright, not merely harmless.
#[tokio::test]
async fn what_is_let_through_of_the_hostile_list_is_known_one_by_one() {
    let shop = Shop::new();
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

/// L31, H38
#[tokio::test]
async fn at_logout_hostile_targets_become_the_default_and_good_ones_arrive_byte_for_byte() {
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

/// L31, H38: the target that waits in a sealed cookie while the browser signs out over there.
#[tokio::test]
async fn over_the_authorization_server_a_sign_out_ends_at_its_target() {
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

/// L31, L35, H38: the address itself, as far as a request line can hold it.
#[tokio::test]
async fn the_address_of_a_guarded_page_goes_through_the_same_check() {
    let server = server();
    let login = login(&server);
    let app = axum::Router::new()
        .fallback(|| async { "secret" })
        .layer(login.required())
        .layer(login);
    let shop = Shop { server, app };
    let mut tried = 0;
    for payload in payloads() {
        let fits = payload.starts_with('/') && payload.parse::<http::Uri>().is_ok();
        // Our own routes answer for themselves, and a fragment is never sent.
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

/// L35
#[tokio::test]
async fn the_address_of_what_is_no_get_is_never_returned_to() {
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

/// L31, H38: the way to begin anew on a page of an error, for people and for programs.
#[tokio::test]
async fn an_error_page_offers_no_way_out() {
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

/// L31: an htmx request says which page it is on; whoever sends the header can say anything.
#[tokio::test]
async fn the_page_that_htmx_names_goes_through_the_same_check() {
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
            // An address of ours in full is where the browser is, not where somebody sends it.
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

/// L31: the default is configuration, and is refused where it is given.
#[test]
fn a_default_that_would_leave_is_refused() {
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
    // What is too long to be kept with a login cannot be where every login goes.
    let long = format!("/{}", "a".repeat(600));
    assert!(login(&server).with_default_return_to(&long).is_err());
}

/// L33, H40, H41, H43, H44: the parameter itself.
#[tokio::test]
async fn a_target_that_is_said_twice_oddly_or_at_length_is_the_default() {
    let shop = Shop::new();
    let kept = format!("/{}", "a".repeat(511));
    let long = format!("/{}", "a".repeat(512));
    let longer = format!("/{}", "a".repeat(8 * 1024));
    let mut nested = "/auth/login".to_owned();
    for _ in 0..6 {
        nested = format!("/auth/login?return_to={}", encode(&nested));
    }
    let chain = "/auth/login?return_to=".repeat(1000);
    for (name, query, expected) in [
        (
            "H40 good then evil",
            "return_to=/notes&return_to=//evil.example",
            "/",
        ),
        (
            "H40 evil then good",
            "return_to=//evil.example&return_to=/notes",
            "/",
        ),
        (
            "H40 twice the same",
            "return_to=/notes&return_to=/notes",
            "/",
        ),
        (
            "H40 once escaped",
            "return_to=/notes&return%5Fto=/mine",
            "/",
        ),
        ("H40 empty then good", "return_to=&return_to=/notes", "/"),
        ("H40 bare then good", "return_to&return_to=/notes", "/"),
        ("H41 escaped name", "return%5fto=/notes", "/notes"),
        (
            "H41 wholly escaped name",
            "%72%65%74%75%72%6e%5f%74%6f=%2Fnotes",
            "/notes",
        ),
        ("H41 escaped name, evil", "return%5fto=//evil.example", "/"),
        ("H41 other case is another name", "Return_To=/notes", "/"),
        ("H41 array is another name", "return_to[]=/notes", "/"),
        (
            "H41 a blank before is another name",
            "+return_to=/notes",
            "/",
        ),
        ("a semicolon separates nothing", "a=b;return_to=/notes", "/"),
        ("H43 nested", &format!("return_to={}", encode(&nested)), "/"),
        ("H43 a thousand times", &format!("return_to={chain}"), "/"),
        ("H44 512 bytes", &format!("return_to={kept}"), &kept),
        ("H44 513 bytes", &format!("return_to={long}"), "/"),
        ("H44 8 KiB", &format!("return_to={longer}"), "/"),
        ("nothing", "return_to", "/"),
        ("empty", "return_to=", "/"),
    ] {
        let door = format!("/auth/login?prompt=none&{query}");
        assert_eq!(through_a_login(&shop, &door).await, expected, "{name}");
    }
}

/// L36: whatever led here, the browser goes on with a GET and without a body.
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
