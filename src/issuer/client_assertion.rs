//! The client assertion of `private_key_jwt` (RFC 7523 §3).

use serde_json::json;

use crate::crypto::{SigningKey, base64url};
use crate::random::{Random, RandomError};

pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// In seconds: long enough for one request.
const ASSERTION_LIFETIME: i64 = 60;

/// What client authentication needs besides the credentials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuthenticationContext<'a> {
    /// The issuer identifier of the authorization server.
    pub(crate) issuer: &'a str,
    /// In seconds since 1970.
    pub(crate) now: i64,
    pub(crate) random: Random,
}

/// Creates a signed assertion, which is valid once.
pub(super) fn create(
    client_id: &str,
    key: &SigningKey,
    audience: &str,
    is_typed: bool,
    context: &AuthenticationContext<'_>,
) -> Result<String, RandomError> {
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        // One string, not a list: a list could contain a second server, which could replay the assertion.
        "aud": audience,
        "jti": base64url::encode(&context.random.bytes::<16>()?),
        "iat": context.now,
        "exp": context.now.saturating_add(ASSERTION_LIFETIME),
    });
    let media_type = if is_typed {
        "client-authentication+jwt"
    } else {
        "JWT"
    };
    key.sign(media_type, &claims).ok_or(RandomError)
}
