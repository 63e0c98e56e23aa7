//! DPoP of the client: keys, proofs and nonces (RFC 9449).
//!
//! Each login has a key of its own. The proofs of its requests are created here; the token endpoint, userinfo, relays and
//! applications send them.

mod credentials;
mod nonces;

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use serde_json::{Map, Value};

pub(crate) use self::credentials::{ApiCredentials, CredentialsError};
pub(super) use self::nonces::{NonceCache, NonceIssuer};
use super::error::{FlowError, FlowErrorKind};
use super::settings::Flow;
use super::token_endpoint::well_formed;
use super::transaction::LoginSecret;
use crate::clock::unix_seconds;
use crate::crypto::{Algorithm, ProofKey, base64url, digest};
use crate::protocol::dpop::ProofRejection;
use crate::protocol::metadata::DPOP_ALGORITHMS;
use crate::protocol::{AccessToken, Metadata};
use crate::telemetry::may_log;

/// The algorithm of proofs.
const ALGORITHM: Algorithm = Algorithm::Es256;

const MEDIA_TYPE: &str = "dpop+jwt";

/// Why a resource server rejected the proof of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RejectedProof {
    /// It requires a nonce, and sent one: the request can be repeated with a new proof.
    NewNonce,
    /// It requires a nonce, and sent none that can be used.
    NoNonce,
    /// `invalid_dpop_proof`.
    Invalid,
}

/// A request that a proof is created for.
#[derive(Clone, Copy, Debug)]
struct ProofRequest<'a> {
    method: &'a Method,
    uri: &'a Uri,
    issuer: NonceIssuer<'a>,
    /// The access token of the request, which the proof is bound to (`ath`). None at the token endpoint.
    token: Option<&'a AccessToken>,
}

impl Flow {
    /// Returns the key of a login, or `None` if logins request bearer tokens.
    pub(super) fn proof_key(&self, secret: &LoginSecret) -> Result<Option<ProofKey>, FlowError> {
        match self.dpop {
            true => secret.proof_key().map(Some).ok_or_else(no_key),
            false => Ok(None),
        }
    }

    /// Returns the thumbprint for `dpop_jkt`, which binds the code of a login to its key (RFC 9449 §10).
    pub(super) fn proof_key_thumbprint(
        &self,
        secret: &LoginSecret,
    ) -> Result<Option<String>, FlowError> {
        let Some(key) = self.proof_key(secret)? else {
            return Ok(None);
        };
        let thumbprint = key.thumbprint().ok_or_else(no_key)?;
        Ok(Some(base64url::encode(thumbprint)))
    }

    /// Rejects a server that lists the algorithms of proofs without ES256 (RFC 9449 §5.1). A server that lists none may
    /// support DPoP nevertheless; if it does not, its tokens are bearer tokens, which a login rejects.
    pub(super) fn check_dpop(&self, metadata: &Metadata) -> Result<(), FlowError> {
        if !self.dpop {
            return Ok(());
        }
        well_formed(metadata, &[DPOP_ALGORITHMS])?;
        match metadata.dpop_signing_alg_values_supported() {
            Some(listed) if !listed.iter().any(|name| name == ALGORITHM.name()) => {
                Err(FlowError::new(
                    FlowErrorKind::Configuration,
                    "dpop_unsupported",
                    format!(
                        "`{DPOP_ALGORITHMS}` of the metadata has no {}, which `LoginLayer::with_dpop` requires",
                        ALGORITHM.name()
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Creates the proof of a token request.
    pub(super) fn token_request_proof(
        &self,
        key: &ProofKey,
        method: &Method,
        uri: &Uri,
    ) -> Result<HeaderValue, FlowError> {
        let request = ProofRequest {
            method,
            uri,
            issuer: NonceIssuer::AuthorizationServer,
            token: None,
        };
        self.proof(key, request)
    }

    /// Creates the proof of a request to a resource server with this access token.
    fn resource_proof(
        &self,
        key: &ProofKey,
        method: &Method,
        uri: &Uri,
        token: &AccessToken,
    ) -> Result<HeaderValue, FlowError> {
        let request = ProofRequest {
            method,
            uri,
            issuer: NonceIssuer::ResourceServer(uri),
            token: Some(token),
        };
        self.proof(key, request)
    }

    /// Creates the proof of a request, with a new `jti` (RFC 9449 §4.2).
    fn proof(&self, key: &ProofKey, request: ProofRequest<'_>) -> Result<HeaderValue, FlowError> {
        let jwt_id = base64url::encode(&self.random().bytes::<16>()?);
        let mut claims = Map::from_iter([
            ("jti".to_owned(), Value::from(jwt_id)),
            ("htm".to_owned(), request.method.as_str().into()),
            ("htu".to_owned(), target_of(request.uri).into()),
            ("iat".to_owned(), unix_seconds(&**self.clock()).into()),
        ]);
        if let Some(token) = request.token {
            let hash = base64url::encode(&digest::sha256(token.expose().as_bytes()));
            claims.insert("ath".to_owned(), hash.into());
        }
        if let Some(nonce) = self.nonces.get(request.issuer) {
            claims.insert("nonce".to_owned(), String::from(nonce).into());
        }
        let proof = key.sign(MEDIA_TYPE, &Value::Object(claims).to_string());
        let proof = proof.and_then(|proof| HeaderValue::try_from(proof).ok());
        let mut proof = proof.ok_or_else(no_key)?;
        proof.set_sensitive(true);
        Ok(proof)
    }

    /// Keeps the nonce of a resource server's response, which may have any status (RFC 9449 §8.2). Returns whether the
    /// server rejected the proof of the request.
    pub(crate) fn note_resource_response(
        &self,
        uri: &Uri,
        status: StatusCode,
        headers: &HeaderMap,
    ) -> Option<RejectedProof> {
        let has_nonce = self.nonces.learn(NonceIssuer::ResourceServer(uri), headers);
        match ProofRejection::of_resource_response(status, headers)? {
            ProofRejection::NonceRequired if has_nonce => Some(RejectedProof::NewNonce),
            ProofRejection::NonceRequired => Some(RejectedProof::NoNonce),
            ProofRejection::Invalid => {
                self.log_invalid_proof(uri);
                Some(RejectedProof::Invalid)
            }
        }
    }

    /// Logs what a proof was compared with: a wrong clock is the usual reason.
    fn log_invalid_proof(&self, uri: &Uri) {
        if may_log("dpop_proof_rejected", "resource") {
            tracing::warn!(
                name: "dpop_proof_rejected",
                target: "tower_oauth::login",
                url = target_of(uri),
                time = unix_seconds(&**self.clock()),
                "a resource server rejected a DPoP proof (invalid_dpop_proof): check that the clock of this machine, \
                 which is `iat` of the proof, is right, and that the server expects this URL"
            );
        }
    }
}

/// Returns the URL without user information, query and fragment (`htu`, RFC 9449 §4.2).
fn target_of(uri: &Uri) -> String {
    let scheme = uri.scheme_str().unwrap_or_default();
    let host = uri.host().unwrap_or_default();
    let port = uri.port().map(|port| format!(":{port}"));
    format!(
        "{scheme}://{host}{}{}",
        port.unwrap_or_default(),
        uri.path()
    )
}

/// The backend signs nothing without randomness.
fn no_key() -> FlowError {
    FlowError::new(
        FlowErrorKind::Internal,
        "no_proof",
        "the DPoP proof could not be signed",
    )
}
