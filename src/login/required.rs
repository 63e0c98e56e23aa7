//! The layer for routes that need a session.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::context::LoginContext;
use super::response::{LayerResponse, misconfigured};
use crate::response_future::ResponseFuture;
use crate::session::Session;

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
