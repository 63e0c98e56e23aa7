//! [`IntrospectionVerifier`]: what is remembered, else one question, then the judgement.

use std::fmt;
use std::sync::Arc;

use super::cache_key::{Key, check_shape, key};
use super::calls::Outcome;
use super::health::IntrospectionHealth;
use super::introspector::Introspector;
use super::settings::Settings;
use crate::ConfigError;
use crate::clock::SharedClock;
use crate::issuer::{AuthorizationServer, Client};
use crate::telemetry;
use crate::token::audience::Audience;

/// Judges access tokens by asking the authorization server about them
/// ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)): opaque ones, or JWTs whose revocation must be
/// seen within a minute.
///
/// The client is who this API is at the authorization server, with its secret, key or certificate. A
/// token is good if the server says so (`active` is the JSON value `true`) *and* what it says of the token
/// fits: `aud` names this API, `iss` where present is this server, `exp` and `nbf` where present have not
/// and have come, it is an access token, and it is bound to nothing that the layer cannot check.
///
/// Good answers are used again for [60 seconds](Self::with_cache_ttl), refusals for
/// [10](Self::with_negative_cache_ttl), failures never. However many requests bring a token at once,
/// it is asked about once. If the question fails, the request gets 503 with `Retry-After`: its token was not
/// validated. If the endpoint refuses this client, that is logged as an error.
///
/// # Failures
///
/// Some servers answer 401, 429 or 5xx for odd tokens, close the connection or hang, and every caller may send
/// odd tokens. So a failure concerns the token that was asked about, and others are still asked about:
///
/// - After five requests in a row that could not be *sent* (name resolution, connection, TLS) no token is asked
///   about for 1, 2, 4 … 30 seconds, except one each second that was active before.
/// - If nothing else succeeds for 5 seconds, requests with tokens that were not active before wait 2 seconds
///   instead of 5 for the answer.
/// - Tokens that were active before have turns of their own; see [`with_concurrency`](Self::with_concurrency).
///
/// Tokens that hang can still delay *new* tokens if they come faster than turns become free: about 250 a second
/// with the default settings and an endpoint that answers good tokens within 60 milliseconds. Limit requests by
/// caller in front of the layer if that matters.
///
/// ```
/// use tower_oauth::token::IntrospectionVerifier;
/// use tower_oauth::{AuthorizationServer, BearerLayer, Client};
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let client = Client::confidential("orders-api", "a secret from the environment");
/// let verifier = IntrospectionVerifier::new(&server, client, "https://api.example.com")?
///     .with_signed_answers();
/// let layer = BearerLayer::new(verifier.clone());
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// # Not checked here
///
/// Whether the person is still the one of before, and anything only the application knows. A token that
/// is revoked works until its answer is forgotten, unless [`invalidate`](Self::invalidate) is called.
///
/// Cheap to clone; clones remember together. Use it within a Tokio runtime.
#[derive(Clone)]
pub struct IntrospectionVerifier {
    inquiries: Arc<Introspector>,
}

impl IntrospectionVerifier {
    /// Asks this server as this client, about tokens for this audience: the identifier of *this* API, as
    /// the server puts it into `aud`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] where the audience is empty; [`ConfigError::Setting`] or
    /// [`ConfigError::Secret`] where the client cannot be one, or can prove nothing.
    pub fn new(
        server: &AuthorizationServer,
        client: Client,
        audience: impl Into<Audience>,
    ) -> Result<Self, ConfigError> {
        Settings::new(server, client, audience.into()).map(Self::from_settings)
    }

    fn from_settings(settings: Settings) -> Self {
        Self {
            inquiries: Arc::new(Introspector::new(settings)),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.inquiries.settings
    }

    /// An answer was good under the settings it was judged by, so a change begins with nothing known.
    pub(super) fn change(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.inquiries.settings.clone();
        change(&mut settings);
        Self::from_settings(settings)
    }

    /// Forgets what is known of a token: for an application that learns of a revocation. A question that
    /// is under way is not used for requests that come later.
    pub fn invalidate(&self, token: &str) {
        let key = self.key(token);
        let calls = &self.inquiries.calls;
        calls.cut_off(&key, || self.inquiries.remembered.forget(&key));
    }

    /// How introspection fares at this moment, for a readiness probe. No I/O.
    pub fn health(&self) -> IntrospectionHealth {
        self.inquiries.circuit.health(self.inquiries.monotonic())
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        self.inquiries.settings.server.clock()
    }

    pub(crate) fn audience(&self) -> &Audience {
        &self.inquiries.settings.audience
    }

    /// The token_info, where it can be given without asking.
    pub(crate) fn at_hand(&self, token: &str) -> Option<Outcome> {
        if let Err(kind) = check_shape(token) {
            return Some(Err(kind.into()));
        }
        let outcome = self.inquiries.look(&self.key(token));
        if let Some(Ok(_)) = outcome {
            telemetry::TokenOrigin::IntrospectionCached.count();
        }
        outcome
    }

    /// The token_info, after a question where one is needed.
    pub(crate) async fn verify(&self, token: &str) -> Outcome {
        check_shape(token)?;
        let key = self.key(token);
        match self.inquiries.look(&key) {
            Some(outcome) => {
                outcome.inspect(|_| telemetry::TokenOrigin::IntrospectionCached.count())
            }
            None => self.inquiries.ask(&key, token).await,
        }
    }

    fn key(&self, token: &str) -> Key {
        key(self.settings(), token)
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
    fn no_two_contexts_share_a_key() {
        let verifier = |issuer: &str, client: &str| {
            let server = AuthorizationServer::new(issuer).unwrap();
            let client = Client::confidential(client, "secret");
            IntrospectionVerifier::new(&server, client, "api").unwrap()
        };
        let (a, b) = ("https://a.example.test", "https://b.example.test");
        let elsewhere = verifier(a, "api").with_endpoint("https://a.example.test/x");
        let keys = [
            verifier(a, "api").key("token"),
            verifier(a, "api").key("toke"),
            verifier(a, "api").key("token="),
            verifier(b, "api").key("token"),
            verifier(a, "ap").key("token"),
            elsewhere.unwrap().key("token"),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
        // Clones are one verifier, and one context always gives one key.
        assert_eq!(keys[0], verifier(a, "api").clone().key("token"));
    }
}
