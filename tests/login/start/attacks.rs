//! The start of a login under attack: planted cookies, requests that are not navigations, injected
//! parameters and hosts.

use std::collections::HashSet;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tower_oauth::testing::{Endpoint, Fault};
use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer};

use crate::support::shop::*;

/// State, nonce and code verifier have 256 bits each and never repeat.
#[tokio::test]
async fn a_thousand_logins_share_no_value() {
    let shop = Shop::new();
    let mut seen = HashSet::new();
    for _ in 0..1000 {
        let answer = shop.send(Ask::page("/auth/login")).await;
        for (name, length) in [("state", 82), ("nonce", 43), ("code_challenge", 43)] {
            let value = answer.parameter(name).unwrap();
            assert_eq!(value.len(), length, "{name}");
            assert!(seen.insert(value), "{name}");
        }
        assert!(seen.insert(answer.set_cookies()[0].to_owned()));
    }
}

/// The transaction cookie reveals nothing and opens under its own name only.
#[tokio::test]
async fn a_transaction_cookie_opens_under_its_own_name_only_and_reveals_nothing() {
    let shop = Shop::new();
    let mut jar = Jar::default();
    let mut callbacks = Vec::new();
    for _ in 0..2 {
        let answer = shop.start("/auth/login?return_to=/notes", &mut jar).await;
        assert_eq!(answer.set_cookies().len(), 1);
        let cookie = answer.set_cookies()[0];
        for attribute in [
            "; Path=/",
            "; Secure",
            "; HttpOnly",
            "; SameSite=Lax",
            "; Max-Age=4200",
        ] {
            assert!(cookie.contains(attribute), "{cookie}");
        }
        assert!(!cookie.contains("Domain"), "{cookie}");
        for name in ["state", "nonce", "code_challenge"] {
            let value = answer.parameter(name).unwrap();
            assert!(!cookie.contains(&value[value.len() - 6..]), "{name}");
        }
        assert!(!cookie.contains("notes"), "{cookie}");
        callbacks.push(shop.approve(answer.location(), "alice").await);
    }
    let names = jar.transactions();
    let swapped = Jar::of(&[
        (names[0], jar.value(names[1])),
        (names[1], jar.value(names[0])),
    ]);
    for callback in &callbacks {
        let answer = shop.send(Ask::page(callback).jar(&swapped)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        assert_eq!(answer.sets(), [""; 0]);
    }
    assert_eq!(shop.token_calls(), 0);
}

/// Whatever cookies were planted, the response sets less than 4 KiB of cookies, and the new login
/// works.
#[tokio::test]
async fn planted_transactions_cannot_enlarge_the_response_or_block_a_login() {
    let prefix = "__Host-Http-shop-tx-";
    let slots = SLOT.strip_prefix(prefix).unwrap();
    let target = "a".repeat(2047);
    let words = "b".repeat(100);
    for (name, planted) in [
        (
            "many",
            (0..60).map(|n| format!("{n:012}")).collect::<Vec<_>>(),
        ),
        (
            "every slot",
            (0..20).map(|n| format!("{slots}{}", n % 5)).collect(),
        ),
        ("other names", (0..60).map(|n| format!("{n}")).collect()),
        (
            "long names",
            (0..16).map(|n| format!("{n}{}", "x".repeat(300))).collect(),
        ),
        ("one huge name", vec!["a".repeat(3000)]),
        (
            "unusual names",
            ["a b", "a,b", "a\"b", "a\\b", "a/b", "(a)", "\u{e9}", ""]
                .map(str::to_owned)
                .into(),
        ),
    ] {
        let shop = Shop::new();
        let mut jar = Jar::default();
        for rest in &planted {
            jar = jar.and(&format!("{prefix}{rest}"), "x");
        }
        let address = format!("/auth/login?return_to=/{target}&acr_values={words}");
        let ask = Ask::page(&address).jar(&jar);
        let answer = shop.send(ask).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{name}");
        assert!(answer.head().len() < 4000, "{name}: {}", answer.head());
        assert!(answer.sets()[0].starts_with(SLOT), "{name}");
        assert_eq!(
            answer.sets()[1..],
            ["__Host-Http-shop-return-to-pFI8"],
            "{name}"
        );
        assert_eq!(answer.clears(), [""; 0], "{name}");
        let mut own = Jar::default();
        own.take(&answer);
        let state = answer.parameter("state").unwrap();
        let callback = format!("/auth/callback?error=access_denied&state={state}&iss={ISSUER}");
        let mut all = jar.clone();
        all.0.extend(own.0);
        // Sixty-four cookies of the name are read; browsers send older ones first.
        all.0.rotate_right(1);
        let answer = shop.send(Ask::page(&callback).jar(&all)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name}");
    }
}

/// Each sign that a request is not a navigation suffices.
#[tokio::test]
async fn one_sign_of_a_program_suffices_for_a_401_without_a_cookie() {
    let shop = Shop::new();
    for (name, field, value) in [
        ("mode same-origin", "sec-fetch-mode", "same-origin"),
        ("mode no-cors", "sec-fetch-mode", "no-cors"),
        ("mode websocket", "sec-fetch-mode", "websocket"),
        ("unknown mode", "sec-fetch-mode", "teleport"),
        ("empty mode", "sec-fetch-mode", ""),
        ("mode of two words", "sec-fetch-mode", "navigate, cors"),
        ("frame", "sec-fetch-dest", "frame"),
        ("fenced frame", "sec-fetch-dest", "fencedframe"),
        ("embed", "sec-fetch-dest", "embed"),
        ("object", "sec-fetch-dest", "object"),
        ("worker", "sec-fetch-dest", "serviceworker"),
        ("script", "sec-fetch-dest", "script"),
        ("style", "sec-fetch-dest", "style"),
        ("report", "sec-fetch-dest", "report"),
        (
            "prefetch with parameters",
            "sec-purpose",
            "prefetch;anonymous-client-ip",
        ),
        ("prefetch in capitals", "sec-purpose", "Prefetch"),
        ("Safari's preview", "x-purpose", "preview"),
        ("Firefox's prefetch", "x-moz", "prefetch"),
        ("htmx history", "hx-request", "true"),
        ("xhr in lower case", "x-requested-with", "xmlhttprequest"),
        ("h2c", "upgrade", "h2c"),
        (
            "html is not wanted",
            "accept",
            "text/html;q=0.0, application/json",
        ),
        ("nothing is wanted", "accept", ""),
        ("html in a word", "accept", "application/xhtml+text/html"),
    ] {
        for path in ["/auth/login?return_to=/notes", "/account", "/mine"] {
            let answer = shop.send(Ask::page(path).set(field, value)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{name} {path}");
            assert_eq!(answer.set_cookies(), [""; 0], "{name} {path}");
            assert_eq!(answer.header("location"), "", "{name} {path}");
            assert_eq!(answer.json()["code"], "login_required", "{name} {path}");
            assert_eq!(answer.header("cache-control"), "no-store", "{name} {path}");
        }
    }
    let preflight = Ask::new("OPTIONS", "/account").with(&[
        ("origin", "https://other.example"),
        ("access-control-request-method", "PUT"),
        ("sec-fetch-mode", "cors"),
    ]);
    let answer = shop.send(preflight).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    // None of these sent a request to the authorization server.
    assert_eq!(shop.server.requests().len(), 0);
}

/// Subresources of a page cannot start logins.
#[tokio::test]
async fn images_frames_and_scripts_of_an_attackers_page_start_no_login() {
    let shop = Shop::new();
    let browser = shop.browser();
    let page = browser
        .document("https://evil.example/", "<h1>Kittens</h1>")
        .unwrap();
    for kind in ["image", "iframe", "script", "style", "object", "embed"] {
        for path in ["/auth/login", "/account"] {
            let answer = page.load(&format!("{SHOP}{path}"), kind).await.unwrap();
            assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{kind} {path}");
        }
    }
    assert_eq!(browser.cookies(SHOP).len(), 0);
    assert_eq!(shop.server.count(Endpoint::Authorization), 0);
}

/// Parameters of the flow cannot be injected, in any spelling, nor by the query of the endpoint.
#[tokio::test]
async fn no_spelling_of_a_parameter_reaches_the_authorization_request() {
    let shop = Shop::new();
    let endpoint = format!("{ISSUER}/authorize?tenant=7&prompt=none&client_id=evil&st%61te=evil");
    shop.server.fail(
        Endpoint::Metadata,
        Fault::member("authorization_endpoint", json!(endpoint)),
    );
    let query = "client%5fid=evil&CLIENT_ID=evil&client_id%00=evil&redirect_uri[]=evil&scope=evil\
                 &st%61te=evil&state=evil&nonce=evil&code_challenge=evil&code_challenge_method=evil\
                 &response_type=evil&response_mode=evil&request=evil&request_uri=evil&claims=evil\
                 &id_token_hint=evil&registration=evil&resource=evil&authorization_details=evil\
                 &dpop_jkt=evil&client_secret=evil&client_assertion=evil&display=evil&audience=evil\
                 &login_hint=a%26client_id%3Devil%23";
    let answer = shop.send(Ask::page(&format!("/auth/login?{query}"))).await;
    let url = url::Url::parse(answer.location()).unwrap();
    let mut names: Vec<String> = url
        .query_pairs()
        .map(|(name, _)| name.into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "client_id",
            "code_challenge",
            "code_challenge_method",
            "login_hint",
            "nonce",
            "prompt",
            "redirect_uri",
            "response_type",
            "scope",
            "state",
            "tenant",
        ]
    );
    assert_eq!(answer.parameter("login_hint").unwrap(), "a&client_id=evil#");
    assert_eq!(answer.parameter("prompt").unwrap(), "none");
    let rest = answer.location().replace("a%26client_id%3Devil%23", "");
    assert!(!rest.contains("evil"), "{rest}");
}

/// An invalid parameter gets a 400 page without cookie or redirect.
#[tokio::test]
async fn invalid_parameters_are_rejected_with_a_page() {
    let shop = Shop::new();
    let long = "a".repeat(513);
    let many = "a=b&".repeat(200);
    for (query, code) in [
        ("prompt=destroy", "prompt_unsupported"),
        ("prompt=Login", "prompt_unsupported"),
        ("prompt=none+login", "prompt_unsupported"),
        ("prompt=login+none", "prompt_unsupported"),
        ("prompt=login&prompt=none", "repeated_parameter"),
        ("prompt=login&pr%6fmpt=none", "repeated_parameter"),
        ("prompt=%00", "parameter_malformed"),
        ("login_hint=a%0d%0ab", "parameter_malformed"),
        ("login_hint=%c2%85", "parameter_malformed"),
        (&format!("login_hint={long}"), "parameter_too_long"),
        ("ui_locales=%1b", "parameter_malformed"),
        ("acr_values=%ff", "malformed_query"),
        ("%ff=1", "malformed_query"),
        (&many, "malformed_query"),
        ("max_age=-1", "max_age"),
        ("max_age=1e3", "max_age"),
        ("max_age=4294967296", "max_age"),
        ("max_age=0&max_age=0", "repeated_parameter"),
    ] {
        let address = format!("/auth/login?{query}&return_to=/notes");
        let answer = shop.send(Ask::page(&address)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query:.60}");
        assert_eq!(answer.set_cookies(), [""; 0], "{query:.60}");
        let text = answer.text();
        assert!(text.contains(&format!("· {code} ·")), "{query:.60}: {text}");
        assert!(!text.contains("destroy"), "{text}");
    }
    // Values that the server announces are accepted.
    let listed = Shop::new();
    listed.server.fail(
        Endpoint::Metadata,
        Fault::member("prompt_values_supported", json!(["login", "create"])),
    );
    for (prompt, status) in [
        ("create", 303),
        ("login", 303),
        ("none", 400),
        ("consent", 400),
    ] {
        let ask = Ask::page(&format!("/auth/login?prompt={prompt}"));
        assert_eq!(listed.send(ask).await.status.as_u16(), status, "{prompt}");
    }
}

/// No response of the layer may be stored, or reveal its URL in `Referer`.
#[tokio::test]
async fn every_response_of_the_layer_forbids_storing() {
    let shop = Shop::new();
    let jar = shop.signed_in().await;
    for (name, ask) in [
        ("login", Ask::page("/auth/login")),
        ("login refused", Ask::page("/auth/login?max_age=x")),
        ("login for a program", Ask::new("GET", "/auth/login")),
        ("callback", Ask::page("/auth/callback")),
        ("callback with a post", Ask::new("POST", "/auth/callback")),
        (
            "callback for a frame",
            Ask::page("/auth/callback").set("sec-fetch-dest", "iframe"),
        ),
        ("logout", Ask::page("/auth/logout")),
        ("logout page", Ask::page("/auth/logout").jar(&jar)),
        ("logout refused", Ask::new("POST", "/auth/logout")),
        ("logout with a put", Ask::new("PUT", "/auth/logout")),
        ("session", Ask::new("GET", "/auth/session").jar(&jar)),
        ("no session", Ask::new("GET", "/auth/session")),
        ("session with a post", Ask::new("POST", "/auth/session")),
        ("guarded page", Ask::page("/account")),
        ("guarded for a program", Ask::new("GET", "/account")),
        ("extractor", Ask::page("/mine")),
        (
            "invalid session",
            Ask::page("/cached").jar(&Jar::of(&[(SESSION, "x")])),
        ),
        ("refused post", Ask::new("POST", "/notes").jar(&jar)),
        (
            "logout",
            Ask::new("POST", "/auth/logout")
                .with(&[("sec-fetch-site", "same-origin")])
                .jar(&jar),
        ),
    ] {
        let answer = shop.send(ask).await;
        assert_eq!(answer.header("cache-control"), "no-store", "{name}");
        assert_eq!(answer.header("vary"), "cookie", "{name}");
        let policy = answer.header("referrer-policy");
        match name.split(' ').next().unwrap() {
            "callback" => assert_eq!(policy, "no-referrer", "{name}"),
            "invalid" => {}
            _ => assert_eq!(policy, "same-origin", "{name}"),
        }
    }
}

/// RFC 7636 §4.2: never `plain`, and never without a challenge.
#[tokio::test]
async fn pkce_is_sent_or_the_login_is_an_error() {
    for (name, methods, status) in [
        ("only plain", json!(["plain"]), 500),
        ("nothing", json!([]), 303),
        ("a text", json!("S256"), 500),
        ("other case", json!(["s256"]), 500),
        ("both", json!(["plain", "S256"]), 303),
        ("not listed", json!(null), 303),
    ] {
        let shop = Shop::new();
        let fault = match &methods {
            serde_json::Value::Null => Fault::without_member("code_challenge_methods_supported"),
            methods => Fault::member("code_challenge_methods_supported", methods.clone()),
        };
        shop.server.fail(Endpoint::Metadata, fault);
        let answer = shop.send(Ask::page("/auth/login")).await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        if status == 303 {
            let method = answer.parameter("code_challenge_method");
            assert_eq!(method.as_deref(), Some("S256"), "{name}");
        } else {
            assert_eq!(answer.set_cookies(), [""; 0], "{name}");
        }
    }
}

/// The redirect URI is fixed, whatever a proxy or client sends as host.
#[tokio::test]
async fn no_host_or_forwarded_header_changes_the_redirect_uri() {
    let shop = Shop::new();
    for (field, value) in [
        ("host", "evil.example"),
        ("host", "shop.example.com:8443"),
        ("host", "shop.example.com@evil.example"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", "8080"),
        ("x-forwarded-prefix", "//evil.example"),
        ("x-forwarded-server", "evil.example"),
        ("x-host", "evil.example"),
        ("x-original-host", "evil.example"),
        ("x-original-url", "https://evil.example/auth/login"),
        ("x-rewrite-url", "/auth/logout"),
        ("forwarded", "for=1.2.3.4;host=evil.example;proto=http"),
        ("origin", "https://evil.example"),
        ("referer", "https://evil.example/"),
        ("base-url", "https://evil.example/"),
    ] {
        for path in ["/auth/login", "https://evil.example/auth/login", "/account"] {
            let ask = Ask::page(path).with(&[(field, value)]);
            let answer = shop.send(ask).await;
            assert_eq!(answer.status, StatusCode::SEE_OTHER, "{field} {path}");
            let all = answer.head();
            assert!(
                !all.contains("evil") && !all.contains("8443"),
                "{field}: {all}"
            );
            if path.ends_with("login") {
                let uri = answer.parameter("redirect_uri");
                assert_eq!(uri.as_deref(), Some(CALLBACK), "{field} {path}");
            } else {
                assert_eq!(
                    answer.location(),
                    "/auth/login?return_to=%2Faccount",
                    "{field}"
                );
            }
        }
    }
}

/// A relative redirect to such a path would lead to another host.
#[test]
fn a_redirect_uri_whose_path_begins_with_two_slashes_is_rejected() {
    let server = AuthorizationServer::new(ISSUER).unwrap();
    for path in [
        "//callback",
        "//evil.example/callback",
        "/.//callback",
        "/x/..//callback",
    ] {
        let uri = format!("{SHOP}{path}");
        let key = CookieKey::from_bytes(&KEY).unwrap();
        let made = LoginLayer::new(&server, Client::public("shop"), &uri, key);
        let error = made.unwrap_err().to_string();
        assert!(
            error.contains("callback") && error.contains("two slashes"),
            "{error}"
        );
    }
}

/// A page that needs a session and a login that returns to it do not cause a redirect loop.
#[tokio::test]
async fn a_login_that_fails_does_not_start_itself_again() {
    let shop = Shop::new();
    shop.server.fail(
        Endpoint::Token,
        Fault::id_token(|mint| mint.with_claim("nonce", "other")),
    );
    let browser = shop.browser();
    let page = browser.navigate(&format!("{SHOP}/account")).await.unwrap();
    let page = page.sign_in("alice", "wonderland").await.unwrap();
    assert_eq!(page.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(shop.server.count(Endpoint::Authorization), 1);
    assert_eq!(shop.token_calls(), 1);
    assert!(browser.cookie(SHOP, SESSION).is_none());
    assert_eq!(browser.cookies(SHOP).len(), 0);
}

/// The encrypted time decides which login is the oldest, not the order of the cookies.
#[tokio::test]
async fn the_oldest_login_is_evicted_first_in_any_cookie_order() {
    let shop = Shop::new();
    let mut jar = Jar::default();
    let mut oldest = String::new();
    for number in 0..5 {
        let answer = shop.start("/auth/login", &mut jar).await;
        if number == 0 {
            oldest = answer.sets()[0].to_owned();
        }
        assert_eq!(jar.transactions().len(), number + 1);
        shop.clock().advance(Duration::from_secs(2));
    }
    for turn in 0..5 {
        let mut shuffled = jar.clone();
        shuffled.0.rotate_right(turn);
        let answer = shop.send(Ask::page("/auth/login").jar(&shuffled)).await;
        assert_eq!(answer.sets(), [oldest.as_str()], "{turn}");
    }
}
