//! What finds the login layer around it: [`RequiredLayer`], extractors and relays, by a request
//! extension.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::HeaderMap;
use http::uri::PathAndQuery;
use http::{Extensions, Method, Request, Response, Uri};
use tower_layer::Layer;
use tower_service::Service;

use super::navigation;
use super::response::{LayerResponse, misconfigured};
use super::settings::Settings;
#[cfg(feature = "relay")]
use crate::clock::SharedClock;
use crate::response_future::ResponseFuture;
use crate::session::Session;

/// The login layer whose session a request has, in the extensions of every request: the innermost
/// one, or that of the innermost `required()`.
#[derive(Clone, Debug)]
pub(crate) struct LoginContext {
    layer: Arc<LayerContext>,
    /// The other login layers around the service.
    others: Vec<OtherLayer>,
}

#[derive(Debug)]
struct LayerContext {
    settings: Arc<Settings>,
    /// The path and query as sent by the browser; nested routers may shorten the URI.
    original: Option<PathAndQuery>,
    depends_on_session: AtomicBool,
}

/// A login layer whose session is not in the extensions of the request.
#[derive(Clone, Debug)]
struct OtherLayer {
    layer: Arc<LayerContext>,
    session: Option<Session>,
}

impl LoginContext {
    /// Puts the layer of `settings` and its session into the extensions of a request. Returns why
    /// that is impossible, for the developer, if an outer layer has the same routes or cookies.
    pub(super) fn insert(
        settings: Arc<Settings>,
        session: Option<Session>,
        uri: &Uri,
        extensions: &mut Extensions,
    ) -> Result<Self, &'static str> {
        let mut others = Self::take(extensions);
        others.retain(|other| other.layer.settings.layer != settings.layer);
        let conflicts = others
            .iter()
            .filter_map(|other| other.layer.settings.conflict(&settings));
        if let Some(conflict) = conflicts.into_iter().next() {
            return Err(conflict);
        }
        let context = Self {
            layer: Arc::new(LayerContext {
                settings,
                original: uri.path_and_query().cloned(),
                depends_on_session: AtomicBool::new(false),
            }),
            others,
        };
        extensions.insert(context.clone());
        if let Some(session) = session {
            extensions.insert(session);
        }
        Ok(context)
    }

    /// Makes `layer` the one whose session the request has. Returns whether it is around the
    /// service.
    fn select(layer: u64, extensions: &mut Extensions) -> bool {
        let is_selected = |context: &Self| context.settings().layer == layer;
        if extensions.get().is_some_and(is_selected) {
            return true;
        }
        let mut others = Self::take(extensions);
        let found = others
            .iter()
            .position(|other| other.layer.settings.layer == layer);
        // The last one is the one that was selected before.
        let Some(selected) = found.map(|at| others.remove(at)).or_else(|| others.pop()) else {
            return false;
        };
        let OtherLayer { layer, session } = selected;
        extensions.insert(Self { layer, others });
        if let Some(session) = session {
            extensions.insert(session);
        }
        found.is_some()
    }

    /// Removes the layers and the session from the extensions. The session is read from there, so
    /// that a service in between can remove it.
    fn take(extensions: &mut Extensions) -> Vec<OtherLayer> {
        let session = extensions.remove::<Session>();
        let Some(Self { layer, mut others }) = extensions.remove::<Self>() else {
            return Vec::new();
        };
        others.push(OtherLayer { layer, session });
        others
    }

    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.layer.settings
    }

    /// Records that the response depends on the session, so that no shared cache may store it.
    pub(crate) fn note_session_dependence(&self) {
        self.layer.depends_on_session.store(true, Ordering::Relaxed);
    }

    pub(super) fn depends_on_session(&self) -> bool {
        self.layer.depends_on_session.load(Ordering::Relaxed)
    }

    /// Returns the response to a request that needs a session and has none.
    pub(crate) fn login_required(&self, method: &Method, headers: &HeaderMap) -> LayerResponse {
        self.note_session_dependence();
        // Only a GET is a navigation, so users never return to the URL of another method.
        let original = self.layer.original.as_ref().map(PathAndQuery::as_str);
        let settings = &self.layer.settings;
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
        let check = self.layer.settings.csrf_check();
        check.is_from_own_script(method, headers)
    }

    /// Returns whether the request is a navigation from a page of this application.
    pub(crate) fn is_own_navigation(&self, method: &Method, headers: &HeaderMap) -> bool {
        let check = self.layer.settings.csrf_check();
        check.is_navigation(method, headers) && check.is_same_origin(headers)
    }

    /// Returns the response to a request from another site.
    pub(crate) fn reject_cross_site(&self, headers: &HeaderMap) -> LayerResponse {
        self.layer.settings.reject_cross_site(headers)
    }

    /// Returns the response to a script without a session: 401, never a redirect.
    pub(crate) fn login_required_for_script(&self, headers: &HeaderMap) -> LayerResponse {
        self.note_session_dependence();
        let settings = &self.layer.settings;
        settings.login_required(navigation::RequestKind::Program, headers, None)
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        self.layer.settings.flow().clock()
    }
}

/// Requires a session; created by [`LoginLayer::required`](super::LoginLayer::required).
///
/// The layer checks the session only and never the path, so no alternative spelling of a path
/// bypasses it. A request without a session is answered as [`LoginLayer`](super::LoginLayer)
/// describes: 303 to the login route for a navigation, 401 for all others. Without the login layer
/// around it, every request gets 500.
///
/// Inside two login layers, this one may be of either: the handler then gets the
/// [`Session`](crate::Session) of that layer. See [`login`](super#two-layers-in-one-application).
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

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        match self.rejection(&mut request) {
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
    fn rejection<B>(&self, request: &mut Request<B>) -> Option<LayerResponse> {
        let is_inside = LoginContext::select(self.layer, request.extensions_mut());
        let extensions = request.extensions();
        let Some(context) = extensions.get::<LoginContext>() else {
            return Some(misconfigured(MISSING_LAYER));
        };
        if !is_inside {
            return Some(misconfigured(WRONG_LAYER));
        }
        context.note_session_dependence();
        let reject = || context.login_required(request.method(), request.headers());
        extensions.get::<Session>().is_none().then(reject)
    }
}

const MISSING_LAYER: &str =
    "`login.required()` has no LoginLayer around it: add `.layer(login)` after it";
const WRONG_LAYER: &str = "`login.required()` was created by another LoginLayer than those around it: add `.layer(login)` after it";
