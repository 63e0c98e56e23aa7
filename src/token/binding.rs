//! Proof of possession for sender-constrained tokens (RFC 9449 §7, RFC 8705 §3).

use http::HeaderValue;
use http::request::Parts;

use super::dpop::{Dpop, PendingReplayCheck, has_proof};
use super::error::VerifyErrorKind;
use super::mtls::Mtls;
use super::token_info::TokenInfo;
use crate::clock::Now;
use crate::protocol::credentials::{PresentedToken, Scheme};

/// The proofs of possession that a layer checks; none by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings {
    /// DPoP proofs (RFC 9449).
    pub(crate) dpop: Option<Dpop>,
    /// Client certificates (RFC 8705).
    pub(crate) mtls: Option<Mtls>,
    /// Whether a token must be bound to a key or a certificate, whichever of the two.
    pub(crate) required: bool,
}

impl Bindings {
    /// Returns whether the `DPoP` scheme is accepted.
    pub(crate) fn takes_dpop(&self) -> bool {
        self.dpop.is_some()
    }

    /// Returns whether every token must be presented with the `DPoP` scheme.
    pub(crate) fn requires_dpop(&self) -> bool {
        let dpop = self.dpop.as_ref();
        dpop.is_some_and(|dpop| dpop.is_required() || self.required && self.mtls.is_none())
    }

    /// Returns whether a request with this token needs any check: the layer accepts proofs, or the token requires one.
    pub(crate) fn concern(&self, token_info: &TokenInfo) -> bool {
        self.required
            || self.dpop.is_some()
            || self.mtls.is_some()
            || token_info.confirmation.is_some()
    }

    /// Checks the proof of possession (RFC 9449 §7.2, RFC 8705 §3). A token that is bound to both a key and a
    /// certificate requires both proofs. Returns the replay check if one is pending; it is boxed, because most requests
    /// have none.
    pub(crate) fn check(
        &self,
        token_info: &TokenInfo,
        presented: &PresentedToken,
        head: &Parts,
        now: &Now<'_>,
    ) -> Result<Option<Box<PendingReplayCheck>>, VerifyErrorKind> {
        let confirmation = token_info.confirmation.as_ref();
        let is_bound = confirmation.is_some_and(|one| {
            one.certificate_thumbprint.is_some() || one.jwk_thumbprint.is_some()
        });
        if self.required && !is_bound && !self.requires_dpop() {
            return Err(VerifyErrorKind::NotBound);
        }
        // The certificate first, so that a rejected request does not use up its DPoP proof.
        let thumbprint = confirmation.and_then(|one| one.certificate_thumbprint.as_ref());
        self.check_certificate(thumbprint, head)?;
        let thumbprint = confirmation.and_then(|one| one.jwk_thumbprint.as_ref());
        self.check_dpop(thumbprint, presented, head, now)
    }

    /// Returns whether the request has a malformed certificate header of a trusted proxy. If the token is bound to a
    /// certificate, [`check`](Self::check) rejects the request.
    pub(crate) fn has_unreadable_certificate(
        &self,
        token_info: Option<&TokenInfo>,
        head: &Parts,
    ) -> bool {
        let Some(mtls) = &self.mtls else {
            return false;
        };
        let confirmation = token_info.and_then(|token_info| token_info.confirmation.as_ref());
        let is_bound = confirmation.is_some_and(|one| one.certificate_thumbprint.is_some());
        !is_bound && !mtls.is_readable(&head.headers, &head.extensions)
    }

    fn check_certificate(
        &self,
        thumbprint: Option<&[u8; 32]>,
        head: &Parts,
    ) -> Result<(), VerifyErrorKind> {
        match (&self.mtls, thumbprint) {
            // RFC 8705 §3: the certificate must be the one that the token is bound to.
            (Some(mtls), Some(thumbprint)) => {
                let matches = mtls.has_certificate(thumbprint, &head.headers, &head.extensions);
                matches.then_some(()).ok_or(VerifyErrorKind::Bound)
            }
            (None, Some(_)) => Err(VerifyErrorKind::Bound),
            (Some(mtls), None) if mtls.is_required() => Err(VerifyErrorKind::NotBound),
            (_, None) => Ok(()),
        }
    }

    /// Checks that the scheme, the binding of the token and the settings agree before the proof is parsed.
    fn check_dpop(
        &self,
        thumbprint: Option<&[u8; 32]>,
        presented: &PresentedToken,
        head: &Parts,
        now: &Now<'_>,
    ) -> Result<Option<Box<PendingReplayCheck>>, VerifyErrorKind> {
        let Some(dpop) = &self.dpop else {
            return match thumbprint {
                None => Ok(None),
                Some(_) => Err(VerifyErrorKind::Bound),
            };
        };
        match (presented.scheme, thumbprint) {
            // RFC 9728 §2, `dpop_bound_access_tokens_required`.
            (Scheme::Bearer, _) if self.requires_dpop() => Err(VerifyErrorKind::DpopRequired),
            // RFC 9449 §7.2: a DPoP-bound token must not be accepted as a bearer token.
            (Scheme::Bearer, Some(_)) => Err(VerifyErrorKind::Bound),
            // The client assumes that the token is bound, and it is not: the binding was removed or never made.
            (Scheme::Bearer, None) if has_proof(head) => Err(VerifyErrorKind::StrayDpopProof),
            (Scheme::Bearer, None) => Ok(None),
            // RFC 9449 §7.1: the proof of a key that the token does not name proves nothing.
            (Scheme::Dpop, None) => Err(VerifyErrorKind::NotBound),
            (Scheme::Dpop, Some(thumbprint)) => {
                let replay =
                    PendingReplayCheck::new(dpop, presented.token(), head, thumbprint, now)?;
                Ok(Some(Box::new(replay)))
            }
        }
    }

    /// Returns the nonce for the response to a rejected request, if it needs one.
    pub(crate) fn nonce_for(&self, kind: VerifyErrorKind) -> Option<HeaderValue> {
        self.dpop.as_ref()?.nonce_for(kind)
    }
}
