//! A JWS in compact serialization (RFC 7515 §7.1), taken apart strictly and not yet verified.

use super::backend::PublicKey;
use super::{Algorithm, base64url};
use crate::protocol::json::{Object, parse_object};

/// A token taken apart. What it says is nobody's word until [`Jws::verify`] was true.
#[derive(Debug)]
pub(crate) struct Jws<'a> {
    signing_input: &'a str,
    signature: Vec<u8>,
    payload: Vec<u8>,
    algorithm: Algorithm,
    key_id: Option<String>,
    media_type: Option<String>,
}

/// Why a token could not be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwsError {
    #[error("not a JWS in compact serialization with strict JSON")]
    Malformed,
    #[error("the header names no algorithm that is supported")]
    Algorithm,
    #[error("the header has an extension that is not understood")]
    Extension,
}

impl<'a> Jws<'a> {
    /// Three segments of canonical base64url, the first a JSON object with an algorithm known here.
    ///
    /// `jwk`, `jku`, `x5u` and `x5c` are not read: a token does not bring its own key (`A5`).
    pub(crate) fn read(compact: &'a str) -> Result<Self, JwsError> {
        Self::read_with(compact, |_, _| Ok(())).map(|(jws, ())| jws)
    }

    /// The same, with a look at more of the header: only a proof of possession needs it.
    pub(crate) fn read_with<T>(
        compact: &'a str,
        more: impl FnOnce(&Object<'_>, Algorithm) -> Result<T, JwsError>,
    ) -> Result<(Self, T), JwsError> {
        let (signing_input, signature) = compact.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::Malformed)?;
        // A fourth segment would leave a dot here, which base64url does not have (`A6`).
        let decode = |segment: &str| base64url::decode(segment).ok_or(JwsError::Malformed);
        let header = decode(header)?;
        let header = parse_object(&header).map_err(|_| JwsError::Malformed)?;

        // RFC 7515 §4.1.11: nothing critical is understood here, nor a payload that is not
        // encoded, compressed or itself a JWT (`A4`).
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
        let more = more(&header, algorithm)?;
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        if payload.is_empty() || signature.is_empty() {
            return Err(JwsError::Malformed);
        }
        let jws = Self {
            signing_input,
            signature,
            payload,
            algorithm,
            key_id: key_id.map(str::to_owned),
            media_type: media_type.map(str::to_owned),
        };
        Ok((jws, more))
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// `typ` as it was sent.
    pub(crate) fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// The payload's bytes, unverified.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Whether this key made the signature. The key must have been prepared for
    /// [`Jws::algorithm`]; the key set hands out no other.
    pub(crate) fn verify(&self, key: &PublicKey) -> bool {
        // Raw r and s of full length; the DER form of other protocols is refused (`A16`).
        let length_fits = match self.algorithm {
            Algorithm::Es256 | Algorithm::EdDsa => self.signature.len() == 64,
            Algorithm::Es384 => self.signature.len() == 96,
            _ => true,
        };
        length_fits && key.verify(self.signing_input.as_bytes(), &self.signature)
    }
}

/// Whether two media types are the same; the prefix `application/` may be left out and case does
/// not matter (RFC 7515 §4.1.9).
pub(crate) fn same_media_type(sent: &str, wanted: &str) -> bool {
    let bare = match sent.split_at_checked(12) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => sent,
    };
    bare.eq_ignore_ascii_case(wanted)
}
