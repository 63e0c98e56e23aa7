//! Failures on demand: what a network and a broken authorization server do.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::mint::TokenMint;
use super::record::Endpoint;
use super::server::TestServer;

/// One thing that goes wrong at an endpoint.
///
/// Handed to [`TestServer::fail`](super::TestServer::fail) and its siblings. Several can be active at
/// one endpoint: delays come first, then what answers in the endpoint's place, then what changes its
/// answer, each in the order they were asked for.
#[derive(Clone, Debug)]
pub struct Fault(pub(super) Kind);

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Delay(Duration),
    Hang,
    Disconnect,
    Status(StatusCode),
    Body { content_type: String, bytes: Bytes },
    LoseAnswer,
    Header(HeaderName, Option<HeaderValue>),
    Member(String, Option<Value>),
    Parameter(String, Option<String>),
    AccessToken(Alter),
    IdToken(Alter),
    Introspection(Alter),
    SignedIntrospection(Alter),
}

/// What is done to a token before it is signed.
#[derive(Clone)]
pub(super) struct Alter(Arc<dyn Fn(TokenMint) -> TokenMint + Send + Sync>);

impl Fault {
    /// Waits that long by the server's clock, then goes on.
    pub fn delay(duration: Duration) -> Self {
        Self(Kind::Delay(duration))
    }

    /// Never answers.
    pub fn hang() -> Self {
        Self(Kind::Hang)
    }

    /// Drops the connection before anything is done.
    pub fn disconnect() -> Self {
        Self(Kind::Disconnect)
    }

    /// Does what was asked, then drops the connection instead of answering.
    pub fn lose_answer() -> Self {
        Self(Kind::LoseAnswer)
    }

    /// Answers with this status and no body, and does nothing. A number that is no status counts as 500.
    pub fn status(status: u16) -> Self {
        Self(Kind::Status(
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        ))
    }

    /// Answers 200, or the status of another fault, with this body, and does nothing.
    pub fn body(content_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Body {
            content_type: content_type.into(),
            bytes: bytes.into(),
        })
    }

    /// Sets a header field of the answer.
    pub fn header(name: HeaderName, value: HeaderValue) -> Self {
        Self(Kind::Header(name, Some(value)))
    }

    /// Takes a header field away from the answer.
    pub fn without_header(name: HeaderName) -> Self {
        Self(Kind::Header(name, None))
    }

    /// Sets a member of the JSON object that is answered.
    pub fn member(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self(Kind::Member(name.into(), Some(value.into())))
    }

    /// Takes a member away from the JSON object that is answered.
    pub fn without_member(name: impl Into<String>) -> Self {
        Self(Kind::Member(name.into(), None))
    }

    /// Sets a query parameter of the redirect that is answered: another `iss`, a foreign `state`.
    pub fn parameter(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self(Kind::Parameter(name.into(), Some(value.into())))
    }

    /// Takes a query parameter away from the redirect that is answered.
    pub fn without_parameter(name: impl Into<String>) -> Self {
        Self(Kind::Parameter(name.into(), None))
    }

    /// Changes access tokens before the token endpoint signs them.
    ///
    /// `Fault::access_token(|mint| mint.with_audience("https://other.example.test"))`
    pub fn access_token(alter: impl Fn(TokenMint) -> TokenMint + Send + Sync + 'static) -> Self {
        Self(Kind::AccessToken(Alter(Arc::new(alter))))
    }

    /// Changes ID tokens before the token endpoint signs them.
    ///
    /// `Fault::id_token(|mint| mint.with_broken_signature())`
    pub fn id_token(alter: impl Fn(TokenMint) -> TokenMint + Send + Sync + 'static) -> Self {
        Self(Kind::IdToken(Alter(Arc::new(alter))))
    }

    /// Changes what the introspection endpoint says of a token: the claims are the members of its
    /// answer, `active` among them. In a signed answer, what stands in `token_introspection`.
    ///
    /// `Fault::introspection(|answer| answer.with_claim("active", "true"))`
    pub fn introspection(alter: impl Fn(TokenMint) -> TokenMint + Send + Sync + 'static) -> Self {
        Self(Kind::Introspection(Alter(Arc::new(alter))))
    }

    /// Changes a signed answer of the introspection endpoint (RFC 9701 §5) before it is signed.
    ///
    /// `Fault::signed_introspection(|answer| answer.with_audience("another resource server"))`
    pub fn signed_introspection(
        alter: impl Fn(TokenMint) -> TokenMint + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::SignedIntrospection(Alter(Arc::new(alter))))
    }
}

impl Alter {
    pub(super) fn apply(&self, mint: TokenMint) -> TokenMint {
        (self.0)(mint)
    }
}

impl fmt::Debug for Alter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alter(..)")
    }
}

impl TestServer {
    /// Makes an endpoint fail until it is [mended](Self::mend).
    ///
    /// [`Fault::parameter`] changes the redirect back to the client: set it at
    /// [`Endpoint::Authorization`] or [`Endpoint::EndSession`], whichever page the redirect comes from.
    pub fn fail(&self, endpoint: Endpoint, fault: Fault) {
        self.shared.faults.add(endpoint, fault, None);
    }

    /// Makes the next request to an endpoint fail.
    pub fn fail_once(&self, endpoint: Endpoint, fault: Fault) {
        self.fail_times(endpoint, 1, fault);
    }

    /// Makes the next so many requests to an endpoint fail.
    pub fn fail_times(&self, endpoint: Endpoint, times: usize, fault: Fault) {
        self.shared.faults.add(endpoint, fault, Some(times));
    }

    /// Ends all faults of an endpoint.
    pub fn mend(&self, endpoint: Endpoint) {
        self.shared.faults.clear(endpoint);
    }
}

/// The faults that are active, and for how many requests more.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<Vec<Active>>);

#[derive(Debug)]
struct Active {
    endpoint: Endpoint,
    fault: Fault,
    left: Option<usize>,
}

impl Active {
    fn is_of_redirect(&self) -> bool {
        matches!(self.fault.0, Kind::Parameter(..))
    }
}

impl Faults {
    pub(super) fn add(&self, endpoint: Endpoint, fault: Fault, times: Option<usize>) {
        self.active().push(Active {
            endpoint,
            fault,
            left: times,
        });
    }

    pub(super) fn clear(&self, endpoint: Endpoint) {
        self.active().retain(|active| active.endpoint != endpoint);
    }

    /// The faults that one request meets; those that are used up are gone.
    pub(super) fn take(&self, endpoint: Endpoint) -> Vec<Kind> {
        self.take_where(|active| active.endpoint == endpoint && !active.is_of_redirect())
    }

    /// The faults that a redirect to a client meets, from whichever page it comes.
    pub(super) fn take_parameters(&self, endpoint: Endpoint) -> Vec<Kind> {
        self.take_where(|active| active.endpoint == endpoint && active.is_of_redirect())
    }

    fn take_where(&self, meets: impl Fn(&Active) -> bool) -> Vec<Kind> {
        let mut met = Vec::new();
        self.active().retain_mut(|active| {
            if active.left != Some(0) && meets(active) {
                met.push(active.fault.0.clone());
                active.left = active.left.map(|left| left - 1);
            }
            active.left != Some(0)
        });
        met
    }

    fn active(&self) -> MutexGuard<'_, Vec<Active>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
