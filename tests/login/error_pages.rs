//! Error responses: pages for users, problem documents for programs, and no caching of either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use tower_oauth::login::ErrorPage;
use tower_oauth::store::{Expect, Key, MemoryStore, Put, Record, Removed, Store, StoreError};
use tower_oauth::testing::{Endpoint, Fault, TestUser};
use tower_oauth::{CookieKey, LoginLayer, Session};

use crate::support::logs::Logs;
use crate::support::shop::*;

/// A failure: its name, status, code, and whether a new login is offered.
type Failure = (&'static str, u16, &'static str, bool);

const FAILURES: [Failure; 13] = [
    ("foreign form", 403, "cross_site_request", false),
    ("foreign sign-out", 403, "cross_site_request", false),
    ("no state", 400, "state_missing", true),
    ("unknown state", 400, "login_unknown", true),
    ("invalid transaction", 400, "login_unknown", true),
    ("too late", 400, "login_expired", true),
    ("denied", 403, "access_denied", true),
    ("error", 400, "authorization_error", true),
    ("malformed query", 400, "repeated_parameter", true),
    ("unknown prompt", 400, "prompt_unsupported", true),
    ("token endpoint", 503, "token_endpoint_unavailable", true),
    ("too large", 500, "session_too_large", false),
    ("metadata", 503, "metadata_unavailable", true),
];

/// Causes the failure, and requests HTML or JSON.
async fn fail(configure: impl Fn(LoginLayer) -> LoginLayer, name: &str, accept: &str) -> Answer {
    let shop = Shop::with(configure);
    let send = async |ask: Ask| shop.send(ask.set("accept", accept)).await;
    let foreign = [("sec-fetch-site", "cross-site")];
    match name {
        "foreign form" => {
            let jar = shop.signed_in().await;
            return send(Ask::new("POST", "/notes").with(&foreign).jar(&jar)).await;
        }
        "foreign sign-out" => return send(Ask::new("POST", "/auth/logout").with(&foreign)).await,
        "no state" => return send(Ask::page("/auth/callback?code=c")).await,
        "unknown state" => return send(Ask::page("/auth/callback?code=c&state=s")).await,
        "malformed query" => return send(Ask::page("/auth/login?prompt=a&prompt=b")).await,
        "unknown prompt" => {
            let page = "text/html";
            return shop
                .send(Ask::page("/auth/login?prompt=dance").set("accept", page))
                .await;
        }
        "metadata" => {
            shop.server.fail(Endpoint::Metadata, Fault::status(500));
            return shop.send(Ask::page("/auth/login")).await;
        }
        _ => {}
    }
    let mut jar = Jar::default();
    let start = shop.start("/auth/login?return_to=/notes", &mut jar).await;
    let state = start.parameter("state").unwrap();
    let error = |error: &str| format!("/auth/callback?error={error}&state={state}&iss={ISSUER}");
    match name {
        "invalid transaction" => {
            for (_, value) in &mut jar.0 {
                value.push('A');
            }
            send(Ask::page(&error("access_denied")).jar(&jar)).await
        }
        "too late" => {
            shop.clock().advance(Duration::from_secs(600));
            send(Ask::page(&error("access_denied")).jar(&jar)).await
        }
        "denied" => send(Ask::page(&error("access_denied")).jar(&jar)).await,
        "error" => send(Ask::page(&error("invalid_scope")).jar(&jar)).await,
        "token endpoint" | "too large" => {
            let fault = match name {
                "token endpoint" => Fault::status(500),
                _ => Fault::id_token(|mint| mint.with_claim("blob", "b".repeat(7000))),
            };
            let callback = shop.approve(start.location(), "alice").await;
            shop.server.fail(Endpoint::Token, fault);
            send(Ask::page(&callback).jar(&jar)).await
        }
        _ => unreachable!("{name}"),
    }
}

