//! The service: handles the routes of the layer, and adds the session to all other requests.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::context::LoginContext;
use super::jar::Jar;
use super::future::{LoginFuture, PendingRefreshes, PendingRequest, ResponseFinalizer};
use super::response::LayerResponse;
use super::routes;
use super::session_cookie::{Resolved, SessionCookie};
use super::settings::Settings;
use crate::session::{OpenedSession, Session};

/// The service of a [`LoginLayer`](super::LoginLayer).
#[derive(Clone, Debug)]
pub struct Login<S> {
    inner: S,
    settings: Arc<Settings>,
}

impl<S> Login<S> {
    pub(super) fn new(inner: S, settings: Arc<Settings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, B, R> Service<Request<B>> for Login<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    B: Body + Send + 'static,
    B::Data: Send,
    R: From<Bytes>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = LoginFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let settings = &self.settings;
        if let Some(route) = settings.route(request.uri().path()) {
            let (parts, body) = request.into_parts();
            let response = routes::handle(route, Arc::clone(settings), parts, body);
            self.take_inner();
            return LoginFuture::route(Box::pin(response));
        }
        if settings.post_logout_path.as_deref() == Some(request.uri().path())
            && let Some(response) =
                routes::return_from_server(settings, request.uri(), request.headers())
        {
            self.take_inner();
            return LoginFuture::ready(response);
        }
        let jar = Jar::read(request.headers(), &settings.cookies);
        match settings.resolve_cached(&jar) {
            Resolved::Cached(mut cookie) => {
                let is_allowed = cookie.session.is_none()
                    || settings.allows(request.method(), request.headers());
                if is_allowed {
                    let touch = |loaded| settings.manager.touch_cached(loaded);
                    cookie.session = cookie.session.map(touch);
                }
                match prepare(settings, cookie, is_allowed, &mut request) {
                    Ok(finalizer) => LoginFuture::inner(self.inner.call(request), finalizer),
                    Err(response) => {
                        self.take_inner();
                        LoginFuture::ready(*response)
                    }
                }
            }
            Resolved::NeedsStore(presented, names) => {
                let is_allowed = settings.allows(request.method(), request.headers());
                let manager = Arc::clone(&settings.manager);
                let opening = async move {
                    Ok(match manager.open_presented(presented).await? {
                        OpenedSession::Session(loaded) if is_allowed => {
                            OpenedSession::Session(manager.touch(loaded).await)
                        }
                        other => other,
                    })
                };
                let pending = PendingRequest {
                    settings: Arc::clone(settings),
                    inner: self.take_inner(),
                    is_allowed,
                    names,
                    request,
                };
                LoginFuture::opening(Box::pin(opening), pending)
            }
        }
    }
}

impl<S: Clone> Login<S> {
    /// Takes the inner service that `poll_ready` has made ready, with the capacity it reserved, and
    /// leaves a clone. Dropping the returned service releases the capacity.
    fn take_inner(&mut self) -> S {
        let fresh = self.inner.clone();
        std::mem::replace(&mut self.inner, fresh)
    }
}

/// Adds the session to the request, or returns the response that rejects the request.
pub(super) fn prepare<B>(
    settings: &Arc<Settings>,
    cookie: SessionCookie,
    is_allowed: bool,
    request: &mut Request<B>,
) -> Result<ResponseFinalizer, Box<LayerResponse>> {
    // A request from another site is rejected before it counts as use of the session.
    if cookie.session.is_some() && !is_allowed {
        let refused = settings.reject_cross_site(request.headers());
        return Err(Box::new(refused));
    }
    let manager = &settings.manager;
    let session = cookie
        .session
        .map(|loaded| Session::new(Arc::clone(manager), loaded));
    if let Some(session) = &session {
        session.refresh_proactively();
    }
    let pending_refreshes = session.as_ref().and_then(Session::pending_refresh);
    let pending_refreshes = pending_refreshes
        .map(|pending_refreshes| -> PendingRefreshes { Box::pin(pending_refreshes) });
    let context = LoginContext::new(Arc::clone(settings), request.uri());
    let extensions = request.extensions_mut();
    extensions.insert(context.clone());
    // A session of an outer login layer does not count here.
    extensions.remove::<Session>();
    if let Some(session) = &session {
        extensions.insert(session.clone());
    }
    Ok(ResponseFinalizer {
        settings: Arc::clone(settings),
        clear_cookies: cookie.set_cookies,
        session,
        pending_refreshes,
        presented_names: cookie.names,
        context,
    })
}
