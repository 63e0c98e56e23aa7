//! Attacks on an application behind both layers, by callers without credentials.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio::sync::Notify;
use tower::ServiceExt as _;
use tower_oauth::testing::{Endpoint, Fault, TestClient, TestUser};
use tower_oauth::{BearerLayer, Client, CookieKey, LoginLayer, ScopeLayer, Session, VerifiedToken};

use crate::support::logs::Logs;
use crate::support::shop::*;

const API: &str = "https://api.example.test";

/// A deterministic random number generator.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
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

/// RFC 7515 §5.2: every changed character makes a token invalid.
#[tokio::test]
async fn an_access_token_with_a_changed_character_is_rejected() {
    let server = server().with_algorithm(tower_oauth::Algorithm::Es256);
    let layer = BearerLayer::jwt(&server.authorization_server(), API).unwrap();
    let api = Router::new()
        .route("/", get(|_: VerifiedToken| async { "in" }))
        .layer(layer);
    let good = server.access_token().with_audience(API).sign();
    let status = async |token: &str| {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).unwrap();
        api.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(status(&good).await, StatusCode::OK);
    for at in 0..good.len() {
        for other in ["A", "Q", "g", "w", "_", ".", "="] {
            let mut changed = good.clone();
            changed.replace_range(at..=at, other);
            let refused = status(&changed).await.is_client_error();
            assert!(refused || changed == good, "character {at}");
        }
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
    for name in [
        SESSION,
        "__Host-Http-shop-logout",
        "__Host-Http-shop-tx-AAAAAAAAAAAA",
    ] {
        let answer = shop
            .send(Ask::page("/").jar(&Jar::of(&[(name, sealed)])))
            .await;
        assert_eq!(answer.text(), "hello stranger", "{name}");
    }
}

/// RFC 9110 §15.4, RFC 9700 §4.11: no request is redirected to a host other than the application's and the authorization
/// server's, nothing panics, and no session is created.
#[tokio::test]
async fn thirty_thousand_malformed_requests_cause_no_open_redirect_and_no_session() {
    let shop = Shop::new();
    let mut dice = Dice(0x0dd5_eed5);
    let mut jar = Jar::default();
    let started = shop.start("/auth/login", &mut jar).await;
    let state = started.parameter("state").unwrap();
    let words = [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example/",
        "/%2f%2fevil.example",
        "/a/..//evil.example",
        "/%09/evil.example",
        "javascript:alert(1)",
        "/a%0d%0aset-cookie:x=y",
        "/.//evil.example",
        "%5c%5cevil.example",
        "/notes",
        "/",
        "",
        "none",
        "login none",
        "%ff%fe",
        "%00",
        "+",
        "a=b",
        "&&&",
        "=",
        "?",
        "#",
        "%",
        "%u0041",
        "-1",
        "0",
        "4294967296",
        "1e9",
        "eyJhbGciOiJub25lIn0.e30.",
        "error",
        "%F0%9F%92%A9",
        ISSUER,
        &state,
    ];
    let names = [
        "return_to",
        "return_to[]",
        "RETURN_TO",
        "login_hint",
        "prompt",
        "ui_locales",
        "acr_values",
        "max_age",
        "state",
        "code",
        "iss",
        "error",
        "error_description",
        "error_uri",
        "session_state",
        "id_token",
        "extend",
        "response",
        "redirect_uri",
        "client_id",
        "nonce",
        "request",
        "",
    ];
    let paths = [
        "/auth/login",
        "/auth/callback",
        "/auth/logout",
        "/auth/session",
        "/account",
        "/",
        "/mine",
        "//evil.example/account",
        "/auth/login/",
        "/auth//login",
        "/auth/../account",
        "/nothing",
        "/account;jsessionid=1",
        "/%2e%2e//evil.example",
    ];
    let methods = [
        "GET", "GET", "GET", "POST", "HEAD", "OPTIONS", "PUT", "CONNECT", "TRACE", "get", "QUERY",
    ];
    let fields = [
        "accept",
        "sec-fetch-mode",
        "sec-fetch-dest",
        "sec-fetch-site",
        "sec-fetch-user",
        "origin",
        "referer",
        "host",
        "hx-request",
        "hx-current-url",
        "x-forwarded-host",
        "x-forwarded-proto",
        "forwarded",
        "x-csrf",
        "upgrade",
        "connection",
        "purpose",
        "cookie",
        "content-type",
        "x-http-method-override",
        "x-original-url",
        "authorization",
    ];
    let values: [&[u8]; 20] = [
        b"text/html",
        b"*/*",
        b"navigate",
        b"document",
        b"same-origin",
        b"cross-site",
        b"?1",
        b"1",
        b"true",
        b"null",
        SHOP.as_bytes(),
        b"https://evil.example",
        b"https://shop.example.com@evil.example/",
        b"websocket",
        b"upgrade",
        b"prefetch",
        b"application/x-www-form-urlencoded",
        b"\xff\xfe",
        b"",
        b"evil.example",
    ];
    let cookies = [
        "session",
        "session.0",
        "session.7",
        "session.8",
        "session.0x",
        "session.+1",
        "logout",
        "tx-",
        "tx-AAAAAAAAAAAA",
        "",
        "session.18446744073709551616",
    ];
    let mut sent_to_sign_in = 0;
    for _ in 0..30_000 {
        let mut uri = dice.pick(&paths).to_owned();
        for number in 0..dice.below(4) {
            uri.push(if number == 0 { '?' } else { '&' });
            uri.push_str(dice.pick(&names));
            uri.push('=');
            uri.push_str(&dice.pick(&words).replace('#', "%23").replace('\\', "%5c"));
        }
        let body = format!("return_to={}&{}", dice.pick(&words), dice.pick(&words));
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = Method::from_bytes(dice.pick(&methods).as_bytes()).unwrap();
        let Ok(uri) = uri.parse() else { continue };
        *request.uri_mut() = uri;
        if dice.below(2) == 0 {
            for (name, value) in PAGE {
                let value = HeaderValue::from_static(value);
                request.headers_mut().insert(name, value);
            }
        }
        if dice.below(2) == 0 {
            let value = HeaderValue::from_str(&jar.header()).unwrap();
            request.headers_mut().insert(COOKIE, value);
        }
        for _ in 0..dice.below(6) {
            let name: HeaderName = dice.pick(&fields).parse().unwrap();
            let value = HeaderValue::from_bytes(dice.pick(&values)).unwrap();
            request.headers_mut().append(name, value);
        }
        for _ in 0..dice.below(3) {
            let name = dice.pick(&cookies);
            let value = dice.pick(&[jar.value(jar.transactions()[0]), "", "x", "\u{7f}"][..3]);
            let text = format!("__Host-Http-shop-{name}={value}");
            request
                .headers_mut()
                .append(COOKIE, HeaderValue::from_str(&text).unwrap());
        }
        let told = format!(
            "{} {} {:?}",
            request.method(),
            request.uri(),
            request.headers()
        );
        let answer = shop.app.clone().oneshot(request).await.unwrap();
        for name in [LOCATION.as_str(), "hx-redirect"] {
            let Some(location) = answer.headers().get(name) else {
                continue;
            };
            let base = url::Url::parse(SHOP).unwrap();
            let target = base.join(location.to_str().unwrap()).unwrap();
            let ours = target.origin() == base.origin();
            let theirs = target.as_str().starts_with(&format!("{ISSUER}/authorize?"));
            sent_to_sign_in += usize::from(theirs);
            assert!(ours || theirs, "{location:?} for {told}");
        }
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let cleared = cookie.contains("Max-Age=0");
            assert!(
                cleared || cookie.starts_with("__Host-Http-shop-tx-"),
                "{cookie} for {told}"
            );
        }
        let status = answer.status();
        assert!(!status.is_server_error(), "{status} for {told}");
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(!text.windows(5).any(|word| word == b"alice"), "{told}");
    }
    assert!(sent_to_sign_in > 100, "{sent_to_sign_in} got that far");
}

