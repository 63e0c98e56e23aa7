//! The changes to the header fields of a response that a `BearerLayer` forwards.

use std::sync::Arc;

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::settings::Settings;
use crate::protocol::cache;

/// What is changed in the response of the inner service.
#[derive(Debug, Default)]
pub(super) struct ResponseHeaders {
    private: bool,
    /// A new nonce for DPoP proofs (RFC 9449 §8.2).
    pub(super) nonce: Option<HeaderValue>,
    /// Whether the token came from another place than `Authorization`, so that shared caches do not know that the
    /// response belongs to one caller (RFC 9111 §3.5).
    is_elsewhere: bool,
    /// The members of `Vary` for the token sources.
    vary: Option<Arc<[HeaderValue]>>,
}

pub(super) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

impl ResponseHeaders {
    pub(super) fn of_token(settings: &Settings, is_elsewhere: bool) -> Self {
        let is_elsewhere = is_elsewhere && settings.protects_caches;
        Self {
            private: settings.private,
            nonce: None,
            is_elsewhere,
            vary: is_elsewhere.then(|| Arc::clone(&settings.vary)),
        }
    }

    pub(super) fn of_anonymous(settings: &Settings) -> Self {
        Self {
            vary: settings.vary().cloned(),
            ..Self::default()
        }
    }

    pub(super) fn apply(&mut self, headers: &mut HeaderMap) {
        for member in self.vary.take().iter().flat_map(|vary| vary.iter()) {
            cache::vary_by(headers, member);
        }
        if self.is_elsewhere && cache::make_private(headers) {
            tracing::debug!(
                name: "response_made_private",
                target: "tower_oauth::bearer",
                "removed cache permissions from a response to a token outside of Authorization"
            );
        }
        // RFC 9449 §8.2: a response has at most one nonce, and a cache must not reuse it for another caller.
        if let Some(nonce) = self.nonce.take() {
            headers.insert(DPOP_NONCE, nonce);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            cache::remove_targeted(headers);
        } else if self.private && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
    }
}
