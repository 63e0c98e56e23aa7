//! The aws-lc-rs backend. Keys are parsed once; signing uses the random number generator of the library.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaPublicKeyComponents,
};

use super::key_material::KeyMaterial;
use super::private_key::PrivateMaterial;
use super::{Algorithm, KeyKind};

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

/// A parsed private key.
#[derive(Debug)]
pub(crate) enum Signer {
    Rsa(rsa::KeyPair),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    pub(super) fn prepare(material: &PrivateMaterial) -> Option<Self> {
        let der = &material.der;
        match material.kind {
            KeyKind::Rsa => rsa::KeyPair::from_der(der).ok().map(Self::Rsa),
            KeyKind::P256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der)
                .ok()
                .map(Self::Ec),
            KeyKind::P384 => EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, der)
                .ok()
                .map(Self::Ec),
            KeyKind::Ed25519 => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .ok()
                .map(Self::Ed25519),
        }
    }

    /// Returns the public part of an elliptic curve key: the uncompressed point, or the 32 bytes of Ed25519.
    pub(super) fn public_point(&self) -> Vec<u8> {
        match self {
            Self::Rsa(_) => Vec::new(),
            Self::Ec(pair) => pair.public_key().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    /// Signs a message. Returns `None` if the algorithm requires another type of key.
    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding(algorithm)?, &random, message, &mut signature)
                    .ok()?;
                Some(signature)
            }
            Self::Ec(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
            Self::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

fn padding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    Some(match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        Algorithm::Ps512 => &RSA_PSS_SHA512,
        _ => return None,
    })
}
