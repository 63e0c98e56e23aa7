//! DPoP: access tokens that are bound to a key of the client (RFC 9449).
//!
//! [`Dpop`] has the settings. `target` determines the URL that a proof must name, `proof` validates a proof, and
//! `nonce` issues and validates nonces.

mod nonce;
mod normal_url;
mod proof;
mod settings;
mod target;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::request::Parts;

use self::nonce::Freshness;
use self::proof::{Proof, ProofExpectations};
use self::settings::Settings;
use self::target::ProofTarget;
use super::error::{VerifyError, VerifyErrorKind};
use super::original_uri::original_uri;
use crate::clock::Now;
use crate::crypto::{base64url, digest};
use crate::protocol::request_target::find_ambiguity_of_url;
use crate::store::{Expect, Key, Put, SharedStore};

pub use nonce::DpopNonceKey;
pub use proof::ProofError;
pub use settings::Dpop;

/// The header field that contains the proof.
const FIELD: &str = "dpop";

/// A valid proof that was not yet checked for replay. The request is accepted once [`record`](Self::record) succeeds.
#[derive(Debug)]
pub(crate) struct PendingReplayCheck {
    dpop: Dpop,
    key: Key,
    nonce: Option<HeaderValue>,
}

impl PendingReplayCheck {
    /// Validates the proof for a token that is bound to the key with this thumbprint.
    pub(super) fn new(
        dpop: &Dpop,
        token: &str,
        head: &Parts,
        thumbprint: &[u8; 32],
        now: &Now<'_>,
    ) -> Result<Self, VerifyErrorKind> {
        let settings = dpop.settings();
        let now = now.unix_seconds(&settings.clock);
        let (proof, key) = check_proof(settings, head, Some(token), now)?;
        // RFC 9449 §4.3 (12b): the key of the proof is the one that the token is bound to. Both thumbprints are
        // digests of public keys, so the comparison need not take constant time.
        if proof.thumbprint != *thumbprint {
            return Err(VerifyErrorKind::DpopKey);
        }
        Ok(Self {
            dpop: dpop.clone(),
            key,
            nonce: check_nonce(settings.nonces.as_ref(), &proof, now)?,
        })
    }

    /// Records the proof, and fails if it was recorded before (RFC 9449 §11.1).
    ///
    /// This is the last check, so a request that is rejected for another reason neither uses up its `jti` nor fills the
    /// store.
    pub(crate) fn record(&self) -> impl Future<Output = Result<(), VerifyError>> + Send + 'static {
        let (dpop, key) = (self.dpop.clone(), self.key.clone());
        async move {
            let settings = dpop.settings();
            record(settings.store(), &key, settings.retention()).await
        }
    }

    /// Returns the new nonce for the response, if there is one.
    pub(crate) fn into_nonce(self) -> Option<HeaderValue> {
        self.nonce
    }
}

/// A proof that the test server accepts unless it was used before.
#[cfg(feature = "testing")]
#[derive(Debug)]
pub(crate) struct CheckedProof {
    pub(crate) thumbprint: [u8; 32],
    pub(crate) replay_key: Key,
    /// A new nonce for the response, if that of the proof expires soon.
    pub(crate) nonce: Option<HeaderValue>,
}

#[cfg(feature = "testing")]
impl Dpop {
    /// Validates the proof of a request, for the test server. `token` is the access token of the request, if there is
    /// one.
    pub(crate) fn check_proof(
        &self,
        head: &Parts,
        token: Option<&str>,
    ) -> Result<CheckedProof, VerifyErrorKind> {
        let settings = self.settings();
        let now = crate::clock::unix_seconds(&*settings.clock);
        let (proof, replay_key) = check_proof(settings, head, token, now)?;
        Ok(CheckedProof {
            thumbprint: proof.thumbprint,
            replay_key,
            nonce: check_nonce(settings.nonces.as_ref(), &proof, now)?,
        })
    }
}

