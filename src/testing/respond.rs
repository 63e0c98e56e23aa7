//! Response helpers and random identifiers.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, LOCATION, PRAGMA, SET_COOKIE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::crypto::base64url;
use crate::random::Random;

pub(super) fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

pub(super) fn json(status: StatusCode, value: &Value) -> Response<Bytes> {
    let response = empty(status).map(|_| Bytes::from(value.to_string()));
    with_header(response, CONTENT_TYPE, "application/json")
}

/// Returns a JSON response that must not be cached (RFC 6749 §5.1).
pub(super) fn private_json(status: StatusCode, value: &Value) -> Response<Bytes> {
    let response = with_header(json(status, value), CACHE_CONTROL, "no-store");
    with_header(response, PRAGMA, "no-cache")
}

/// Returns the error response of RFC 6749 §5.2.
pub(super) fn oauth_error(status: StatusCode, code: &str, description: &str) -> Response<Bytes> {
    private_json(
        status,
        &json!({ "error": code, "error_description": description }),
    )
}

/// Returns a redirect that a browser follows with GET, so that it does not repeat a form with a
/// password (RFC 9700 §4.12).
pub(super) fn redirect(location: &str) -> Response<Bytes> {
    let response = with_header(empty(StatusCode::SEE_OTHER), LOCATION, location);
    with_header(response, CACHE_CONTROL, "no-store")
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Response<Bytes> {
    with_header(empty(StatusCode::METHOD_NOT_ALLOWED), ALLOW, allowed)
}

pub(super) fn with_cookie(mut response: Response<Bytes>, cookie: &str) -> Response<Bytes> {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}

/// Sets a header. Ignores a value that is not valid in a header.
pub(super) fn with_header(
    mut response: Response<Bytes>,
    name: HeaderName,
    value: &str,
) -> Response<Bytes> {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
    response
}

/// Appends parameters to the query of a URL and keeps the existing query (RFC 6749 §4.1.2).
pub(super) fn with_query(uri: &str, pairs: &[(&str, &str)]) -> String {
    let Ok(mut url) = url::Url::parse(uri) else {
        return uri.to_owned();
    };
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    url.into()
}

/// Returns 256 random bits in base64url.
///
/// # Panics
///
/// If the operating system's random number generator fails.
pub(super) fn random_text() -> String {
    let Ok(bytes) = Random::system().bytes::<32>() else {
        panic!("the operating system's random number generator failed")
    };
    base64url::encode(&bytes)
}