/// RFC 6749 §5, RFC 7517 §5, RFC 8414 §3.2: for any response of the authorization server that is not the expected
/// document, the result is an error page and no session.
#[tokio::test]
async fn no_malformed_response_of_the_authorization_server_creates_a_session() {
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    let digits = format!("{{\"expires_in\":{}}}", "9".repeat(100_000));
    let many: String = (0..20_000).map(|n| format!("\"k{n}\":{n},")).collect();
    let many = format!("{{{many}\"z\":0}}");
    let bodies: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        b"{\"keys\":null}".to_vec(),
        b"{\"keys\":[null,1,[],{}]}".to_vec(),
        b"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"\",\"e\":\"\"}]}".to_vec(),
        b"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}]}".to_vec(),
        b"{\"issuer\":\"https://evil.example\"}".to_vec(),
        b"{\"issuer\":1}".to_vec(),
        b"{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"id_token\":\"a.b.c\"}".to_vec(),
        b"{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"id_token\":\"\\ud800\"}".to_vec(),
        b"{\"access_token\":\"a\\u0000b\",\"token_type\":\"Bearer\",\"id_token\":\"a.b.c\"}"
            .to_vec(),
        b"{\"error\":null}".to_vec(),
        b"{\"error\":{\"a\":[]},\"error_description\":1}".to_vec(),
        b"\xff\xfe\x00".to_vec(),
        deep.into_bytes(),
        digits.into_bytes(),
        many.into_bytes(),
        vec![b' '; (1 << 20) + 1],
    ];
    for endpoint in [Endpoint::Metadata, Endpoint::KeySet, Endpoint::Token] {
        for body in &bodies {
            let shop = Shop::new();
            let mut jar = Jar::default();
            let told = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
            if endpoint != Endpoint::Metadata {
                let answer = shop.start("/auth/login", &mut jar).await;
                let callback = shop.approve(answer.location(), "alice").await;
                shop.server
                    .fail(endpoint, Fault::body("application/json", body.clone()));
                let answer = shop.send(Ask::page(&callback).jar(&jar)).await;
                assert!(
                    answer.status.is_server_error() || answer.status == 400,
                    "{endpoint:?} {told}: {}",
                    answer.status
                );
                assert_eq!(answer.sets(), [""; 0], "{endpoint:?} {told}");
            } else {
                shop.server
                    .fail(endpoint, Fault::body("application/json", body.clone()));
                let answer = shop.send(Ask::page("/auth/login")).await;
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
                assert_eq!(answer.sets(), [""; 0], "{told}");
            }
        }
    }
}

