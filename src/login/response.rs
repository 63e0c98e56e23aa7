//! The responses the layer writes itself. None of them may be kept by a cache (`L7`).

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION,
    REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};

use crate::protocol::cache;

/// A response of our own, before it gets the body type of the service around.
pub(super) type Answer = Response<Bytes>;

/// Goes to `location` on this origin with a GET, whatever the request was (`L36`).
pub(super) fn redirect(location: &str) -> Answer {
    go_to(location, false)
}

/// Goes to the authorization server. A state, a nonce or an ID token stands in that address, so it is
/// marked for those who print or compress header fields (`L20`, `L63`).
pub(super) fn redirect_to_server(location: &str) -> Answer {
    go_to(location, true)
}

fn go_to(location: &str, sensitive: bool) -> Answer {
    let Ok(mut location) = HeaderValue::from_str(location) else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    location.set_sensitive(sensitive);
    let mut answer = empty(StatusCode::SEE_OTHER);
    answer.headers_mut().insert(LOCATION, location);
    answer
}

pub(super) fn html(status: StatusCode, page: String, policy: &str) -> Answer {
    let mut answer = with_body(status, "text/html; charset=utf-8", page);
    let policy = HeaderValue::from_str(policy).unwrap_or(NOTHING_ALLOWED);
    answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
    answer
}

pub(super) fn json(value: &serde_json::Value) -> Answer {
    json_with(StatusCode::OK, value)
}

pub(super) fn json_with(status: StatusCode, value: &serde_json::Value) -> Answer {
    with_body(status, "application/json", value.to_string())
}

/// RFC 9457: a problem for programs.
pub(super) fn problem(status: StatusCode, value: &serde_json::Value) -> Answer {
    with_body(status, "application/problem+json", value.to_string())
}

pub(super) fn text(status: StatusCode, words: &str) -> Answer {
    with_body(status, "text/plain; charset=utf-8", words.to_owned())
}

pub(super) fn method_not_allowed(allowed: &'static str) -> Answer {
    let mut answer = empty(StatusCode::METHOD_NOT_ALLOWED);
    answer
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

pub(super) fn add_cookies(headers: &mut HeaderMap, cookies: impl IntoIterator<Item = HeaderValue>) {
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
    }
}

/// Marks a response as one browser's alone (`L7`, `H65`): caches that would store it otherwise have
/// handed one person's session to another.
pub(super) fn forbid_storing(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, NO_STORE);
    forbid_sharing(headers);
}

/// No shared cache may keep it for others, whatever it reads in the place of `Cache-Control` (`L7`).
pub(super) fn forbid_sharing(headers: &mut HeaderMap) {
    cache::remove_targeted(headers);
    vary_by_cookie(headers);
}

pub(super) fn vary_by_cookie(headers: &mut HeaderMap) {
    cache::vary_by(headers, &COOKIE);
}

fn with_body(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = empty(status);
    let content_type = HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    *answer.body_mut() = Bytes::from(body);
    answer
}

pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    forbid_storing(headers);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // `L21`: the address of a callback holds a code. `same-origin` would do for that, and keeps the
    // `Origin` of our own form from becoming `null`; the callback says `no-referrer` itself.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    answer
}

pub(super) fn send_no_referrer(headers: &mut HeaderMap) {
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
}

/// When it is worth coming back, in whole seconds.
pub(super) fn retry_after(headers: &mut HeaderMap, wait: Duration) {
    let begun = u64::from(wait.subsec_nanos() > 0);
    let seconds = wait.as_secs().saturating_add(begun);
    headers.insert(RETRY_AFTER, seconds.max(1).into());
}

/// Lets pages of other origins have it in a frame, as far as its policy names them.
pub(super) fn allow_embedding(headers: &mut HeaderMap) {
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
}

/// `L64`: what the browser has kept of this origin goes, cookies apart.
pub(super) fn clear_site_data(headers: &mut HeaderMap) {
    let what = HeaderValue::from_static("\"cache\", \"storage\"");
    headers.insert(HeaderName::from_static("clear-site-data"), what);
}

const COOKIE: HeaderValue = HeaderValue::from_static("cookie");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NOTHING_ALLOWED: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
