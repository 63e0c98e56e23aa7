//! The reasons why tokens are rejected, in detail: for logs, not for responses.

use std::fmt;

use super::explanation::Explanation;
use crate::crypto::JwsError;
use crate::issuer::Unavailable;
use crate::store::StoreError;

pub use super::error_kind::VerifyErrorKind;

/// Why a token was rejected.
///
/// For logs and tests: the response has one of a few fixed sentences instead. The layer inserts a
/// [`Refusal`](crate::bearer::Refusal) with this error into the response extensions.
///
/// Its `Display` output has the kind, what was found, what was expected, and the setting that changes it. Values of a token
/// are printed only after its signature was verified.
#[derive(Clone, Debug, thiserror::Error)]
pub struct VerifyError {
    kind: VerifyErrorKind,
    explanation: Option<Box<Explanation>>,
    #[source]
    outage: Option<Box<Outage>>,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match self.explanation() {
            Some(explanation) => write!(f, ": {explanation}"),
            None => Ok(()),
        }
    }
}

/// The service that was unavailable.
#[derive(Clone, Debug, thiserror::Error)]
enum Outage {
    #[error(transparent)]
    Server(Unavailable),
    #[error(transparent)]
    Store(StoreError),
}

impl VerifyError {
    /// Returns the kind of the error.
    pub fn kind(&self) -> VerifyErrorKind {
        self.kind
    }

    /// Creates an error that states what was found and expected.
    pub(crate) fn explained(kind: VerifyErrorKind, explanation: Explanation) -> Self {
        Self {
            explanation: Some(Box::new(explanation)),
            ..kind.into()
        }
    }

    /// Returns whether the reason is known beyond what the kind says.
    pub(crate) fn is_explained(&self) -> bool {
        self.explanation.is_some()
    }

    /// Returns what is known about the reason, beyond its kind.
    pub(crate) fn explanation(&self) -> Option<Explanation> {
        let explanation = self.explanation.as_deref().cloned();
        explanation.or_else(|| Explanation::of_kind(self.kind))
    }

    /// Returns what caused [`VerifyErrorKind::Unavailable`] or [`VerifyErrorKind::Configuration`].
    pub(crate) fn unavailable(&self) -> Option<&Unavailable> {
        match self.outage.as_deref() {
            Some(Outage::Server(unavailable)) => Some(unavailable),
            _ => None,
        }
    }
}

impl From<VerifyErrorKind> for VerifyError {
    fn from(kind: VerifyErrorKind) -> Self {
        Self {
            kind,
            explanation: None,
            outage: None,
        }
    }
}

impl From<Unavailable> for VerifyError {
    fn from(unavailable: Unavailable) -> Self {
        let kind = match unavailable.is_configuration_error() {
            true => VerifyErrorKind::Configuration,
            false => VerifyErrorKind::Unavailable,
        };
        Self {
            outage: Some(Box::new(Outage::Server(unavailable))),
            ..kind.into()
        }
    }
}

impl From<StoreError> for VerifyError {
    fn from(error: StoreError) -> Self {
        Self {
            outage: Some(Box::new(Outage::Store(error))),
            ..VerifyErrorKind::StoreUnavailable.into()
        }
    }
}

impl From<JwsError> for VerifyError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::Malformed => VerifyErrorKind::Malformed,
            JwsError::Algorithm => VerifyErrorKind::Algorithm,
            JwsError::Extension => VerifyErrorKind::Extension,
        }
        .into()
    }
}
