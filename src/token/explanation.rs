//! What an operator reads about a rejected token: what was found, what was expected, and the setting that changes it.
//!
//! The printed error, the log events and the hook of the application share it. Values of a token are put into it only after
//! the signature of the token was verified; what is not verified is named by its kind, in words of this crate.

use std::borrow::Cow;
use std::fmt;

use super::dpop::ProofError;
use super::error_kind::VerifyErrorKind;

/// The reason of a rejection, beyond its kind. Each part may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Explanation {
    pub(crate) found: Cow<'static, str>,
    pub(crate) expected: Cow<'static, str>,
    /// The setting that changes the outcome, or what else to do.
    pub(crate) setting: Cow<'static, str>,
    /// Whether a log event about this rejection was emitted.
    pub(crate) is_reported: bool,
}

impl Explanation {
    pub(crate) fn new(
        found: impl Into<Cow<'static, str>>,
        expected: impl Into<Cow<'static, str>>,
        setting: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            found: found.into(),
            expected: expected.into(),
            setting: setting.into(),
            is_reported: false,
        }
    }

    /// Returns what the kind alone says, if it says anything about settings.
    pub(super) fn of_kind(kind: VerifyErrorKind) -> Option<Self> {
        const BINDING: &str = "BearerLayer::with_dpop, BearerLayer::with_mtls";
        let (found, expected, setting) = match kind {
            VerifyErrorKind::TooLong => ("a longer token", "at most 16 KiB", ""),
            VerifyErrorKind::Bound => (
                "a token with cnf, or of the type DPoP",
                "a proof of possession that this layer checks, cnf.jkt in a token of the type DPoP, and no other \
                 member of cnf",
                BINDING,
            ),
            VerifyErrorKind::Signature => (
                "a signature that no key of the key set verifies",
                "a signature of the configured issuer",
                "the issuer of AuthorizationServer::new, or the keys of StaticKeys",
            ),
            VerifyErrorKind::UnknownKey => (
                "a kid that is not in the key set",
                "a key of the configured issuer",
                "the issuer of AuthorizationServer::new, or jwks_uri",
            ),
            VerifyErrorKind::UnfitKey => (
                "a key of another type or alg",
                "a key for the alg of the token",
                "the key set of the authorization server",
            ),
            VerifyErrorKind::AmbiguousKey => (
                "several keys with this kid, or more than 3 for a token without kid",
                "one key for each kid",
                "the key set of the authorization server",
            ),
            VerifyErrorKind::Extension => (
                "crit, b64, zip or cty JWT in the header",
                "none of them",
                "the token that the client sends",
            ),
            VerifyErrorKind::Inactive => (
                "active false",
                "active true",
                "the token, or its aud: some servers require the introspecting client there (Keycloak)",
            ),
            VerifyErrorKind::NotAnAccessToken => (
                "the type of another token",
                "an access token",
                "the token that the client sends",
            ),
            VerifyErrorKind::NotBound => (
                "a token that is bound to no key or certificate",
                "a sender-constrained token",
                "Dpop, Mtls::required",
            ),
            VerifyErrorKind::DpopRequired => {
                ("the scheme Bearer", "the scheme DPoP", "Dpop::required")
            }
            VerifyErrorKind::DpopProof(ProofError::Target) => (
                "another URL in htu",
                "the URL of the request",
                "Dpop::new, Dpop::add_base_url",
            ),
            VerifyErrorKind::DpopProof(ProofError::Time) => (
                "a proof that is too old or of the future",
                "a proof that was just created",
                "Dpop::with_max_age, Dpop::with_leeway, or the clock of the client",
            ),
            VerifyErrorKind::DpopProof(ProofError::Algorithm) => (
                "another algorithm of the proof",
                "an allowed algorithm",
                "Dpop::with_algorithms",
            ),
            VerifyErrorKind::CustomClaims => (
                "claims of another type",
                "the type of the layer",
                "BearerLayer::with_claims",
            ),
            _ => return None,
        };
        Some(Self::new(found, expected, setting))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("found ", &self.found),
            ("expected ", &self.expected),
            ("to change: ", &self.setting),
        ];
        let mut separator = "";
        for (name, part) in parts.into_iter().filter(|(_, part)| !part.is_empty()) {
            write!(f, "{separator}{name}{part}")?;
            separator = "; ";
        }
        Ok(())
    }
}

/// Returns by how much the current time is past the end of a token, or before its beginning.
pub(crate) fn past(claim: &str, at: i64, now: i64) -> String {
    format!("{claim} {} seconds ago", now.saturating_sub(at))
}

pub(crate) fn ahead(claim: &str, at: i64, now: i64) -> String {
    format!("{claim} {} seconds ahead", at.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_parts_are_left_out() {
        let one = Explanation::new("a", "", "b");
        assert_eq!(one.to_string(), "found a; to change: b");
    }
}
