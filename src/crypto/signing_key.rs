//! [`SigningKey`]: the private key of a client, for `private_key_jwt`.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::backend::Signer;
use super::key_material::{KeyMaterial, read_material, read_rsa};
use super::private_key::PrivateMaterial;
use super::{Algorithm, KeyKind, PublicKey, UnsignedJws, base64url};
use crate::ConfigError;
use crate::protocol::json::{Object, parse_object};

const SETTING: &str = "signing key";

/// The private key of a client that authenticates with `private_key_jwt`: RSA of at least 2048 bits, P-256, P-384 or
/// Ed25519.
///
/// See [`Client::private_key_jwt`](crate::Client::private_key_jwt). Cloning is cheap. The key cannot be exported or
/// printed. It is erased from memory when the last clone is dropped, as far as the cryptography backend supports it.
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
/// // Register the public key at the authorization server.
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
    /// Parses a private key in PEM: unencrypted PKCS#8 (`BEGIN PRIVATE KEY`). It has no key id.
    ///
    /// The algorithm of an RSA key is RS256 unless [set](Self::with_algorithm). Other keys have the algorithm of their
    /// curve.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the text is not such a key. The error does not contain the text.
    pub fn from_pem(pem: &str) -> Result<Self, ConfigError> {
        PrivateMaterial::from_pem(pem)
            .and_then(|material| Self::new(&material, None))
            .map_err(invalid)
    }

    /// Parses a private key from the JSON text of a JWK ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)), with its
    /// `kid` and `alg`, if present.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] if the text is not such a key, if `use` or `key_ops` do not allow signing, and if the
    /// public key does not belong to the private key.
    pub fn from_jwk(jwk: &str) -> Result<Self, ConfigError> {
        let jwk = parse_object(jwk.as_bytes()).map_err(|_| invalid("it is not a JSON object"))?;
        Self::read_jwk(&jwk).map_err(invalid)
    }

    fn read_jwk(jwk: &Object<'_>) -> Result<Self, &'static str> {
        check_purpose(jwk)?;
        let material = PrivateMaterial::from_jwk(jwk)?;
        let mut key = Self::new(&material, Some(read_material(jwk)?))?;
        key.key_id = jwk
            .text("kid")
            .map_err(|_| "its kid is not a string")?
            .map(str::to_owned);
        match jwk.text("alg").map_err(|_| "its alg is not a string")? {
            Some(name) => {
                let algorithm = Algorithm::from_name(name).ok_or("its alg is not supported")?;
                key.set_algorithm(algorithm)
            }
            None => Ok(key),
        }
    }

    /// Sets the algorithm, for example PS256 instead of RS256.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the algorithm requires another type of key.
    pub fn with_algorithm(self, algorithm: Algorithm) -> Result<Self, ConfigError> {
        self.set_algorithm(algorithm)
            .map_err(|reason| ConfigError::Setting {
                setting: "algorithm",
                value: algorithm.name().to_owned(),
                reason,
            })
    }

    /// Sets the key id (`kid`) under which the key is registered at the authorization server.
    #[must_use]
    pub fn with_key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_id = Some(key_id.into());
        self
    }

    /// Returns the signature algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the key id (`kid`).
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Returns the public key as a JWK, for registration at the authorization server.
    pub fn public_jwk(&self) -> Value {
        let mut jwk = match &*self.public {
            KeyMaterial::Rsa { modulus, exponent } => json!({
                "kty": "RSA",
                "n": base64url::encode(modulus),
                "e": base64url::encode(exponent),
            }),
            KeyMaterial::P256(point) => ec_jwk("P-256", point),
            KeyMaterial::P384(point) => ec_jwk("P-384", point),
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

    /// Returns a JWS in compact serialization, or `None` if the backend fails, for lack of randomness.
    pub(crate) fn sign(&self, media_type: &str, claims: &Value) -> Option<String> {
        let algorithm = self.algorithm.name();
        self.sign_jws(UnsignedJws::of_claims(
            algorithm,
            media_type,
            self.key_id(),
            claims,
        ))
    }

    /// Does the same as [`sign`](Self::sign), with any header.
    pub(crate) fn sign_jws(&self, token: UnsignedJws) -> Option<String> {
        let signature = self.signer.sign(self.algorithm, token.signing_input())?;
        Some(token.with_signature(&signature))
    }

    fn new(material: &PrivateMaterial, public: Option<KeyMaterial>) -> Result<Self, &'static str> {
        let signer = Signer::prepare(material).ok_or("its parameters are invalid")?;
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
        key.is_consistent()
            .then_some(key)
            .ok_or("its public key does not belong to its private key, or signing failed")
    }

    /// Creates and verifies a signature, so that an inconsistent key is detected before a server rejects it.
    fn is_consistent(&self) -> bool {
        let signature = self.signer.sign(self.algorithm, b"consistency");
        let public = PublicKey::prepare(&self.public, self.algorithm);
        public
            .zip(signature)
            .is_some_and(|(public, signature)| public.verify(b"consistency", &signature))
    }

    fn set_algorithm(mut self, algorithm: Algorithm) -> Result<Self, &'static str> {
        if algorithm.key_kind() != self.public.kind() {
            return Err("the algorithm requires another type of key");
        }
        self.algorithm = algorithm;
        Ok(self)
    }
}

/// Omits the key itself.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

/// Returns the JWK of an uncompressed point.
fn ec_jwk(curve: &str, point: &[u8]) -> Value {
    let coordinates = point.get(1..).unwrap_or_default();
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    json!({
        "kty": "EC",
        "crv": curve,
        "x": base64url::encode(x),
        "y": base64url::encode(y),
    })
}

/// Checks that `use` and `key_ops`, if present, allow signing (RFC 7517 §4.2, §4.3).
fn check_purpose(jwk: &Object<'_>) -> Result<(), &'static str> {
    match jwk.text("use") {
        Ok(None | Some("sig")) => {}
        _ => return Err("its use is not sig"),
    }
    match jwk.texts("key_ops") {
        Ok(None) => Ok(()),
        Ok(Some(operations)) if operations.contains(&"sign") => Ok(()),
        _ => Err("its key_ops does not allow sign"),
    }
}

fn invalid(reason: &'static str) -> ConfigError {
    ConfigError::Secret {
        setting: SETTING,
        reason,
    }
}
