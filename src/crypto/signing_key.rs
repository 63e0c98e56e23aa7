//! The private key of a client, with which it signs who it is.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::jwk::{KeyMaterial, read_material, read_rsa};
use super::private_key::PrivateMaterial;
use super::signer::Signer;
use super::{Algorithm, KeyKind, PublicKey, base64url};
use crate::ConfigError;
use crate::protocol::json::{Object, parse_object};

const SETTING: &str = "signing key";

/// A private key to sign with: of RSA from 2048 bits on, P-256, P-384 or Ed25519.
///
/// For a client that proves who it is by `private_key_jwt`; see
/// [`Client::private_key_jwt`](crate::Client::private_key_jwt). Cheap to clone. It cannot be printed or
/// handed out again, and is wiped from memory when the last clone is gone, as far as the cryptography
/// backend does so.
///
/// ```
/// use tower_oauth::{Algorithm, Client, SigningKey};
///
/// // openssl genpkey -algorithm ed25519
/// let pem = "-----BEGIN PRIVATE KEY-----
/// MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
/// -----END PRIVATE KEY-----";
/// let key = SigningKey::from_pem(pem)?.with_key_id("2027-01");
/// assert_eq!(key.algorithm(), Algorithm::EdDsa);
/// assert!(!format!("{key:?}").contains("nWGxne"));
///
/// // What the authorization server has to know of it.
/// assert_eq!(key.public_jwk()["x"], "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
/// let client = Client::private_key_jwt("shop", key);
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct SigningKey {
    signer: Arc<Signer>,
    public: Arc<KeyMaterial>,
    algorithm: Algorithm,
    key_id: Option<String>,
}

impl SigningKey {
    /// Reads a private key in PEM: PKCS#8, not encrypted (`BEGIN PRIVATE KEY`). It has no key id yet.
    ///
    /// An RSA key signs by RS256 unless [told otherwise](Self::with_algorithm), the others by the one
    /// algorithm of their curve.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] where it is no such key; the message does not repeat it.
    pub fn from_pem(pem: &str) -> Result<Self, ConfigError> {
        PrivateMaterial::from_pem(pem)
            .and_then(|material| Self::new(&material, None))
            .map_err(refusal)
    }

    /// Reads a private key from the JSON text of a JWK (RFC 7517), with its `kid` and `alg` where it has
    /// them.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] where it is no such key, where `use` or `key_ops` forbid to sign with it,
    /// and where its public half is not that of its private half.
    pub fn from_jwk(jwk: &str) -> Result<Self, ConfigError> {
        let jwk = parse_object(jwk.as_bytes()).map_err(|_| refusal("it is no JSON object"))?;
        Self::read_jwk(&jwk).map_err(refusal)
    }

    fn read_jwk(jwk: &Object<'_>) -> Result<Self, &'static str> {
        check_purpose(jwk)?;
        let material = PrivateMaterial::from_jwk(jwk)?;
        let mut key = Self::new(&material, Some(read_material(jwk)?))?;
        key.key_id = jwk
            .string("kid")
            .map_err(|_| "its kid is not a string")?
            .map(str::to_owned);
        match jwk.string("alg").map_err(|_| "its alg is not a string")? {
            Some(name) => {
                let algorithm = Algorithm::from_name(name).ok_or("its alg is not supported")?;
                key.with(algorithm)
            }
            None => Ok(key),
        }
    }

    /// Signs by this algorithm: PS256 instead of RS256, for instance.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] where it is for keys of another kind.
    pub fn with_algorithm(self, algorithm: Algorithm) -> Result<Self, ConfigError> {
        self.with(algorithm).map_err(|reason| ConfigError::Setting {
            setting: "algorithm",
            value: algorithm.name().to_owned(),
            reason,
        })
    }

    /// Names the key in what it signs (`kid`): the id under which the authorization server knows it.
    #[must_use]
    pub fn with_key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// The algorithm it signs by.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `kid`.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The public half as a JWK, to be registered at the authorization server.
    pub fn public_jwk(&self) -> Value {
        let mut jwk = match &*self.public {
            KeyMaterial::Rsa { modulus, exponent } => json!({
                "kty": "RSA",
                "n": base64url::encode(modulus),
                "e": base64url::encode(exponent),
            }),
            KeyMaterial::P256(point) => curve("P-256", point),
            KeyMaterial::P384(point) => curve("P-384", point),
            KeyMaterial::Ed25519(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url::encode(key) })
            }
        };
        if let Some(key_id) = &self.key_id {
            jwk["kid"] = key_id.as_str().into();
        }
        jwk["alg"] = self.algorithm.name().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// A JWS in compact serialization; `None` where the backend does not sign, for want of randomness.
    pub(crate) fn sign(&self, media_type: &str, claims: &Value) -> Option<String> {
        let mut header = json!({ "alg": self.algorithm.name(), "typ": media_type });
        if let Some(key_id) = &self.key_id {
            header["kid"] = key_id.as_str().into();
        }
        let mut token = base64url::encode(header.to_string().as_bytes());
        token.push('.');
        token.push_str(&base64url::encode(claims.to_string().as_bytes()));
        let signature = self.signer.sign(self.algorithm, token.as_bytes())?;
        token.push('.');
        token.push_str(&base64url::encode(&signature));
        Some(token)
    }

