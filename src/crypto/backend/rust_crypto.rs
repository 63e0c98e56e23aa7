//! The RustCrypto backend, through the provider of jsonwebtoken.
//!
//! The provider is called directly. The process-wide default provider is neither read nor installed: it belongs to the
//! application.

use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::EllipticCurve;
use jsonwebtoken::{DecodingKey, EncodingKey};

use super::key_material::KeyMaterial;
use super::private_key::PrivateMaterial;
use super::{Algorithm, KeyKind, base64url};

/// A public key checked for one algorithm. The verifiers of the provider are not `Sync`, so one is created for each
/// signature.
#[derive(Debug)]
pub(crate) struct PublicKey {
    key: DecodingKey,
    algorithm: jsonwebtoken::Algorithm,
}

impl PublicKey {
    /// Parses a key. Returns `None` if the key does not fit the algorithm, or if its point is not on the curve.
    pub(crate) fn prepare(material: &KeyMaterial, algorithm: Algorithm) -> Option<Self> {
        let key = match material {
            KeyMaterial::Rsa { modulus, exponent } => {
                DecodingKey::from_rsa_raw_components(modulus, exponent)
            }
            KeyMaterial::P256(point) | KeyMaterial::P384(point) => {
                let (x, y) = point.get(1..)?.split_at_checked(point.len() / 2)?;
                DecodingKey::from_ec_components(&base64url::encode(x), &base64url::encode(y))
                    .ok()?
            }
            KeyMaterial::Ed25519(key) => {
                DecodingKey::from_ed_components(&base64url::encode(key)).ok()?
            }
        };
        let algorithm = match (material, algorithm) {
            (KeyMaterial::Rsa { .. }, Algorithm::Rs256) => jsonwebtoken::Algorithm::RS256,
            (KeyMaterial::Rsa { .. }, Algorithm::Rs384) => jsonwebtoken::Algorithm::RS384,
            (KeyMaterial::Rsa { .. }, Algorithm::Rs512) => jsonwebtoken::Algorithm::RS512,
            (KeyMaterial::Rsa { .. }, Algorithm::Ps256) => jsonwebtoken::Algorithm::PS256,
            (KeyMaterial::Rsa { .. }, Algorithm::Ps384) => jsonwebtoken::Algorithm::PS384,
            (KeyMaterial::Rsa { .. }, Algorithm::Ps512) => jsonwebtoken::Algorithm::PS512,
            (KeyMaterial::P256(_), Algorithm::Es256) => jsonwebtoken::Algorithm::ES256,
            (KeyMaterial::P384(_), Algorithm::Es384) => jsonwebtoken::Algorithm::ES384,
            (KeyMaterial::Ed25519(_), Algorithm::EdDsa) => jsonwebtoken::Algorithm::EdDSA,
            _ => return None,
        };
        // Creating a verifier checks the point or the modulus.
        (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &key).ok()?;
        Some(Self { key, algorithm })
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm, &self.key)
            .is_ok_and(|verifier| verifier.verify(message, &signature.to_vec()).is_ok())
    }
}

/// SHA-2 digests.
pub(crate) mod digest {
    use sha2::{Digest, Sha256, Sha384, Sha512};

    pub(crate) fn sha256(data: &[u8]) -> Vec<u8> {
        Sha256::digest(data).to_vec()
    }

    pub(crate) fn sha384(data: &[u8]) -> Vec<u8> {
        Sha384::digest(data).to_vec()
    }

    pub(crate) fn sha512(data: &[u8]) -> Vec<u8> {
        Sha512::digest(data).to_vec()
    }
}

/// The key of a token in the token cache.
pub(crate) type CacheTag = [u8; 32];

/// Computes cache tags by SHA-256 over a secret of the process and the token. The length of the secret is fixed, so the
/// input is unambiguous.
pub(crate) struct TokenTagger([u8; 32]);

impl TokenTagger {
    pub(crate) fn new(key: &[u8; 32]) -> Option<Self> {
        Some(Self(*key))
    }

    pub(crate) fn tag(&self, token: &[u8]) -> Option<CacheTag> {
        use sha2::Digest as _;

        let hasher = sha2::Sha256::new_with_prefix(self.0).chain_update(token);
        Some(hasher.finalize().into())
    }
}

/// Omits the secret.
impl std::fmt::Debug for TokenTagger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenTagger(..)")
    }
}

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
