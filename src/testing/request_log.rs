//! The log of all requests to a test server.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use tokio::sync::Notify;

use super::registry::GrantType;
use super::server::TestServer;

/// An endpoint of the authorization server, to count its requests and to make it fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// Either metadata document (OpenID Connect Discovery §4, RFC 8414 §3).
    Metadata,
    /// The key set (RFC 7517 §5).
    KeySet,
    /// The authorization endpoint (RFC 6749 §3.1).
    Authorization,
    /// The form target of the sign-in page.
    SignIn,
    /// The consent page and its form.
    Consent,
    /// The token endpoint (RFC 6749 §3.2).
    Token,
    /// The userinfo endpoint (OpenID Connect Core §5.3).
    UserInfo,
    /// The end-session endpoint (OpenID Connect RP-Initiated Logout §2) and its form.
    EndSession,
    /// The introspection endpoint (RFC 7662 §2).
    Introspection,
    /// The revocation endpoint (RFC 7009 §2).
    Revocation,
    /// The pushed authorization request endpoint (RFC 9126 §2).
    PushedAuthorizationRequest,
    /// Any other path.
    Unknown,
}

/// A request as received, before any fault applies.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    endpoint: Endpoint,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl RecordedRequest {
    /// Returns the endpoint.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Returns the method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Returns the request target: path and query, and the origin if the client sent it.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns a header as text, or `None` if it is absent or not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Returns the first value of a parameter of the query or the form body.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters()
            .into_iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// Returns the grant type of a token request, or `None` if it is not one of [`GrantType`].
    pub fn grant_type(&self) -> Option<GrantType> {
        if self.endpoint != Endpoint::Token {
            return None;
        }
        GrantType::from_name(&self.parameter("grant_type")?)
    }

    /// Returns the parameters of the query, then those of the body (parsed as a form).
    pub fn parameters(&self) -> Vec<(String, String)> {
        let query = self.uri.query().unwrap_or_default().as_bytes();
        let pairs = |text| url::form_urlencoded::parse(text).into_owned();
        pairs(query).chain(pairs(&self.body)).collect()
    }
}

impl TestServer {
    /// Returns all requests in order of arrival.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.request_log.all()
    }

    /// Returns the number of requests to an endpoint.
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.shared.request_log.count(endpoint)
    }

    /// Returns the number of token requests with this grant type.
    pub fn count_grant(&self, grant: GrantType) -> usize {
        self.shared.request_log.count_grant(grant)
    }

    /// Waits until an endpoint has received at least `count` requests in total.
    pub async fn wait_for(&self, endpoint: Endpoint, count: usize) {
        let log = &self.shared.request_log;
        log.wait_until(|| log.count(endpoint) >= count).await;
    }

    /// Waits until the token endpoint has received at least `count` requests with this grant type.
    pub async fn wait_for_grant(&self, grant: GrantType, count: usize) {
        let log = &self.shared.request_log;
        log.wait_until(|| log.count_grant(grant) >= count).await;
    }

    /// Clears the log and with it all counts.
    pub fn clear_requests(&self) {
        self.shared.request_log.clear();
    }
}

#[derive(Debug, Default)]
pub(super) struct RequestLog {
    requests: Mutex<Vec<RecordedRequest>>,
    arrived: Notify,
}

impl RequestLog {
    /// Records a request and returns its grant type.
    pub(super) fn add(&self, endpoint: Endpoint, request: &Request<Bytes>) -> Option<GrantType> {
        let recorded = RecordedRequest {
            endpoint,
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body: request.body().clone(),
        };
        let grant = recorded.grant_type();
        self.requests().push(recorded);
        self.arrived.notify_waiters();
        grant
    }

    pub(super) fn all(&self) -> Vec<RecordedRequest> {
        self.requests().clone()
    }

    pub(super) fn count(&self, endpoint: Endpoint) -> usize {
        self.requests()
            .iter()
            .filter(|request| request.endpoint == endpoint)
            .count()
    }

    pub(super) fn clear(&self) {
        self.requests().clear();
    }

    fn count_grant(&self, grant: GrantType) -> usize {
        self.requests()
            .iter()
            .filter(|request| request.grant_type() == Some(grant))
            .count()
    }

    async fn wait_until(&self, reached: impl Fn() -> bool) {
        loop {
            // Created before the count is read, so that no arrival in between is missed.
            let arrived = self.arrived.notified();
            if reached() {
                return;
            }
            arrived.await;
        }
    }

    fn requests(&self) -> MutexGuard<'_, Vec<RecordedRequest>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