fn is_correlation_id(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn protected(answer: &Answer, name: &str) {
    for (field, value) in [
        ("cache-control", "no-store"),
        ("vary", "cookie"),
        ("x-content-type-options", "nosniff"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(field), value, "{name}");
    }
    let referrer = answer.header("referrer-policy");
    assert!(["same-origin", "no-referrer"].contains(&referrer), "{name}");
}

/// Each failure has a stable code.
#[tokio::test]
async fn every_failure_has_a_code_a_status_a_message_and_a_correlation_id() {
    let mut ids = std::collections::HashSet::new();
    for (name, status, code, has_login_url) in FAILURES {
        let page = fail(|login| login, name, "text/html").await;
        assert_eq!(page.status.as_u16(), status, "{name}");
        assert_eq!(
            page.header("content-type"),
            "text/html; charset=utf-8",
            "{name}"
        );
        protected(&page, name);
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        let html = page.text();
        let small = html.split("class=\"small\">").nth(1).unwrap();
        let small: Vec<&str> = small.split('<').next().unwrap().split(" · ").collect();
        assert_eq!(small[..2], [&status.to_string(), code], "{name}");
        assert!(is_correlation_id(small[2]), "{name} {small:?}");
        assert!(ids.insert(small[2].to_owned()), "{name}");
        assert_eq!(
            html.contains("href=\"/auth/login"),
            has_login_url,
            "{name} {html}"
        );
        assert!(!html.contains("<script"), "{name}");
    }
}

/// Programs get the same as a problem document (RFC 9457). A login that a program may not start is
/// a 401.
#[tokio::test]
async fn a_program_gets_the_same_as_a_problem_document() {
    for (name, status, code, has_login_url) in FAILURES {
        if ["metadata", "unknown prompt"].contains(&name) {
            continue;
        }
        let answer = fail(|login| login, name, "application/json").await;
        assert_eq!(answer.status.as_u16(), status, "{name}");
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{name}"
        );
        protected(&answer, name);
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{name}");
        assert_eq!(problem["code"], code, "{name}");
        assert!(
            is_correlation_id(problem["correlation_id"].as_str().unwrap()),
            "{name}"
        );
        assert!(!problem["title"].as_str().unwrap().is_empty(), "{name}");
        assert_eq!(problem.get("login_url").is_some(), has_login_url, "{name}");
    }
}

/// The application's own page is for browsers only, with a policy that forbids scripts.
#[tokio::test]
async fn an_application_can_render_its_own_error_page() {
    let own = |login: LoginLayer| {
        login.with_error_page(|page: &ErrorPage<'_>| {
            format!(
                "own {} {} {} {:?} {:?} {}",
                page.status().as_u16(),
                page.code(),
                page.message().len(),
                page.error_description(),
                page.login_url(),
                page.correlation_id(),
            )
        })
    };
    for (name, status, code, has_login_url) in FAILURES {
        let page = fail(own, name, "text/html").await;
        assert_eq!(page.status.as_u16(), status, "{name}");
        let text = page.text();
        assert!(
            text.starts_with(&format!("own {status} {code} ")),
            "{name}: {text}"
        );
        assert_eq!(
            text.contains("Some(\"/auth/login"),
            has_login_url,
            "{name}: {text}"
        );
        protected(&page, name);
        let policy = page.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self'"),
            "{policy}"
        );
        assert!(!policy.contains("script-src"), "{policy}");
    }
    let answer = fail(own, "denied", "application/json").await;
    assert_eq!(answer.json()["code"], "access_denied");
}

/// Requests that accept HTML get a page, all others a problem document. A 401 has a correlation id
/// like any other error.
#[tokio::test]
async fn only_requests_that_accept_html_get_a_page() {
    let logs = Logs::default();
    let _recording = logs.record();
    let shop = Shop::new();
    for (accept, page) in [
        ("text/html", true),
        ("TEXT/HTML;level=1", true),
        ("text/html, application/json", true),
        ("text/html,application/xhtml+xml,*/*;q=0.8", true),
        ("text/html;q=0.1", true),
        ("text/html;q=0", false),
        ("text/html;q=0.0, */*", false),
        ("application/json, text/html;q=0.9", false),
        ("application/problem+json, text/html;q=0.5", false),
        ("application/json;q=0.5, text/html", true),
        ("application/json, text/javascript, */*; q=0.01", false),
        ("application/json, text/plain, */*", false),
        ("*/*", false),
        ("text/*", false),
        ("", false),
        ("text/html;q=nan", false),
        ("text/html;q=one", true),
    ] {
        let answer = shop
            .send(Ask::page("/auth/callback?code=c").set("accept", accept))
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{accept}");
        let expected = if page {
            "text/html; charset=utf-8"
        } else {
            "application/problem+json"
        };
        assert_eq!(answer.header("content-type"), expected, "{accept}");
        let answer = shop.send(Ask::page("/account").set("accept", accept)).await;
        let expected = if page { 303 } else { 401 };
        assert_eq!(answer.status.as_u16(), expected, "{accept}");
        if !page {
            let problem = answer.json();
            assert_eq!(problem["code"], "login_required", "{accept}");
            let id = problem["correlation_id"].as_str().unwrap();
            assert!(is_correlation_id(id), "{accept} {id}");
            assert!(logs.text().contains(id), "{accept}: the log lacks {id}");
        }
    }
}

