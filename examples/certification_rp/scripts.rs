//! Requests of scripts that stand in for a browser.
//!
//! For a test suite only: never copy this into an application. The layer decides by the fetch metadata of browsers whether
//! a page of another site caused a request, and this adds the metadata of a request that the user made. A browser always
//! sends its own, so the check of its requests stays as it is; but whatever sends none passes as a browser here.

use axum::extract::Request;
use axum::http::header::{ACCEPT, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;

/// Completes a request without `Sec-Fetch-Site`: a GET is a navigation of the user, a POST to the logout route the form of
/// our own page, and a POST to the login route that of a page of the suite. Other POST requests need nothing.
pub(crate) async fn complete(mut request: Request, next: Next) -> Response {
    let site = match (request.method(), request.uri().path()) {
        _ if request.headers().contains_key(&SITE) => None,
        (&Method::GET, _) => Some("none"),
        (&Method::POST, "/auth/logout") => Some("same-origin"),
        (&Method::POST, "/auth/login") => Some("cross-site"),
        _ => None,
    };
    if let Some(site) = site {
        navigate(request.headers_mut(), site);
    }
    next.run(request).await
}

fn navigate(headers: &mut HeaderMap, site: &'static str) {
    for (name, value) in [
        (SITE, site),
        (HeaderName::from_static("sec-fetch-mode"), "navigate"),
        (HeaderName::from_static("sec-fetch-dest"), "document"),
        (ACCEPT, "text/html"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
