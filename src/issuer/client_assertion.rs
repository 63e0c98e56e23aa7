//! The assertion of `private_key_jwt`: a JWT in which a client says who it is (RFC 7523 §3).

use serde_json::json;

use crate::crypto::{SigningKey, base64url};
use crate::random::{Random, RandomError};

pub(super) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Time for one request, no more.
const LIFETIME: i64 = 60;

/// To whom, when and with what randomness a client proves who it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchTrigger<'a> {
    /// The issuer identifier of the authorization server.
    pub(crate) issuer: &'a str,
    /// In seconds since 1970.
    pub(crate) now: i64,
    pub(crate) random: Random,
}

pub(super) fn make(
    client_id: &str,
    key: &SigningKey,
    audience: &str,
    typed: bool,
    occasion: &FetchTrigger<'_>,
) -> Result<String, RandomError> {
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        // One string, not a list: a list could name a second server (OpenID Connect Core §9).
        "aud": audience,
        "jti": base64url::encode(&occasion.random.bytes::<16>()?),
        "iat": occasion.now,
        "exp": occasion.now.saturating_add(LIFETIME),
    });
    let media_type = if typed {
        "client-authentication+jwt"
    } else {
        "JWT"
    };
    key.sign(media_type, &claims).ok_or(RandomError)
}
