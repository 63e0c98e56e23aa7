//! What an operator reads about a failed request: the log, `ready` and `health` show the same text.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::error::{BackChannelError, Unavailable};

/// Describes a failed request: its method and URL, what was found, and what an operator can do.
pub(crate) fn describe(method: &str, url: &str, found: impl Display, advice: &str) -> String {
    let separator = if advice.is_empty() { "" } else { "; " };
    format!("{method} {url}: {found}{separator}{advice}")
}

/// The error of fetching a document from the authorization server.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct FetchError {
    text: Arc<str>,
    kind: &'static str,
    cause: FetchCause,
}

/// What the failure says about the address that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FetchCause {
    /// No response: another address of the same host does not respond either.
    Unreachable,
    /// The server says that it cannot respond now.
    Outage,
    /// The response is not the document.
    Unreadable,
    /// The server has no document at this address.
    NotFound,
    /// Only an operator can correct it.
    Configuration,
}

const CONNECTION_ADVICE: &str =
    "for a proxy, a private CA or another host see `AuthorizationServer::with_http_client`";

impl FetchError {
    fn new(text: impl Into<Arc<str>>, kind: &'static str, cause: FetchCause) -> Self {
        Self {
            text: text.into(),
            kind,
            cause,
        }
    }

    /// The fetch ended without an outcome.
    pub(super) fn canceled() -> Self {
        Self::new("the fetch was canceled", "canceled", FetchCause::Outage)
    }

    /// There was no response, or one that cannot be read.
    pub(super) fn no_response(url: &str, error: &BackChannelError) -> Self {
        let (kind, cause, advice) = match error {
            BackChannelError::NotSent(_) => {
                ("not_sent", FetchCause::Unreachable, CONNECTION_ADVICE)
            }
            BackChannelError::Timeout | BackChannelError::Transport(_) => {
                ("no_response", FetchCause::Unreachable, "")
            }
            BackChannelError::TooLarge => ("too_large", FetchCause::Unreadable, ""),
            BackChannelError::Encoded(_) => ("encoded", FetchCause::Unreadable, ""),
            BackChannelError::Insecure => (
                "insecure",
                FetchCause::Configuration,
                "http is for development: see `AuthorizationServer::new_with_insecure_http`",
            ),
            BackChannelError::Missing => ("missing", FetchCause::Configuration, ""),
        };
        Self::new(describe("GET", url, error, advice), kind, cause)
    }

    /// The response has another status than 200.
    pub(super) fn status(url: &str, status: StatusCode) -> Self {
        let cause = match status.as_u16() {
            // Timeout, too early, too many requests.
            408 | 425 | 429 | 500..=599 => FetchCause::Outage,
            300..=499 => FetchCause::NotFound,
            _ => FetchCause::Unreadable,
        };
        let found = format!("status {}, expected 200", status.as_u16());
        Self::new(describe("GET", url, found, ""), "status", cause)
    }

    /// The response is not the expected document. `reason` is also the kind, by which log events are limited.
    pub(super) fn unreadable(url: &str, reason: &'static str) -> Self {
        Self::new(
            describe("GET", url, reason, ""),
            reason,
            FetchCause::Unreadable,
        )
    }

    /// Only an operator can correct what was found.
    pub(super) fn configuration(
        url: &str,
        kind: &'static str,
        found: impl Display,
        advice: &str,
    ) -> Self {
        Self::new(
            describe("GET", url, found, advice),
            kind,
            FetchCause::Configuration,
        )
    }

    /// The metadata lacks a usable member.
    pub(super) fn missing(found: impl Display, advice: &str) -> Self {
        let text = format!("{found}; {advice}");
        Self::new(text, "missing_member", FetchCause::Configuration)
    }

    /// Combines the failures of all addresses that were asked for one document.
    ///
    /// The configuration is wrong only if each address that has a document has that of another issuer. Anything else can
    /// change without an operator: a proxy answers 404 while the authorization server starts.
    pub(super) fn of_all(failures: &[Self], advice: &str) -> Self {
        let has = |cause| failures.iter().any(|failure| failure.cause == cause);
        let is_unavailable = has(FetchCause::Unreachable) || has(FetchCause::Outage);
        let is_unclear = is_unavailable || has(FetchCause::Unreadable);
        let cause = match has(FetchCause::Configuration) && !is_unclear {
            true => FetchCause::Configuration,
            false => FetchCause::Outage,
        };
        let advice = if is_unavailable { "" } else { advice };
        let mut texts: Vec<_> = failures.iter().map(|failure| &*failure.text).collect();
        texts.extend((!advice.is_empty()).then_some(advice));
        let kind = failures.first().map_or("none", |failure| failure.kind);
        Self::new(texts.join("; "), kind, cause)
    }

    /// Returns the kind, by which log events are limited.
    pub(super) fn kind(&self) -> &'static str {
        self.kind
    }

    /// Returns whether another address of the same server may have the document.
    pub(super) fn is_response(&self) -> bool {
        self.cause != FetchCause::Unreachable
    }
}

impl From<FetchError> for Unavailable {
    fn from(error: FetchError) -> Self {
        match error.cause {
            FetchCause::Configuration => Self::configuration(&error.text),
            _ => Self::new(&error.text, Duration::from_secs(1)),
        }
    }
}