/// The application's page can be in the language of the user.
#[tokio::test]
async fn an_own_error_page_can_be_in_the_language_of_the_user() {
    let shop = Shop::with(|login| {
        login.with_error_page(|page| {
            let german = page
                .accept_language()
                .is_some_and(|all| all.starts_with("de"));
            let text = if german {
                "Das ging nicht"
            } else {
                page.message()
            };
            format!("{text} ({})", page.code())
        })
    });
    let ask = Ask::page("/auth/callback?code=c");
    let answer = shop
        .send(ask.clone().set("accept-language", "de-AT, en;q=0.5"))
        .await;
    assert_eq!(answer.text(), "Das ging nicht (state_missing)");
    assert!(!shop.send(ask).await.text().contains("Das"));
}

/// Outages have `Retry-After`.
#[tokio::test]
async fn an_outage_has_retry_after() {
    for name in ["metadata", "token endpoint"] {
        let page = fail(|login| login, name, "text/html").await;
        let wait: u64 = page.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&wait), "{name} {wait}");
    }
}

/// A session that is too large for cookies gets an understandable error, and no partial session.
#[tokio::test]
async fn a_session_too_large_for_cookies_is_reported_and_sets_no_cookie() {
    let log = Logs::default();
    let _recording = log.record();
    let answer = fail(|login| login, "too large", "text/html").await;
    let page = answer.text();
    assert!(page.contains("does not fit into browser cookies"), "{page}");
    // What to do about it concerns the operator.
    let log = log.take();
    assert!(log.contains("needs a session store"), "{log}");
    assert_eq!(answer.sets(), [""; 0]);
}

/// A store that is unavailable or full is reported as such, with `Retry-After`. The user is not
/// signed out, and no cookie is changed.
#[tokio::test]
async fn an_unavailable_or_full_store_is_reported_as_such() {
    let full = MemoryStore::new().with_max_entries(1).unwrap();
    let store = UnavailableStore(Arc::default());
    let shops = [
        (
            "session_store_full",
            Shop::with(|login| login.with_session_store(full)),
        ),
        (
            "session_store_unavailable",
            Shop::with(|login| login.with_session_store(store.clone())),
        ),
    ];
    for (code, shop) in shops {
        for accept in ["text/html", "application/json"] {
            let mut jar = Jar::default();
            let start = shop.start("/auth/login", &mut jar).await;
            let callback = shop.approve(start.location(), "alice").await;
            store.0.store(true, Ordering::SeqCst);
            let ask = Ask::page(&callback).set("accept", accept);
            let answer = shop.send(ask.jar(&jar)).await;
            let ticket = Jar::of(&[(SESSION, &"A".repeat(43))]);
            let visit = shop
                .send(Ask::page("/notes").set("accept", accept).jar(&ticket))
                .await;
            store.0.store(false, Ordering::SeqCst);
            let mut answers = vec![answer];
            if code == "session_store_unavailable" {
                answers.push(visit);
            }
            for (at, answer) in answers.into_iter().enumerate() {
                // A login can only be started again; any other page can be reloaded.
                assert_eq!(answer.text().contains("/auth/login"), at == 0, "{code}");
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{code}");
                assert_eq!(answer.header("retry-after"), "5", "{code}");
                assert!(!answer.head().contains(SESSION), "{code} {}", answer.head());
                protected(&answer, code);
                if accept == "text/html" {
                    assert!(answer.text().contains("Temporarily unavailable"), "{code}");
                    assert!(
                        answer.text().contains(&format!("503 · {code} · ")),
                        "{code}"
                    );
                } else {
                    assert_eq!(answer.json()["code"], code);
                }
            }
        }
    }
}

/// A store that can be made unavailable.
#[derive(Clone)]
struct UnavailableStore(Arc<AtomicBool>);

impl UnavailableStore {
    fn check(&self) -> Result<(), StoreError> {
        match self.0.load(Ordering::SeqCst) {
            true => Err(StoreError::unavailable("redis://secret@10.0.0.1 is down")),
            false => Ok(()),
        }
    }
}

impl Store for UnavailableStore {
    async fn get(&self, _: &Key) -> Result<Option<Record>, StoreError> {
        self.check().map(|()| None)
    }

    async fn put(&self, _: &Key, _: Bytes, _: Duration, _: Expect) -> Result<Put, StoreError> {
        self.check().map(|()| Put::Stored(1))
    }

    async fn remove(&self, _: &Key, _: Expect) -> Result<Removed, StoreError> {
        self.check().map(|()| Removed::Absent)
    }
}

