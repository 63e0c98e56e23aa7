//! The protection space of a layer (RFC 9110 §11.5): the parameters that its challenges share, and the application's
//! hook for rejections.

use std::fmt;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, Uri};

use super::refusal::{Refusal, WireRefusal, wire_refusal};
use crate::protocol::ScopeSet;
use crate::protocol::challenge::{Challenge, Realm};
use crate::protocol::credentials::Scheme;

/// The parameters of all challenges of one layer, shared with the scope layers and extractors inside of it.
#[derive(Clone, Debug)]
pub(crate) struct ChallengeParams {
    pub(super) realm: Realm,
    /// The accepted schemes, each with a challenge of its own (RFC 9110 §11.6.1).
    schemes: Vec<OfferedScheme>,
    /// The URL of the protected resource metadata (RFC 9728 §5.1).
    pub(super) resource_metadata: Option<Box<str>>,
    /// The `scope` of a 401 challenge (RFC 6750 §3).
    pub(super) scope_hint: Option<ScopeSet>,
    /// Whether rejected gRPC calls get HTTP status 200.
    pub(super) trailers_only: bool,
    pub(super) on_refusal: RefusalHook,
}

/// An accepted authentication scheme.
#[derive(Clone, Debug)]
struct OfferedScheme {
    scheme: Scheme,
    /// The algorithms of DPoP proofs, space-separated (RFC 9449 §7.1).
    algorithms: Option<Box<str>>,
}

const BEARER: OfferedScheme = OfferedScheme {
    scheme: Scheme::Bearer,
    algorithms: None,
};

impl Default for ChallengeParams {
    fn default() -> Self {
        Self {
            realm: Realm::default(),
            schemes: vec![BEARER],
            resource_metadata: None,
            scope_hint: None,
            trailers_only: false,
            on_refusal: RefusalHook::default(),
        }
    }
}

impl ChallengeParams {
    /// Offers `DPoP` beside `Bearer`, or alone if it is required (RFC 9449 §7.1, §7.2).
    pub(super) fn offer_dpop(&mut self, algorithms: String, is_required: bool) {
        let dpop = OfferedScheme {
            scheme: Scheme::Dpop,
            algorithms: Some(algorithms.into()),
        };
        self.schemes = if is_required {
            vec![dpop]
        } else {
            vec![BEARER, dpop]
        };
    }

    /// Returns a challenge for each accepted scheme (RFC 9110 §11.6.1). Only that of the used scheme has the error
    /// (RFC 9449 §7.1); without one, all of them have it.
    pub(super) fn challenges(&self, refusal: &Refusal, used: Option<Scheme>) -> Vec<HeaderValue> {
        let WireRefusal {
            status,
            has_challenges,
            error,
            message,
            ..
        } = wire_refusal(refusal);
        if !has_challenges {
            return Vec::new();
        }
        let (mut scope, mut acr, mut max_age) = (None, None, None);
        match refusal {
            // An application can create this value, too, so it is parsed before it is sent.
            Refusal::InsufficientScope { required } => scope = ScopeSet::parse(required).ok(),
            Refusal::InsufficientUserAuthentication {
                acr_values,
                max_age: age,
            } => (acr, max_age) = (acr_values.as_deref(), age.map(|age| age.as_secs())),
            _ => {}
        }
        let hint = self.scope_hint.as_ref();
        let scope = scope
            .as_ref()
            .or_else(|| hint.filter(|_| status == StatusCode::UNAUTHORIZED));
        let challenge = |offer: &OfferedScheme| {
            let is_used = used.is_none_or(|used| used == offer.scheme);
            Challenge {
                scheme: offer.scheme,
                realm: &self.realm,
                error: error.map(|code| (code, message)).filter(|_| is_used),
                scope: scope.filter(|_| is_used),
                acr_values: acr.filter(|_| is_used),
                max_age: max_age.filter(|_| is_used),
                algorithms: offer.algorithms.as_deref(),
                resource_metadata: self.resource_metadata.as_deref(),
            }
            .to_header_value()
        };
        self.schemes.iter().map(challenge).collect()
    }
}

/// Describes a rejected request: the argument of [`on_refusal`](crate::BearerLayer::on_refusal).
///
/// It does not give access to header fields, body and query, because they may contain tokens, cookies and proofs.
#[derive(Clone, Copy)]
pub struct RefusedRequest<'a> {
    refusal: &'a Refusal,
    method: &'a Method,
    uri: &'a Uri,
}

impl<'a> RefusedRequest<'a> {
    /// Returns the reason. It is more detailed than the response: do not send it to callers.
    pub fn refusal(&self) -> &'a Refusal {
        self.refusal
    }

    /// Returns the status of the rejection: 400, 401, 403, 500 or 503. A gRPC caller receives the corresponding
    /// `grpc-status`.
    pub fn status(&self) -> StatusCode {
        wire_refusal(self.refusal).status
    }

    /// Returns the method of the request.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// Returns the path of the request as received by the layer, without the query. The caller chooses its content and
    /// length: log it with `{:?}`, and do not use it as a metric label.
    pub fn path(&self) -> &'a str {
        self.uri.path()
    }
}

/// The maximum number of characters of a path in `Debug` output.
const MAX_PATH: usize = 200;

impl fmt::Debug for RefusedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        // The path of a URI may contain unescaped characters outside of ASCII.
        let shortened = path
            .char_indices()
            .nth(MAX_PATH)
            .map_or(path, |(end, _)| &path[..end]);
        f.debug_struct("RefusedRequest")
            .field("refusal", self.refusal)
            .field("method", self.method)
            .field("path", &shortened)
            .finish()
    }
}

/// The application's function, if it set one.
#[derive(Clone, Default)]
pub(super) struct RefusalHook(Option<RefusalHookFn>);

type RefusalHookFn = Arc<dyn Fn(&RefusedRequest<'_>) + Send + Sync>;

impl RefusalHook {
    pub(super) fn new(call: impl Fn(&RefusedRequest<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(call)))
    }

    pub(super) fn call(&self, refusal: &Refusal, method: &Method, uri: &Uri) {
        if let Some(call) = &self.0 {
            call(&RefusedRequest {
                refusal,
                method,
                uri,
            });
        }
    }
}

impl fmt::Debug for RefusalHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "RefusalHook(..)",
            None => "RefusalHook",
        })
    }
}
