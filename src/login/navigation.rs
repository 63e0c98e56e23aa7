//! What a request is: a person going to a page, or a program asking (`L4`, decision of the design:
//! only a navigation is ever redirected, and only a navigation starts a login).

use http::header::{ACCEPT, HeaderMap, HeaderName, ORIGIN, UPGRADE};
use http::{HeaderValue, Method};

/// How a request must be answered when it needs a login first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A browser shows the answer as a page: it can be sent to log in.
    Navigation,
    /// A person sent a form and looks at the answer. A redirect would lose what they sent without a word.
    Form,
    /// htmx follows an `HX-Redirect` field.
    Htmx,
    /// A script, an image, a prefetch, a WebSocket: told in words.
    Program,
}

/// `origin` is our own, as browsers write it. A browser that does not say that it navigates is held to it.
pub(crate) fn kind(method: &Method, headers: &HeaderMap, origin: &str) -> Kind {
    if headers.contains_key(HX_REQUEST) {
        return Kind::Htmx;
    }
    let becomes_a_page = wants_html(headers)
        && goes_to_a_document(headers)
        && !is_prefetch(headers)
        && !headers.contains_key(UPGRADE)
        && !is(headers.get(X_REQUESTED_WITH), "XMLHttpRequest");
    let may_navigate =
        || headers.contains_key(&SEC_FETCH_MODE) || !has_foreign_origin(headers, origin);
    match *method {
        Method::GET if becomes_a_page && may_navigate() => Kind::Navigation,
        Method::POST if becomes_a_page => Kind::Form,
        _ => Kind::Program,
    }
}

/// Where the browser says what it does, it says that it goes to a page. `empty` is what a service
/// worker makes of a navigation it passes on.
///
/// A browser that sends any fetch metadata sends `Sec-Fetch-Mode` (only `Sec-Fetch-Dest` came later), so
/// metadata without it describes no navigation, nor does a word that the specification does not have.
pub(super) fn goes_to_a_document(headers: &HeaderMap) -> bool {
    let site = one(headers, &SEC_FETCH_SITE);
    let mode = one(headers, &SEC_FETCH_MODE);
    let dest = one(headers, &SEC_FETCH_DEST);
    let sent_nothing = [site, mode, dest].iter().all(|one| *one == Sent::Nothing);
    sent_nothing
        || matches!(
            (site, mode, dest),
            (
                Sent::Nothing | Sent::One("same-origin" | "same-site" | "cross-site" | "none"),
                Sent::One("navigate"),
                Sent::Nothing | Sent::One("document" | "empty"),
            )
        )
}

/// Returns whether the request has an `Origin` field other than ours, once and byte for byte.
///
/// No browser sends the field with a GET navigation; with a GET it is the mark of a script (Fetch,
/// "append a request `Origin` header"). `null` is the origin of a sandbox, and so a foreign one.
pub(super) fn has_foreign_origin(headers: &HeaderMap, ours: &str) -> bool {
    match one(headers, &ORIGIN) {
        Sent::Nothing => false,
        Sent::One(origin) => origin != ours,
        Sent::Unclear => true,
    }
}

/// A page that is fetched before anybody asked for it.
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

/// `Accept` names `text/html`, and no JSON above it; `*/*` names nothing (RFC 9110 §12.5.1).
pub(super) fn wants_html(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT).iter();
    let ranges = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let (mut html, mut json) = (0.0_f32, 0.0_f32);
    for range in ranges {
        let (name, quality) = read_range(range);
        if name == "text/html" {
            html = html.max(quality);
        } else if name == "application/json" || name.ends_with("+json") {
            json = json.max(quality);
        }
    }
    html > 0.0 && html >= json
}

/// A person clicked or typed: the browser did not do this by itself.
pub(super) fn by_person(headers: &HeaderMap) -> bool {
    is(headers.get(SEC_FETCH_USER), "?1")
}

/// What a header field says that must be there once to say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent<'a> {
    Nothing,
    One(&'a str),
    /// Twice, or no text: it says nothing that can be relied on.
    Unclear,
}