/// Every response of the layer, and every response that sets its cookies, forbids caching.
#[tokio::test]
async fn responses_that_set_or_depend_on_a_cookie_are_not_stored() {
    let shop = Shop::new();
    let mut jar = shop.signed_in().await;
    shop.start("/auth/login", &mut jar).await;
    shop.clock().advance(Duration::from_secs(400));
    let invalid = Jar::of(&[(SESSION, "x")]);
    let mut with_cookies = 0;
    for path in [
        "/",
        "/account",
        "/mine",
        "/cached",
        "/notes",
        "/no-such-page",
        "/auth/login",
        "/auth/callback",
        "/auth/callback?code=c&state=s",
        "/auth/logout",
        "/auth/session",
        "/auth/session?extend=true",
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS"] {
            for accept in ["text/html", "application/json"] {
                for jar in [&jar, &invalid, &Jar::default()] {
                    let ask = Ask::new(method, path).set("accept", accept);
                    let ask = ask.with(&[("sec-fetch-site", "same-origin")]);
                    let answer = shop.send(ask.jar(jar)).await;
                    let name = format!("{method} {path} {accept} {:?}", jar.names());
                    let ours = path.starts_with("/auth/");
                    if ours {
                        protected(&answer, &name);
                    }
                    if !answer.set_cookies().is_empty() {
                        with_cookies += 1;
                        assert_eq!(answer.header("cache-control"), "no-store", "{name}");
                        assert_eq!(answer.header("vary"), "cookie", "{name}");
                    }
                    if path.starts_with("/auth/callback") {
                        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{name}");
                    }
                }
            }
            // A sign-out ends the session, so sign in again.
            if path == "/auth/logout" {
                jar = shop.signed_in().await;
                shop.clock().advance(Duration::from_secs(400));
            }
        }
    }
    assert!(with_cookies > 50, "{with_cookies}");
}

/// Some shared caches ignore `Vary`, so a response that depends on the session is `private` or not
/// stored, even if an inner layer allows caching for all pages.
#[tokio::test]
async fn a_response_that_depends_on_the_session_is_in_no_shared_cache() {
    async fn page(
        session: Option<Session>,
        control: &'static str,
    ) -> ([(&'static str, &'static str); 2], String) {
        let who = session.map_or_else(String::new, |session| session.subject().to_owned());
        (
            [("cache-control", control), ("vary", "accept-encoding")],
            who,
        )
    }
    let server = server();
    let login = login_with(&server, CookieKey::from_bytes(&KEY).unwrap());
    let public = "public, max-age=600, s-maxage=600";
    let guarded = get(move || async move { ([("cache-control", public)], "guarded") });
    let app = Router::new()
        .route("/public", get(move |session| page(session, public)))
        .route("/short", get(|session| page(session, "max-age=60")))
        .route(
            "/private",
            get(|session| page(session, "Private, max-age=60")),
        )
        .route("/guarded", guarded.layer(login.required()))
        .route(
            "/asset",
            get(move || async move { ([("cache-control", public)], "asset") }),
        )
        .layer(login);
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    for (path, expected) in [
        ("/public", "no-store"),
        ("/short", "no-store"),
        ("/private", "Private, max-age=60"),
        ("/guarded", "no-store"),
        // The session was not read here.
        ("/asset", public),
    ] {
        for jar in [&jar, &Jar::default()] {
            let answer = shop.send(Ask::page(path).jar(jar)).await;
            let name = format!("{path} {:?}", jar.names());
            assert_eq!(answer.header("cache-control"), expected, "{name}");
            let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
            assert_eq!(
                vary.contains(&&http::HeaderValue::from_static("cookie")),
                path != "/asset",
                "{name}"
            );
        }
    }
}