/// RFC 9700 §4.3, OpenID Connect RP-Initiated Logout §2: the responses to requests that were in progress during a logout
/// do not restore the session.
#[tokio::test]
async fn no_slow_request_restores_a_session_after_a_logout() {
    let gate = Arc::new(Notify::new());
    let server = server();
    let login = login(&server);
    let slow = async |State(gate): State<Arc<Notify>>, session: Session| {
        gate.notified().await;
        session.subject().to_owned()
    };
    let app = Router::new()
        .route("/slow", get(slow))
        .with_state(Arc::clone(&gate))
        .merge(Router::new().route(
            "/",
            get(|session: Option<Session>| async move {
                session.map_or_else(
                    || "anonymous".to_owned(),
                    |session| session.subject().to_owned(),
                )
            }),
        ))
        .layer(login);
    let shop = Shop { server, app };
    let jar = shop.signed_in().await;
    shop.clock().advance(Duration::from_secs(1800));
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let (shop, jar) = (shop.clone(), jar.clone());
            tokio::spawn(async move { shop.send(Ask::page("/slow").jar(&jar)).await })
        })
        .collect();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let out = Ask::new("POST", "/auth/logout").with(&[("origin", SHOP)]);
    let mut left = jar.clone();
    left.take(&shop.send(out.jar(&jar)).await);
    gate.notify_waiters();
    for answer in slow {
        let answer = answer.await.unwrap();
        assert_eq!(answer.text(), "alice", "it began before");
        assert_eq!(answer.sets(), [""; 0]);
        left.take(&answer);
    }
    assert_eq!(shop.greeting(&left).await, "anonymous");
    assert_eq!(shop.greeting(&jar).await, "anonymous");
    for path in ["/auth/session", "/auth/session?extend=true"] {
        let answer = shop.send(Ask::new("GET", path).jar(&jar)).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.sets(), [""; 0], "{path}");
    }
}

