//! DPoP: a token that is worth something only to whoever holds a key (RFC 9449).
//!
//! [`Dpop`] is what a layer needs to know of it: where clients reach this server, and where it remembers the
//! proofs it has seen. `target` says which URL a proof has to name, `proof` reads one, `nonce` makes and
//! knows nonces, `replay` remembers.

mod nonce;
mod normal_url;
mod proof;
mod replay;
mod settings;
mod target;

use std::future::Future;

use http::HeaderValue;

use self::nonce::Freshness;
use self::proof::{Expected, Proof};
use self::target::Target;
use super::binding::{Shown, original_uri};
use super::error::{VerifyError, VerifyErrorKind};
use crate::clock::unix_seconds;
use crate::protocol::request_target::find_ambiguity_of_url;
use crate::store::Key;

pub use nonce::DpopNonceKey;
pub use proof::ProofError;
pub use settings::Dpop;

/// The field that carries a proof.
const FIELD: &str = "dpop";

/// A good proof that was not remembered yet. The request goes on when [`spend`](Self::spend) says that it
/// is the first.
#[derive(Debug)]
pub(crate) struct PendingReplayCheck {
    dpop: Dpop,
    key: Key,
    nonce: Option<HeaderValue>,
}

impl Dpop {
    /// Checks the proof beside a token that is bound to the key of this thumbprint: all but whether it was
    /// shown before.
    pub(super) fn check(
        &self,
        shown: &Shown<'_>,
        thumbprint: &[u8; 32],
    ) -> Result<PendingReplayCheck, VerifyErrorKind> {
        let settings = self.settings();
        let compact = single_proof(shown).map_err(VerifyErrorKind::DpopProof)?;
        let now = unix_seconds(&*settings.clock);
        let path = original_uri(shown.uri, shown.extensions).path();
        // RFC 9449 §4.3 (9) compares URLs without dot segments, and a router may decide by the path as it
        // came: the proof for one would be good for the other.
        if let Some(found) = find_ambiguity_of_url(path) {
            return Err(VerifyErrorKind::DpopProof(ProofError::AmbiguousTarget(
                found,
            )));
        }
        let targets: Vec<Target> = settings
            .bases
            .iter()
            .filter_map(|base| base.target(path))
            .collect();
        let expected = Expected {
            algorithms: &settings.algorithms,
            method: shown.method.as_str(),
            targets: &targets,
            token: shown.presented.token(),
            now,
            max_age: settings.max_age,
            leeway: settings.leeway,
        };
        let (proof, target) =
            proof::check(compact, &expected).map_err(VerifyErrorKind::DpopProof)?;
        // RFC 9449 §4.3 (12b): the key of the proof is the one the token is bound to (`D13`). Both are
        // digests of public keys, so that there is nothing to learn from the time this takes.
        if proof.thumbprint != *thumbprint {
            return Err(VerifyErrorKind::DpopKey);
        }
        Ok(PendingReplayCheck {
            dpop: self.clone(),
            key: replay::key(&proof, target),
            nonce: self.check_nonce(&proof, now)?,
        })
    }

    /// Whether there is anything in the field of proofs.
    pub(super) fn is_shown(shown: &Shown<'_>) -> bool {
        shown.headers.contains_key(FIELD)
    }

    /// RFC 9449 §11.3: where nonces are asked for, no proof passes without one (`D10`, `D24`). What comes
    /// back is the next one, where it is time for it (`D23`).
    fn check_nonce(&self, proof: &Proof, now: i64) -> Result<Option<HeaderValue>, VerifyErrorKind> {
        let Some(nonces) = &self.settings().nonces else {
            return Ok(None);
        };
        let nonce = proof.nonce.as_deref().and_then(|one| nonces.read(one, now));
        match nonce {
            None => Err(VerifyErrorKind::DpopNonce),
            Some(Freshness::Current) => Ok(None),
            Some(Freshness::Previous) => Ok(nonces.issue(now)),
        }
    }

    /// The nonce that goes with a refusal of this kind (RFC 9449 §9).
    pub(super) fn nonce_for(&self, kind: VerifyErrorKind) -> Option<HeaderValue> {
        let settings = self.settings();
        let nonces = settings.nonces.as_ref();
        let nonces = nonces.filter(|_| kind == VerifyErrorKind::DpopNonce)?;
        nonces.issue(unix_seconds(&*settings.clock))
    }
}

impl PendingReplayCheck {
    /// Remembers the proof, last of all that is looked at: a request that is refused for anything else
    /// neither uses up a `jti` nor fills the store (`D19`).
    pub(crate) fn spend(&self) -> impl Future<Output = Result<(), VerifyError>> + Send + 'static {
        let (dpop, key) = (self.dpop.clone(), self.key.clone());
        async move {
            let settings = dpop.settings();
            replay::spend(settings.store(), &key, settings.keep()).await
        }
    }

    /// The nonce for the answer, where it is time for another one.
    pub(crate) fn into_nonce(self) -> Option<HeaderValue> {
        self.nonce
    }
}

/// RFC 9449 §4.3 (1): one field, of which there is one (`D1`). `Proxy-Authorization` and what may stand
/// beside it are of no interest here (`D26`).
fn single_proof<'a>(shown: &Shown<'a>) -> Result<&'a str, ProofError> {
    let mut fields = shown.headers.get_all(FIELD).iter();
    let field = fields.next().ok_or(ProofError::Missing)?;
    if fields.next().is_some() {
        return Err(ProofError::Repeated);
    }
    field.to_str().map_err(|_| ProofError::Malformed)
}
