//! What a server was asked: every request is kept, to be counted and read.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use tokio::sync::Notify;

use super::registry::Grant;
use super::server::TestServer;

/// A place of the authorization server that can be asked, counted and made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Endpoint {
    /// Either metadata document (OpenID Connect Discovery §4, RFC 8414 §3).
    Metadata,
    /// The key set (RFC 7517 §5).
    KeySet,
    /// The authorization endpoint (RFC 6749 §3.1).
    Authorization,
    /// The form of the sign-in page.
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
    /// Any other path.
    Unknown,
}

/// One request as it arrived, before any fault.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    endpoint: Endpoint,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl RecordedRequest {
    /// Where it went.
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// Its method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Its target: path and query, and the origin where the caller sent one.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Its header fields.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header field as text; `None` where it is absent or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Its body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The value of a parameter, from the query or a form body: of the first, if it was sent twice.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters()
            .into_iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// The grant type of a request to the token endpoint; `None` for one that is not known.
    pub fn grant(&self) -> Option<Grant> {
        if self.endpoint != Endpoint::Token {
            return None;
        }
        Grant::named(&self.parameter("grant_type")?)
    }

    /// All parameters of the query and then of the body, read as a form.
    pub fn parameters(&self) -> Vec<(String, String)> {
        let query = self.uri.query().unwrap_or_default().as_bytes();
        let pairs = |text| url::form_urlencoded::parse(text).into_owned();
        pairs(query).chain(pairs(&self.body)).collect()
    }
}

impl TestServer {
    /// Every request so far, in order of arrival.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.record.all()
    }

    /// How many requests came to an endpoint.
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.shared.record.count(endpoint)
    }

    /// How many requests for this grant came to the token endpoint.
    pub fn count_grant(&self, grant: Grant) -> usize {
        self.shared.record.count_grant(grant)
    }

    /// Completes once an endpoint was asked at least that often, counted from the start.
    pub async fn wait_for(&self, endpoint: Endpoint, count: usize) {
        let record = &self.shared.record;
        record.wait_until(|| record.count(endpoint) >= count).await;
    }

    /// Completes once the token endpoint was asked for this grant at least that often.
    pub async fn wait_for_grant(&self, grant: Grant, count: usize) {
        let record = &self.shared.record;
        record
            .wait_until(|| record.count_grant(grant) >= count)
            .await;
    }

    /// Starts the record anew.
    pub fn forget_requests(&self) {
        self.shared.record.clear();
    }
}

#[derive(Debug, Default)]
pub(super) struct Record {
    requests: Mutex<Vec<RecordedRequest>>,
    arrived: Notify,
}

impl Record {
    /// Keeps a request, and says which grant it asks for.
    pub(super) fn add(&self, endpoint: Endpoint, request: &Request<Bytes>) -> Option<Grant> {
        let recorded = RecordedRequest {
            endpoint,
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            body: request.body().clone(),
        };
        let grant = recorded.grant();
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

    fn count_grant(&self, grant: Grant) -> usize {
        self.requests()
            .iter()
            .filter(|request| request.grant() == Some(grant))
            .count()
    }

    async fn wait_until(&self, reached: impl Fn() -> bool) {
        loop {
            // Made before the count is read, so that an arrival in between is not missed.
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
