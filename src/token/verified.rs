//! A validated access token.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::error::{VerifyError, VerifyErrorKind};
use super::token_info::TokenInfo;
use crate::clock::{Clock, time_until, unix_seconds};
use crate::protocol::credentials::PresentedToken;
use crate::protocol::{AuthorizationDetails, Claims, ScopeSet};

/// A validated access token: signature, issuer, audience, times and profile.
///
/// [`BearerLayer`](crate::BearerLayer) inserts it into the request extensions; handlers receive it as an axum
/// extractor. It has no public constructor, so a handler that takes a `VerifiedToken` needs no further token
/// check. `C` is the type that the claims are deserialized into; see
/// [`BearerLayer::with_claims`](crate::BearerLayer::with_claims).
///
/// # Not checked
///
/// Whether the subject still exists, and any rule that only the application knows.
pub struct VerifiedToken<C = Claims> {
    token_info: Arc<TokenInfo>,
    claims: Arc<C>,
    presented: PresentedToken,
    /// In seconds since the Unix epoch.
    validated_at: i64,
}

impl<C> VerifiedToken<C> {
    pub(crate) fn new(
        token_info: Arc<TokenInfo>,
        claims: Arc<C>,
        presented: PresentedToken,
        validated_at: i64,
    ) -> Self {
        Self {
            token_info,
            claims,
            presented,
            validated_at,
        }
    }

    pub(crate) fn info(&self) -> &TokenInfo {
        &self.token_info
    }

    /// Returns when the token was validated, in seconds since the Unix epoch.
    pub(crate) fn validated_at(&self) -> i64 {
        self.validated_at
    }

    /// Returns the claims as the application's type.
    pub fn claims(&self) -> &C {
        &self.claims
    }

    /// Returns the verified claims, independent of the application's type.
    pub(crate) fn registered_claims(&self) -> &Claims {
        &self.token_info.claims
    }

    /// Returns `sub`. For a client-credentials token this is usually the client; see
    /// [`is_client_only`](Self::is_client_only).
    pub fn subject(&self) -> Option<&str> {
        self.token_info.claims.subject()
    }

    /// Returns `client_id`, the client that the token was issued to; see [`Claims::client_id`].
    pub fn client_id(&self) -> Option<&str> {
        self.token_info.claims.client_id()
    }

    /// Returns `iss`, the issuer identifier. Identify users by issuer and subject together.
    pub fn issuer(&self) -> &str {
        self.token_info.claims.issuer().unwrap_or_default()
    }

    /// Returns the granted scopes.
    pub fn scopes(&self) -> &ScopeSet {
        self.token_info.scopes()
    }

    /// Returns the authorization details of the token that are meant for this API ([RFC 9396 §9.1], §9.2): those whose
    /// `locations` contain one of its audiences, and those without `locations`. Parses the claims on each call.
    ///
    /// If the locations of an API differ from its audience, configure both as
    /// [audiences](crate::token::Audience::AnyOf). With [`Audience::Unchecked`](crate::token::Audience::Unchecked) and
    /// [`Clients`](crate::token::Audience::Clients), only details without `locations` are returned. Returns none if the
    /// claim is absent, or not an array of objects with a `type`.
    ///
    /// To reject requests, use [`Policy::authorization_detail`](crate::bearer::Policy::authorization_detail).
    ///
    /// [RFC 9396 §9.1]: https://www.rfc-editor.org/rfc/rfc9396#section-9.1
    pub fn authorization_details(&self) -> AuthorizationDetails {
        self.token_info.authorization_details()
    }

