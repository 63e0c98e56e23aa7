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
use super::response::LayerResponse;
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
    /// Whether the user authenticates again if that meets them.
    steps_up: bool,
}

impl RequiredLayer {
    pub(super) fn new(layer: u64) -> Self {
        Self {
            layer,
            policies: Vec::new(),
            steps_up: false,
        }
    }

    /// Also requires that the session meets `policy`: roles and claims of the ID token, or a
    /// condition on the session and its application data. [`Policy`](Policy#sessions) has the rules.
    /// Of several policies all must be met.
    ///
    /// A session that does not meet it gets 403, as an error page or, for programs, as a problem
    /// document with the code `forbidden`, and never a redirect to the login: the user is signed in.
    /// That is also the response if the authentication is too old or too weak (`and_acr`,
    /// `and_max_age`), with the code `authentication_too_weak`; to ask the user to authenticate again,
    /// add [`with_step_up`](Self::with_step_up). The log has the part that is not met (`session_forbidden`).
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

    /// Asks the user to authenticate again if the session does not meet the `acr` or the maximum age of a
    /// policy ([RFC 9470 §4](https://www.rfc-editor.org/rfc/rfc9470#section-4)), instead of 403.
    ///
    /// A navigation is redirected to a login with the `acr_values` and the `max_age` of all policies, and
    /// returns to the page. Forms get 401 with a link to it, scripts 401 with `login_url` in a problem
    /// document with the code `authentication_too_weak`, htmx also `HX-Redirect`. A session that lacks a
    /// role still gets 403 first.
    ///
    /// The session is replaced only if the same user completes the login, with an ID token whose `acr` and
    /// `auth_time` fit. Otherwise the user gets an error page, and the session stays as it was. There is
    /// one attempt: a page whose policy is not met within 30 seconds after such a login gets 403.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_oauth::bearer::Policy;
    /// # use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer};
    ///
    /// # let server = AuthorizationServer::new("https://id.example.com")?;
    /// # let (client, key) = (Client::public("shop"), CookieKey::generate()?);
    /// # let login = LoginLayer::new(&server, client, "https://shop.example.com/auth/callback", key)?;
    /// let strong = Policy::acr(["phrh", "phr"])?.and_max_age(Duration::from_secs(300))?;
    /// let payments = login.required().with_policy(strong)?.with_step_up();
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_step_up(mut self) -> Self {
        self.steps_up = true;
        self
    }
}

/// What a layer inside of the login layer requires of a request.
pub(crate) trait SessionRequirement: fmt::Debug + Send + Sync {
    /// Returns the response to a request that is rejected.
    fn check(&self, head: &mut Parts) -> Result<(), Box<LayerResponse>>;
}

impl SessionRequirement for RequiredLayer {
    fn check(&self, head: &mut Parts) -> Result<(), Box<LayerResponse>> {
        let messages = [MISSING_LAYER, WRONG_LAYER];
        let context = LoginContext::of_layer(self.layer, &mut head.extensions, messages)?;
        let Some(session) = head.extensions.get::<Session>() else {
            let response = context.login_required(&head.method, &head.headers);
            return Err(Box::new(response));
        };
        if self.steps_up {
            let (method, headers) = (&head.method, &head.headers);
            return context.check_or_step_up(session, &self.policies, method, headers);
        }
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
