//! The response future: a session is looked up, an inner response gets its cookies, our own answers pass.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderMap};
use http::{HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use tower_service::Service;

use super::context::LoginContext;
use super::cookies::Jar;
use super::presented::SessionNames;
use super::refusal::Refusal;
use super::response::{self, Answer};
use super::service::enter;
use super::settings::Settings;
use crate::protocol::cache;
use crate::session::{OpenedSession, Session};
use crate::store::StoreError;

pin_project! {
    /// The response future of [`Login`](super::Login).
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        state: State<S, B, S::Future, R>,
    }
}

pin_project! {
    #[project = Projected]
    enum State<S, B, F, R> {
        Opening { opening: OpeningFuture, parked: Option<Box<PendingRequest<S, B>>> },
        Inner { #[pin] future: F, afterwards: Option<ResponseFinalizer> },
        AwaitingRefresh { pending_refreshes: SettlingFuture, leaving: Option<(Response<R>, ResponseFinalizer)> },
        Route { future: RouteFuture },
        Answer { answer: Option<Response<R>> },
    }
}

/// A request that waits for its session, and the service that is ready for it.
pub(super) struct PendingRequest<S, B> {
    pub(super) settings: Arc<Settings>,
    pub(super) inner: S,
    /// Whether it may go on in the name of a session.
    pub(super) admitted: bool,
    /// The cookies that its session is in.
    pub(super) names: SessionNames,
    pub(super) request: Request<B>,
}

type RouteFuture = Pin<Box<dyn Future<Output = Answer> + Send>>;
pub(super) type SettlingFuture = Pin<Box<dyn Future<Output = ()> + Send>>;
type OpeningFuture = Pin<Box<dyn Future<Output = Result<OpenedSession, StoreError>> + Send>>;

/// What is done to a response on its way out.
pub(super) struct ResponseFinalizer {
    pub(super) settings: Arc<Settings>,
    /// What clears cookies that are nobody's.
    pub(super) clearing: Vec<HeaderValue>,
    pub(super) session: Option<Session>,
    /// What the response waits for before it takes the session along.
    pub(super) pending_refreshes: Option<SettlingFuture>,
    /// The cookies that the browser sent the session in.
    pub(super) shown: SessionNames,
    pub(super) mark: LoginContext,
}

impl<S, B, R> ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    pub(super) fn opening(opening: OpeningFuture, parked: PendingRequest<S, B>) -> Self {
        Self {
            state: State::Opening {
                opening,
                parked: Some(Box::new(parked)),
            },
        }
    }

    pub(super) fn inner(future: S::Future, afterwards: ResponseFinalizer) -> Self {
        let afterwards = Some(afterwards);
        Self {
            state: State::Inner { future, afterwards },
        }
    }

    pub(super) fn route(future: RouteFuture) -> Self {
        Self {
            state: State::Route { future },
        }
    }

    pub(super) fn answer(answer: Answer) -> Self
    where
        R: From<Bytes>,
    {
        let answer = Some(answer.map(R::from));
        Self {
            state: State::Answer { answer },
        }
    }
}

impl<S, B, R> Future for ResponseFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    type Output = Result<Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                Projected::Opening { opening, parked } => {
                    let opened = ready!(opening.as_mut().poll(cx));
                    match parked.take() {
                        Some(parked) => parked.go_on(opened),
                        None => return Poll::Pending,
                    }
                }
                Projected::Inner { future, afterwards } => {
                    let response = ready!(future.poll(cx))?;
                    match afterwards.take() {
                        None => return Poll::Ready(Ok(response)),
                        Some(mut afterwards) => match afterwards.pending_refreshes.take() {
                            None => return Poll::Ready(Ok(afterwards.apply(response))),
                            Some(pending_refreshes) => State::AwaitingRefresh {
                                pending_refreshes,
                                leaving: Some((response, afterwards)),
                            },
                        },
                    }
                }
                Projected::AwaitingRefresh {
                    pending_refreshes,
                    leaving,
                } => {
                    ready!(pending_refreshes.as_mut().poll(cx));
                    return match leaving.take() {
                        Some((response, afterwards)) => Poll::Ready(Ok(afterwards.apply(response))),
                        None => Poll::Pending,
                    };
                }
                Projected::Route { future } => {
                    let answer = ready!(future.as_mut().poll(cx));
                    return Poll::Ready(Ok(answer.map(R::from)));
                }
                // Polled again after its end, it stays pending, as futures may.
                Projected::Answer { answer } => {
                    return answer
                        .take()
                        .map_or(Poll::Pending, |answer| Poll::Ready(Ok(answer)));
                }
            };
            state.set(next);
        }
    }
}

impl<S, B, R> PendingRequest<S, B>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: From<Bytes>,
{
    fn go_on(mut self, opened: Result<OpenedSession, StoreError>) -> State<S, B, S::Future, R> {
        let settings = &self.settings;
        let headers = self.request.headers();
        let entered = match opened {
            Ok(opened) => {
                let jar = Jar::read(headers, &settings.sealer.names);
                let visit = settings.visited(opened, self.names, &jar);
                enter(settings, visit, self.admitted, &mut self.request)
            }
            // `L48`: who cannot be asked after is not let in, and not sent away either.
            Err(error) => Err(Box::new(settings.refuse(
                headers,
                &Refusal::from(&error),
                None,
            ))),
        };
        match entered {
            Ok(afterwards) => State::Inner {
                future: self.inner.call(self.request),
                afterwards: Some(afterwards),
            },
            Err(answer) => State::Answer {
                answer: Some(answer.map(R::from)),
            },
        }
    }
}

impl<S, B, R> std::fmt::Debug for ResponseFuture<S, B, R>
where
    S: Service<Request<B>>,
{
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl ResponseFinalizer {
    fn apply<R>(self, mut response: Response<R>) -> Response<R> {
        self.write(response.headers_mut());
        response
    }

    fn write(self, headers: &mut HeaderMap) {
        let was_read = self.session.as_ref().is_some_and(Session::was_read);
        let depends_on_session = was_read || self.mark.looked();
        let is_signed_in = self.session.is_some();
        let mut cookies = self.clearing;
        if let Some(session) = self.session {
            let renewed = self
                .settings
                .renewed_cookies(&session.current(), self.shown);
            cookies.extend(renewed);
        }
        if !cookies.is_empty() {
            response::forbid_storing(headers);
            response::add_cookies(headers, cookies);
        } else if depends_on_session {
            // Some shared caches do not heed `Vary`: what is one person's is not for them, whatever a layer
            // further in says of all pages.
            if !cache::is_private(headers) {
                response::forbid_storing(headers);
            }
            response::forbid_sharing(headers);
        } else if is_signed_in && !headers.contains_key(CACHE_CONTROL) {
            // A service may have seen that there is a session without reading it. What says itself that it may be
            // shared, such as a static file, stays so.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
            response::vary_by_cookie(headers);
        }
    }
}
