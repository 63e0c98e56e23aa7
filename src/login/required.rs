//! [`RequiredLayer`]: requires a session, and a policy if there is one.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::context::LoginContext;
use super::response::{LayerResponse, misconfigured};
use crate::bearer::Policy;
use crate::config_error::ConfigError;
use crate::response_future::ResponseFuture;
use crate::session::Session;

/// Requires a session; created by [`LoginLayer::required`](super::LoginLayer::required).
///
/// The layer checks the session only and never the path, so no alternative spelling of a path
/// bypasses it. A request without a session is answered as [`LoginLayer`](super::LoginLayer)
/// describes: 303 to the login route for a navigation, 401 for all others. Without the login layer
/// around it, every request gets 500.
///
/// Inside two login layers, this one may be of either: the handler then gets the
/// [`Session`](crate::Session) of that layer. See [`login`](super#two-layers-in-one-application).
#[derive(Clone, Debug)]
pub struct RequiredLayer {
    layer: u64,
    /// The session must meet all of them.
    policies: Vec<Policy>,
}

impl RequiredLayer {
    pub(super) fn new(layer: u64) -> Self {
        Self {
            layer,
            policies: Vec::new(),
        }
    }

    /// Also requires that the session meets `policy`: roles and claims of the ID token, or a
    /// condition on the session and its application data. [`Policy`](Policy#sessions) has the rules.
    /// Of several policies all must be met.
    ///
    /// A session that does not meet it gets 403, as an error page or, for programs, as a problem
    /// document with the code `forbidden`, and never a redirect to the login: the user is signed in.
    /// That is also the response if the authentication is too old or too weak (`and_acr`,
    /// `and_max_age`), with the code `authentication_too_weak`; the user is not asked to authenticate
    /// again. The log has the part that is not met (`session_forbidden`).
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use tower_oauth::bearer::Policy;
    /// # use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer};
    ///
    /// # let server = AuthorizationServer::new("https://id.example.com")?;
    /// # let (client, key) = (Client::public("shop"), CookieKey::generate()?);
    /// # let login = LoginLayer::new(&server, client, "https://shop.example.com/auth/callback", key)?;
    /// let staff = login.required().with_policy(Policy::role("groups", "staff")?)?;
    /// let pages: Router = Router::new()
    ///     .route("/account", get(async || "for every user").layer(login.required()))
    ///     .route("/desk", get(async || "for staff").layer(staff))
    ///     .layer(login.clone());
    /// // Scopes are not rights of the user.
    /// assert!(login.required().with_policy(Policy::all("orders:write")?).is_err());
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the policy requires scopes, which no session meets.
    pub fn with_policy(mut self, policy: Policy) -> Result<Self, ConfigError> {
        self.policies.push(policy.for_sessions()?);
        Ok(self)
    }
}

/// What a layer inside of the login layer requires of a request.
pub(crate) trait SessionRequirement: fmt::Debug + Send + Sync {
    /// Returns the response to a request that is rejected.
    fn check(&self, head: &mut Parts) -> Result<(), Box<LayerResponse>>;
}

impl SessionRequirement for RequiredLayer {
    fn check(&self, head: &mut Parts) -> Result<(), Box<LayerResponse>> {
        let is_inside = LoginContext::select(self.layer, &mut head.extensions);
        let Some(context) = head.extensions.get::<LoginContext>() else {
            return Err(Box::new(misconfigured(MISSING_LAYER)));
        };
        if !is_inside {
            return Err(Box::new(misconfigured(WRONG_LAYER)));
        }
        context.note_session_dependence();
        let Some(session) = head.extensions.get::<Session>() else {
            let response = context.login_required(&head.method, &head.headers);
            return Err(Box::new(response));
        };
        let mut policies = self.policies.iter();
        policies.try_for_each(|policy| context.check_policy(session, policy, &head.headers))
    }
}

const MISSING_LAYER: &str =
    "`login.required()` has no LoginLayer around it: add `.layer(login)` after it";
const WRONG_LAYER: &str = "`login.required()` was created by another LoginLayer than those around it: add `.layer(login)` after it";

/// The service of a [`RequiredLayer`] and of a [`PrincipalLayer`](crate::extract::PrincipalLayer).
#[derive(Clone, Debug)]
pub struct Required<S> {
    inner: S,
    requirement: Arc<dyn SessionRequirement>,
}

impl<S> Required<S> {
    pub(crate) fn new(inner: S, requirement: Arc<dyn SessionRequirement>) -> Self {
        Self { inner, requirement }
    }
}

impl<S> Layer<S> for RequiredLayer {
    type Service = Required<S>;

    fn layer(&self, inner: S) -> Required<S> {
        Required::new(inner, Arc::new(self.clone()))
    }
}

impl<S, B, R> Service<Request<B>> for Required<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        match self.requirement.check(&mut head) {
            Ok(()) => ResponseFuture::inner(self.inner.call(Request::from_parts(head, body))),
            Err(response) => {
                // Releases the capacity that the inner service reserved in `poll_ready`.
                self.inner = self.inner.clone();
                ResponseFuture::own(response.map(R::from))
            }
        }
    }
}
