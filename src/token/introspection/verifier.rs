//! [`IntrospectionVerifier`]: the cached result of a token, or an introspection request.

use std::fmt;
use std::sync::Arc;

use super::cache_key::{CacheKey, cache_key, check_syntax};
use super::health::IntrospectionHealth;
use super::in_flight::IntrospectionResult;
use super::introspector::Introspector;
use super::settings::Settings;
use crate::ConfigError;
use crate::clock::{Now, SharedClock};
use crate::issuer::{AuthorizationServer, Client};
use crate::protocol::AccessToken;
use crate::token::VerifiedToken;
use crate::token::audience::Audience;
use crate::token::error::VerifyError;
use crate::verification::Verification;

/// Validates access tokens by introspection ([RFC 7662]): opaque tokens, or JWTs whose revocation must take effect
/// within a minute.
///
/// The client is the registration of this API at the authorization server, with its secret, key or certificate. A
/// token is accepted if
///
/// 1. `active` in the response is the JSON value `true`;
/// 2. `aud` contains the audience of this API, and `iss`, if present, is this server;
/// 3. the current time is within `nbf` and `exp`, if present;
/// 4. it is an access token;
/// 5. its confirmation (`cnf`), if any, is of a kind that the layer can check.
///
/// Active results are cached for [60 seconds](Self::with_cache_ttl), negative ones for
/// [10](Self::with_negative_cache_ttl), failures never. Concurrent requests with one token share one introspection
/// request. If it fails, the response is 503 with `Retry-After`, because the token was not validated.
///
/// # Failures
///
/// Some servers respond to malformed tokens with 401, 429 or 5xx, close the connection or hang, and every caller
/// can send such tokens. A failure therefore affects only the token of that request; other tokens are still
/// introspected:
///
/// - After five consecutive requests that could not be *sent* (name resolution, connection, TLS), introspection
///   pauses for 1, 2, 4 … 30 seconds, except for one previously active token each second.
/// - If no request succeeds for 5 seconds, callers with tokens that were not active before wait 2 seconds instead
///   of 5 for the response.
/// - Previously active tokens have reserved permits; see [`with_concurrency`](Self::with_concurrency).
///
/// Tokens for which the endpoint hangs can still delay *new* tokens if they arrive faster than permits become
/// free: about 250 a second with the default settings and an endpoint that responds to active tokens within 60
/// milliseconds. If that matters, put a rate limit per client in front of the layer.
///
/// # Example
///
/// ```
/// use tower_oauth::token::IntrospectionVerifier;
/// use tower_oauth::{AuthorizationServer, BearerLayer, Client};
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let client = Client::confidential("orders-api", "a secret from the environment");
/// let verifier = IntrospectionVerifier::new(&server, client, "https://api.example.com")?
///     .with_signed_responses();
/// let layer = BearerLayer::new(verifier.clone());
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// # Not checked
///
/// Whether the account of the subject still exists, and anything that only the application knows. A revoked token
/// is accepted until its cached result expires, unless [`invalidate`](Self::invalidate) is called.
///
/// Cloning is cheap; clones share one cache. It must be used within a Tokio runtime.
///
/// [RFC 7662]: https://www.rfc-editor.org/rfc/rfc7662
#[derive(Clone)]
pub struct IntrospectionVerifier {
    introspector: Arc<Introspector>,
}

impl IntrospectionVerifier {
    /// Creates a verifier that introspects tokens at `server`, authenticating as `client`, and accepts tokens for
    /// `audience`: the identifier of *this* API, as the server sets it in `aud`.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Audience`] if the audience is empty.
    /// - [`ConfigError::Setting`] if the client id is invalid or the client is public.
    /// - [`ConfigError::Secret`] if the client secret is invalid.
    pub fn new(
        server: &AuthorizationServer,
        client: Client,
        audience: impl Into<Audience>,
    ) -> Result<Self, ConfigError> {
        Settings::new(server, client, audience.into()).map(Self::from_settings)
    }

    fn from_settings(settings: Settings) -> Self {
        Self {
            introspector: Arc::new(Introspector::new(settings)),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.introspector.settings
    }

    /// Results are valid only for the settings they were validated with, so a change begins with an empty cache.
    pub(super) fn change(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.introspector.settings.clone();
        change(&mut settings);
        Self::from_settings(settings)
    }

    /// Validates a token that did not arrive in a request, such as one in a message of a queue or a WebSocket.
    ///
    /// Uses the cache of this verifier. Waits at most 5 seconds for an introspection request.
    ///
    /// # Not checked
    ///
    /// As for [`JwtVerifier::verify`](crate::token::JwtVerifier::verify), except that a revoked token is rejected once
    /// its cached result expires.
    ///
    /// # Errors
    ///
    /// [`VerifyErrorKind::Unavailable`](crate::token::VerifyErrorKind::Unavailable) if the token could not be
    /// introspected, [`VerifyErrorKind::Bound`](crate::token::VerifyErrorKind::Bound) if it is sender-constrained, and
    /// the other kinds if it is not valid.
    pub async fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        let verification = self.verify_at(token, &Now::new(self.clock()));
        VerifiedToken::without_request(verification.outcome().await?, token)
    }

    /// Removes the cached result of a token: for an application that learns of a revocation.
    ///
    /// The result of an introspection request in flight is not used for later requests.
    pub fn invalidate(&self, token: &str) {
        let key = self.key(token);
        let introspector = &self.introspector;
        introspector
            .in_flight
            .detach(&key, || introspector.cache.remove(&key));
    }

    /// Returns the current state of introspection, for a readiness probe. Performs no I/O.
    pub fn health(&self) -> IntrospectionHealth {
        self.introspector
            .circuit
            .health(self.introspector.monotonic())
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        self.introspector.settings.server.clock()
    }

    pub(crate) fn audience(&self) -> &Audience {
        &self.introspector.settings.audience
    }

    /// Returns the result for a token: the cached one, or that of an introspection request.
    pub(crate) fn verify_at(
        &self,
        token: &str,
        now: &Now<'_>,
    ) -> Verification<IntrospectionResult> {
        if let Err(kind) = check_syntax(token) {
            return Verification::Ready(Err(kind.into()));
        }
        let key = self.key(token);
        if let Some(result) = self.introspector.cached(&key, now) {
            return Verification::Ready(result);
        }
        let (introspector, token) = (Arc::clone(&self.introspector), AccessToken::new(token));
        Verification::pending(async move { introspector.introspect(&key, token).await })
    }

    fn key(&self, token: &str) -> CacheKey {
        cache_key(self.settings(), token)
    }
}

impl fmt::Debug for IntrospectionVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.settings();
        f.debug_struct("IntrospectionVerifier")
            .field("issuer", &settings.server.issuer())
            .field("client_id", &settings.client.id())
            .field("signed", &settings.signed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_contexts_have_different_cache_keys() {
        let verifier = |issuer: &str, client: &str| {
            let server = AuthorizationServer::new(issuer).unwrap();
            let client = Client::confidential(client, "secret");
            IntrospectionVerifier::new(&server, client, "api").unwrap()
        };
        let (a, b) = ("https://a.example.test", "https://b.example.test");
        let other_endpoint = verifier(a, "api").with_endpoint("https://a.example.test/x");
        let keys = [
            verifier(a, "api").key("token"),
            verifier(a, "api").key("toke"),
            verifier(a, "api").key("token="),
            verifier(b, "api").key("token"),
            verifier(a, "ap").key("token"),
            other_endpoint.unwrap().key("token"),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
        // The same context always has the same key.
        assert_eq!(keys[0], verifier(a, "api").clone().key("token"));
    }
}
