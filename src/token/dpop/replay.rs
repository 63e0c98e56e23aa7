//! Proofs that were shown before (RFC 9449 §11.1).

use std::time::Duration;

use bytes::Bytes;

use super::proof::{Proof, ProofError};
use super::target::Target;
use crate::crypto::{base64url, digest};
use crate::store::{Expect, Key, Put, SharedStore};
use crate::token::error::{VerifyError, VerifyErrorKind};

/// The name under which a proof is remembered: a digest, so that its length is that of no claim.
///
/// `jti` counts in the context of the key and the target (RFC 9449 §11.1), so that clients which draw the
/// same ones do not disturb each other (`D18`).
pub(super) fn key(proof: &Proof, target: &Target) -> Key {
    // The thumbprint has one length, and a target no NUL: no two triples make one text.
    let seen = [
        &proof.thumbprint[..],
        target.as_str().as_bytes(),
        b"\0",
        proof.jwt_id.as_bytes(),
    ];
    Key::new("dpop", &base64url::encode(&digest::sha256(&seen.concat())))
}

/// Remembers a proof, or finds that it was shown before. Of any number of equal ones that come at once,
/// one is the first. Where the store does not know, neither do we: nothing is accepted (`D20`, `D21`).
pub(super) async fn spend(
    store: &SharedStore,
    key: &Key,
    keep: Duration,
) -> Result<(), VerifyError> {
    match store.put(key, Bytes::new(), keep, Expect::Absent).await? {
        Put::Stored(_) => Ok(()),
        Put::Conflict => Err(VerifyErrorKind::DpopProof(ProofError::Replayed).into()),
    }
}
