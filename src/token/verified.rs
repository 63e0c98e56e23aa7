//! A token that was found good.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::cache::Memory;
use crate::clock::{Clock, unix_seconds};
use crate::protocol::confirmation::Confirmation;
use crate::protocol::credentials::PresentedToken;
use crate::protocol::shared_text::allocated;
use crate::protocol::{Claims, ScopeSet};

/// What was found of a token, whatever type the application reads its claims as. Scope and extractor
/// rely on this alone.
#[derive(Debug)]
pub(crate) struct TokenInfo {
    pub(crate) claims: Arc<Claims>,
    /// What a configured mapping made of other claims; without one the registered `scope` counts.
    pub(crate) scopes: Option<ScopeSet>,
    pub(crate) confirmation: Option<Confirmation>,
    pub(crate) memory: Memory,
}

impl TokenInfo {
    pub(crate) fn scopes(&self) -> &ScopeSet {
        self.scopes.as_ref().unwrap_or_else(|| self.claims.scope())
    }

    /// What it holds on the heap, itself included, about as an allocator counts.
    pub(super) fn heap_bytes(&self) -> usize {
        let scopes = self.scopes.as_ref().map_or(0, ScopeSet::heap_bytes);
        allocated(size_of::<Self>() + 16) + self.claims.heap_bytes() + scopes
    }
}

/// An access token that was verified: signature, issuer, audience, times and profile.
///
/// There is no public way to make one, so a handler that is given one needs no check of its own.
/// `C` is the type its claims are read as; see
/// [`BearerLayer::with_claims`](crate::BearerLayer::with_claims).
///
/// What is *not* checked: whether the subject still exists, and anything the application alone knows.
pub struct VerifiedToken<C = Claims> {
    token_info: Arc<TokenInfo>,
    claims: Arc<C>,
    presented: PresentedToken,
}

impl<C> VerifiedToken<C> {
    pub(crate) fn new(
        token_info: Arc<TokenInfo>,
        claims: Arc<C>,
        presented: PresentedToken,
    ) -> Self {
        Self {
            token_info,
            claims,
            presented,
        }
    }

    /// The claims as the application's type.
    pub fn claims(&self) -> &C {
        &self.claims
    }

    /// The claims as they were verified, whatever the application reads them as.
    pub(crate) fn registered_claims(&self) -> &Claims {
        &self.token_info.claims
    }

    /// `sub`: whom the token speaks of. For a token that a client got for itself, the client; see
    /// [`is_client_only`](Self::is_client_only).
    pub fn subject(&self) -> Option<&str> {
        self.token_info.claims.subject()
    }

    /// `client_id`: the client the token was issued to; see [`Claims::client_id`].
    pub fn client_id(&self) -> Option<&str> {
        self.token_info.claims.client_id()
    }

    /// `iss`: the authorization server. A user is known by issuer and subject together.
    pub fn issuer(&self) -> &str {
        self.token_info.claims.issuer().unwrap_or_default()
    }

    /// The scopes that were granted.
    pub fn scopes(&self) -> &ScopeSet {
        self.token_info.scopes()
    }

    /// `exp` in whole seconds since 1970.
    pub fn expires_at(&self) -> Option<i64> {
        self.token_info.claims.expires_at()
    }

    /// How long the token is still good by this clock; zero once it has expired, `None` where it does not
    /// say. The leeway of the layer is not added.
    ///
    /// A WebSocket or a stream of events outlives the request it was authorized by;
    /// [`expired`](Self::expired) bounds it.
    pub fn remaining(&self, clock: &dyn Clock) -> Option<Duration> {
        let left = self.expires_at()?.saturating_sub(unix_seconds(clock));
        Some(Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }

    /// Completes when the token expires; never, where it does not say. What a connection that stays open
    /// waits for beside its own events:
    ///
    /// ```
    /// use tower_oauth::VerifiedToken;
    /// use tower_oauth::clock::SystemClock;
    ///
    /// /// Sends events for as long as the token is good; then the client comes back with a new one.
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
    /// It counts from now on a clock that does not jump. What is revoked earlier is not noticed.
    pub fn expired(&self, clock: &dyn Clock) -> impl Future<Output = ()> + Send + use<C> {
        let timer = self.remaining(clock).map(|left| clock.sleep(left));
        async move {
            match timer {
                Some(timer) => timer.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Whether the client got the token for itself, so that no user stands behind it: `sub` and
    /// `client_id` are equal (RFC 9068 §5, RFC 9700 §4.15), or the profile knows another sign (Entra: no
    /// `scp`; Auth0: `gty`).
    pub fn is_client_only(&self) -> bool {
        self.token_info.claims.is_client_only()
    }

    /// Whether it is bound to a key or a certificate of its caller (RFC 9449, RFC 8705), so that it is of
    /// no use to anybody else.
    pub fn is_bound(&self) -> bool {
        self.token_info.confirmation.is_some()
    }

    /// The token itself, out of the request at hand: to hand on to another service that accepts it.
    pub fn access_token(&self) -> &str {
        self.presented.token()
    }
}

impl<C> Clone for VerifiedToken<C> {
    fn clone(&self) -> Self {
        Self {
            token_info: Arc::clone(&self.token_info),
            claims: Arc::clone(&self.claims),
            presented: self.presented.clone(),
        }
    }
}

/// Names whose token it is; never the token.
impl<C> fmt::Debug for VerifiedToken<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedToken")
            .field("issuer", &self.issuer())
            .field("client_id", &self.client_id())
            .field("scopes", &self.scopes().to_string())
            .finish_non_exhaustive()
    }
}
