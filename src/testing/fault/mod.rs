//! Failures of the network and of the authorization server, on demand.

mod active;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use tokio::sync::Notify;

pub(super) use active::Faults;

use super::mint::TokenMint;
use super::registry::GrantType;

/// Makes an endpoint of the test server fail once or until it is cleared.
///
/// Pass it to [`TestServer::fail`](super::TestServer::fail), `fail_once` or `fail_times`. Several faults
/// can be active at one endpoint. They apply in this order: delays before processing, responses that
/// replace the endpoint's, changes of the response, delays and loss of the response. Faults of one
/// group apply in the order they were added.
///
/// ```
/// use tower_oauth::testing::{Endpoint, Fault, GrantType, TestServer};
///
/// let server = TestServer::new("https://id.example.test")?;
/// // The next refresh rotates the token, but the client never receives the response.
/// let lost = Fault::lose_response().only_for(GrantType::RefreshToken);
/// server.fail_once(Endpoint::Token, lost);
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    pub(super) kind: Kind,
    /// Limits the fault to token requests with this grant type.
    pub(super) grant: Option<GrantType>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Delay(Duration),
    Wait(Gate),
    Hang,
    Disconnect,
    Status(StatusCode),
    Refusal(StatusCode, String),
    Body { content_type: String, bytes: Bytes },
    DelayResponse(Duration),
    HoldResponse(Gate),
    LoseResponse,
    Header(HeaderName, Option<HeaderValue>),
    Member(String, Option<Value>),
    Parameter(String, Option<String>),
    AccessToken(Alter),
    IdToken(Alter),
    LogoutToken(Alter),
    Introspection(Alter),
    SignedIntrospection(Alter),
    AuthorizationResponse(Alter),
}

/// Changes a token before it is signed.
#[derive(Clone)]
pub(super) struct Alter(Arc<dyn Fn(TokenMint) -> TokenMint + Send + Sync>);

impl Fault {
    fn of(kind: Kind) -> Self {
        Self { kind, grant: None }
    }

    /// Limits the fault to token requests with this grant type. Use it with
    /// [`Endpoint::Token`](super::Endpoint::Token).
    #[must_use]
    pub fn only_for(mut self, grant: GrantType) -> Self {
        self.grant = Some(grant);
        self
    }

    /// Waits for `duration` of the server's clock before processing the request.
    pub fn delay(duration: Duration) -> Self {
        Self::of(Kind::Delay(duration))
    }

    /// Waits until the gate opens before processing the request.
    pub fn wait_for(gate: &Gate) -> Self {
        Self::of(Kind::Wait(gate.clone()))
    }

    /// Never processes the request and never responds.
    pub fn hang() -> Self {
        Self::of(Kind::Hang)
    }

    /// Closes the connection without processing the request.
    pub fn disconnect() -> Self {
        Self::of(Kind::Disconnect)
    }

    /// Processes the request immediately and sends the response after `duration` of the server's clock.
    pub fn delay_response(duration: Duration) -> Self {
        Self::of(Kind::DelayResponse(duration))
    }

    /// Processes the request immediately and sends the response when the gate opens.
    pub fn hold_response(gate: &Gate) -> Self {
        Self::of(Kind::HoldResponse(gate.clone()))
    }

    /// Processes the request, then closes the connection without a response: for example, a refresh
    /// token has been rotated and the client does not receive the new one.
    pub fn lose_response() -> Self {
        Self::of(Kind::LoseResponse)
    }

    /// Responds with this status and no body, without processing the request. A number that is not a
    /// status counts as 500.
    pub fn status(status: u16) -> Self {
        Self::of(Kind::Status(
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        ))
    }

    /// Responds with this body and status 200, or the status of another fault, without processing the
    /// request.
    pub fn body(content_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self::of(Kind::Body {
            content_type: content_type.into(),
            bytes: bytes.into(),
        })
    }

