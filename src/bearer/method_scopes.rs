//! [`MethodScopesLayer`]: requires scopes by gRPC method.

use std::collections::HashMap;
use std::sync::Arc;

use http::Response;
use http::request::Parts;
use tower_layer::Layer;

use super::auth_state::refuse;
use super::guard::{Guard, Requirement};
use super::refusal::Refusal;
use super::scope::ScopeLayer;
use super::scope_rule::ScopeRule;
use crate::ConfigError;
use crate::protocol::request_target::find_ambiguity;
use crate::protocol::sanitize::log_safe;

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
    methods: Arc<MethodTable>,
}

/// The rules by path; that of a wildcard by `/package.Service/`, which is not a method.
#[derive(Clone, Debug, Default)]
struct MethodTable(HashMap<Box<str>, ScopeRule>);

impl MethodScopesLayer {
    /// Creates an empty table. Every method is rejected until it is added.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a method and its scopes, a [`ScopeLayer`] or a [`Policy`](super::Policy): `/package.Service/Method`, or `/package.Service/*` for all methods of a service
    /// that are not listed individually.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is not such a path, if a name has characters other than ASCII letters, digits, `_`
    /// and `.`, or if it was already added.
    pub fn add(self, method: &str, scopes: impl Into<ScopeLayer>) -> Result<Self, ConfigError> {
        self.insert(method, ScopeRule::Policy(scopes.into().policy))
    }

    /// Adds a method that requires no scope: it accepts every valid token, and anonymous requests if the
    /// [`BearerLayer`](crate::BearerLayer) is optional.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_unscoped(self, method: &str) -> Result<Self, ConfigError> {
        self.insert(method, ScopeRule::Unscoped)
    }

    fn insert(mut self, method: &str, rule: ScopeRule) -> Result<Self, ConfigError> {
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
        let key = method.strip_suffix('*').filter(|key| key.ends_with('/'));
        let methods = &mut Arc::make_mut(&mut self.methods).0;
        if methods.insert(key.unwrap_or(method).into(), rule).is_some() {
            return invalid("it was already added");
        }
        Ok(self)
    }
}

impl MethodTable {
    fn enforce(&self, head: &Parts) -> Result<(), Refusal> {
        let rule = self.rule(head.uri.path());
        ScopeRule::enforce(rule, &head.extensions, NO_LAYER, || Refusal::UnlistedMethod)
    }

    fn rule(&self, path: &str) -> Option<&ScopeRule> {
        if !is_method(path) {
            log_not_a_method(path);
            return None;
        }
        self.0.get(path).or_else(|| {
            let service = path.rfind('/')?;
            let all = self.0.get(&path[..=service])?;
            let mut listed = self.0.keys();
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

impl Requirement for MethodTable {
    fn check(&self, head: &mut Parts) -> Result<(), Box<Response<()>>> {
        self.enforce(head)
            .map_err(|refusal| refuse(refusal, &*head))
    }
}

const NO_LAYER: &str = "MethodScopesLayer requires an outer BearerLayer";

impl<S> Layer<S> for MethodScopesLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let methods = Arc::clone(&self.methods);
        Guard::new(inner, methods)
    }
}
