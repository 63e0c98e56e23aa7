//! Responses of the layer itself. Each forbids caching: most depend on the session (RFC 9111
//! §5.2.2.5).

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName,
    LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode, Version};

use super::events;
use crate::protocol::cache;

/// A response of the layer, before its body is converted to the body type of the inner service.
pub(super) type LayerResponse = Response<Bytes>;

/// Redirects to a path on this origin with 303, so that browsers use GET even after a form (RFC
/// 9700 §4.12).
pub(super) fn redirect(location: &str) -> LayerResponse {
    see_other(location, false)
}

/// Redirects to the authorization server. The URL contains a state, a nonce or an ID token, so the
/// header value is marked as sensitive for layers that log or compress header fields.
pub(super) fn redirect_to_server(location: &str) -> LayerResponse {
    see_other(location, true)
}

/// Tells a script where to navigate to. The location has no secret: the script can read it.
pub(super) fn location_for_script(location: &str, is_htmx: bool) -> LayerResponse {
    let mut response = json(&serde_json::json!({ "location": location }));
    if is_htmx && let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(HX_REDIRECT, location);
    }
    response
}

fn see_other(location: &str, sensitive: bool) -> LayerResponse {
    let Ok(mut location) = HeaderValue::from_str(location) else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    location.set_sensitive(sensitive);
    let mut response = empty(StatusCode::SEE_OTHER);
    response.headers_mut().insert(LOCATION, location);
    response
}

pub(super) fn html(status: StatusCode, page: String, policy: &str) -> LayerResponse {
    let mut response = with_body(status, "text/html; charset=utf-8", page);
    let policy = HeaderValue::from_str(policy).unwrap_or(NOTHING_ALLOWED);
    response
        .headers_mut()
        .insert(CONTENT_SECURITY_POLICY, policy);
    response
}

pub(super) fn json(value: &serde_json::Value) -> LayerResponse {
    json_with(StatusCode::OK, value)
}

pub(super) fn json_with(status: StatusCode, value: &serde_json::Value) -> LayerResponse {
    with_body(status, "application/json", value.to_string())
}

/// A problem document (RFC 9457).
pub(super) fn problem(status: StatusCode, value: &serde_json::Value) -> LayerResponse {
    with_body(status, "application/problem+json", value.to_string())
}

pub(super) fn text(status: StatusCode, message: &str) -> LayerResponse {
    with_body(status, "text/plain; charset=utf-8", message.to_owned())
}

pub(super) fn method_not_allowed(allowed: &'static str) -> LayerResponse {
    let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// Closes the HTTP/1 connection after a form that is rejected: it may not have been read to its end, and the rest would be
/// read as the next request (RFC 9112 §9.6).
pub(super) fn close_after_rejected_form(response: &mut LayerResponse, request: &Parts) {
    let is_rejected = response.status().as_u16() >= 400;
    if is_rejected && request.method == Method::POST && request.version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
}

/// Logs that the application is set up incorrectly and returns a 500 response; the request goes no
/// further.
pub(crate) fn misconfigured(message: &'static str) -> LayerResponse {
    events::misconfigured(message);
    text(StatusCode::INTERNAL_SERVER_ERROR, message)
}

pub(super) fn add_cookies(headers: &mut HeaderMap, cookies: impl IntoIterator<Item = HeaderValue>) {
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
}

/// Forbids caching of a response that belongs to one browser: a shared cache could send the session
/// of one user to another.
pub(super) fn forbid_storing(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, NO_STORE);
    forbid_sharing(headers);
}

/// Forbids shared caching, also by caches that prefer a targeted field (RFC 9213) over
/// `Cache-Control`.
pub(super) fn forbid_sharing(headers: &mut HeaderMap) {
    cache::remove_targeted(headers);
    vary_by_cookie(headers);
}

pub(super) fn vary_by_cookie(headers: &mut HeaderMap) {
    cache::vary_by(headers, &COOKIE);
}

fn with_body(status: StatusCode, content_type: &'static str, body: String) -> LayerResponse {
    let mut response = empty(status);
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    *response.body_mut() = Bytes::from(body);
    response
}

pub(super) fn empty(status: StatusCode) -> LayerResponse {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    forbid_storing(headers);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The URL of a callback contains a code, which must not leak in `Referer`. `same-origin`
    // suffices for that, and keeps the `Origin` of the sign-out form from becoming `null`; the
    // callback itself sends `no-referrer`.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    response
}

pub(super) fn send_no_referrer(headers: &mut HeaderMap) {
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// Sets `Retry-After`, in whole seconds.
pub(crate) fn set_retry_after(headers: &mut HeaderMap, wait: Duration) {
    let partial = u64::from(wait.subsec_nanos() > 0);
    let seconds = wait.as_secs().saturating_add(partial);
    headers.insert(RETRY_AFTER, seconds.max(1).into());
}

/// Allows other origins to embed the response in a frame, as far as its content security policy
/// does.
pub(super) fn allow_embedding(headers: &mut HeaderMap) {
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
}

/// Clears the cache and script storage of this origin, but not its cookies.
pub(super) fn clear_site_data(headers: &mut HeaderMap) {
    let what = HeaderValue::from_static("\"cache\", \"storage\"");
    headers.insert(HeaderName::from_static("clear-site-data"), what);
}

pub(super) const HX_REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
const COOKIE: HeaderValue = HeaderValue::from_static("cookie");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NOTHING_ALLOWED: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
