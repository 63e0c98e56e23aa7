//! Failures on demand: what a network and a broken authorization server do.

mod active;
mod gate;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

pub(super) use active::Faults;
pub use gate::Gate;

use super::mint::TokenMint;
use super::registry::Grant;

/// One thing that goes wrong at an endpoint.
///
/// Handed to [`TestServer::fail`](super::TestServer::fail) and its siblings. Several can be active at
/// one endpoint: delays come first, then what answers in the endpoint's place, then what changes its
/// answer, then what holds it up or loses it, each in the order they were asked for.
///
/// ```
/// use tower_oauth::testing::{Endpoint, Fault, Grant, TestServer};
///
/// let server = TestServer::new("https://id.example.test")?;
/// // The next refresh rotates the token, and nobody hears of it; sign-ins go on.
/// let lost = Fault::lose_answer().only_for(Grant::RefreshToken);
/// server.fail_once(Endpoint::Token, lost);
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fault {
    pub(super) kind: Kind,
    /// Of the requests to the token endpoint only those for this grant.
    pub(super) grant: Option<Grant>,
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
    DelayAnswer(Duration),
    AnswerWaits(Gate),
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
    fn of(kind: Kind) -> Self {
        Self { kind, grant: None }
    }

    /// Meets only requests for this grant; for [`Endpoint::Token`](super::Endpoint::Token).
    #[must_use]
    pub fn only_for(mut self, grant: Grant) -> Self {
        self.grant = Some(grant);
        self
    }

    /// Waits that long by the server's clock, then goes on.
    pub fn delay(duration: Duration) -> Self {
        Self::of(Kind::Delay(duration))
    }

    /// Waits until the gate opens, before anything is done.
    pub fn wait_for(gate: &Gate) -> Self {
        Self::of(Kind::Wait(gate.clone()))
    }

    /// Never answers, and does nothing.
    pub fn hang() -> Self {
        Self::of(Kind::Hang)
    }

    /// Drops the connection before anything is done.
    pub fn disconnect() -> Self {
        Self::of(Kind::Disconnect)
    }

    /// Does what was asked at once, and answers that much later by the server's clock.
    pub fn delay_answer(duration: Duration) -> Self {
        Self::of(Kind::DelayAnswer(duration))
    }

    /// Does what was asked at once, and answers when the gate opens.
    pub fn answer_waits_for(gate: &Gate) -> Self {
        Self::of(Kind::AnswerWaits(gate.clone()))
    }

    /// Does what was asked, then drops the connection instead of answering: a refresh token has
    /// rotated, and nobody knows the new one.
    pub fn lose_answer() -> Self {
        Self::of(Kind::LoseAnswer)
    }

    /// Answers with this status and no body, and does nothing. A number that is no status counts as 500.
    pub fn status(status: u16) -> Self {
        Self::of(Kind::Status(
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        ))
    }

    /// Answers 200, or the status of another fault, with this body, and does nothing.
    pub fn body(content_type: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self::of(Kind::Body {
            content_type: content_type.into(),
            bytes: bytes.into(),
        })
    }

    /// Refuses by the JSON of RFC 6749 §5.2 and does nothing: 401 for `invalid_client`, 400 for any
    /// other code.
    pub fn refusal(code: &str) -> Self {
        let status = match code {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::of(Kind::Refusal(status, code.to_owned()))
    }

    /// Sets a header field of the answer.
    pub fn header(name: HeaderName, value: HeaderValue) -> Self {
        Self::of(Kind::Header(name, Some(value)))
    }

    /// Takes a header field away from the answer.
    pub fn without_header(name: HeaderName) -> Self {
        Self::of(Kind::Header(name, None))
    }

    /// Sets a member of the JSON object that is answered.
    pub fn member(name: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::of(Kind::Member(name.into(), Some(value.into())))
    }

    /// Takes a member away from the JSON object that is answered.
    pub fn without_member(name: impl Into<String>) -> Self {
        Self::of(Kind::Member(name.into(), None))
    }

    /// Sets a query parameter of the redirect that is answered: another `iss`, a foreign `state`.
    pub fn parameter(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::of(Kind::Parameter(name.into(), Some(value.into())))
    }

    /// Takes a query parameter away from the redirect that is answered.
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

    /// Changes what the introspection endpoint says of a token: the claims are the members of its
    /// answer, `active` among them. In a signed answer, what stands in `token_introspection`.
    ///
    /// `Fault::introspection(|answer| answer.with_claim("active", "true"))`
    pub fn introspection(alter: impl Fn(TokenMint) -> TokenMint + Send + Sync + 'static) -> Self {
        Self::of(Kind::Introspection(Alter(Arc::new(alter))))
    }

    /// Changes a signed answer of the introspection endpoint (RFC 9701 §5) before it is signed.
    ///
    /// `Fault::signed_introspection(|answer| answer.with_audience("another resource server"))`
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
