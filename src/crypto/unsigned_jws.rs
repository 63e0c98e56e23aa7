//! The text of a JWS that is to be signed (RFC 7515 §5.1).

use super::base64url;

/// Header and payload of a JWS in compact serialization, without the signature.
#[derive(Debug)]
pub(crate) struct UnsignedJws(String);

impl UnsignedJws {
    /// Encodes a header and a payload.
    pub(crate) fn new(header: &str, payload: &str) -> Self {
        let mut input = base64url::encode(header.as_bytes());
        input.push('.');
        input.push_str(&base64url::encode(payload.as_bytes()));
        Self(input)
    }

    /// Returns the bytes that are signed.
    pub(crate) fn signing_input(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the JWS in compact serialization.
    pub(crate) fn with_signature(mut self, signature: &[u8]) -> String {
        self.0.push('.');
        self.0.push_str(&base64url::encode(signature));
        self.0
    }
}
