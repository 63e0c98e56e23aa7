//! Does the request show what its token is bound to? RFC 9449 §7, RFC 8705 §3.

use http::{Extensions, HeaderMap, HeaderValue, Method, Uri};

use super::dpop::{Dpop, PendingReplayCheck};
use super::error::VerifyErrorKind;
use super::mtls::Mtls;
use super::verified::TokenInfo;
use crate::protocol::credentials::{PresentedToken, Scheme};

/// The proofs of possession that a layer can check; by itself none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings {
    /// Keys that sign proofs (RFC 9449).
    pub(crate) dpop: Option<Dpop>,
    /// Certificates of clients (RFC 8705).
    pub(crate) mtls: Option<Mtls>,
}

/// The request as far as a proof of possession speaks of it.
pub(crate) struct Shown<'a> {
    pub(crate) presented: &'a PresentedToken,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a Extensions,
}

impl Bindings {
    /// Whether the scheme `DPoP` is taken.
    pub(crate) fn takes_dpop(&self) -> bool {
        self.dpop.is_some()
    }

    /// RFC 9449 §7.2, RFC 8705 §3: a bound token without its proof is a stolen one. Where a token is bound to
    /// a key and to a certificate, both have to be there (`M6`). What is still to be done comes back.
    pub(crate) fn check(
        &self,
        token_info: &TokenInfo,
        shown: &Shown<'_>,
    ) -> Result<Option<PendingReplayCheck>, VerifyErrorKind> {
        let confirmation = token_info.confirmation.as_ref();
        // The certificate first: a proof must not be spent for a request that is refused.
        self.check_certificate(
            confirmation.and_then(|one| one.certificate_thumbprint),
            shown,
        )?;
        self.check_dpop(confirmation.and_then(|one| one.jwk_thumbprint), shown)
    }

    /// Whether the request has a certificate header of a trusted proxy that cannot be read, although this token does not need
    /// one. A token that does need one is refused by [`check`](Self::check).
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

    /// Whether the request has no certificate header of a trusted proxy that cannot be read.
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
        shown: &Shown<'_>,
    ) -> Result<(), VerifyErrorKind> {
        match (&self.mtls, thumbprint) {
            // RFC 8705 §3: the very certificate (`M2`, `M3`).
            (Some(mtls), Some(thumbprint)) => {
                let is_shown = mtls.shows(&thumbprint, shown.headers, shown.extensions);
                is_shown.then_some(()).ok_or(VerifyErrorKind::Bound)
            }
            (None, Some(_)) => Err(VerifyErrorKind::Bound),
            (Some(mtls), None) if mtls.is_required() => Err(VerifyErrorKind::NotBound),
            (_, None) => Ok(()),
        }
    }

    /// The scheme, the token's binding and the layer's settings have to agree before a proof is looked at.
    fn check_dpop(
        &self,
        thumbprint: Option<[u8; 32]>,
        shown: &Shown<'_>,
    ) -> Result<Option<PendingReplayCheck>, VerifyErrorKind> {
        let Some(dpop) = &self.dpop else {
            return match thumbprint {
                None => Ok(None),
                Some(_) => Err(VerifyErrorKind::Bound),
            };
        };
        match (shown.presented.scheme, thumbprint) {
            // RFC 9728 §2: bound tokens only (`D27`).
            (Scheme::Bearer, _) if dpop.is_required() => Err(VerifyErrorKind::DpopRequired),
            // RFC 9449 §7.2: it is no bearer token (`D15`).
            (Scheme::Bearer, Some(_)) => Err(VerifyErrorKind::Bound),
            // Its client believes that the token is bound, and it is not: somebody took the binding away,
            // or never put it there (`D16`).
            (Scheme::Bearer, None) if Dpop::is_shown(shown) => Err(VerifyErrorKind::StrayDpopProof),
            (Scheme::Bearer, None) => Ok(None),
            // RFC 9449 §7.1: a proof of just any key proves nothing (`D14`).
            (Scheme::Dpop, None) => Err(VerifyErrorKind::NotBound),
            (Scheme::Dpop, Some(thumbprint)) => dpop.check(shown, &thumbprint).map(Some),
        }
    }

    /// The nonce that goes with a refusal, where one does.
    pub(crate) fn nonce_for(&self, kind: VerifyErrorKind) -> Option<HeaderValue> {
        self.dpop.as_ref()?.nonce_for(kind)
    }
}

/// The URI as it came over the wire: axum takes the prefix of a nested router off, and keeps it aside
/// (`D28`).
#[cfg_attr(not(feature = "axum"), allow(unused_variables))]
pub(crate) fn original_uri<'a>(uri: &'a Uri, extensions: &'a Extensions) -> &'a Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = extensions.get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    uri
}
