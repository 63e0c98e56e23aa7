//! Keys and signatures with aws-lc-rs.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};

use super::Public;
use crate::crypto::Algorithm;

pub(super) enum Pair {
    Rsa(rsa::KeyPair),
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// All RSA keys of this process. They are reused because generating one takes as long as a whole test.
static RSA_KEYS: Mutex<Vec<Arc<Pair>>> = Mutex::new(Vec::new());

pub(super) fn generate(algorithm: Algorithm) -> Arc<Pair> {
    let pair = match algorithm {
        Algorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Pair::Ec),
        Algorithm::Es384 => EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map(Pair::Ec),
        Algorithm::EdDsa => Ed25519KeyPair::generate().map(Pair::Ed25519),
        _ => return unused_rsa_key(),
    };
    let Ok(pair) = pair else { random_failure() };
    Arc::new(pair)
}

/// Returns an RSA key that is not in use.
fn unused_rsa_key() -> Arc<Pair> {
    let mut keys = RSA_KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(key) = keys.iter().find(|key| Arc::strong_count(key) == 1) {
        return Arc::clone(key);
    }
    let Ok(pair) = rsa::KeyPair::generate(KeySize::Rsa2048) else {
        random_failure()
    };
    let key = Arc::new(Pair::Rsa(pair));
    keys.push(Arc::clone(&key));
    key
}

impl Pair {
    pub(super) fn public(&self, _: Algorithm) -> Public {
        match self {
            Self::Rsa(pair) => {
                // An RSAPublicKey of 2048 bits (RFC 8017 §A.1.1): both integers have fixed offsets.
                let der = pair.public_key().as_ref();
                let part =
                    |range: std::ops::Range<usize>| der.get(range).unwrap_or_default().to_vec();
                Public::Rsa {
                    n: part(9..265),
                    e: part(267..270),
                }
            }
            Self::Ec(pair) => {
                // An uncompressed point: a format byte, then both coordinates (SEC 1 §2.3.3).
                let coordinates = pair.public_key().as_ref().get(1..).unwrap_or_default();
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                Public::Ec {
                    x: x.to_vec(),
                    y: y.to_vec(),
                }
            }
            Self::Ed25519(pair) => Public::Ed25519 {
                x: pair.public_key().as_ref().to_vec(),
            },
        }
    }

    pub(super) fn sign(&self, algorithm: Algorithm, input: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding(algorithm), &random, input, &mut signature)
                    .map(|()| signature)
            }
            Self::Ec(pair) => pair
                .sign(&random, input)
                .map(|signature| signature.as_ref().to_vec()),
            Self::Ed25519(pair) => Ok(pair.sign(input).as_ref().to_vec()),
        };
        let Ok(signature) = signature else {
            random_failure()
        };
        signature
    }
}

fn padding(algorithm: Algorithm) -> &'static dyn RsaEncoding {
    match algorithm {
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        Algorithm::Ps512 => &RSA_PSS_SHA512,
        _ => &RSA_PKCS1_SHA256,
    }
}

fn random_failure() -> ! {
    panic!("the operating system's random number generator failed")
}