    /// Responds with an OAuth error (RFC 6749 §5.2) without processing the request. The status is 401
    /// for `invalid_client` and 400 for other codes.
    pub fn refusal(code: &str) -> Self {
        let status = match code {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::of(Kind::Refusal(status, code.to_owned()))
    }

    /// Sets a header of the response.
    pub fn header(name: HeaderName, value: HeaderValue) -> Self {
        Self::of(Kind::Header(name, Some(value)))
    }

    /// Removes a header from the response.
    pub fn without_header(name: HeaderName) -> Self {
        Self::of(Kind::Header(name, None))
    }

    /// Sets a member of the JSON object in the response.
    pub fn member(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::of(Kind::Member(name.into(), Some(value.into())))
    }

    /// Removes a member from the JSON object in the response.
    pub fn without_member(name: impl Into<String>) -> Self {
        Self::of(Kind::Member(name.into(), None))
    }

    /// Sets a query parameter of the redirect to the client, for example `iss` or `state`.
    pub fn parameter(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::of(Kind::Parameter(name.into(), Some(value.into())))
    }

    /// Removes a query parameter from the redirect to the client.
    pub fn without_parameter(name: impl Into<String>) -> Self {
        Self::of(Kind::Parameter(name.into(), None))
    }

    /// Changes access tokens before the token endpoint signs them.
    ///
    /// `Fault::access_token(|mint| mint.with_audience("https://other.example.test"))`
    pub fn access_token(alter: impl Fn(TokenMint) -> TokenMint + Send + Sync + 'static) -> Self {
        Self::of(Kind::AccessToken(Alter(Arc::new(alter))))
    }

    /// Changes ID tokens before the token endpoint signs them.
    ///
    /// `Fault::id_token(|mint| mint.with_broken_signature())`
    pub fn id_token(alter: impl Fn(TokenMint) -> TokenMint + Send + Sync + 'static) -> Self {
        Self::of(Kind::IdToken(Alter(Arc::new(alter))))
    }

    /// Changes logout tokens before they are signed. Use it with [`Endpoint::EndSession`](super::Endpoint::EndSession),
    /// whose request causes them to be sent.
    ///
    /// `Fault::logout_token(|mint| mint.without_claim("events"))`
    pub fn logout_token(alter: impl Fn(TokenMint) -> TokenMint + Send + Sync + 'static) -> Self {
        Self::of(Kind::LogoutToken(Alter(Arc::new(alter))))
    }

    /// Changes the members of introspection responses, including `active`. In a signed response these
    /// are the members of `token_introspection`.
    ///
    /// `Fault::introspection(|response| response.with_claim("active", "true"))`
    pub fn introspection(alter: impl Fn(TokenMint) -> TokenMint + Send + Sync + 'static) -> Self {
        Self::of(Kind::Introspection(Alter(Arc::new(alter))))
    }

    /// Changes signed authorization responses (JARM) before they are signed. Set it at
    /// [`Endpoint::Authorization`](super::Endpoint::Authorization).
    ///
    /// `Fault::authorization_response(|response| response.with_issuer("https://evil.example"))`
    pub fn authorization_response(
        alter: impl Fn(TokenMint) -> TokenMint + Send + Sync + 'static,
    ) -> Self {
        Self::of(Kind::AuthorizationResponse(Alter(Arc::new(alter))))
    }

    /// Changes signed introspection responses (RFC 9701 §5) before they are signed.
    ///
    /// `Fault::signed_introspection(|response| response.with_audience("another resource server"))`
    pub fn signed_introspection(
        alter: impl Fn(TokenMint) -> TokenMint + Send + Sync + 'static,
    ) -> Self {
        Self::of(Kind::SignedIntrospection(Alter(Arc::new(alter))))
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

/// Blocks requests until it is opened. Clones share the gate.
///
/// Use it with [`Fault::wait_for`](super::Fault::wait_for) or
/// [`Fault::hold_response`](super::Fault::hold_response) to run code while a request is in flight.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    open: AtomicBool,
    opened: Notify,
}

impl Gate {
    /// Creates a closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate for waiting and later requests. It cannot be closed again.
    pub fn open(&self) {
        self.0.open.store(true, Ordering::SeqCst);
        self.0.opened.notify_waiters();
    }

    pub(in crate::testing) async fn passed(&self) {
        // Created before the check, so that an opening in between is not missed.
        let opened = self.0.opened.notified();
        if !self.0.open.load(Ordering::SeqCst) {
            opened.await;
        }
    }
}
