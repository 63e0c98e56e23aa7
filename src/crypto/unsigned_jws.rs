//! The text of a JWS that is to be signed (RFC 7515 §5.1).

use serde_json::{Value, json};

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

    /// Encodes claims, with the header that names algorithm, type and key.
    pub(crate) fn of_claims(
        algorithm: &str,
        media_type: &str,
        key_id: Option<&str>,
        claims: &Value,
    ) -> Self {
        let mut header = json!({ "alg": algorithm, "typ": media_type });
        if let Some(key_id) = key_id {
            header["kid"] = key_id.into();
        }
        Self::new(&header.to_string(), &claims.to_string())
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
