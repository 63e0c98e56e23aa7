//! Protection against cross-site request forgery: a request may use the session only if it comes
//! from a page of this application (RFC 10017 §6.1.3.3).

use http::Method;
use http::header::{HeaderMap, HeaderName, ORIGIN, UPGRADE};
use serde::Deserialize;

use super::navigation::{
    FieldValue, RequestKind, SEC_FETCH_DEST, SEC_FETCH_SITE, has_cross_origin, request_kind, single,
};
use crate::protocol::sanitize::log_safe;

/// Selects which requests with a session must prove that they come from a page of this application.
///
/// A request is same-origin if `Sec-Fetch-Site` is `same-origin`; if the field is present, it alone
/// decides. Without it, `Origin` must equal the origin of the redirect URI. Without both, the request
/// needs the static header `X-CSRF: 1`
/// ([`with_csrf_header`](super::LoginLayer::with_csrf_header) sets another name), which another
/// origin can only send after a preflight. `Origin: null` shows nothing. A request that fails the
/// check gets 403 with the code `cross_site_request`, and no handler is called.
///
/// # What is rejected
///
/// Browsers do not send a Lax cookie with most requests of another *site*. A sibling subdomain
/// belongs to the same site, so its requests do have the cookie. The table is about requests with a
/// session. `passes` means that the handler is called, not that the other origin can read the
/// response.
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
/// | a form of another origin's `no-referrer` page, from a browser without Fetch Metadata | 403 | 403 |
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
/// The layer does not answer preflights. A preflight has no cookie and is handled by the inner routes
/// like any request without a session. A CORS layer that allows another origin does not open what the
/// table rejects, because the origin is compared whatever headers are present. But it allows reading:
/// with `Access-Control-Allow-Credentials`, a sibling subdomain can read the response to every GET
/// that passes above. So allow no other origin on routes that use the session. With `StaticHeader`,
/// even a CORS layer that allows all origins lets none of them read as the user.
///
/// # Not checked
///
/// A program that is not a browser can send any header, but it does not have the cookie of another
/// user. A script in a page of this application can do all that the user can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Csrf {
    /// Requires a same-origin request if it could change state: an unsafe method (any but GET,
    /// HEAD, OPTIONS and TRACE), a WebSocket upgrade, or an extended CONNECT.
    #[default]
    SameOrigin,
    /// For single-page applications ([RFC 10017 §6.1.3.3.2]): requires the static header on every
    /// request, whatever its method, and rejects it if `Sec-Fetch-Site` or `Origin` name another
    /// origin. A form or link injected into a page of this application is rejected too.
    ///
    /// Three kinds of requests cannot have the header and pass without it: navigations (GET,
    /// without an `Origin` field of another origin); scripts, styles, images and frames of a page
    /// of this application (GET or HEAD with `Sec-Fetch-Site: same-origin` and a `Sec-Fetch-Dest`
    /// other than `empty`); and WebSockets, which are checked as with
    /// [`SameOrigin`](Self::SameOrigin). The `session` route needs the header too.
    ///
    /// Browsers from before 2023 send no `Sec-Fetch-Dest`; to support them, serve scripts and
    /// images outside of this layer. From such a browser, a `no-cors` GET of another origin with
    /// `Accept: text/html` looks like a navigation and passes: its page cannot read the response,
    /// and a GET must not change state. `EventSource` cannot send a header; `fetch` can read the
    /// same stream.
    ///
    /// [RFC 10017 §6.1.3.3.2]: https://www.rfc-editor.org/rfc/rfc10017#section-6.1.3.3.2
    StaticHeader,
    /// Checks no request: the application protects its routes in another way. Sign-out stays
    /// protected.
    Unchecked,
}

/// Checks where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(super) struct CsrfCheck<'a> {
    /// The origin of this application, as serialized by browsers.
    pub(super) origin: &'a str,
    /// The static header.
    pub(super) header: &'a HeaderName,
}

impl Csrf {
    /// Returns whether a request with a session may use it.
    pub(super) fn allows(self, check: CsrfCheck<'_>, method: &Method, headers: &HeaderMap) -> bool {
        match self {
            Self::Unchecked => true,
            Self::SameOrigin => !may_change_state(method, headers) || check.is_same_origin(headers),
            Self::StaticHeader => {
                check.is_from_own_script(method, headers)
                    || check.is_navigation(method, headers)
                    || is_own_subresource(check, method, headers)
            }
        }
    }
}