/// Validates the proof of a request, except for its key, its nonce and replay. Returns it with its replay key.
fn check_proof(
    settings: &Settings,
    head: &Parts,
    token: Option<&str>,
    now: i64,
) -> Result<(Proof, Key), VerifyErrorKind> {
    let compact = single_proof(head).map_err(VerifyErrorKind::DpopProof)?;
    let path = original_uri(&head.uri, &head.extensions).path();
    // RFC 9449 §4.3 (9) compares URLs without dot segments, but a router may match the path as it was sent: a
    // proof for one path would then be valid for another.
    if let Some(ambiguity) = find_ambiguity_of_url(path) {
        return Err(VerifyErrorKind::DpopProof(ProofError::AmbiguousTarget(
            ambiguity,
        )));
    }
    let targets: Vec<ProofTarget> = settings
        .bases
        .iter()
        .filter_map(|base| base.target(path))
        .collect();
    let expected = ProofExpectations {
        algorithms: &settings.algorithms,
        method: head.method.as_str(),
        targets: &targets,
        token,
        now,
        max_age: settings.max_age,
        leeway: settings.leeway,
        ignores_iat: settings.ignores_iat,
        max_ahead: settings.max_ahead,
    };
    let (proof, target) = proof::check(compact, &expected).map_err(VerifyErrorKind::DpopProof)?;
    let key = replay_key(&proof, target);
    Ok((proof, key))
}

/// Returns whether the request has a `DPoP` field.
pub(super) fn has_proof(head: &Parts) -> bool {
    head.headers.contains_key(FIELD)
}

/// Checks the nonce of a proof, if nonces are enabled (RFC 9449 §4.3 (10), §11.3). Returns a new nonce for the response
/// if that of the proof expires soon (RFC 9449 §8.2).
fn check_nonce(
    nonces: Option<&DpopNonceKey>,
    proof: &Proof,
    now: i64,
) -> Result<Option<HeaderValue>, VerifyErrorKind> {
    let Some(nonces) = nonces else {
        return Ok(None);
    };
    let nonce = proof
        .nonce
        .as_deref()
        .and_then(|one| nonces.check(one, now));
    match nonce {
        None => Err(VerifyErrorKind::DpopNonce),
        Some(Freshness::Current) => Ok(None),
        Some(Freshness::Previous) => Ok(nonces.issue(now)),
    }
}

/// Returns the proof, which must be in exactly one `DPoP` field (RFC 9449 §4.3 (1)).
fn single_proof(head: &Parts) -> Result<&str, ProofError> {
    let mut fields = head.headers.get_all(FIELD).iter();
    let field = fields.next().ok_or(ProofError::Missing)?;
    if fields.next().is_some() {
        return Err(ProofError::Repeated);
    }
    field.to_str().map_err(|_| ProofError::Malformed)
}

/// Returns the store key of a proof. It is a digest, so its length does not depend on claims.
///
/// A `jti` is unique only per key and target (RFC 9449 §11.1), so clients that generate the same ones do not affect each
/// other.
fn replay_key(proof: &Proof, target: &ProofTarget) -> Key {
    // The thumbprint has a fixed length and a target contains no NUL, so the encoding is injective.
    let parts = [
        &proof.thumbprint[..],
        target.as_str().as_bytes(),
        b"\0",
        proof.jwt_id.as_bytes(),
    ];
    Key::new("dpop", &base64url::encode(&digest::sha256(&parts.concat())))
}

/// Records a proof, or fails if it was recorded before. Of concurrent requests with the same proof, exactly one
/// succeeds. If the store fails, the proof is not accepted.
async fn record(store: &SharedStore, key: &Key, retention: Duration) -> Result<(), VerifyError> {
    match store
        .put(key, Bytes::new(), retention, Expect::Absent)
        .await?
    {
        Put::Stored(_) => Ok(()),
        Put::Conflict => Err(VerifyErrorKind::DpopProof(ProofError::Replayed).into()),
    }
}
