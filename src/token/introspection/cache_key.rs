//! The syntax check of a token, and the key under which its result is cached.

use super::settings::Settings;
use crate::crypto::digest;
use crate::token::error::VerifyErrorKind;

/// The SHA-256 of a token and of everything that its result depends on.
pub(super) type CacheKey = [u8; 32];

/// Opaque tokens are far shorter. The limit bounds what one request can send to the authorization server.
const MAX_TOKEN_LENGTH: usize = 8 * 1024;

/// Rejects a token that is not a `b64token` ([RFC 6750 §2.1]) or is too long, before any request is sent.
///
/// [RFC 6750 §2.1]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
pub(super) fn check_syntax(token: &str) -> Result<(), VerifyErrorKind> {
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(VerifyErrorKind::TooLong);
    }
    let unpadded = token.trim_end_matches('=');
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if unpadded.is_empty() || !unpadded.bytes().all(is_allowed) {
        return Err(VerifyErrorKind::Malformed);
    }
    Ok(())
}

/// Returns the key of a token: a digest of endpoint, client, issuer and token.
///
/// A result is valid only for the client and the endpoint it was requested with. Each part is preceded by its
/// length, so that two contexts never have the same encoding.
pub(super) fn cache_key(settings: &Settings, token: &str) -> CacheKey {
    let endpoint = settings.endpoint.as_deref().unwrap_or_default();
    let parts = [
        endpoint,
        settings.client.id(),
        settings.server.issuer(),
        token,
    ];
    let mut context = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        context.extend_from_slice(&length.to_be_bytes());
        context.extend_from_slice(part.as_bytes());
    }
    let mut key = [0; 32];
    key.iter_mut()
        .zip(digest::sha256(&context))
        .for_each(|(target, byte)| *target = byte);
    key
}
