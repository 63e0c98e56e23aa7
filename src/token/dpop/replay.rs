//! Replay detection (RFC 9449 §11.1).

use std::time::Duration;

use bytes::Bytes;

use super::proof::{Proof, ProofError};
use super::target::ProofTarget;
use crate::crypto::{base64url, digest};
use crate::store::{Expect, Key, Put, SharedStore};
use crate::token::error::{VerifyError, VerifyErrorKind};

/// Returns the store key of a proof. It is a digest, so its length does not depend on claims.
///
/// A `jti` is unique only per key and target (RFC 9449 §11.1), so clients that generate the same ones do not affect each
/// other.
pub(super) fn key(proof: &Proof, target: &ProofTarget) -> Key {
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
pub(super) async fn record(
    store: &SharedStore,
    key: &Key,
    retention: Duration,
) -> Result<(), VerifyError> {
    match store
        .put(key, Bytes::new(), retention, Expect::Absent)
        .await?
    {
        Put::Stored(_) => Ok(()),
        Put::Conflict => Err(VerifyErrorKind::DpopProof(ProofError::Replayed).into()),
    }
}
