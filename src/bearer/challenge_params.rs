//! The protection space of a layer: what its challenges say, wherever they are made.

use std::sync::Arc;

use http::{Extensions, Method, Uri};

use super::hook::Hook;
use super::refusal::Refusal;
use crate::clock::{SharedClock, SystemClock};
use crate::protocol::ScopeSet;
use crate::protocol::challenge::Realm;
use crate::protocol::credentials::Scheme;
use crate::token::TokenInfo;

/// What all challenges of one layer have in common; shared with the scope layers and extractors
/// further in.
#[derive(Clone, Debug)]
pub(crate) struct ChallengeParams {
    pub(crate) realm: Realm,
    /// The schemes that a caller may use, each a challenge of its own (`C8`, `D25`).
    pub(crate) schemes: Vec<OfferedScheme>,
    /// Where the metadata of the protected resource is (`C10`).
    pub(crate) resource_metadata: Option<Box<str>>,
    /// What a caller without a good token had best ask for (`P6`).
    pub(crate) scope_hint: Option<ScopeSet>,
    /// The clock that tokens are judged by.
    pub(crate) clock: SharedClock,
    /// Whether a refused gRPC call has the HTTP status 200.
    pub(crate) trailers_only: bool,
    pub(super) on_refusal: Hook,
}

impl ChallengeParams {
    /// Tells the application of a refusal; each place that refuses does, once.
    pub(crate) fn tell(&self, refusal: &Refusal, method: &Method, uri: &Uri) {
        self.on_refusal.call(refusal, method, uri);
    }
}

/// A scheme that a caller may use.
#[derive(Clone, Debug)]
pub(crate) struct OfferedScheme {
    pub(crate) scheme: Scheme,
    /// The algorithms of its proofs, space-separated.
    pub(crate) algorithms: Option<Box<str>>,
}

impl Default for ChallengeParams {
    fn default() -> Self {
        Self {
            realm: Realm::default(),
            schemes: vec![OfferedScheme {
                scheme: Scheme::Bearer,
                algorithms: None,
            }],
            resource_metadata: None,
            scope_hint: None,
            clock: Arc::new(SystemClock),
            trailers_only: false,
            on_refusal: Hook::default(),
        }
    }
}

impl ChallengeParams {
    /// Offers `DPoP`, beside `Bearer` or instead of it (`D25`, `D27`).
    pub(super) fn offer_dpop(&mut self, algorithms: String, alone: bool) {
        let bearer = OfferedScheme {
            scheme: Scheme::Bearer,
            algorithms: None,
        };
        let dpop = OfferedScheme {
            scheme: Scheme::Dpop,
            algorithms: Some(algorithms.into()),
        };
        self.schemes = if alone {
            vec![dpop]
        } else {
            vec![bearer, dpop]
        };
    }
}

/// That a request was looked at, and what was found: for scope layers and extractors, which have to
/// tell an anonymous request from a missing layer.
#[derive(Clone, Debug)]
pub(crate) struct AuthState {
    pub(crate) protection: Arc<ChallengeParams>,
    pub(crate) token_info: Option<Arc<TokenInfo>>,
    /// The scheme that the caller used.
    pub(crate) scheme: Scheme,
    /// Takes the token of this layer out again, of whatever type its claims are.
    pub(super) forget: fn(&mut Extensions),
}