/// RFC 9700 §4.2, RFC 6750 §5.3: neither logs nor `Debug` output contain a token, a code, a `state` or a cookie, whether
/// the login succeeded or not.
#[tokio::test]
async fn no_secret_is_logged_or_printed_during_a_login() {
    let logs = Logs::default();
    let guard = logs.record();
    let shop = Shop::new();
    let layer = login(&shop.server);
    let shop = Shop {
        app: app(&layer),
        ..shop
    };
    let mut jar = Jar::default();
    let started = shop
        .start("/auth/login?login_hint=hint-of-alice", &mut jar)
        .await;
    let mut secrets: Vec<String> = ["state", "nonce", "code_challenge"]
        .iter()
        .map(|name| started.parameter(name).unwrap())
        .collect();
    secrets.push(jar.value(jar.transactions()[0]).to_owned());
    let callback = shop.approve(started.location(), "alice").await;
    secrets.push(parameter(&callback, "code").unwrap());
    let wrong = with_parameter(&callback, "iss", Some("https://evil.example"));
    let mut second = Jar::default();
    let answer = shop.start("/auth/login", &mut second).await;
    let refused = shop.approve(answer.location(), "alice").await;
    let refused = with_parameter(&refused, "code", Some("a-wrong-code"));
    secrets.push("a-wrong-code".to_owned());
    shop.send(Ask::page(&wrong)).await;
    shop.send(Ask::page(&refused).jar(&second)).await;
    jar.take(&shop.send(Ask::page(&callback).jar(&jar)).await);
    secrets.push(jar.value(SESSION).to_owned());
    assert_eq!(shop.greeting(&jar).await, "hello alice");
    let out = Ask::new("POST", "/auth/logout").with(&[("origin", SHOP)]);
    let answer = shop.send(out.jar(&jar)).await;
    secrets.extend(answer.parameter("state"));
    secrets.extend(answer.parameter("id_token_hint"));
    secrets.extend(["shop-secret".to_owned(), "hint-of-alice".to_owned()]);
    drop(guard);
    let told = format!("{}{layer:?}{:?}", logs.text(), layer.required());
    assert!(told.contains("login_succeeded"));
    for secret in &secrets {
        assert!(!told.contains(secret.as_str()), "{secret:.12} in {told}");
    }
}

/// RFC 7519 §4.1.4: no change of the clock extends a session or causes a panic.
#[tokio::test]
async fn no_change_of_the_wall_clock_extends_a_session() {
    for turn in [
        i64::from(i32::MIN),
        -9 * 3600,
        -3600,
        -61,
        3601,
        9 * 3600,
        i64::from(i32::MAX),
        250_000_000_000,
    ] {
        let shop = Shop::new();
        let jar = shop.signed_in().await;
        let mut pending = Jar::default();
        let answer = shop.start("/auth/login", &mut pending).await;
        let callback = shop.approve(answer.location(), "alice").await;
        shop.clock().adjust_wall_clock(turn);
        assert_eq!(shop.greeting(&jar).await, "hello stranger", "{turn}");
        let answer = shop.send(Ask::page(&callback).jar(&pending)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{turn}");
        assert_eq!(answer.sets(), [""; 0], "{turn}");
        for path in ["/auth/session", "/auth/login", "/auth/logout", "/account"] {
            assert!(
                !shop
                    .send(Ask::page(path).jar(&jar))
                    .await
                    .status
                    .is_server_error(),
                "{turn} {path}"
            );
        }
    }
}

/// RFC 6749 §3.3, RFC 6750 §3.1: a session is not an access token and an access token is not a session, in either order
/// of the layers.
#[tokio::test]
async fn a_session_does_not_authenticate_at_an_api_and_a_token_does_not_at_pages() {
    for bearer_outside in [false, true] {
        let server = server();
        let (login, issuer) = (login(&server), server.authorization_server());
        let bearer = BearerLayer::jwt(&issuer, API).unwrap().optional();
        let read = get(|_: VerifiedToken| async { "api" }).layer(ScopeLayer::all("read").unwrap());
        let routes = Router::new().route("/api", read).route(
            "/page",
            get(|_: Session| async { "page" }).layer(login.required()),
        );
        let app = if bearer_outside {
            routes.layer(login).layer(bearer)
        } else {
            routes.layer(bearer).layer(login)
        };
        let shop = Shop { server, app };
        let jar = shop.signed_in().await;
        let token = shop
            .server
            .access_token()
            .with_audience(API)
            .with_scope("read")
            .sign();
        let token = format!("Bearer {token}");
        let bring = |path: &str| Ask::new("GET", path).with(&[("authorization", &token)]);
        assert_eq!(shop.send(bring("/api")).await.text(), "api");
        assert_eq!(
            shop.send(Ask::new("GET", "/page").jar(&jar)).await.text(),
            "page"
        );
        let unauthorized = StatusCode::UNAUTHORIZED;
        assert_eq!(shop.send(bring("/page")).await.status, unauthorized);
        assert_eq!(
            shop.send(Ask::new("GET", "/api").jar(&jar)).await.status,
            unauthorized
        );
        assert_eq!(
            shop.send(Ask::new("GET", "/api")).await.status,
            unauthorized
        );
        // The contents of a cookie are not a token, and a token is not an encrypted cookie.
        let sealed = format!("Bearer {}", jar.value(SESSION));
        let answer = shop
            .send(Ask::new("GET", "/api").with(&[("authorization", &sealed)]))
            .await;
        assert_eq!(answer.status, unauthorized);
        let planted = Jar::of(&[(SESSION, &token[7..])]);
        assert_eq!(
            shop.send(Ask::new("GET", "/page").jar(&planted))
                .await
                .status,
            unauthorized
        );
    }
}

/// RFC 6749 §10.12: an attacker cannot sign a victim in by sending it the callback of a login that another browser
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

/// RFC 6819 §4.6.6: requests that cost an attacker nothing leave no tasks, no entries and no requests to the authorization
/// server.
#[tokio::test]
async fn a_flood_of_anonymous_requests_leaves_no_tasks_and_no_requests() {
    let shop = Shop::new();
    let layer = BearerLayer::jwt(&shop.server.authorization_server(), API).unwrap();
    let api = Router::new()
        .route("/", get(|| async { "in" }))
        .layer(layer);
    let forged = shop.server.access_token().with_audience(API);
    let present = async |token: String| {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let request = request.body(Body::empty()).unwrap();
        api.clone().oneshot(request).await.unwrap().status()
    };
    // Both layers fetch keys and metadata once.
    assert_eq!(present(forged.sign()).await, StatusCode::OK);
    shop.start("/auth/login", &mut Jar::default()).await;
    for number in 0..4 {
        present(
            forged
                .clone()
                .with_header("kid", format!("kid-{number}"))
                .sign(),
        )
        .await;
    }
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let (before, asked) = (tasks(), shop.server.requests().len());
    for number in 0..500 {
        shop.start("/auth/login", &mut Jar::default()).await;
        let unknown = format!("/auth/callback?code=c{number}&state=s{number}&iss={ISSUER}");
        let answer = shop.send(Ask::page(&unknown)).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST);
        shop.send(Ask::page("/").jar(&Jar::of(&[(SESSION, "x")])))
            .await;
        let junk = forged.clone().with_header("kid", format!("junk-{number}"));
        for token in [junk, forged.clone().with_broken_signature()] {
            assert_eq!(present(token.sign()).await, StatusCode::UNAUTHORIZED);
        }
    }
    assert_eq!(tasks(), before);
    assert_eq!(shop.server.requests().len(), asked);
}

