//! Does the request show what its token is bound to? RFC 9449 §7, RFC 8705 §3.

use http::{Extensions, HeaderMap, Method, Uri};

use super::error::VerifyErrorKind;
use super::verified::Verdict;
use crate::protocol::credentials::Scheme;

/// The proofs of possession that a layer can check; by itself none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings {}

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
    pub(crate) fn check(&self, verdict: &Verdict, _: &Shown<'_>) -> Result<(), VerifyErrorKind> {
        match verdict.confirmation {
            None => Ok(()),
            Some(_) => Err(VerifyErrorKind::Bound),
        }
    }
}
