//! The backend on aws-lc-rs: keys are parsed once and then only used.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaPublicKeyComponents,
};

use super::Algorithm;
use super::jwk::KeyMaterial;

/// A public key prepared for one algorithm.
#[derive(Debug)]
pub(crate) struct PublicKey(ParsedPublicKey);

impl PublicKey {
    /// `None` where the key cannot be one for this algorithm: another kind, or a point off the curve.
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

/// Digests of the SHA-2 family.
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
