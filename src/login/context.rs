//! What finds the login layer around it: [`RequiredLayer`], extractors and relays, by a request
//! extension.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HeaderMap;
use http::uri::PathAndQuery;
use http::{Method, Request, Response, Uri};
use tower_layer::Layer;
use tower_service::Service;

use super::navigation;
use super::response::{LayerResponse, misconfigured};
use super::settings::Settings;
#[cfg(feature = "relay")]
use crate::clock::SharedClock;
use crate::response_future::ResponseFuture;
use crate::session::Session;

/// The login layer around a service, in the extensions of every request.
#[derive(Clone, Debug)]
pub(crate) struct LoginContext(Arc<LoginContextInner>);

#[derive(Debug)]
struct LoginContextInner {
    settings: Arc<Settings>,
    /// The path and query as sent by the browser; nested routers may shorten the URI.
    original: Option<PathAndQuery>,
    depends_on_session: AtomicBool,
}

impl LoginContext {
    pub(super) fn new(settings: Arc<Settings>, uri: &Uri) -> Self {
        Self(Arc::new(LoginContextInner {
            settings,
            original: uri.path_and_query().cloned(),
            depends_on_session: AtomicBool::new(false),
        }))
    }

    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.0.settings
    }

    /// Records that the response depends on the session, so that no shared cache may store it.
    pub(crate) fn note_session_dependence(&self) {
        self.0.depends_on_session.store(true, Ordering::Relaxed);
    }

    pub(super) fn depends_on_session(&self) -> bool {
        self.0.depends_on_session.load(Ordering::Relaxed)
    }

    /// Returns the response to a request that needs a session and has none.
    pub(crate) fn login_required(&self, method: &Method, headers: &HeaderMap) -> LayerResponse {
        self.note_session_dependence();
        // Only a GET is a navigation, so users never return to the URL of another method.
        let original = self.0.original.as_ref().map(PathAndQuery::as_str);
        let settings = &self.0.settings;
        let kind = navigation::request_kind(method, headers, &settings.origin);
        settings.login_required(kind, headers, original)
    }
}

/// What a relay inside the layer needs of it.
#[cfg(feature = "relay")]
impl LoginContext {
    /// Returns whether a script of this application sent the request. A WebSocket handshake needs a
    /// matching origin only.
    pub(crate) fn is_from_own_script(&self, method: &Method, headers: &HeaderMap) -> bool {
        let check = self.0.settings.csrf_check();
        check.is_from_own_script(method, headers)
    }

    /// Returns whether the request is a navigation from a page of this application.
    pub(crate) fn is_own_navigation(&self, method: &Method, headers: &HeaderMap) -> bool {
        let check = self.0.settings.csrf_check();
        check.is_navigation(method, headers) && check.is_same_origin(headers)
    }

    /// Returns the response to a request from another site.
    pub(crate) fn reject_cross_site(&self, headers: &HeaderMap) -> LayerResponse {
        self.0.settings.reject_cross_site(headers)
    }

    /// Returns the response to a script without a session: 401, never a redirect.
    pub(crate) fn login_required_for_script(&self, headers: &HeaderMap) -> LayerResponse {
        self.note_session_dependence();
        let settings = &self.0.settings;
        settings.login_required(navigation::RequestKind::Program, headers, None)
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        self.0.settings.flow().clock()
    }
}

/// Requires a session; created by [`LoginLayer::required`](super::LoginLayer::required).
///
/// The layer checks the session only and never the path, so no alternative spelling of a path
/// bypasses it. A request without a session is answered as [`LoginLayer`](super::LoginLayer)
/// describes: 303 to the login route for a navigation, 401 for all others. Without the login layer
/// around it, every request gets 500.
#[derive(Clone, Copy, Debug)]
pub struct RequiredLayer {
    layer: u64,
}

/// The service of a [`RequiredLayer`].
#[derive(Clone, Copy, Debug)]
pub struct Required<S> {
    inner: S,
    layer: u64,
}

impl RequiredLayer {
    pub(super) fn new(layer: u64) -> Self {
        Self { layer }
    }
}

impl<S> Layer<S> for RequiredLayer {
    type Service = Required<S>;

    fn layer(&self, inner: S) -> Required<S> {
        Required {
            inner,
            layer: self.layer,
        }
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
        match self.rejection(&request) {
            None => ResponseFuture::inner(self.inner.call(request)),
            Some(response) => {
                // Releases the capacity that the inner service reserved in `poll_ready`.
                self.inner = self.inner.clone();
                ResponseFuture::own(response.map(R::from))
            }
        }
    }
}

impl<S> Required<S> {
    fn rejection<B>(&self, request: &Request<B>) -> Option<LayerResponse> {
        let extensions = request.extensions();
        match extensions.get::<LoginContext>() {
            Some(context) if context.settings().layer == self.layer => {
                context.note_session_dependence();
                let reject = || context.login_required(request.method(), request.headers());
                extensions.get::<Session>().is_none().then(reject)
            }
            Some(_) => Some(misconfigured(WRONG_LAYER)),
            None => Some(misconfigured(MISSING_LAYER)),
        }
    }
}

const MISSING_LAYER: &str =
    "`login.required()` has no LoginLayer around it: add `.layer(login)` after it";
const WRONG_LAYER: &str =
    "`login.required()` was created by another LoginLayer than the one around it";
