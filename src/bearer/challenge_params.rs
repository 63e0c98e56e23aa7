//! The protection space of a layer (RFC 9110 §11.5): the parameters that its challenges share.

use std::sync::Arc;

use http::{Extensions, Method, Uri};

use super::hook::RefusalHook;
use super::refusal::Refusal;
use crate::clock::{SharedClock, SystemClock};
use crate::protocol::ScopeSet;
use crate::protocol::challenge::Realm;
use crate::protocol::credentials::Scheme;
use crate::token::TokenInfo;

/// The parameters of all challenges of one layer, shared with the scope layers and extractors inside of it.
#[derive(Clone, Debug)]
pub(crate) struct ChallengeParams {
    pub(crate) realm: Realm,
    /// The accepted schemes, each with a challenge of its own (RFC 9110 §11.6.1).
    pub(crate) schemes: Vec<OfferedScheme>,
    /// The URL of the protected resource metadata (RFC 9728 §5.1).
    pub(crate) resource_metadata: Option<Box<str>>,
    /// The `scope` of a 401 challenge (RFC 6750 §3).
    pub(crate) scope_hint: Option<ScopeSet>,
    /// The clock of the verifier.
    pub(crate) clock: SharedClock,
    /// Whether rejected gRPC calls get HTTP status 200.
    pub(crate) trailers_only: bool,
    pub(super) on_refusal: RefusalHook,
}

impl ChallengeParams {
    /// Calls the application's hook. Every place that rejects a request calls this exactly once.
    pub(crate) fn report(&self, refusal: &Refusal, method: &Method, uri: &Uri) {
        self.on_refusal.call(refusal, method, uri);
    }
}

/// An accepted authentication scheme.
#[derive(Clone, Debug)]
pub(crate) struct OfferedScheme {
    pub(crate) scheme: Scheme,
    /// The algorithms of DPoP proofs, space-separated (RFC 9449 §7.1).
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
            on_refusal: RefusalHook::default(),
        }
    }
}

impl ChallengeParams {
    /// Offers `DPoP` beside `Bearer`, or alone if it is required (RFC 9449 §7.1, §7.2).
    pub(super) fn offer_dpop(&mut self, algorithms: String, is_required: bool) {
        let bearer = OfferedScheme {
            scheme: Scheme::Bearer,
            algorithms: None,
        };
        let dpop = OfferedScheme {
            scheme: Scheme::Dpop,
            algorithms: Some(algorithms.into()),
        };
        self.schemes = if is_required {
            vec![dpop]
        } else {
            vec![bearer, dpop]
        };
    }
}

/// The authentication result in the request extensions. Scope layers and extractors need it to distinguish an
/// anonymous request from a missing layer.
#[derive(Clone, Debug)]
pub(crate) struct AuthState {
    pub(crate) challenge: Arc<ChallengeParams>,
    /// `None` for an anonymous request.
    pub(crate) token_info: Option<Arc<TokenInfo>>,
    /// The scheme that the caller used.
    pub(crate) scheme: Scheme,
    /// Removes the `VerifiedToken` of this layer, whose claims type only this layer knows.
    pub(super) clear: fn(&mut Extensions),
}
