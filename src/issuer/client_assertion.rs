//! Client assertions: JWTs that authenticate the client (RFC 7523 §3, RFC 10070).

use serde_json::{Value, json};

use super::assertion_key::AssertionKey;
use super::error::AuthenticationError;
use crate::clock::{SharedClock, unix_seconds};
use crate::crypto::{HmacAlgorithm, UnsignedJws, base64url};
use crate::protocol::ClientSecret;
use crate::random::{Random, RandomError};

/// The `client_assertion_type` of RFC 7523 §2.2.
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The `client_assertion_type` of a JWT-SVID (draft-ietf-oauth-spiffe-client-auth).
pub(super) const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// In seconds: long enough for one request.
const ASSERTION_LIFETIME: i64 = 60;

/// What client authentication needs besides the credentials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuthenticationContext<'a> {
    /// The issuer identifier of the authorization server.
    pub(crate) issuer: &'a str,
    pub(crate) clock: &'a SharedClock,
    pub(crate) random: Random,
}

/// The key of an assertion.
pub(super) enum AssertionSigner<'a> {
    Private(&'a AssertionKey),
    Secret(HmacAlgorithm, &'a ClientSecret),
}

/// The contents of an assertion that differ between clients.
pub(super) struct Assertion<'a> {
    pub(super) client_id: &'a str,
    /// One string, not a list: a list could contain a second server, which could replay the assertion.
    pub(super) audience: &'a str,
    pub(super) is_typed: bool,
}

impl Assertion<'_> {
    /// Creates and signs the assertion, which is valid once.
    pub(super) async fn sign(
        &self,
        key: AssertionSigner<'_>,
        context: &AuthenticationContext<'_>,
    ) -> Result<String, AuthenticationError> {
        let claims = self.claims(context)?;
        // RFC 10070 §4: the explicit type keeps other JWTs from being used for client authentication.
        let media_type = match self.is_typed {
            true => "client-authentication+jwt",
            false => "JWT",
        };
        match key {
            AssertionSigner::Private(key) => key.sign(media_type, &claims, &**context.clock).await,
            AssertionSigner::Secret(algorithm, secret) => {
                let jws = UnsignedJws::of_claims(algorithm.name(), media_type, None, &claims);
                // OpenID Connect Core §10.1: the key is the UTF-8 text of the secret.
                let tag = algorithm.tag(secret.expose().as_bytes(), jws.signing_input());
                Ok(jws.with_signature(&tag))
            }
        }
    }

    fn claims(&self, context: &AuthenticationContext<'_>) -> Result<Value, RandomError> {
        let now = unix_seconds(&**context.clock);
        Ok(json!({
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.audience,
            "jti": base64url::encode(&context.random.bytes::<16>()?),
            "iat": now,
            "exp": now.saturating_add(ASSERTION_LIFETIME),
        }))
    }
}
