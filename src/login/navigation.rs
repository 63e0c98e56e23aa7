//! Classifies requests: navigations, forms, htmx and all others. Only a navigation is redirected to
//! the login, and only a navigation starts one: a login started by a script or image cannot
//! complete, and would fill the browser with transaction cookies.

use http::header::{ACCEPT, HeaderMap, HeaderName, ORIGIN, UPGRADE};
use http::{HeaderValue, Method};

/// How the layer responds to a request that needs a session and has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestKind {
    /// The browser shows the response as a page and can be redirected to the login.
    Navigation,
    /// The user submitted a form and sees the response. A redirect would silently discard the form.
    Form,
    /// htmx follows the URL of an `HX-Redirect` field.
    Htmx,
    /// A script, an image, a prefetch or a WebSocket.
    Program,
}

/// Classifies a request; `origin` is that of this application, as serialized by browsers. A request
/// without `Sec-Fetch-Mode` is not a navigation if it has the `Origin` of another origin.
pub(crate) fn request_kind(method: &Method, headers: &HeaderMap, origin: &str) -> RequestKind {
    if headers.contains_key(HX_REQUEST) {
        return RequestKind::Htmx;
    }
    let becomes_a_page = wants_html(headers)
        && is_document_request(headers)
        && !is_prefetch(headers)
        && !headers.contains_key(UPGRADE)
        && !is(headers.get(X_REQUESTED_WITH), "XMLHttpRequest");
    let may_navigate = || has_fetch_metadata(headers) || !has_cross_origin(headers, origin);
    match *method {
        Method::GET if becomes_a_page && may_navigate() => RequestKind::Navigation,
        Method::POST if becomes_a_page => RequestKind::Form,
        _ => RequestKind::Program,
    }
}

/// Returns whether the response will be shown as a page. Fetch metadata, if present, must say so; a
/// service worker that forwards a navigation sends the destination `empty`.
///
/// A browser that sends any fetch metadata sends `Sec-Fetch-Mode` (only `Sec-Fetch-Dest` was added
/// later), so metadata without it describes no navigation, nor does a value that the specification
/// does not define.
pub(super) fn is_document_request(headers: &HeaderMap) -> bool {
    let site = single(headers, &SEC_FETCH_SITE);
    let mode = single(headers, &SEC_FETCH_MODE);
    let dest = single(headers, &SEC_FETCH_DEST);
    let sent_nothing = [site, mode, dest]
        .iter()
        .all(|one| *one == FieldValue::Absent);
    sent_nothing
        || matches!(
            (site, mode, dest),
            (
                FieldValue::Absent
                    | FieldValue::One("same-origin" | "same-site" | "cross-site" | "none"),
                FieldValue::One("navigate"),
                FieldValue::Absent | FieldValue::One("document" | "empty"),
            )
        )
}

/// Returns whether a browser describes the request, which follows the redirects that it gets.
pub(super) fn has_fetch_metadata(headers: &HeaderMap) -> bool {
    headers.contains_key(&SEC_FETCH_MODE)
}

/// Returns whether the request has an `Origin` field other than `own`, or more than one.
///
/// Browsers do not send the field with a GET navigation; on a GET it marks a script (Fetch, "append
/// a request `Origin` header"). `null` is the origin of a sandboxed frame, and thus another origin.
pub(super) fn has_cross_origin(headers: &HeaderMap, own: &str) -> bool {
    match single(headers, &ORIGIN) {
        FieldValue::Absent => false,
        FieldValue::One(origin) => origin != own,
        FieldValue::Ambiguous => true,
    }
}

/// Returns whether the page is prefetched, without an action of the user.
pub(super) fn is_prefetch(headers: &HeaderMap) -> bool {
    PREFETCH.iter().any(|name| {
        headers.get_all(name).iter().any(|value| {
            value
                .as_bytes()
                .to_ascii_lowercase()
                .windows(8)
                .any(|word| word == b"prefetch")
                || value.as_bytes().eq_ignore_ascii_case(b"preview")
        })
    })
}

/// Returns whether `Accept` includes `text/html` and does not prefer JSON; `*/*` does not count
/// (RFC 9110 §12.5.1).
pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    let (html, json) = accepted(headers);
    html > 0.0 && html >= json
}

/// Returns whether the client asks for JSON by name.
pub(super) fn wants_json(headers: &HeaderMap) -> bool {
    let (html, json) = accepted(headers);
    json > 0.0 && json > html
}

/// Returns the qualities with which `Accept` names HTML and JSON (RFC 9110 §12.5.1).
fn accepted(headers: &HeaderMap) -> (f32, f32) {
    let values = headers.get_all(ACCEPT).iter();
    let ranges = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let (mut html, mut json) = (0.0_f32, 0.0_f32);
    for range in ranges {
        let (name, quality) = parse_range(range);
        if name == "text/html" {
            html = html.max(quality);
        } else if name == "application/json" || name.ends_with("+json") {
            json = json.max(quality);
        }
    }
    (html, json)
}