pub(super) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Sent<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Sent::Nothing,
        (Some(value), None) => value.to_str().map_or(Sent::Unclear, Sent::One),
        _ => Sent::Unclear,
    }
}

/// A media range in lower case and its weight; one that cannot be read is taken for the full one.
fn read_range(range: &str) -> (String, f32) {
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
    use super::*;

    /// Name, method, header fields, kind.
    type Case = (
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        Kind,
    );

    const PAGE: (&str, &str) = (
        "accept",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    );

    #[test]
    fn only_a_person_going_to_a_page_navigates() {
        let cases: &[Case] = &[
            (
                "a browser",
                "GET",
                &[
                    PAGE,
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "document"),
                ],
                Kind::Navigation,
            ),
            ("an old browser", "GET", &[PAGE], Kind::Navigation),
            (
                "a service worker",
                "GET",
                &[
                    PAGE,
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "empty"),
                ],
                Kind::Navigation,
            ),
            ("a post", "POST", &[PAGE], Kind::Form),
            ("a head", "HEAD", &[PAGE], Kind::Program),
            ("a preflight", "OPTIONS", &[PAGE], Kind::Program),
            ("curl", "GET", &[("accept", "*/*")], Kind::Program),
            ("no accept", "GET", &[], Kind::Program),
            (
                "json",
                "GET",
                &[("accept", "application/json")],
                Kind::Program,
            ),
            (
                "html unwanted",
                "GET",
                &[("accept", "text/html;q=0, */*")],
                Kind::Program,
            ),
            ("any text", "GET", &[("accept", "text/*")], Kind::Program),
            (
                "fetch",
                "GET",
                &[
                    PAGE,
                    ("sec-fetch-mode", "cors"),
                    ("sec-fetch-dest", "empty"),
                ],
                Kind::Program,
            ),
            (
                "a frame",
                "GET",
                &[
                    PAGE,
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-dest", "iframe"),
                ],
                Kind::Program,
            ),
            (
                "an image",
                "GET",
                &[
                    PAGE,
                    ("sec-fetch-mode", "no-cors"),
                    ("sec-fetch-dest", "image"),
                ],
                Kind::Program,
            ),
            (
                "two modes",
                "GET",
                &[
                    PAGE,
                    ("sec-fetch-mode", "navigate"),
                    ("sec-fetch-mode", "navigate"),
                ],
                Kind::Program,
            ),
            (
                "a script of another origin in an old browser",
                "GET",
                &[PAGE, ("origin", "https://evil.example")],
                Kind::Program,
            ),
            (
                "a form of another origin",
                "POST",
                &[PAGE, ("origin", "https://evil.example")],
                Kind::Form,
            ),
            (
                "after a form of our own, in an old browser",
                "GET",
                &[PAGE, ("origin", "https://shop.example.com")],
                Kind::Navigation,
            ),
            (
                "a part of the fetch metadata",
                "GET",
                &[PAGE, ("sec-fetch-site", "cross-site")],
                Kind::Program,
            ),
            (
                "a prefetch",
                "GET",
                &[PAGE, ("sec-purpose", "prefetch;prerender")],
                Kind::Program,
            ),
            (
                "an old prefetch",
                "GET",
                &[PAGE, ("purpose", "prefetch")],
                Kind::Program,
            ),
            (
                "jquery",
                "GET",
                &[PAGE, ("x-requested-with", "XMLHttpRequest")],
                Kind::Program,
            ),
            ("htmx", "GET", &[PAGE, ("hx-request", "true")], Kind::Htmx),
            (
                "a websocket",
                "GET",
                &[PAGE, ("upgrade", "websocket")],
                Kind::Program,
            ),
        ];
        for (name, method, fields, expected) in cases {
            let mut headers = HeaderMap::new();
            for (field, value) in *fields {
                headers.append(*field, HeaderValue::from_static(value));
            }
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let kind = kind(&method, &headers, "https://shop.example.com");
            assert_eq!(kind, *expected, "{name}");
        }
    }
}
