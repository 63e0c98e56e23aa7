//! Cross-site request forgery: what a session may do is done only from our own pages (`L59`).

use http::header::{HeaderMap, HeaderName, ORIGIN, UPGRADE};
use http::{HeaderValue, Method, StatusCode};

use super::navigation::{SEC_FETCH_SITE, Sent, one};
use super::refusal::Refusal;

/// Whether a request that carries a session must show that it comes from this application's pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Csrf {
    /// It must, where it could change something: an unsafe method (anything but GET, HEAD, OPTIONS and
    /// TRACE), a WebSocket upgrade, an extended CONNECT. `Sec-Fetch-Site: same-origin` shows it and
    /// decides alone where it is sent; else an `Origin` equal to that of the redirect URI; else the
    /// header `X-CSRF: 1`, which no other site can send without asking first. All else gets 403.
    #[default]
    SameOrigin,
    /// It need not: the application protects its own routes some other way. Logging out stays protected.
    Unchecked,
}

/// The request could do something in the session's name.
pub(super) fn needs_evidence(method: &Method, headers: &HeaderMap) -> bool {
    !(*method == Method::GET
        || *method == Method::HEAD
        || *method == Method::OPTIONS
        || *method == Method::TRACE)
        // A WebSocket is not held back by the same-origin policy, and its handshake is a GET. `Connection:
        // upgrade` alone upgrades to nothing, and some proxies send it with every request.
        || headers.contains_key(UPGRADE)
}

/// The browser says that the request comes from `origin`, or it is one that only our script can send.
pub(super) fn comes_from(origin: &str, headers: &HeaderMap) -> bool {
    match one(headers, &SEC_FETCH_SITE) {
        Sent::One(site) => return site == "same-origin",
        Sent::Unclear => return false,
        Sent::Nothing => {}
    }
    match one(headers, &ORIGIN) {
        // What a `no-referrer` policy makes of an own form as of a foreign one: no evidence.
        Sent::Nothing | Sent::One("null") => {
            headers.get(X_CSRF).map(HeaderValue::as_bytes) == Some(b"1")
        }
        Sent::One(sent) => sent == origin,
        Sent::Unclear => false,
    }
}

/// What a request from somewhere else is told.
pub(super) const FOREIGN: Refusal = Refusal::new(
    StatusCode::FORBIDDEN,
    "cross_site_request",
    "This request did not come from a page of this application. Nothing was changed: go back, reload the \
     page and try again.",
);

const X_CSRF: HeaderName = HeaderName::from_static("x-csrf");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetch_metadata_decides_alone_then_origin_then_the_static_header() {
        let ours = "https://shop.example.com";
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[("sec-fetch-site", "same-origin")], true),
            (
                &[("sec-fetch-site", "same-origin"), ("origin", "null")],
                true,
            ),
            (&[("sec-fetch-site", "same-site"), ("origin", ours)], false),
            (&[("sec-fetch-site", "cross-site"), ("x-csrf", "1")], false),
            (&[("sec-fetch-site", "none"), ("x-csrf", "1")], false),
            (
                &[
                    ("sec-fetch-site", "same-origin"),
                    ("sec-fetch-site", "cross-site"),
                ],
                false,
            ),
            (&[("sec-fetch-site", "same-origin, cross-site")], false),
            (&[("origin", ours)], true),
            (&[("origin", "https://shop.example.com:8443")], false),
            (&[("origin", "http://shop.example.com")], false),
            (
                &[("origin", "https://shop.example.com.evil.example")],
                false,
            ),
            (
                &[("origin", "https://evil.example"), ("x-csrf", "1")],
                false,
            ),
            (&[("origin", ours), ("origin", ours)], false),
            (&[("origin", "null")], false),
            (&[("origin", "null"), ("x-csrf", "1")], true),
            (&[("x-csrf", "1")], true),
            (&[("x-csrf", "0")], false),
            (&[("referer", "https://shop.example.com/")], false),
            (&[], false),
        ];
        for (fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for (field, value) in *fields {
                headers.append(*field, HeaderValue::from_static(value));
            }
            assert_eq!(comes_from(ours, &headers), *expected, "{fields:?}");
        }
    }

    #[test]
    fn unsafe_methods_and_upgrades_need_evidence() {
        let none = HeaderMap::new();
        for (method, expected) in [
            ("GET", false),
            ("HEAD", false),
            ("OPTIONS", false),
            ("POST", true),
            ("PUT", true),
            ("PATCH", true),
            ("DELETE", true),
            ("CONNECT", true),
            ("PURGE", true),
            ("get", true),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(needs_evidence(&method, &none), expected, "{method}");
        }
        for (field, value, expected) in [
            ("upgrade", "websocket", true),
            ("upgrade", "", true),
            ("connection", "upgrade", false),
            ("upgrade-insecure-requests", "1", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(field, HeaderValue::from_static(value));
            assert_eq!(needs_evidence(&Method::GET, &headers), expected, "{field}");
        }
    }
}
