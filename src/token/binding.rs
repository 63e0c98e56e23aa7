//! Proof of possession for sender-constrained tokens (RFC 9449 §7, RFC 8705 §3).

use http::{Extensions, HeaderMap, HeaderValue};

use super::dpop::{Dpop, PendingReplayCheck};
use super::error::VerifyErrorKind;
use super::mtls::Mtls;
use super::request_parts::RequestParts;
use super::token_info::TokenInfo;
use crate::protocol::credentials::Scheme;

/// The proofs of possession that a layer checks; none by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings {
    /// DPoP proofs (RFC 9449).
    pub(crate) dpop: Option<Dpop>,
    /// Client certificates (RFC 8705).
    pub(crate) mtls: Option<Mtls>,
}

impl Bindings {
    /// Returns whether the `DPoP` scheme is accepted.
    pub(crate) fn takes_dpop(&self) -> bool {
        self.dpop.is_some()
    }

    /// Checks the proof of possession (RFC 9449 §7.2, RFC 8705 §3). A token that is bound to both a key and a
    /// certificate requires both proofs. Returns the replay check if one is pending.
    pub(crate) fn check(
        &self,
        token_info: &TokenInfo,
        parts: &RequestParts<'_>,
    ) -> Result<Option<PendingReplayCheck>, VerifyErrorKind> {
        let confirmation = token_info.confirmation.as_ref();
        // The certificate first, so that a rejected request does not use up its DPoP proof.
        self.check_certificate(
            confirmation.and_then(|one| one.certificate_thumbprint),
            parts,
        )?;
        self.check_dpop(confirmation.and_then(|one| one.jwk_thumbprint), parts)
    }

    /// Returns whether the request has a malformed certificate header of a trusted proxy, and the token is not bound to a
    /// certificate. If it is, [`check`](Self::check) rejects it.
    pub(crate) fn has_unreadable_certificate(
        &self,
        token_info: &TokenInfo,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> bool {
        let confirmation = token_info.confirmation.as_ref();
        let is_bound = confirmation.is_some_and(|one| one.certificate_thumbprint.is_some());
        !is_bound && !self.is_certificate_readable(headers, extensions)
    }

    /// Returns `false` if the request has a malformed certificate header of a trusted proxy.
    pub(crate) fn is_certificate_readable(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> bool {
        let mtls = self.mtls.as_ref();
        mtls.is_none_or(|mtls| mtls.is_readable(headers, extensions))
    }

    fn check_certificate(
        &self,
        thumbprint: Option<[u8; 32]>,
        parts: &RequestParts<'_>,
    ) -> Result<(), VerifyErrorKind> {
        match (&self.mtls, thumbprint) {
            // RFC 8705 §3: the certificate must be the one that the token is bound to.
            (Some(mtls), Some(thumbprint)) => {
                let matches = mtls.has_certificate(&thumbprint, parts.headers, parts.extensions);
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
        thumbprint: Option<[u8; 32]>,
        parts: &RequestParts<'_>,
    ) -> Result<Option<PendingReplayCheck>, VerifyErrorKind> {
        let Some(dpop) = &self.dpop else {
            return match thumbprint {
                None => Ok(None),
                Some(_) => Err(VerifyErrorKind::Bound),
            };
        };
        match (parts.presented.scheme, thumbprint) {
            // RFC 9728 §2, `dpop_bound_access_tokens_required`.
            (Scheme::Bearer, _) if dpop.is_required() => Err(VerifyErrorKind::DpopRequired),
            // RFC 9449 §7.2: a DPoP-bound token must not be accepted as a bearer token.
            (Scheme::Bearer, Some(_)) => Err(VerifyErrorKind::Bound),
            // The client assumes that the token is bound, and it is not: the binding was removed or never made.
            (Scheme::Bearer, None) if Dpop::has_proof(parts) => {
                Err(VerifyErrorKind::StrayDpopProof)
            }
            (Scheme::Bearer, None) => Ok(None),
            // RFC 9449 §7.1: the proof of a key that the token does not name proves nothing.
            (Scheme::Dpop, None) => Err(VerifyErrorKind::NotBound),
            (Scheme::Dpop, Some(thumbprint)) => dpop.check(parts, &thumbprint).map(Some),
        }
    }

    /// Returns the nonce for the response to a rejected request, if it needs one.
    pub(crate) fn nonce_for(&self, kind: VerifyErrorKind) -> Option<HeaderValue> {
        self.dpop.as_ref()?.nonce_for(kind)
    }
}
