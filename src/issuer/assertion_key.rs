//! The key of `private_key_jwt`: in this process, or in a service that signs.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;
use tower::BoxError;

use super::application_call::call_application;
use super::error::AuthenticationError;
use crate::clock::Clock;
use crate::crypto::{Algorithm, SigningKey, UnsignedJws};
use crate::protocol::sanitize::{log_safe, without_secrets};
use crate::random::RandomError;

type SignFuture<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, BoxError>> + Send + 'a>>;

/// Signs client assertions with a key that is not in this process: a key management service, or a hardware module.
///
/// For [`Client::private_key_jwt`](crate::Client::private_key_jwt). [`sign`](Self::sign) is called for each request to the
/// authorization server. The request is not sent, and the caller gets 503, if it returns an error, if it panics, or if it
/// takes longer than 5 seconds. The text of the error is logged, so it must not contain the key or a credential.
///
/// ```
/// use std::error::Error;
/// use tower_oauth::issuer::RemoteSigner;
/// use tower_oauth::{Algorithm, Client};
///
/// struct Kms {
///     // The client of the key management service.
/// }
///
/// impl RemoteSigner for Kms {
///     fn algorithm(&self) -> Algorithm {
///         Algorithm::Es256
///     }
///     fn key_id(&self) -> Option<String> {
///         Some("2027-01".into())
///     }
///     async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
///         // Call the service here. Convert a DER signature to R and S.
/// #       let _ = message;
///         Err("the service is not reachable".into())
///     }
/// }
///
/// let client = Client::private_key_jwt("shop", Kms {});
/// ```
pub trait RemoteSigner: Send + Sync + 'static {
    /// Returns the algorithm of the signatures. Called once, when the signer becomes an [`AssertionKey`].
    fn algorithm(&self) -> Algorithm;

    /// Returns the key id (`kid`) under which the key is registered at the authorization server. Default: none. Called
    /// once, as [`algorithm`](Self::algorithm) is.
    fn key_id(&self) -> Option<String> {
        None
    }

    /// Returns the public key as a JWK ([RFC 7517 §4]), with the `kid` of [`key_id`](Self::key_id), for the
    /// [metadata of the client](crate::login::ClientMetadata). Default: none. Called once.
    ///
    /// [RFC 7517 §4]: https://www.rfc-editor.org/rfc/rfc7517#section-4
    fn public_jwk(&self) -> Option<Value> {
        None
    }

    /// Returns the signature of `message`, in the format of [RFC 7518 §3]. The message is not hashed yet.
    ///
    /// A signature of an elliptic curve is R and S with their full lengths (64 bytes for ES256), not DER. Only the length
    /// is checked here.
    ///
    /// # Errors
    ///
    /// Any error means that the key cannot be used at the moment.
    ///
    /// [RFC 7518 §3]: https://www.rfc-editor.org/rfc/rfc7518#section-3
    fn sign(
        &self,
        message: &[u8],
    ) -> impl Future<Output = Result<Vec<u8>, Box<dyn Error + Send + Sync>>> + Send;
}

/// [`RemoteSigner`] as a trait object.
trait DynSigner: Send + Sync {
    fn sign<'a>(&'a self, message: &'a [u8]) -> SignFuture<'a>;
}

impl<T: RemoteSigner> DynSigner for T {
    fn sign<'a>(&'a self, message: &'a [u8]) -> SignFuture<'a> {
        Box::pin(RemoteSigner::sign(self, message))
    }
}

/// The key that signs client assertions: a [`SigningKey`], or a [`RemoteSigner`].
///
/// Both convert into it. Cloning is cheap.
#[derive(Clone)]
pub struct AssertionKey(Kind);

#[derive(Clone)]
enum Kind {
    Local(SigningKey),
    Remote {
        signer: Arc<dyn DynSigner>,
        algorithm: Algorithm,
        key_id: Option<Arc<str>>,
        public_jwk: Option<Arc<Value>>,
    },
}

impl AssertionKey {
    pub(super) fn algorithm(&self) -> Algorithm {
        match &self.0 {
            Kind::Local(key) => key.algorithm(),
            Kind::Remote { algorithm, .. } => *algorithm,
        }
    }

    /// Returns the key id (`kid`).
    pub(super) fn key_id(&self) -> Option<&str> {
        match &self.0 {
            Kind::Local(key) => key.key_id(),
            Kind::Remote { key_id, .. } => key_id.as_deref(),
        }
    }

