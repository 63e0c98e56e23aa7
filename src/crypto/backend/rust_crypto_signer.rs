//! Signing with RustCrypto, through the provider of jsonwebtoken.

use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::EllipticCurve;

use super::private_key::PrivateMaterial;
use super::{Algorithm, KeyKind};

/// A private key. The signers of the provider are not `Sync`, so one is created for each signature.
pub(crate) struct Signer {
    key: EncodingKey,
    public: Vec<u8>,
}

impl Signer {
    pub(super) fn prepare(material: &PrivateMaterial) -> Option<Self> {
        let der = &material.der;
        let utils = &DEFAULT_PROVIDER.key_utils;
        let point = |algorithm| {
            let (_, x, y) = (utils.ec_pub_components_from_private_key)(der, algorithm).ok()?;
            Some([&[0x04], &x[..], &y[..]].concat())
        };
        Some(match material.kind {
            KeyKind::Rsa => {
                (utils.rsa_pub_components_from_private_key)(der).ok()?;
                Self {
                    key: EncodingKey::from_rsa_der(der),
                    public: Vec::new(),
                }
            }
            KeyKind::P256 => Self {
                key: EncodingKey::from_ec_der(der),
                public: point(jsonwebtoken::Algorithm::ES256)?,
            },
            KeyKind::P384 => Self {
                key: EncodingKey::from_ec_der(der),
                public: point(jsonwebtoken::Algorithm::ES384)?,
            },
            KeyKind::Ed25519 => Self {
                key: EncodingKey::from_ed_der(der),
                public: (utils.ed_pub_components_from_private_key)(der, &EllipticCurve::Ed25519)
                    .ok()?,
            },
        })
    }

    /// Returns the public part of an elliptic curve key: the uncompressed point, or the 32 bytes of Ed25519.
    pub(super) fn public_point(&self) -> Vec<u8> {
        self.public.clone()
    }

    /// Signs a message. Returns `None` if the algorithm requires another type of key.
    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        let algorithm = match algorithm {
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
            Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
            Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
            Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
            Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        };
        let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, &self.key).ok()?;
        signer.try_sign(message).ok()
    }
}
