//! [`RouteScopesLayer`]: requires scopes by HTTP method and route.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::MatchedPath;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use tower_layer::Layer;

use super::auth_state::refuse;
use super::guard::{Guard, Requirement};
use super::refusal::Refusal;
use super::scope::ScopeLayer;
use super::scope_rule::ScopeRule;
use crate::ConfigError;
use crate::protocol::sanitize::log_safe;
use crate::telemetry::may_log;

/// Requires scopes by HTTP method and route of an axum `Router`, and rejects unlisted routes.
///
/// A closed table for an application that must not forget a route: what axum routes and the table does not list is
/// rejected with 403 for every token, and with 401 for anonymous requests. The layer reads the pattern that axum matched
/// ([`MatchedPath`]) and does not parse the path itself, so both always agree on the route.
///
/// ```
/// use axum::{Router, routing::{get, post}};
/// use tower_oauth::bearer::{Policy, RouteScopesLayer};
/// # use tower_oauth::{AuthorizationServer, BearerLayer};
///
/// # let server = AuthorizationServer::new("https://id.example.com")?;
/// # let bearer = BearerLayer::jwt(&server, "https://api.example.com")?;
/// let table = RouteScopesLayer::new()
///     .add("GET /orders", Policy::all("orders:read")?)?
///     .add("POST /orders", Policy::all("orders:write")?.and_role("roles", "clerk")?)?
///     .add("* /files/{*path}", Policy::all("files")?)? // every other method
///     .add_unscoped("GET /health")?;
///
/// let api: Router = Router::new()
///     .route("/orders", get(async || "orders").post(async || "created"))
///     .route("/orders/{id}", post(async || "not listed: 403"))
///     .layer(table) // after the routes, inside of the bearer layer
///     .layer(bearer);
/// assert!(RouteScopesLayer::new().add("/orders", Policy::all("orders:read")?).is_err());
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// # Methods
///
/// | request | row |
/// | --- | --- |
/// | `HEAD` | that of `GET`, because axum answers it with the handler for `GET`; `HEAD` cannot be listed |
/// | CORS preflight: `OPTIONS` with `Origin` and `Access-Control-Request-Method` | passes if the route is listed, unless it has a row for `OPTIONS` or `*`, which then applies; list a route of axum's `any` with `*`, because its handler receives preflights |
/// | a WebSocket over HTTP/2 (`CONNECT`, [RFC 8441]) | one of its own: list `CONNECT` beside `GET`, or `*` |
/// | a method without a row | that of `*`, otherwise 403, also where axum would respond 405 |
///
/// # Where to add it
///
/// With [`Router::layer`](axum::Router::layer), after all routes and inside of a [`BearerLayer`](crate::BearerLayer).
/// axum calls such a layer after routing.
///
/// - **Nesting.** The pattern is the whole one: for `nest("/api", orders)` list `/api/orders/{id}`, whether the layer is
///   added to the inner or to the outer router. The names of parameters count: `/orders/{id}` does not list
///   `/orders/{order}`.
/// - **Unknown routes** get 404 from this layer, without a call of the fallback. A fallback that is added after the layer
///   is called, and is not protected by it. `nest_service` and a fallback service have no pattern either: add the layer to
///   the router inside of them.
/// - **Outside of the `Router`**, in a `ServiceBuilder` around it, no request has a pattern: every response is 404, and
///   the first ones log the warning `route_scopes_without_route`.
///
/// Routes that are added after the layer are not in the table's reach: they are as open as without it.
///
/// [RFC 8441]: https://www.rfc-editor.org/rfc/rfc8441
#[derive(Clone, Debug, Default)]
pub struct RouteScopesLayer {
    rows: Arc<HashMap<Box<str>, Methods>>,
    /// Whether any request had a route, shared by all services: axum creates one for each route.
    saw_route: Arc<AtomicBool>,
}

/// The rows of one pattern.
#[derive(Clone, Debug, Default)]
struct Methods {
    listed: Vec<(Method, ScopeRule)>,
    any: Option<ScopeRule>,
}

impl RouteScopesLayer {
    /// Creates an empty table. Every route is rejected until it is added.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route and what it requires, a [`Policy`](super::Policy) or a [`ScopeLayer`]. The route is a method and the
    /// pattern as given to axum, such as `GET /orders/{id}`, or `*` and the pattern for all methods that are not listed
    /// individually.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if it is not such a route, if the method is `HEAD`, or if it was already added.
    pub fn add(self, route: &str, policy: impl Into<ScopeLayer>) -> Result<Self, ConfigError> {
        self.insert(route, ScopeRule::Policy(policy.into().policy))
    }