/// RFC 9700 §4.3: logins, requests and logouts in parallel on several threads: each user only sees their own session, and
/// none after the logout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_logins_and_logouts_never_mix_up_sessions() {
    let shop = Shop::new();
    let mut crowd = Vec::new();
    for number in 0..40 {
        let user = if number % 2 == 0 { "alice" } else { "bob" };
        let mut jar = Jar::default();
        let answer = shop.start("/auth/login", &mut jar).await;
        let callback = shop.approve(answer.location(), user).await;
        crowd.push((user, jar, callback));
    }
    let crowd: Vec<_> = crowd
        .into_iter()
        .map(|(user, jar, callback)| {
            let shop = shop.clone();
            tokio::spawn(async move {
                // A double click: both requests have the same session.
                let ask = || Ask::page(&callback).jar(&jar);
                let (one, two) = tokio::join!(shop.send(ask()), shop.send(ask()));
                let (mut first, mut second) = (jar.clone(), jar.clone());
                first.take(&one);
                second.take(&two);
                let out = Ask::new("POST", "/auth/logout").with(&[("origin", SHOP)]);
                for jar in [&first, &second] {
                    assert_eq!(shop.greeting(jar).await, format!("hello {user}"));
                }
                shop.send(out.jar(&first)).await;
                for jar in [&first, &second] {
                    assert_eq!(shop.greeting(jar).await, "hello stranger");
                }
                let again = shop.send(Ask::page(&callback).jar(&jar)).await;
                assert_eq!(again.sets(), [""; 0], "the callback revives nothing");
            })
        })
        .collect();
    for person in crowd {
        person.await.unwrap();
    }
    assert_eq!(shop.token_calls(), 40);
}
