//! The service: our own routes are answered here, everything else learns who is signed in.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::cookies::Jar;
use super::csrf;
use super::future::{Afterwards, ResponseFuture};
use super::mark::Mark;
use super::routes;
use super::settings::Settings;
use crate::flow::Session;

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
    type Future = ResponseFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let settings = &self.settings;
        if let Some(route) = settings.routes.find(request.uri().path()) {
            let (parts, body) = request.into_parts();
            let answer = routes::answer(route, Arc::clone(settings), parts, body);
            self.release();
            return ResponseFuture::route(Box::pin(answer));
        }

        if settings.is_after_sign_out(request.uri().path())
            && let Some(answer) = routes::come_back(settings, request.uri(), request.headers())
        {
            self.release();
            return ResponseFuture::answer(answer);
        }

        let jar = Jar::read(request.headers(), &settings.sealer.names);
        let visit = settings.visit(&jar);
        let mut afterwards = Afterwards::new(Arc::clone(settings), visit.cookies);
        let session = visit.session.map(|record| {
            let renewed = settings.renew(record, &jar);
            afterwards.keep_alive(*renewed.record.id(), renewed.cookies);
            let expires_at = settings.expires_at(&renewed.record);
            settings.flow.session(renewed.record, expires_at)
        });
        // `L59`: in the session's name only from our own pages.
        if session.is_some() && !settings.admits(request.method(), request.headers()) {
            let answer = settings.refuse(request.headers(), &csrf::FOREIGN, None);
            self.release();
            return ResponseFuture::answer(answer);
        }

        let mark = Mark::new(Arc::clone(settings), request.uri());
        afterwards.watch(mark.clone());
        let extensions = request.extensions_mut();
        extensions.insert(mark);
        // A session of another layer around this one is not a session here.
        extensions.remove::<Session>();
        if let Some(session) = session {
            extensions.insert(session);
        }
        ResponseFuture::inner(self.inner.call(request), Some(afterwards))
    }
}

impl<S: Clone> Login<S> {
    /// Gives back what the inner service reserved in `poll_ready`: it is not called this time.
    fn release(&mut self) {
        self.inner = self.inner.clone();
    }
}