    /// Returns `exp`, rounded down to whole seconds.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.token_info.claims.expires_at()
    }

    /// Returns the time until the token expires by this clock: zero if it has expired, `None` if it has no
    /// expiration time. The leeway of the layer is not added.
    ///
    /// A WebSocket or an event stream outlives the request that it was authorized by; use
    /// [`expired`](Self::expired) to end it in time.
    pub fn remaining(&self, clock: &dyn Clock) -> Option<Duration> {
        let expires_at = self.token_info.claims.registered().expires_at?;
        Some(time_until(expires_at, unix_seconds(clock)))
    }

    /// Completes when the token expires. Never completes if the token has no expiration time.
    ///
    /// Use it to close long-lived connections:
    ///
    /// ```
    /// use tower_oauth::VerifiedToken;
    /// use tower_oauth::clock::SystemClock;
    ///
    /// /// Sends events until the token expires; the client then reconnects with a new one.
    /// async fn send_events(token: VerifiedToken, mut events: tokio::sync::mpsc::Receiver<String>) {
    ///     let mut expired = std::pin::pin!(token.expired(&SystemClock::default()));
    ///     loop {
    ///         tokio::select! {
    ///             () = &mut expired => return,
    ///             Some(event) = events.recv() => println!("to the socket: {event}"),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// The time is measured from this call with a monotonic timer. A revocation before `exp` is not detected.
    pub fn expired(&self, clock: &dyn Clock) -> impl Future<Output = ()> + Send + use<C> {
        let timer = self.remaining(clock).map(|left| clock.sleep(left));
        async move {
            match timer {
                Some(timer) => timer.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Returns whether this is a client-credentials token, which represents no user.
    ///
    /// This is so if `sub` and `client_id` are equal ([RFC 9068 §5], [RFC 9700 §4.15]), or if the profile has
    /// another sign (Entra: no `scp`; Auth0: `gty`).
    ///
    /// `false` does not prove that the token represents a user: a token without `sub` has nothing to compare, and in
    /// Keycloak's tokens `sub` is the service account of the client. Code that acts for a user needs a
    /// [`subject`](Self::subject) that it knows as a user.
    ///
    /// [RFC 9068 §5]: https://www.rfc-editor.org/rfc/rfc9068#section-5
    /// [RFC 9700 §4.15]: https://www.rfc-editor.org/rfc/rfc9700#section-4.15
    pub fn is_client_only(&self) -> bool {
        self.token_info.claims.is_client_only()
    }

    /// Returns whether the token is sender-constrained: bound to a key (RFC 9449) or to a client certificate
    /// (RFC 8705), so that a thief cannot use it.
    pub fn is_bound(&self) -> bool {
        self.token_info.confirmation.is_some()
    }

    /// Returns the access token of this request, to forward it to another service that accepts it.
    pub fn access_token(&self) -> &str {
        self.presented.token()
    }
}

impl VerifiedToken {
    /// Creates the result for a token that did not come with a request.
    ///
    /// The proof of possession of a sender-constrained token is part of a request (RFC 9449 §7.2, RFC 8705 §3), so
    /// such a token is rejected. Otherwise a thief could use it wherever no proof is checked.
    pub(super) fn without_request(
        token_info: Arc<TokenInfo>,
        token: &str,
        clock: &dyn Clock,
    ) -> Result<Self, VerifyError> {
        if token_info.confirmation.is_some() {
            return Err(VerifyErrorKind::Bound.into());
        }
        let presented =
            PresentedToken::without_request(token).map_err(|_| VerifyErrorKind::Malformed)?;
        let claims = Arc::clone(&token_info.claims);
        Ok(Self::new(
            token_info,
            claims,
            presented,
            unix_seconds(clock),
        ))
    }
}

impl<C> Clone for VerifiedToken<C> {
    fn clone(&self) -> Self {
        Self {
            token_info: Arc::clone(&self.token_info),
            claims: Arc::clone(&self.claims),
            presented: self.presented.clone(),
            validated_at: self.validated_at,
        }
    }
}

/// Omits the token and the subject.
impl<C> fmt::Debug for VerifiedToken<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("issuer", &self.issuer())
            .field("client_id", &self.client_id())
            .field("scopes", &self.scopes().to_string())
            .finish_non_exhaustive()
    }
}
