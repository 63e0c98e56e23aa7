//! The private key of a session for DPoP proofs (RFC 9449): a scalar of P-256.

use std::fmt;
use std::sync::{Arc, OnceLock};

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::backend::Signer;
use super::key_material::KeyMaterial;
use super::private_key::PrivateMaterial;
use super::unsigned_jws::UnsignedJws;
use super::{Algorithm, KeyKind, hmac_sha256};

/// The order of P-256 (SEC 2 §2.4.2). A private key is from 1 to the order minus 1.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// A private key for the algorithm ES256.
///
/// Requests decode many keys that sign nothing, so the key is parsed at its first use. Clones share the parsed key.
#[derive(Clone)]
pub(crate) struct ProofKey(Arc<Inner>);

struct Inner {
    scalar: Zeroizing<[u8; 32]>,
    parsed: OnceLock<Option<Parsed>>,
}

struct Parsed {
    signer: Signer,
    /// The public key as JSON, with the members of its thumbprint only.
    public_jwk: String,
    thumbprint: [u8; 32],
}

impl ProofKey {
    /// Derives the key that belongs to a secret: HMAC-SHA-256 over the label and a counter, until the value is a private
    /// key (FIPS 186-5 §A.2.2). The first value is one except with a probability of 2^-32.
    ///
    /// Returns `None` if none of 256 values is one, which does not happen.
    pub(crate) fn derive(secret: &[u8; 32], label: &[u8]) -> Option<Self> {
        (0..=u8::MAX).find_map(|counter| {
            let tag = Zeroizing::new(hmac_sha256(secret, &[label, &[counter]].concat()));
            Self::from_scalar((**tag).try_into().ok()?)
        })
    }

    /// Returns `None` unless the value is a private key.
    pub(crate) fn from_scalar(scalar: [u8; 32]) -> Option<Self> {
        let scalar = Zeroizing::new(scalar);
        (*scalar != [0; 32] && *scalar < ORDER).then(|| {
            Self(Arc::new(Inner {
                scalar,
                parsed: OnceLock::new(),
            }))
        })
    }

    /// Returns the private key, to encode it.
    pub(crate) fn scalar(&self) -> &[u8; 32] {
        &self.0.scalar
    }

    /// Returns the SHA-256 thumbprint of the public key (RFC 7638), or `None` if the backend rejects the key.
    pub(crate) fn thumbprint(&self) -> Option<&[u8; 32]> {
        Some(&self.parsed()?.thumbprint)
    }

    /// Returns a JWS of this type with the public key in its header, or `None` if the backend fails, for lack of
    /// randomness.
    pub(crate) fn sign(&self, media_type: &'static str, payload: &str) -> Option<String> {
        let key = self.parsed()?;
        let header = format!(
            r#"{{"typ":"{media_type}","alg":"{}","jwk":{}}}"#,
            Algorithm::Es256.name(),
            key.public_jwk,
        );
        let jws = UnsignedJws::new(&header, payload);
        let signature = key.signer.sign(Algorithm::Es256, jws.signing_input())?;
        Some(jws.with_signature(&signature))
    }

    fn parsed(&self) -> Option<&Parsed> {
        let inner = &*self.0;
        let parsed = inner.parsed.get_or_init(|| Parsed::new(&inner.scalar));
        parsed.as_ref()
    }
}

impl Parsed {
    fn new(scalar: &[u8; 32]) -> Option<Self> {
        let material = PrivateMaterial::from_value(KeyKind::P256, scalar)?;
        let signer = Signer::prepare(&material)?;
        let public = KeyMaterial::P256(signer.public_point());
        Some(Self {
            signer,
            public_jwk: public.required_members(),
            thumbprint: public.thumbprint(),
        })
    }
}

impl PartialEq for ProofKey {
    fn eq(&self, other: &Self) -> bool {
        self.scalar().ct_eq(other.scalar()).into()
    }
}

/// Omits the key itself.
impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProofKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{EmbeddedKey, Jws, base64url};
    use crate::protocol::json::{Json, parse_object};

    #[test]
    fn only_scalars_below_the_order_are_keys() {
        let with_last = |last: u8| {
            let mut scalar = ORDER;
            scalar[31] = last;
            scalar
        };
        let mut one = [0; 32];
        one[31] = 1;
        for (name, scalar, expected) in [
            ("zero", [0; 32], false),
            ("one", one, true),
            ("the order minus one", with_last(0x50), true),
            ("the order", ORDER, false),
            ("the order plus one", with_last(0x52), false),
            ("all bits", [0xff; 32], false),
        ] {
            let key = ProofKey::from_scalar(scalar);
            assert_eq!(key.is_some(), expected, "{name}");
            let Some(key) = key else { continue };
            assert!(key.thumbprint().is_some(), "{name}: the backend takes it");
            assert_eq!(key.scalar(), &scalar, "{name}");
        }
    }

    /// The generator of P-256 is the public key of 1 (SEC 2 §2.4.2).
    #[test]
    fn the_public_key_belongs_to_the_scalar() {
        let mut one = [0; 32];
        one[31] = 1;
        let jws = ProofKey::from_scalar(one)
            .unwrap()
            .sign("dpop+jwt", "{}")
            .unwrap();
        let header = base64url::decode(jws.split('.').next().unwrap()).unwrap();
        assert_eq!(
            String::from_utf8(header).unwrap(),
            r#"{"typ":"dpop+jwt","alg":"ES256","jwk":{"crv":"P-256","kty":"EC","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"}}"#
        );
    }

    #[test]
    fn a_signature_verifies_with_the_key_in_the_header() {
        let key = ProofKey::derive(&[5; 32], b"label").unwrap();
        let token = key.sign("dpop+jwt", r#"{"jti":"1"}"#).unwrap();
        let (jws, embedded) = Jws::read_with(&token, |header, algorithm| {
            let jwk = header.member("jwk").and_then(Json::as_object).unwrap();
            Ok(EmbeddedKey::read(jwk, algorithm).unwrap())
        })
        .unwrap();
        assert!(jws.verify(&embedded.prepare(jws.algorithm()).unwrap()));
        assert_eq!(Some(&embedded.thumbprint()), key.thumbprint());
        assert!(parse_object(jws.payload()).is_ok());
        assert!(!format!("{key:?}").contains("5, 5"));
    }

    #[test]
    fn keys_differ_by_secret_and_label_and_are_derived_again() {
        let derive = |byte, label: &[u8]| ProofKey::derive(&[byte; 32], label).unwrap();
        assert!(derive(1, b"a") == derive(1, b"a"));
        assert!(derive(1, b"a") != derive(2, b"a"));
        assert!(derive(1, b"a") != derive(1, b"b"));
    }
}
