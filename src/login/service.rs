//! The service: our own routes are answered here, everything else learns who is signed in.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::context::LoginContext;
use super::cookies::Jar;
use super::future::{PendingRequest, ResponseFinalizer, ResponseFuture, SettlingFuture};
use super::response::Answer;
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
    type Future = ResponseFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let settings = &self.settings;
        if let Some(route) = settings.route(request.uri().path()) {
            let (parts, body) = request.into_parts();
            let answer = routes::answer(route, Arc::clone(settings), parts, body);
            self.ready_inner();
            return ResponseFuture::route(Box::pin(answer));
        }
        if settings.is_after_sign_out(request.uri().path())
            && let Some(answer) = routes::come_back(settings, request.uri(), request.headers())
        {
            self.ready_inner();
            return ResponseFuture::answer(answer);
        }
        let jar = Jar::read(request.headers(), &settings.sealer.names);
        match settings.glance(&jar) {
            Resolved::Known(mut visit) => {
                let admitted =
                    visit.session.is_none() || settings.admits(request.method(), request.headers());
                if admitted {
                    let touch = |held| settings.keeper.touch_cached(held);
                    visit.session = visit.session.map(touch);
                }
                match enter(settings, visit, admitted, &mut request) {
                    Ok(afterwards) => ResponseFuture::inner(self.inner.call(request), afterwards),
                    Err(answer) => {
                        self.ready_inner();
                        ResponseFuture::answer(*answer)
                    }
                }
            }
            Resolved::Unknown(presented, names) => {
                let admitted = settings.admits(request.method(), request.headers());
                let keeper = Arc::clone(&settings.keeper);
                let opening = async move {
                    Ok(match keeper.open_presented(presented).await? {
                        OpenedSession::Session(held) if admitted => {
                            OpenedSession::Session(keeper.touch(held).await)
                        }
                        found => found,
                    })
                };
                let parked = PendingRequest {
                    settings: Arc::clone(settings),
                    inner: self.ready_inner(),
                    admitted,
                    names,
                    request,
                };
                ResponseFuture::opening(Box::pin(opening), parked)
            }
        }
    }
}

impl<S: Clone> Login<S> {
    /// The service that `poll_ready` has made ready, and with it whatever it reserved; another takes its
    /// place here. Where it is not called, dropping it gives that back.
    fn ready_inner(&mut self) -> S {
        let fresh = self.inner.clone();
        std::mem::replace(&mut self.inner, fresh)
    }
}

/// Puts into the request what those inside need to know, or says why it does not come through.
pub(super) fn enter<B>(
    settings: &Arc<Settings>,
    visit: SessionCookie,
    admitted: bool,
    request: &mut Request<B>,
) -> Result<ResponseFinalizer, Box<Answer>> {
    // `L59`: in the session's name only from our own pages. Refused, it was no use of the session either.
    if visit.session.is_some() && !admitted {
        let refused = settings.refuse_foreign(request.headers());
        return Err(Box::new(refused));
    }
    let keeper = &settings.keeper;
    let session = visit
        .session
        .map(|held| Session::new(Arc::clone(keeper), held));
    if let Some(session) = &session {
        session.refresh_proactively();
    }
    let pending_refreshes = session.as_ref().and_then(Session::pending_refresh);
    let pending_refreshes = pending_refreshes
        .map(|pending_refreshes| -> SettlingFuture { Box::pin(pending_refreshes) });
    let mark = LoginContext::new(Arc::clone(settings), request.uri());
    let extensions = request.extensions_mut();
    extensions.insert(mark.clone());
    // A session of another layer around this one is not a session here.
    extensions.remove::<Session>();
    if let Some(session) = &session {
        extensions.insert(session.clone());
    }
    Ok(ResponseFinalizer {
        settings: Arc::clone(settings),
        clearing: visit.cookies,
        session,
        pending_refreshes,
        shown: visit.names,
        mark,
    })
}