    /// Returns the public key, unless it is that of a signer that does not publish it.
    pub(super) fn public_jwk(&self) -> Option<Value> {
        match &self.0 {
            Kind::Local(key) => Some(key.public_jwk()),
            Kind::Remote { public_jwk, .. } => public_jwk.as_deref().cloned(),
        }
    }

    /// Returns a JWS in compact serialization.
    pub(super) async fn sign(
        &self,
        media_type: &str,
        claims: &Value,
        clock: &dyn Clock,
    ) -> Result<String, AuthenticationError> {
        let (signer, algorithm, key_id) = match &self.0 {
            Kind::Local(key) => return Ok(key.sign(media_type, claims).ok_or(RandomError)?),
            Kind::Remote {
                signer,
                algorithm,
                key_id,
                ..
            } => (&**signer, *algorithm, key_id),
        };
        let jws = UnsignedJws::of_claims(algorithm.name(), media_type, key_id.as_deref(), claims);
        let signature = sign_remotely(signer, algorithm, jws.signing_input(), clock).await?;
        Ok(jws.with_signature(&signature))
    }
}

async fn sign_remotely(
    signer: &dyn DynSigner,
    algorithm: Algorithm,
    message: &[u8],
    clock: &dyn Clock,
) -> Result<Vec<u8>, AuthenticationError> {
    let outage =
        |reason: &str| AuthenticationError::Unavailable(format!("the remote signer: {reason}"));
    let signing = async {
        let signed = signer.sign(message).await;
        signed.map_err(|error| log_safe(&without_secrets(&error.to_string())))
    };
    let signed = call_application(clock, signing).await.map_err(outage)?;
    let signature = signed.map_err(|error| outage(&error))?;
    match signature_length_error(algorithm, signature.len()) {
        None => Ok(signature),
        Some(expected) => Err(AuthenticationError::Configuration(format!(
            "the remote signer returned a signature of {} bytes, expected {expected} for {algorithm}",
            signature.len()
        ))),
    }
}

/// Returns the expected length, unless a signature may have this length (RFC 7518 §3.3 to §3.5, RFC 8037 §3.1).
fn signature_length_error(algorithm: Algorithm, length: usize) -> Option<&'static str> {
    let (is_valid, expected) = match algorithm {
        Algorithm::Es256 => (length == 64, "64 (R and S of 32 bytes each, not DER)"),
        Algorithm::Es384 => (length == 96, "96 (R and S of 48 bytes each, not DER)"),
        Algorithm::EdDsa => (length == 64, "64"),
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => (
            (256..=1024).contains(&length),
            "256 to 1024 (the length of the modulus)",
        ),
    };
    (!is_valid).then_some(expected)
}

impl From<SigningKey> for AssertionKey {
    fn from(key: SigningKey) -> Self {
        Self(Kind::Local(key))
    }
}

impl<T: RemoteSigner> From<T> for AssertionKey {
    fn from(signer: T) -> Self {
        Self(Kind::Remote {
            algorithm: signer.algorithm(),
            key_id: signer.key_id().map(Into::into),
            public_jwk: signer.public_jwk().map(Arc::new),
            signer: Arc::new(signer),
        })
    }
}

/// Omits the key itself.
impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Local(key) => key.fmt(f),
            Kind::Remote { .. } => f.write_str("RemoteSigner(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_the_length_of_its_algorithm() {
        for (algorithm, valid, invalid) in [
            // DER of P-256 has 70 to 72 bytes.
            (
                Algorithm::Es256,
                &[64][..],
                &[0, 32, 63, 70, 71, 72, 96][..],
            ),
            (Algorithm::Es384, &[96], &[0, 64, 102, 104]),
            (Algorithm::EdDsa, &[64], &[0, 32, 63, 65]),
            (
                Algorithm::Rs256,
                &[256, 384, 512, 1024],
                &[0, 64, 128, 255, 1025],
            ),
            (Algorithm::Ps512, &[256, 512], &[0, 64]),
        ] {
            for length in valid {
                assert_eq!(
                    signature_length_error(algorithm, *length),
                    None,
                    "{algorithm} {length}"
                );
            }
            for length in invalid {
                let error = signature_length_error(algorithm, *length);
                assert!(error.is_some(), "{algorithm} {length}");
            }
        }
    }
}