    fn new(material: &PrivateMaterial, public: Option<KeyMaterial>) -> Result<Self, &'static str> {
        let signer = Signer::prepare(material).ok_or("its numbers are not a key of its kind")?;
        let public = match (public, material.kind) {
            (Some(public), _) => public,
            (None, KeyKind::Rsa) => {
                let (modulus, exponent) = material.rsa_public()?;
                read_rsa(modulus, exponent)?
            }
            (None, KeyKind::P256) => KeyMaterial::P256(signer.public_point()),
            (None, KeyKind::P384) => KeyMaterial::P384(signer.public_point()),
            (None, KeyKind::Ed25519) => KeyMaterial::Ed25519(signer.public_point()),
        };
        let key = Self {
            signer: Arc::new(signer),
            public: Arc::new(public),
            algorithm: match material.kind {
                KeyKind::Rsa => Algorithm::Rs256,
                KeyKind::P256 => Algorithm::Es256,
                KeyKind::P384 => Algorithm::Es384,
                KeyKind::Ed25519 => Algorithm::EdDsa,
            },
            key_id: None,
        };
        key.check_halves().then_some(key).ok_or(
            "it does not sign what its public half verifies, or the system gave no randomness",
        )
    }

    /// One signature now, so that a key whose halves do not fit is known before a server refuses it.
    fn check_halves(&self) -> bool {
        let signature = self.signer.sign(self.algorithm, b"halves");
        let public = PublicKey::prepare(&self.public, self.algorithm);
        public
            .zip(signature)
            .is_some_and(|(public, signature)| public.verify(b"halves", &signature))
    }

    fn with(mut self, algorithm: Algorithm) -> Result<Self, &'static str> {
        if algorithm.key_kind() != self.public.kind() {
            return Err("the algorithm is for keys of another kind");
        }
        self.algorithm = algorithm;
        Ok(self)
    }
}

/// The public half of it is for everybody; the rest is not even counted.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// An uncompressed point as its two coordinates.
fn curve(name: &str, point: &[u8]) -> Value {
    let coordinates = point.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    json!({
        "kty": "EC",
        "crv": name,
        "x": base64url::encode(x),
        "y": base64url::encode(y),
    })
}

/// `use` and `key_ops`, where present, must allow signing (RFC 7517 §4.2, §4.3).
fn check_purpose(jwk: &Object<'_>) -> Result<(), &'static str> {
    match jwk.string("use") {
        Ok(None | Some("sig")) => {}
        _ => return Err("its use is not sig"),
    }
    match jwk.strings("key_ops") {
        Ok(None) => Ok(()),
        Ok(Some(operations)) if operations.contains(&"sign") => Ok(()),
        _ => Err("its key_ops does not allow sign"),
    }
}

fn refusal(reason: &'static str) -> ConfigError {
    ConfigError::Secret {
        setting: SETTING,
        reason,
    }
}
