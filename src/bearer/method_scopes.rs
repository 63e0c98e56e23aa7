//! [`MethodScopesLayer`]: requires scopes by gRPC method.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::challenge_params::AuthState;
use super::refusal::Refusal;
use super::require::{self, Requirement};
use super::scope::ScopeLayer;
use crate::ConfigError;
use crate::protocol::request_target::find_ambiguity;
use crate::protocol::sanitize::log_safe;
use crate::response_future::ResponseFuture;
use crate::token::TokenInfo;

/// Requires scopes by gRPC method, and rejects unlisted methods.
///
/// A tonic server routes by the path `/package.Service/Method`, so one layer around it holds the scopes of all methods.
/// Add it inside of a [`BearerLayer`](crate::BearerLayer), like a [`ScopeLayer`].
///
/// An unlisted method is rejected with 403 (gRPC: 7) for every token, so a method that is added to a service later is not
/// accessible until it is listed. Paths are compared byte for byte. A path that is not two names of letters, digits, `_`
/// and `.` counts as unlisted: with `/shop.Orders/*`, a router that decodes `/shop.Orders/%44elete` would call a method
/// that is listed with other scopes. For the same reason `/shop.Orders/delete` is rejected if `/shop.Orders/Delete` is
/// listed.
///
/// ```
/// use tower_oauth::ScopeLayer;
/// use tower_oauth::bearer::MethodScopesLayer;
///
/// let methods = MethodScopesLayer::new()
///     .add("/shop.Orders/List", ScopeLayer::all("orders:read")?)?
///     .add("/shop.Orders/*", ScopeLayer::all("orders:write")?)? // every other method of the service
///     .add_unscoped("/grpc.health.v1.Health/Check")?;
/// assert!(MethodScopesLayer::new().add("Orders", ScopeLayer::all("orders")?).is_err());
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MethodScopesLayer {
    methods: Arc<HashMap<Box<str>, MethodRule>>,
}

#[derive(Clone, Debug)]
enum MethodRule {
    Scopes(ScopeLayer),
    /// Every request that the outer layer forwards.
    Unscoped,
}

impl MethodScopesLayer {
    /// Creates an empty table. Every method is rejected until it is added.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a method and its scopes: `/package.Service/Method`, or `/package.Service/*` for all methods of a service
    /// that are not listed individually.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is not such a path, if a name has characters other than ASCII letters, digits, `_`
    /// and `.`, or if it was already added.
    pub fn add(self, method: &str, scopes: ScopeLayer) -> Result<Self, ConfigError> {
        self.insert(method, MethodRule::Scopes(scopes))
    }

    /// Adds a method that requires no scope: it accepts every valid token, and anonymous requests if the
    /// [`BearerLayer`](crate::BearerLayer) is optional.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_unscoped(self, method: &str) -> Result<Self, ConfigError> {
        self.insert(method, MethodRule::Unscoped)
    }

    fn insert(mut self, method: &str, rule: MethodRule) -> Result<Self, ConfigError> {
        let invalid = |reason| {
            Err(ConfigError::Setting {
                setting: "method",
                value: method.to_owned(),
                reason,
            })
        };
        // A wildcard is valid if any method of the service is.
        let example = match method.strip_suffix("/*") {
            Some(service) => format!("{service}/Method"),
            None => method.to_owned(),
        };
        if !is_method(&example) {
            return invalid("it must be /package.Service/Method or /package.Service/*");
        }
        // The key of a wildcard is `/package.Service/`, which is not a method.
        let key = method.strip_suffix('*').filter(|key| key.ends_with('/'));
        let methods = Arc::make_mut(&mut self.methods);
        if methods.insert(key.unwrap_or(method).into(), rule).is_some() {
            return invalid("it was already added");
        }
        Ok(self)
    }

    fn rule(&self, path: &str) -> Option<&MethodRule> {
        if !is_method(path) {
            log_not_a_method(path);
            return None;
        }
        self.methods.get(path).or_else(|| {
            let service = path.rfind('/')?;
            let all = self.methods.get(&path[..=service])?;
            let mut listed = self.methods.keys();
            let is_look_alike = listed.any(|one| one.eq_ignore_ascii_case(path));
            (!is_look_alike).then_some(all)
        })
    }
}

/// Returns whether a path is `/package.Service/Method` to every parser: two names of ASCII letters, digits and `_`, with
/// `.` only between other characters.
fn is_method(path: &str) -> bool {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = |name: &str| {
        let mut parts = name.split('.');
        parts.all(|part| !part.is_empty() && part.bytes().all(in_name))
    };
    let names = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    names.is_some_and(|(service, method)| is_name(service) && is_name(method))
}

fn log_not_a_method(path: &str) {
    let found = find_ambiguity(path).map_or_else(
        || "other characters or segments than those of a gRPC method".to_owned(),
        |found| found.to_string(),
    );
    tracing::debug!(
        name: "not_a_grpc_method", target: "tower_oauth::bearer", found, path = log_safe(path),
        "the path is not /package.Service/Method"
    );
}

impl<S> Layer<S> for MethodScopesLayer {
    type Service = RequireMethodScope<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireMethodScope {
            inner,
            methods: self.clone(),
        }
    }
}

/// The service created by [`MethodScopesLayer`].
#[derive(Clone, Debug)]
pub struct RequireMethodScope<S> {
    inner: S,
    methods: MethodScopesLayer,
}

impl<S, B, R> Service<Request<B>> for RequireMethodScope<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = &mut self.inner;
        match self.methods.rule(request.uri().path()) {
            Some(MethodRule::Scopes(scopes)) => require::call(scopes, inner, request),
            Some(MethodRule::Unscoped) => match require::auth_state(&request, NO_LAYER) {
                Ok(_) => ResponseFuture::inner(inner.call(request)),
                Err(response) => ResponseFuture::own(*response),
            },
            None => require::call(&Unlisted, inner, request),
        }
    }
}

const NO_LAYER: &str = "MethodScopesLayer requires an outer BearerLayer";

/// The requirement that no token meets.
struct Unlisted;

impl Requirement for Unlisted {
    const NO_LAYER: &'static str = NO_LAYER;

    fn enforce(&self, _: &AuthState, _: &TokenInfo, _: &Extensions) -> Result<(), Refusal> {
        Err(Refusal::UnlistedMethod)
    }
}