    /// Adds a route that requires no scope: it accepts every valid token, and anonymous requests if the
    /// [`BearerLayer`](crate::BearerLayer) is optional.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_unscoped(self, route: &str) -> Result<Self, ConfigError> {
        self.insert(route, ScopeRule::Unscoped)
    }

    fn insert(mut self, route: &str, rule: ScopeRule) -> Result<Self, ConfigError> {
        let invalid = |reason| ConfigError::Setting {
            setting: "route",
            value: route.to_owned(),
            reason,
        };
        let (method, pattern) = parse(route).map_err(invalid)?;
        let rows = Arc::make_mut(&mut self.rows);
        let methods = rows.entry(pattern.into()).or_default();
        let is_new = match method {
            None => methods.any.replace(rule).is_none(),
            Some(method) => {
                let is_new = methods.listed.iter().all(|(listed, _)| *listed != method);
                methods.listed.push((method, rule));
                is_new
            }
        };
        is_new
            .then_some(self)
            .ok_or_else(|| invalid("it was already added"))
    }
}

/// Returns the method, or `None` for all of them, and the pattern.
fn parse(route: &str) -> Result<(Option<Method>, &str), &'static str> {
    let (method, pattern) = route.split_once(' ').ok_or(NOT_A_ROUTE)?;
    if !pattern.starts_with('/') || pattern.contains(char::is_whitespace) {
        return Err(NOT_A_ROUTE);
    }
    if pattern
        .split('/')
        .any(|segment| segment.starts_with([':', '*']))
    {
        return Err("axum 0.8 writes parameters as /{name} and /{*name}");
    }
    if method == "*" {
        return Ok((None, pattern));
    }
    if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return Err("methods are case-sensitive: write it in capital letters");
    }
    match Method::from_bytes(method.as_bytes()) {
        Ok(Method::HEAD) => Err("HEAD requires what GET does: list GET"),
        Ok(method) => Ok((Some(method), pattern)),
        Err(_) => Err(NOT_A_ROUTE),
    }
}

const NOT_A_ROUTE: &str = "it must be a method, or *, and a pattern: GET /orders/{id}";

impl Methods {
    /// Returns the row of a request. A preflight has no effect and carries no token, so it needs no row of its own.
    fn rule(&self, head: &Parts) -> Option<&ScopeRule> {
        let method = match head.method {
            Method::HEAD => &Method::GET,
            ref method => method,
        };
        let listed = self.listed.iter().find(|(listed, _)| listed == method);
        let rule = listed.map(|(_, rule)| rule).or(self.any.as_ref());
        rule.or_else(|| is_preflight(head).then_some(&ScopeRule::Unscoped))
    }
}

/// <https://fetch.spec.whatwg.org/#cors-preflight-request>
fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(ORIGIN)
        && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

impl Requirement for RouteScopesLayer {
    fn check(&self, head: &mut Parts) -> Result<(), Box<Response<()>>> {
        let Some(pattern) = head.extensions.get::<MatchedPath>() else {
            log_without_route(head.uri.path(), self.saw_route.load(Ordering::Relaxed));
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::NOT_FOUND;
            return Err(Box::new(response));
        };
        if !self.saw_route.load(Ordering::Relaxed) {
            self.saw_route.store(true, Ordering::Relaxed);
        }
        let methods = self.rows.get(pattern.as_str());
        let rule = methods.and_then(|methods| methods.rule(head));
        let unlisted = || Refusal::UnlistedRoute {
            // The caller chooses the method: a token of any length (RFC 9110 §9.1).
            route: format!("{:.32} {}", head.method.as_str(), pattern.as_str()),
        };
        ScopeRule::enforce(rule, &head.extensions, NO_LAYER, unlisted)
            .inspect_err(log_unlisted)
            .map_err(|refusal| refuse(refusal, &*head))
    }
}

const NO_LAYER: &str = "RouteScopesLayer requires an outer BearerLayer";

/// A route that is missing in the table is a mistake of the developer.
fn log_unlisted(refusal: &Refusal) {
    if let Refusal::UnlistedRoute { route } = refusal
        && may_log("route_not_listed", "")
    {
        tracing::warn!(
            name: "route_not_listed", target: "tower_oauth::bearer", route,
            "rejected a request for a route that the RouteScopesLayer does not list"
        );
    }
}

/// Unknown routes are everyday events unless the layer never sees a known one.
fn log_without_route(path: &str, saw_route: bool) {
    let path = log_safe(path);
    if saw_route {
        tracing::debug!(
            name: "route_unknown", target: "tower_oauth::bearer", path,
            "axum matched no route: responded 404"
        );
    } else if may_log("route_scopes_without_route", "") {
        tracing::warn!(
            name: "route_scopes_without_route", target: "tower_oauth::bearer", path,
            "axum matched no route, so far for any request: if the path has a route, the RouteScopesLayer is outside of \
             the Router; add it with Router::layer, after the routes"
        );
    }
}

impl<S> Layer<S> for RouteScopesLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guard::new(inner, Arc::new(self.clone()))
    }
}
