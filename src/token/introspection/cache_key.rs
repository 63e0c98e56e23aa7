//! What is asked about: that it can be a token at all, and the key that its answers are kept under.

use super::settings::Settings;
use crate::crypto::digest;
use crate::token::error::VerifyErrorKind;

/// The digest that stands for a token and the whole context of its answer.
pub(super) type Key = [u8; 32];

/// No server gives out opaque tokens half as long (`I2`).
const MAX_TOKEN_LENGTH: usize = 8 * 1024;

/// `b64token` of RFC 6750 §2.1 and not too long, before anything is asked (`I2`). Nothing is ever cut.
pub(super) fn check_shape(token: &str) -> Result<(), VerifyErrorKind> {
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(VerifyErrorKind::TooLong);
    }
    let bare = token.trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(allowed) {
        return Err(VerifyErrorKind::Malformed);
    }
    Ok(())
}

/// `I6`: of the whole token and of whom was asked as whom, each with its length in front, so that no
/// two contexts share an encoding.
pub(super) fn key(settings: &Settings, token: &str) -> Key {
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
        .for_each(|(place, byte)| *place = byte);
    key
}
