//! Keys and signatures with RustCrypto, through the provider of `jsonwebtoken`.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
use jsonwebtoken::jwk::EllipticCurve;

use super::Public;
use crate::crypto::Algorithm;
use crate::random::Random;

pub(super) struct Pair {
    private: EncodingKey,
    public: PublicParts,
}

type PublicParts = (Vec<u8>, Vec<u8>);

/// RSA keys in PKCS #1, one per line: generating one takes minutes without optimization.
static RSA_KEYS: LazyLock<Mutex<Vec<Arc<Pair>>>> = LazyLock::new(|| {
    let lines = include_str!("rsa_keys.txt").lines();
    let keys = lines.filter_map(|line| rsa_pair(&STANDARD.decode(line).ok()?));
    Mutex::new(keys.map(Arc::new).collect())
});

// The PKCS #8 encoding (RFC 5958) before the private value, which ends it.
const P256_PREFIX: &[u8] =
    b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\
    \x48\xce\x3d\x03\x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";
const P384_PREFIX: &[u8] =
    b"\x30\x4e\x02\x01\x00\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\
    \x04\x00\x22\x04\x37\x30\x35\x02\x01\x01\x04\x30";
const ED25519_PREFIX: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

pub(super) fn generate(algorithm: Algorithm) -> Arc<Pair> {
    let pair = match algorithm {
        // A random value above the order of the curve is not a valid key; try again.
        Algorithm::Es256 => (0..8).find_map(|_| ec_pair(P256_PREFIX, &random::<32>(), algorithm)),
        Algorithm::Es384 => (0..8).find_map(|_| ec_pair(P384_PREFIX, &random::<48>(), algorithm)),
        Algorithm::EdDsa => ed25519_pair(&random()),
        _ => return unused_rsa_key(),
    };
    let Some(pair) = pair else {
        panic!("the backend rejected a generated private key")
    };
    Arc::new(pair)
}

/// Returns the RSA key with the fewest users, so that keys of one test differ although other tests use all of them.
fn unused_rsa_key() -> Arc<Pair> {
    let keys = RSA_KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(key) = keys.iter().min_by_key(|key| Arc::strong_count(key)) else {
        panic!("no RSA key could be parsed")
    };
    Arc::clone(key)
}

fn rsa_pair(der: &[u8]) -> Option<Pair> {
    let public = (DEFAULT_PROVIDER
        .key_utils
        .rsa_pub_components_from_private_key)(der)
    .ok()?;
    Some(Pair {
        private: EncodingKey::from_rsa_der(der),
        public,
    })
}

fn ec_pair(prefix: &[u8], private: &[u8], algorithm: Algorithm) -> Option<Pair> {
    let der = [prefix, private].concat();
    let components = DEFAULT_PROVIDER
        .key_utils
        .ec_pub_components_from_private_key;
    let (_, x, y) = components(&der, foreign(algorithm)).ok()?;
    Some(Pair {
        private: EncodingKey::from_ec_der(&der),
        public: (x, y),
    })
}

fn ed25519_pair(private: &[u8; 32]) -> Option<Pair> {
    let der = [ED25519_PREFIX, private].concat();
    let components = DEFAULT_PROVIDER
        .key_utils
        .ed_pub_components_from_private_key;
    let x = components(&der, &EllipticCurve::Ed25519).ok()?;
    Some(Pair {
        private: EncodingKey::from_ed_der(&der),
        public: (x, Vec::new()),
    })
}

impl Pair {
    pub(super) fn public(&self, algorithm: Algorithm) -> Public {
        let (first, second) = self.public.clone();
        match algorithm {
            Algorithm::Es256 | Algorithm::Es384 => Public::Ec {
                x: first,
                y: second,
            },
            Algorithm::EdDsa => Public::Ed25519 { x: first },
            _ => Public::Rsa {
                n: first,
                e: second,
            },
        }
    }

    pub(super) fn sign(&self, algorithm: Algorithm, input: &[u8]) -> Vec<u8> {
        let signature = (DEFAULT_PROVIDER.signer_factory)(&foreign(algorithm), &self.private)
            .ok()
            .and_then(|signer| signer.try_sign(input).ok());
        let Some(signature) = signature else {
            panic!("the backend could not sign")
        };
        signature
    }
}

fn foreign(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Rs384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::Rs512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::Ps384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::Ps512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::Es384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    }
}

fn random<const N: usize>() -> [u8; N] {
    let Ok(bytes) = Random::system().bytes() else {
        panic!("the operating system's random number generator failed")
    };
    bytes
}