/// A service without axum reads the session from the extensions, without an extractor.
#[tokio::test]
async fn a_response_of_a_service_that_reads_the_session_is_in_no_shared_cache() {
    type Read = fn(&Session) -> String;
    fn page(read: Option<Read>) -> axum::routing::MethodRouter {
        get(move |request: axum::extract::Request| async move {
            let session = request.extensions().get::<Session>();
            let text = session.zip(read).map(|(session, read)| read(session));
            let control = read.map(|_| [("cache-control", "public, max-age=600")]);
            (
                control.map(axum::response::AppendHeaders),
                text.unwrap_or_default(),
            )
        })
    }
    let server = server();
    let app = Router::new()
        .route(
            "/subject",
            page(Some(|session| session.subject().to_owned())),
        )
        .route("/id", page(Some(|session| session.id().to_string())))
        .route(
            "/claims",
            page(Some(|session| session.claims().as_json().to_owned())),
        )
        .route("/debug", page(Some(|session| format!("{session:?}"))))
        .route(
            "/data",
            page(Some(|session| format!("{:?}", session.app_data::<u8>()))),
        )
        .route("/unread", page(Some(|_| String::new())))
        .route("/silent", page(None))
        .layer(login_with(&server, CookieKey::from_bytes(&KEY).unwrap()));
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    for (path, control, vary) in [
        ("/subject", "no-store", true),
        ("/id", "no-store", true),
        ("/claims", "no-store", true),
        ("/debug", "no-store", true),
        ("/data", "no-store", true),
        ("/unread", "public, max-age=600", false),
        ("/silent", "private", true),
    ] {
        let answer = shop.send(Ask::page(path).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.header("cache-control"), control, "{path}");
        assert_eq!(answer.headers.contains_key("vary"), vary, "{path}");
    }
    let signed_out = shop.send(Ask::page("/silent")).await;
    assert!(!signed_out.headers.contains_key("cache-control"));
}

/// The text of the authorization server is escaped, shortened, and shown on the page only.
#[tokio::test]
async fn text_of_the_authorization_server_is_escaped() {
    let shop = Shop::new();
    let mut jar = Jar::default();
    let start = shop.start("/auth/login", &mut jar).await;
    let state = start.parameter("state").unwrap();
    let hostile =
        "\"><img src=x onerror=alert(1)><script>alert(2)</script>{{7*7}}\r\nSet-Cookie: a=b";
    let mut url = url::Url::parse(CALLBACK).unwrap();
    url.query_pairs_mut()
        .append_pair("error", "invalid_scope")
        .append_pair("error_description", &hostile.repeat(100))
        .append_pair("state", &state)
        .append_pair("iss", ISSUER);
    let callback = url.as_str().strip_prefix(SHOP).unwrap().to_owned();
    for accept in ["text/html", "application/json"] {
        let ask = Ask::page(&callback).set("accept", accept);
        let answer = shop.send(ask.jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{accept}");
        let text = answer.text();
        assert!(
            !text.contains("<img") && !text.contains("<script"),
            "{accept} {text}"
        );
        assert!(text.len() < 4096, "{accept} {}", text.len());
        assert!(!text.contains('\r'), "{accept}");
        assert!(!answer.head().contains("a=b"), "{accept}");
    }
}

/// OpenID Connect Core §5.3.2, RFC 9700 §4.5: the name of a user comes from the ID token alone; markup and line breaks in
/// it are escaped.
#[tokio::test]
async fn markup_in_the_name_of_a_user_is_escaped() {
    let name = "</script><script>alert(1)</script>\r\nset-cookie: a=b";
    let user = TestUser::new("mallory", "wonderland").with_claim("name", name);
    let server = server().add_user(user);
    let login = login(&server).with_scopes("openid profile").unwrap();
    let shop = Shop {
        app: app(&login),
        server,
    };
    shop.server.fail(
        Endpoint::Token,
        Fault::id_token(move |mint| mint.with_claim("name", name)),
    );
    let jar = shop.signed_in().await;
    let answer = shop.send(Ask::new("GET", "/auth/session").jar(&jar)).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.json()["name"], name);
    assert_eq!(answer.set_cookies(), [""; 0]);
}

/// A server may describe its own faults there; administrators read the log.
#[tokio::test]
async fn the_description_of_the_token_endpoint_is_in_the_log_and_not_on_the_page() {
    for (code, status) in [
        ("invalid_grant", 400),
        ("server_error", 502),
        ("invalid_client", 500),
    ] {
        let (shop, logs) = (Shop::new(), Logs::default());
        let body = format!(r#"{{"error":"{code}","error_description":"SELECT 1\nFROM secrets"}}"#);
        shop.server
            .fail(Endpoint::Token, Fault::body("application/json", body));
        let _recording = logs.record_only("login_failed");
        for accept in ["text/html", "application/json"] {
            let mut jar = Jar::default();
            let start = shop.start("/auth/login", &mut jar).await;
            let callback = shop.approve(start.location(), "alice").await;
            let ask = Ask::page(&callback).set("accept", accept);
            let answer = shop.send(ask.jar(&jar)).await;
            assert_eq!(answer.status.as_u16(), status, "{code}");
            assert!(!answer.text().contains("SELECT"), "{}", answer.text());
        }
        let logged = logs.take();
        assert!(
            logged.contains(code) && logged.contains(r"SELECT 1\\nFROM secrets"),
            "{logged}"
        );
    }
}
