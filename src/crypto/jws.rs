//! Strict parsing of a JWS in compact serialization (RFC 7515 §7.1), before its signature is verified.

use std::borrow::Cow;

use super::backend::PublicKey;
use super::{Algorithm, base64url};
use crate::protocol::json::{Object, parse_object};

/// A parsed token. Its content is not trustworthy until [`Jws::verify`] has returned `true`.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    signing_input: Cow<'a, str>,
    signature: Vec<u8>,
    payload: Vec<u8>,
    algorithm: Algorithm,
    key_id: Option<String>,
    media_type: Option<String>,
}

/// The error of parsing a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwsError {
    #[error("not a JWS in compact serialization with strict JSON")]
    Malformed,
    #[error("the algorithm in the header is not supported")]
    Algorithm,
    #[error("the header has an unsupported extension")]
    Extension,
}

impl<'a> Jws<'a> {
    /// Parses three segments of canonical base64url, the first one a JSON object with a supported algorithm.
    ///
    /// `jwk`, `jku`, `x5u` and `x5c` are ignored: the key that verifies a token must not come from the token
    /// (RFC 8725 §3.10).
    pub(crate) fn read(compact: &'a str) -> Result<Self, JwsError> {
        Self::read_with(compact, |_, _| Ok(())).map(|(jws, ())| jws)
    }

    /// Parses a token, and reads more of its header with `read_more`. Only proofs of possession need that.
    pub(crate) fn read_with<T>(
        compact: &'a str,
        read_more: impl FnOnce(&Object<'_>, Algorithm) -> Result<T, JwsError>,
    ) -> Result<(Self, T), JwsError> {
        let (signing_input, signature) = compact.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::Malformed)?;
        // A fourth segment would leave a dot here, which is not a base64url character.
        let decode = |segment: &str| base64url::decode(segment).ok_or(JwsError::Malformed);
        let header = decode(header)?;
        let header = parse_object(&header).map_err(|_| JwsError::Malformed)?;

        // RFC 7515 §4.1.11: no critical extension is supported, nor an unencoded payload (RFC 7797), a compressed one,
        // or a nested JWT.
        if ["crit", "b64", "zip"]
            .iter()
            .any(|name| header.member(name).is_some())
        {
            return Err(JwsError::Extension);
        }
        let text = |name| header.string(name).map_err(|_| JwsError::Malformed);
        if text("cty")?.is_some_and(|content| same_media_type(content, "JWT")) {
            return Err(JwsError::Extension);
        }
        let algorithm = header
            .string("alg")
            .ok()
            .flatten()
            .and_then(Algorithm::from_name);
        let (key_id, media_type) = (text("kid")?, text("typ")?);
        let algorithm = algorithm.ok_or(JwsError::Algorithm)?;
        let more = read_more(&header, algorithm)?;
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        if payload.is_empty() || signature.is_empty() {
            return Err(JwsError::Malformed);
        }
        let jws = Self {
            signing_input: Cow::Borrowed(signing_input),
            signature,
            payload,
            algorithm,
            key_id: key_id.map(str::to_owned),
            media_type: media_type.map(str::to_owned),
        };
        Ok((jws, more))
    }

    /// Copies the text, so that the token can be verified after its key was fetched.
    pub(crate) fn into_owned(self) -> Jws<'static> {
        Jws {
            signing_input: Cow::Owned(self.signing_input.into_owned()),
            signature: self.signature,
            payload: self.payload,
            algorithm: self.algorithm,
            key_id: self.key_id,
            media_type: self.media_type,
        }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Returns `typ` as sent.
    pub(crate) fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// Returns the bytes of the payload, which are not verified yet.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Returns whether the signature verifies with `key`, which must be prepared for [`Jws::algorithm`], as the selected
    /// key of a key set is.
    pub(crate) fn verify(&self, key: &PublicKey) -> bool {
        // RFC 7518 §3.4: R and S have full length; DER-encoded signatures are rejected.
        let is_length_valid = match self.algorithm {
            Algorithm::Es256 | Algorithm::EdDsa => self.signature.len() == 64,
            Algorithm::Es384 => self.signature.len() == 96,
            _ => true,
        };
        is_length_valid && key.verify(self.signing_input.as_bytes(), &self.signature)
    }
}

/// Compares media types, ignoring case and the optional prefix `application/` (RFC 7515 §4.1.9).
pub(crate) fn same_media_type(sent: &str, expected: &str) -> bool {
    let bare = match sent.split_at_checked(12) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => sent,
    };
    bare.eq_ignore_ascii_case(expected)
}
