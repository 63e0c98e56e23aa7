//! Cross-site request forgery: what a session may do is done only from our own pages (`L59`).

use http::header::{HeaderMap, HeaderName, ORIGIN, UPGRADE};
use http::{Method, StatusCode};

use super::navigation::{
    Kind, SEC_FETCH_DEST, SEC_FETCH_SITE, Sent, has_foreign_origin, kind, one,
};
use super::refusal::Refusal;
use crate::protocol::sanitize::log_safe;

/// Whether a request that carries a session must show that it comes from this application's pages.
///
/// What shows it: `Sec-Fetch-Site: same-origin`, which decides alone where it is sent; else an `Origin`
/// equal to that of the redirect URI; else the static header `X-CSRF: 1`
/// ([`with_csrf_header`](super::LoginLayer::with_csrf_header) gives it another name), which no other origin can
/// send without asking first, in a preflight. `Origin: null` shows nothing. What does not show it gets 403
/// with the code `cross_site_request`, and no handler is called.
///
/// # What is stopped where
///
/// A Lax cookie does not come along with most of what another *site* sends; a sibling, another subdomain of
/// the same site, is a stranger whose requests bring it. So the rows speak of requests that carry the session.
/// `passes` means that the handler is called, not that somebody else can read its answer.
///
/// | request | `SameOrigin` | `StaticHeader` |
/// | --- | --- | --- |
/// | a form of another site | 403 | 403 |
/// | a form of a sibling subdomain | 403 | 403 |
/// | a link of another site to a page | passes | passes |
/// | `fetch` of another origin with `no-cors`, POST | 403 | 403 |
/// | `fetch` of another origin with `no-cors`, GET | passes | 403 |
/// | `fetch` of another origin with `cors` and the header | 403 | 403 |
/// | the preflight of another origin, which has no cookie | passes | passes |
/// | an image, script or frame in a page of another origin | passes | 403 |
/// | a WebSocket of another origin | 403 | 403 |
/// | an extended CONNECT of another origin | 403 | 403 |
/// | a form of another origin, from a browser without Fetch Metadata | 403 | 403 |
/// | an image of another origin, from a browser without Fetch Metadata | passes | 403 |
/// | a form of a stranger's `no-referrer` page, from a browser without Fetch Metadata | 403 | 403 |
/// | a form of our own `no-referrer` page, from a browser without Fetch Metadata | 403 | 403 |
/// | a form of our own `no-referrer` page | passes | 403 |
/// | a form of our own page | passes | 403 |
/// | `fetch` of our own page without the header, POST | passes | 403 |
/// | `fetch` or `EventSource` of our own page without the header, GET | passes | 403 |
/// | `fetch` of our own page with the header | passes | passes |
/// | an image, script or frame in our own page | passes | passes |
/// | an image in our own page, from a browser without Fetch Metadata | passes | 403 |
/// | a WebSocket of our own page | passes | passes |
/// | an extended CONNECT of our own page | passes | passes |
/// | curl with the cookie, GET | passes | 403 |
/// | curl with the cookie, POST | 403 | 403 |
/// | curl with the cookie and the header, POST | passes | passes |
///
/// # CORS
///
/// The layer answers no preflight: it carries no cookie and goes to the routes inside as anybody's request. A
/// CORS layer that allows another origin does not open what is 403 above, since the origin is compared whatever
/// header is there. What it does open is reading: with `Access-Control-Allow-Credentials`, a sibling
/// reads the answer of every GET that passes above. So allow no other origin on routes that know a
/// session; with `StaticHeader` even a CORS layer that allows all of them lets none read as the person.
/// The evidence has its limits, too: a program that is not a browser can send anything, but it has no cookie
/// of somebody else; and a script in a page of our own can do all that the person can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Csrf {
    /// It must, where it could change something: an unsafe method (anything but GET, HEAD, OPTIONS and
    /// TRACE), a WebSocket upgrade, an extended CONNECT.
    #[default]
    SameOrigin,
    /// For single-page applications ([RFC 10017 §6.1.3.3.2]): whatever its method, it must have the static
    /// header, and nothing may say that it comes from elsewhere. So a form or a link that was smuggled into
    /// an own page does nothing either. Without the header come three things that cannot have it: a person who
    /// goes to a page (GET, and no `Origin` field other than ours); the scripts, styles, images and frames of an own page (GET or HEAD, with
    /// `Sec-Fetch-Site: same-origin` and a `Sec-Fetch-Dest` other than `empty`); and WebSockets, which need the
    /// same evidence as with [`SameOrigin`](Self::SameOrigin). The route `session` asks for the header too.
    ///
    /// Browsers from before 2023 send no `Sec-Fetch-Dest`: for them, serve scripts and images outside of
    /// this layer. A `no-cors` GET of a foreign page with `Accept: text/html` looks like a navigation there, and
    /// passes: its page cannot read the answer, and a GET must not change anything. An `EventSource` cannot send a header; `fetch` can read the same stream.
    ///
    /// [RFC 10017 §6.1.3.3.2]: https://www.rfc-editor.org/rfc/rfc10017#section-6.1.3.3.2
    StaticHeader,
    /// It need not: the application protects its own routes some other way. Logging out stays protected.
    Unchecked,
}

