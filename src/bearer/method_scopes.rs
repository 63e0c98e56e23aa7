//! [`MethodScopesLayer`]: which gRPC method needs which scopes.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Extensions, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::challenge_params::AuthState;
use super::refusal::Refusal;
use super::require::{self, Requirement, ScopeFuture};
use super::scope::ScopeLayer;
use crate::ConfigError;
use crate::protocol::request_target::find_ambiguity;
use crate::protocol::sanitize::log_safe;
use crate::token::TokenInfo;

/// Demands of each gRPC method its own scopes, and refuses the methods that are not listed.
///
/// A tonic server routes by the path `/package.Service/Method` inside, so one layer around it has the
/// scopes of all; it stands inside a [`BearerLayer`](crate::BearerLayer), like a [`ScopeLayer`]. The paths are
/// compared byte for byte. A path that is not two names of letters, digits, `_` and `.` is refused like a
/// method that is not listed: under `/shop.Orders/*`, a router that decodes `/shop.Orders/%44elete` would
/// call a method that is listed with other scopes. For the same reason `/shop.Orders/delete` is refused if
/// `/shop.Orders/Delete` is listed. A method that is not listed is refused with 403 (gRPC: 7), whatever the
/// token grants: one that is added to a service later is closed until somebody opens it.
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
    methods: Arc<HashMap<Box<str>, Need>>,
}

#[derive(Clone, Debug)]
enum Need {
    Scopes(ScopeLayer),
    /// Whatever the layer further out lets through.
    Nothing,
}

impl MethodScopesLayer {
    /// No method at all: everything is refused.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The scopes that a method needs: `/package.Service/Method`, or `/package.Service/*` for all
    /// methods of a service that are not listed by themselves.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is not such a path, has characters other than ASCII letters, digits, `_`
    /// and `.` in a name, or was added before.
    pub fn add(self, method: &str, scopes: ScopeLayer) -> Result<Self, ConfigError> {
        self.insert(method, Need::Scopes(scopes))
    }

    /// A method that needs no scope: any good token will do, and where the
    /// [`BearerLayer`](crate::BearerLayer) is optional, none.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_unscoped(self, method: &str) -> Result<Self, ConfigError> {
        self.insert(method, Need::Nothing)
    }

    fn insert(mut self, method: &str, need: Need) -> Result<Self, ConfigError> {
        let refuse = |reason| {
            Err(ConfigError::Setting {
                setting: "method",
                value: method.to_owned(),
                reason,
            })
        };
        // All methods of a service are listed under the name of any one of them.
        let one = match method.strip_suffix("/*") {
            Some(service) => format!("{service}/Method"),
            None => method.to_owned(),
        };
        if !is_method(&one) {
            return refuse("it must be /package.Service/Method or /package.Service/*");
        }
        // All methods of a service stand under its folder, a name that no method has.
        let key = method.strip_suffix('*').filter(|key| key.ends_with('/'));
        let methods = Arc::make_mut(&mut self.methods);
        if methods.insert(key.unwrap_or(method).into(), need).is_some() {
            return refuse("it was added before");
        }
        Ok(self)
    }

    fn need(&self, path: &str) -> Option<&Need> {
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

/// Whether a path is `/package.Service/Method` and nothing else to any reader: two names of ASCII letters,
/// digits and `_`, with a `.` only between others.
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

/// The service that [`MethodScopesLayer`] makes.
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
    type Future = ScopeFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = &mut self.inner;
        match self.methods.need(request.uri().path()) {
            Some(Need::Scopes(scopes)) => require::call(scopes, inner, request),
            Some(Need::Nothing) => match require::find_judged(&request, NO_LAYER) {
                Ok(_) => ScopeFuture::admitted(inner.call(request)),
                Err(response) => ScopeFuture::refused(*response),
            },
            None => require::call(&Unlisted, inner, request),
        }
    }
}

const NO_LAYER: &str = "MethodScopesLayer have no BearerLayer around them";

/// What no token meets.
struct Unlisted;

impl Requirement for Unlisted {
    const NO_LAYER: &'static str = NO_LAYER;

    fn judge(&self, _: &AuthState, _: &TokenInfo, _: &Extensions) -> Result<(), Refusal> {
        Err(Refusal::UnlistedMethod)
    }
}
