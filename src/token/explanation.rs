//! What an operator reads about a rejected token: what was found, what was expected, and the setting that changes it.
//!
//! The printed error, the log events and the hook of the application share it. Values of a token are put into it only after
//! the signature of the token was verified; what is not verified is named by its kind, in words of this crate.

use std::borrow::Cow;
use std::fmt;

use super::dpop::ProofError;
use super::error_kind::VerifyErrorKind;
use crate::protocol::sanitize::log_safe;

/// The maximum number of values of one claim in a log line.
const MAX_VALUES: usize = 5;

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
                "a token with cnf",
                "a proof of possession that this layer checks, and no other member of cnf",
                BINDING,
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

/// Returns values in a form for log lines: escaped, shortened, and at most five of them.
pub(crate) fn listed<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let mut values = values.into_iter();
    let first: Vec<_> = values.by_ref().take(MAX_VALUES).map(log_safe).collect();
    let more = match values.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("[{}]{more}", first.join(", "))
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
    fn values_are_escaped_shortened_and_counted() {
        assert_eq!(listed([]), "[]");
        assert_eq!(listed(["a\n"]), r#"["a\n"]"#);
        let many = vec!["x"; 8];
        assert_eq!(listed(many), r#"["x", "x", "x", "x", "x"] and 3 more"#);
        let one = Explanation::new("a", "", "b");
        assert_eq!(one.to_string(), "found a; to change: b");
    }
}