/// Returns whether the navigation was caused by a click or by typing, as `Sec-Fetch-User` reports.
pub(super) fn is_user_activated(headers: &HeaderMap) -> bool {
    is(headers.get(SEC_FETCH_USER), "?1")
}

/// The value of a header field that must not be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldValue<'a> {
    Absent,
    One(&'a str),
    /// Repeated or not ASCII, so it cannot be relied on.
    Ambiguous,
}

pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> FieldValue<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => FieldValue::Absent,
        (Some(value), None) => value
            .to_str()
            .map_or(FieldValue::Ambiguous, FieldValue::One),
        _ => FieldValue::Ambiguous,
    }
}

/// Parses a media range; a weight that cannot be parsed counts as 1.
fn parse_range(range: &str) -> (String, f32) {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts.find_map(|parameter| {
        let text = parameter.strip_prefix(['q', 'Q'])?.strip_prefix('=')?;
        text.parse().ok()
    });
    (name, weight.unwrap_or(1.0))
}

fn is(value: Option<&HeaderValue>, expected: &str) -> bool {
    value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(expected.as_bytes()))
}

pub(super) const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
pub(super) const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_USER: HeaderName = HeaderName::from_static("sec-fetch-user");
const HX_REQUEST: HeaderName = HeaderName::from_static("hx-request");
const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
const PREFETCH: [HeaderName; 4] = [
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("purpose"),
    HeaderName::from_static("x-purpose"),
    HeaderName::from_static("x-moz"),
];

#[cfg(test)]
mod tests {
    use super::RequestKind::{Form, Htmx, Navigation, Program};
    use super::*;

    const PAGE: &str = "accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    const EVIL: &str = "origin: https://evil.example";
    const OWN: &str = "https://shop.example.com";
    const NAVIGATE: &str = "sec-fetch-mode: navigate";

    #[test]
    fn only_a_request_for_a_page_is_a_navigation() {
        let cases: &[(&str, &str, &[&str], RequestKind)] = &[
            ("old browser", "GET", &[PAGE], Navigation),
            ("post", "POST", &[PAGE], Form),
            ("head", "HEAD", &[PAGE], Program),
            ("preflight", "OPTIONS", &[PAGE], Program),
            ("curl", "GET", &["accept: */*"], Program),
            ("no accept", "GET", &[], Program),
            ("json", "GET", &["accept: application/json"], Program),
            ("no html", "GET", &["accept: text/html;q=0, */*"], Program),
            ("any text", "GET", &["accept: text/*"], Program),
            ("two modes", "GET", &[PAGE, NAVIGATE, NAVIGATE], Program),
            ("script of another origin", "GET", &[PAGE, EVIL], Program),
            ("form of another origin", "POST", &[PAGE, EVIL], Form),
            ("prefetch", "GET", &[PAGE, "purpose: prefetch"], Program),
            ("preview", "GET", &[PAGE, "x-moz: Preview"], Program),
            ("htmx", "GET", &[PAGE, "hx-request: true"], Htmx),
            ("websocket", "GET", &[PAGE, "upgrade: websocket"], Program),
        ];
        for (name, method, fields, expected) in cases {
            assert_eq!(kind_of(method, fields), *expected, "{name}");
        }
        let more: &[(&[&str], RequestKind)] = &[
            (&[NAVIGATE, "sec-fetch-dest: document"], Navigation),
            // A service worker.
            (&[NAVIGATE, "sec-fetch-dest: empty"], Navigation),
            (&[NAVIGATE, "sec-fetch-dest: iframe"], Program),
            (&["sec-fetch-mode: cors", "sec-fetch-dest: empty"], Program),
            (
                &["sec-fetch-mode: no-cors", "sec-fetch-dest: image"],
                Program,
            ),
            // A part of the fetch metadata.
            (&["sec-fetch-site: cross-site"], Program),
            (&["sec-purpose: prefetch;prerender"], Program),
            (&["x-requested-with: XMLHttpRequest"], Program),
            // After a form of this application, in an old browser.
            (&["origin: https://shop.example.com"], Navigation),
        ];
        for (fields, expected) in more {
            let fields = [&[PAGE], *fields].concat();
            assert_eq!(kind_of("GET", &fields), *expected, "{fields:?}");
        }
    }

    fn kind_of(method: &str, fields: &[&str]) -> RequestKind {
        let mut headers = HeaderMap::new();
        for field in fields {
            let (name, value) = field.split_once(": ").unwrap();
            let name = HeaderName::try_from(name).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        request_kind(&method, &headers, OWN)
    }
}
