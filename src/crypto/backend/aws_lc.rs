//! The aws-lc-rs backend. Keys are parsed once.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaPublicKeyComponents,
};

use super::Algorithm;
use super::key_material::KeyMaterial;

/// A public key prepared for one algorithm.
#[derive(Debug)]
pub(crate) struct PublicKey(ParsedPublicKey);

impl PublicKey {
    /// Parses a key. Returns `None` if the key does not fit the algorithm, or if its point is not on the curve.
    pub(crate) fn prepare(material: &KeyMaterial, algorithm: Algorithm) -> Option<Self> {
        let parsed = match (material, algorithm) {
            (KeyMaterial::Rsa { modulus, exponent }, _) => {
                let parameters = match algorithm {
                    Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                    Algorithm::Ps384 => &RSA_PSS_2048_8192_SHA384,
                    Algorithm::Ps512 => &RSA_PSS_2048_8192_SHA512,
                    _ => return None,
                };
                RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                }
                .to_parsed_public_key(parameters)
            }
            (KeyMaterial::P256(point), Algorithm::Es256) => {
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            }
            (KeyMaterial::P384(point), Algorithm::Es384) => {
                ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
            }
            (KeyMaterial::Ed25519(key), Algorithm::EdDsa) => ParsedPublicKey::new(&ED25519, key),
            _ => return None,
        };
        parsed.ok().map(Self)
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify_sig(message, signature).is_ok()
    }
}

/// SHA-2 digests.
pub(crate) mod digest {
    use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};

    pub(crate) fn sha256(data: &[u8]) -> Vec<u8> {
        digest(&SHA256, data).as_ref().to_vec()
    }

    pub(crate) fn sha384(data: &[u8]) -> Vec<u8> {
        digest(&SHA384, data).as_ref().to_vec()
    }

    pub(crate) fn sha512(data: &[u8]) -> Vec<u8> {
        digest(&SHA512, data).as_ref().to_vec()
    }
}

/// The key of a token in the token cache.
pub(crate) type CacheTag = [u8; 16];

/// Computes cache tags by GMAC, in a fifth of the time of SHA-256: the tag of AES-256-GCM over an empty plaintext, with
/// the token as associated data (NIST SP 800-38D).
///
/// The nonce is constant, which would reveal the hash key to an attacker who sees two tags. No tag leaves the process:
/// tags are only compared in memory, never logged, sent or stored elsewhere, and the key is used for nothing else. With
/// a secret hash key, two different tokens of 16 KiB have the same tag with a probability of at most 2^-117, and a
/// response tells an attacker only that they do not.
#[derive(Debug)]
pub(crate) struct TokenTagger(LessSafeKey);

impl TokenTagger {
    pub(crate) fn new(key: &[u8; 32]) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
        Some(Self(LessSafeKey::new(key)))
    }

    pub(crate) fn tag(&self, token: &[u8]) -> Option<CacheTag> {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(token), &mut [])
            .ok()?;
        tag.as_ref().try_into().ok()
    }
}
