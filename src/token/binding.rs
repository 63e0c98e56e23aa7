//! Does the request show what its token is bound to? RFC 9449 §7, RFC 8705 §3.

use http::{Extensions, HeaderMap, Method, Uri};

use super::error::VerifyErrorKind;
use super::mtls::Mtls;
use super::verified::Verdict;
use crate::protocol::credentials::Scheme;

/// The proofs of possession that a layer can check; by itself none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings {
    /// Certificates of clients (RFC 8705).
    pub(crate) mtls: Option<Mtls>,
}

/// The request as far as a proof of possession speaks of it.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) token: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a Extensions,
}

impl Bindings {
    /// Whether the scheme `DPoP` is taken.
    pub(crate) fn takes_dpop(&self) -> bool {
        false
    }

    /// RFC 9449 §7.2, RFC 8705 §3: a bound token without its proof is a stolen one.
    /// Where a token is bound to a key and to a certificate, both have to be there (`M6`).
    pub(crate) fn check(
        &self,
        verdict: &Verdict,
        shown: &Shown<'_>,
    ) -> Result<(), VerifyErrorKind> {
        self.check_certificate(verdict, shown)?;
        match verdict.confirmation.and_then(|one| one.jwk_thumbprint) {
            None => Ok(()),
            Some(_) => Err(VerifyErrorKind::Bound),
        }
    }

    fn check_certificate(
        &self,
        verdict: &Verdict,
        shown: &Shown<'_>,
    ) -> Result<(), VerifyErrorKind> {
        let bound_to = verdict
            .confirmation
            .and_then(|one| one.certificate_thumbprint);
        match (&self.mtls, bound_to) {
            // RFC 8705 §3: the very certificate, or none of the token's worth (`M2`, `M3`).
            (Some(mtls), Some(thumbprint)) => {
                let is_shown = mtls.shows(&thumbprint, shown.headers, shown.extensions);
                is_shown.then_some(()).ok_or(VerifyErrorKind::Bound)
            }
            (None, Some(_)) => Err(VerifyErrorKind::Bound),
            (Some(mtls), None) if mtls.is_required() => Err(VerifyErrorKind::Unbound),
            (_, None) => Ok(()),
        }
    }
}