/// What requests are compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evidence<'a> {
    /// Our own origin, as browsers write it.
    pub(super) origin: &'a str,
    /// The static header.
    pub(super) header: &'a HeaderName,
}

impl Csrf {
    /// Whether a request with a session may go on (`L59`).
    pub(super) fn admits(
        self,
        evidence: Evidence<'_>,
        method: &Method,
        headers: &HeaderMap,
    ) -> bool {
        match self {
            Self::Unchecked => true,
            Self::SameOrigin => !needs_evidence(method, headers) || evidence.is_shown_by(headers),
            Self::StaticHeader => {
                evidence.is_of_a_script(method, headers)
                    || evidence.is_navigation(method, headers)
                    || is_part_of_an_own_page(evidence, method, headers)
            }
        }
    }
}

impl Evidence<'_> {
    /// The browser says that the request comes from our origin, or it is one that only our script can send.
    pub(super) fn is_shown_by(self, headers: &HeaderMap) -> bool {
        match one(headers, &SEC_FETCH_SITE) {
            Sent::One(site) => return site == "same-origin",
            Sent::Unclear => return false,
            Sent::Nothing => {}
        }
        match one(headers, &ORIGIN) {
            // What a `no-referrer` policy makes of an own form as of a foreign one: no evidence.
            Sent::Nothing | Sent::One("null") => self.has_header(headers),
            Sent::One(sent) => sent == self.origin,
            Sent::Unclear => false,
        }
    }

    /// RFC 10017 §6.1.3.3.2: the static header, and nothing that speaks against it. A WebSocket cannot have
    /// it, so there the origin alone decides.
    pub(super) fn is_of_a_script(self, method: &Method, headers: &HeaderMap) -> bool {
        let has_header = self.has_header(headers) || is_socket(method, headers);
        has_header && self.is_shown_by(headers)
    }

    /// Returns whether a person goes to a page. A foreign `Origin` is never the one of a navigation, whatever
    /// the fetch metadata says.
    pub(super) fn is_navigation(self, method: &Method, headers: &HeaderMap) -> bool {
        kind(method, headers, self.origin) == Kind::Navigation
            && !has_foreign_origin(headers, self.origin)
    }

    /// Describes what a refused request sent and what would have passed, for the log.
    pub(super) fn describe(self, headers: &HeaderMap) -> String {
        let sent = |name| match one(headers, name) {
            Sent::Nothing => "absent".to_owned(),
            Sent::One(value) => log_safe(value),
            Sent::Unclear => "sent twice or not ASCII".to_owned(),
        };
        format!(
            "Sec-Fetch-Site: {}, Origin: {} (that of the redirect URI is {}), {}: {}; \
             `LoginLayer::with_csrf` says what is needed",
            sent(&SEC_FETCH_SITE),
            sent(&ORIGIN),
            self.origin,
            self.header,
            sent(self.header),
        )
    }

    fn has_header(self, headers: &HeaderMap) -> bool {
        one(headers, self.header) == Sent::One("1")
    }
}

/// The request could do something in the session's name.
fn needs_evidence(method: &Method, headers: &HeaderMap) -> bool {
    !(*method == Method::GET
        || *method == Method::HEAD
        || *method == Method::OPTIONS
        || *method == Method::TRACE)
        || is_socket(method, headers)
}

/// A WebSocket is not held back by the same-origin policy. Its handshake is a GET, or over HTTP/2 a CONNECT
/// (RFC 8441). `Connection: upgrade` alone upgrades to nothing, and some proxies send it with every request.
fn is_socket(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::CONNECT || headers.contains_key(UPGRADE)
}

/// What a page loads by being there, and no script asked for.
fn is_part_of_an_own_page(evidence: Evidence<'_>, method: &Method, headers: &HeaderMap) -> bool {
    let reads = *method == Method::GET || *method == Method::HEAD;
    if !reads
        || is_socket(method, headers)
        || one(headers, &SEC_FETCH_SITE) != Sent::One("same-origin")
    {
        return false;
    }
    match one(headers, &SEC_FETCH_DEST) {
        Sent::One("" | "empty") | Sent::Nothing | Sent::Unclear => false,
        // A navigation, which never has a foreign origin.
        Sent::One("document") => !has_foreign_origin(headers, evidence.origin),
        Sent::One(_) => true,
    }
}

/// What a request from somewhere else is told.
pub(super) const FOREIGN: Refusal = Refusal::new(
    StatusCode::FORBIDDEN,
    "cross_site_request",
    "This request did not come from a page of this application. Nothing was changed: go back, reload the \
     page and try again.",
);

pub(super) const X_CSRF: HeaderName = HeaderName::from_static("x-csrf");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn fetch_metadata_decides_alone_then_origin_then_the_static_header() {
        let ours = "https://shop.example.com";
        let evidence = Evidence {
            origin: ours,
            header: &X_CSRF,
        };
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
            (&[("x-csrf", "1"), ("x-csrf", "1")], false),
            (&[("referer", "https://shop.example.com/")], false),
            (&[], false),
        ];
        for (fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for (field, value) in *fields {
                headers.append(*field, HeaderValue::from_static(value));
            }
            assert_eq!(evidence.is_shown_by(&headers), *expected, "{fields:?}");
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
