//! The service: handles the routes of the layer, and adds the session to all other requests.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::future::{LoginFuture, PendingRequest, admit};
use super::routes;
use super::settings::Settings;
use crate::token::original_uri;
use crate::verification::Verification;

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
        let original = original_uri(request.uri(), request.extensions());
        let (path, _) = settings.paths.requested(original, request.uri());
        let path = path.split('?').next().unwrap_or_default();
        if let Some(route) = settings.route(path) {
            settings.login_route.note_reachable();
            let (parts, body) = request.into_parts();
            let response = routes::handle(route, Arc::clone(settings), parts, body);
            self.take_inner();
            return LoginFuture::route(response);
        }
        if settings.is_post_logout_path(path)
            && let Some(response) =
                routes::return_from_server(settings, request.uri(), request.headers())
        {
            self.take_inner();
            return LoginFuture::own(response);
        }
        // A request from another site is rejected before it counts as use of the session.
        let is_allowed = settings.allows(request.method(), request.headers());
        match settings.open_cookies(request.headers(), is_allowed) {
            Verification::Ready(opened) => {
                match admit(settings, opened, is_allowed, &mut request) {
                    Ok(finalizer) => LoginFuture::inner(self.inner.call(request), finalizer),
                    Err(response) => {
                        self.take_inner();
                        LoginFuture::own(*response)
                    }
                }
            }
            Verification::Pending(opening) => {
                let pending = PendingRequest {
                    settings: Arc::clone(settings),
                    inner: self.take_inner(),
                    is_allowed,
                    request,
                };
                LoginFuture::opening(opening, pending)
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
