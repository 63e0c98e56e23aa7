//! Requests that are drawn at random from hostile parts: no redirect to another host, no session, no panic.

use axum::body::Body;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::support::shop::*;

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
    let own_slot = format!("{SLOT}0");
    let cookies = [
        "session",
        "session.0",
        "session.7",
        "session.8",
        "session.0x",
        "session.+1",
        "logout",
        "tx-",
        SLOT.trim_start_matches("__Host-Http-shop-"),
        own_slot.trim_start_matches("__Host-Http-shop-"),
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
                cleared || cookie.starts_with(SLOT) || cookie.contains("shop-return-to-"),
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
