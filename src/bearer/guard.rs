//! [`Guard`]: the service of the layers that check a request before the inner service is called.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_service::Service;

use crate::response_future::ResponseFuture;

/// What a layer requires of a request.
pub(super) trait Requirement: fmt::Debug + Send + Sync {
    /// Checks a request, and changes its header fields if the layer does so. Returns the response to a request that is
    /// rejected.
    fn check(&self, head: &mut Parts) -> Result<(), Box<Response<()>>>;
}

/// The service of [`ScopeLayer`](super::ScopeLayer), [`MethodScopesLayer`](super::MethodScopesLayer),
/// [`ClaimHeadersLayer`](super::ClaimHeadersLayer) and [`RejectAmbiguousPathsLayer`](super::RejectAmbiguousPathsLayer).
#[derive(Clone, Debug)]
pub struct Guard<S> {
    inner: S,
    requirement: Arc<dyn Requirement>,
}

impl<S> Guard<S> {
    pub(super) fn new(inner: S, requirement: Arc<dyn Requirement>) -> Self {
        Self { inner, requirement }
    }
}

impl<S, B, R> Service<Request<B>> for Guard<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
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
            Err(response) => ResponseFuture::own(response.map(|()| R::default())),
        }
    }
}