impl CsrfCheck<'_> {
    /// Returns whether the browser reports this origin, or the request has a header that other
    /// origins cannot send.
    pub(super) fn is_same_origin(self, headers: &HeaderMap) -> bool {
        match single(headers, &SEC_FETCH_SITE) {
            FieldValue::One(site) => return site == "same-origin",
            FieldValue::Ambiguous => return false,
            FieldValue::Absent => {}
        }
        match single(headers, &ORIGIN) {
            // With `Referrer-Policy: no-referrer`, forms of any origin have `Origin: null`, so it
            // shows nothing.
            FieldValue::Absent | FieldValue::One("null") => self.has_header(headers),
            FieldValue::One(sent) => sent == self.origin,
            FieldValue::Ambiguous => false,
        }
    }

    /// Returns whether the request has the static header and no sign of another origin (RFC 10017
    /// §6.1.3.3.2). A WebSocket cannot have the header, so its origin alone decides.
    pub(super) fn is_from_own_script(self, method: &Method, headers: &HeaderMap) -> bool {
        let has_header = self.has_header(headers) || is_socket(method, headers);
        has_header && self.is_same_origin(headers)
    }

    /// Returns whether the request is a navigation. A request with the `Origin` of another origin
    /// never is, whatever its fetch metadata.
    pub(super) fn is_navigation(self, method: &Method, headers: &HeaderMap) -> bool {
        request_kind(method, headers, self.origin) == RequestKind::Navigation
            && !has_cross_origin(headers, self.origin)
    }

    /// Describes for the log what a rejected request sent and what was expected.
    pub(super) fn describe(self, headers: &HeaderMap) -> String {
        let sent = |name| match single(headers, name) {
            FieldValue::Absent => "absent".to_owned(),
            FieldValue::One(value) => log_safe(value),
            FieldValue::Ambiguous => "repeated or not ASCII".to_owned(),
        };
        format!(
            "Sec-Fetch-Site: {}, Origin: {} (that of the redirect URI is {}), {}: {}; \
             see `LoginLayer::with_csrf`",
            sent(&SEC_FETCH_SITE),
            sent(&ORIGIN),
            self.origin,
            self.header,
            sent(self.header),
        )
    }

    fn has_header(self, headers: &HeaderMap) -> bool {
        single(headers, self.header) == FieldValue::One("1")
    }
}

/// Returns whether the request could change state.
fn may_change_state(method: &Method, headers: &HeaderMap) -> bool {
    !(*method == Method::GET
        || *method == Method::HEAD
        || *method == Method::OPTIONS
        || *method == Method::TRACE)
        || is_socket(method, headers)
}

/// Returns whether the request opens a WebSocket, which the same-origin policy does not restrict.
/// Its handshake is a GET, or a CONNECT over HTTP/2 (RFC 8441). `Connection: upgrade` alone upgrades
/// to nothing, and some proxies send it with every request.
fn is_socket(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::CONNECT || headers.contains_key(UPGRADE)
}

/// Returns whether a page of this application loads the request as a subresource, without a script.
fn is_own_subresource(check: CsrfCheck<'_>, method: &Method, headers: &HeaderMap) -> bool {
    let reads = *method == Method::GET || *method == Method::HEAD;
    if !reads
        || is_socket(method, headers)
        || single(headers, &SEC_FETCH_SITE) != FieldValue::One("same-origin")
    {
        return false;
    }
    match single(headers, &SEC_FETCH_DEST) {
        FieldValue::One("" | "empty") | FieldValue::Absent | FieldValue::Ambiguous => false,
        // A navigation never has the `Origin` of another origin.
        FieldValue::One("document") => !has_cross_origin(headers, check.origin),
        FieldValue::One(_) => true,
    }
}

pub(super) const X_CSRF: HeaderName = HeaderName::from_static("x-csrf");

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn fetch_metadata_takes_precedence_over_origin_and_origin_over_the_static_header() {
        let own = "https://shop.example.com";
        let check = CsrfCheck {
            origin: own,
            header: &X_CSRF,
        };
        let cases: &[(&[&str], bool)] = &[
            (&["sec-fetch-site: same-origin"], true),
            (&["sec-fetch-site: same-origin", "origin: null"], true),
            (
                &[
                    "sec-fetch-site: same-site",
                    "origin: https://shop.example.com",
                ],
                false,
            ),
            (&["sec-fetch-site: cross-site", "x-csrf: 1"], false),
            (&["sec-fetch-site: none", "x-csrf: 1"], false),
            (
                &["sec-fetch-site: same-origin", "sec-fetch-site: cross-site"],
                false,
            ),
            (&["sec-fetch-site: same-origin, cross-site"], false),
            (&["origin: https://shop.example.com"], true),
            (&["origin: https://shop.example.com:8443"], false),
            (&["origin: http://shop.example.com"], false),
            (&["origin: https://shop.example.com.evil.example"], false),
            (&["origin: https://evil.example", "x-csrf: 1"], false),
            (
                &[
                    "origin: https://shop.example.com",
                    "origin: https://shop.example.com",
                ],
                false,
            ),
            (&["origin: null"], false),
            (&["origin: null", "x-csrf: 1"], true),
            (&["x-csrf: 1"], true),
            (&["x-csrf: 0"], false),
            (&["x-csrf: 1", "x-csrf: 1"], false),
            (&["referer: https://shop.example.com/"], false),
            (&[], false),
        ];
        for (fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for field in *fields {
                let (name, value) = field.split_once(": ").unwrap();
                let name = HeaderName::try_from(name).unwrap();
                headers.append(name, HeaderValue::from_str(value).unwrap());
            }
            assert_eq!(check.is_same_origin(&headers), *expected, "{fields:?}");
        }
    }

    #[test]
    fn unsafe_methods_and_upgrades_must_be_same_origin() {
        let none = HeaderMap::new();
        let may = |method: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            may_change_state(&method, &none)
        };
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(!may(method), "{method}");
        }
        for method in ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "PURGE", "get"] {
            assert!(may(method), "{method}");
        }
        for (field, value, expected) in [
            ("upgrade", "websocket", true),
            ("upgrade", "", true),
            ("connection", "upgrade", false),
            ("upgrade-insecure-requests", "1", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(field, HeaderValue::from_static(value));
            let may = may_change_state(&Method::GET, &headers);
            assert_eq!(may, expected, "{field}");
        }
    }
}
