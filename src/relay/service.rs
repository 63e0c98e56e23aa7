//! The relay service: checks a request, forwards it, and returns the response of the upstream.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use tower_service::Service;

use super::Relay;
use super::body::{RequestBody, RequestProgress, ResponseBody};
use super::kept_body::OutgoingBody;
use super::location::RelayedUrl;
use super::refusal::{self, RelayResponse};
use super::request_fields;
use super::settings::Settings;
use super::step_up::RelayedStepUp;
use super::target::TargetError;
use super::websocket::{self, WebSocketHandshake};
use crate::bearer::StrippedBody;
use crate::clock::{SharedClock, within};
use crate::flow::RejectedProof;
use crate::login::{LoginContext, misconfigured};
use crate::protocol::request_target::find_ambiguity;
use crate::session::Session;
use crate::token::original_uri;

/// The response future of [`Relay`].
#[must_use = "futures do nothing unless polled"]
pub struct RelayFuture<R>(Boxed<R>);

type Boxed<R> = Pin<Box<dyn Future<Output = Response<ResponseBody<R>>> + Send>>;

impl<T, B, R> Service<Request<B>> for Relay<T>
where
    T: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone + Send + 'static,
    T::Future: Send,
    T::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body<Data = Bytes> + Send + 'static,
    R: Send + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = Infallible;
    type Future = RelayFuture<R>;

    /// Always ready. The transport is polled for permitted requests only.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let settings = Arc::clone(&self.settings);
        let transport = self.transport.clone();
        RelayFuture(Box::pin(async move {
            let result = settings.relay(transport, request).await;
            result.unwrap_or_else(|response| response.map(ResponseBody::own))
        }))
    }
}

impl Settings {
    async fn relay<T, B, R>(
        &self,
        transport: T,
        request: Request<B>,
    ) -> Result<Response<ResponseBody<R>>, RelayResponse>
    where
        T: Service<Request<RequestBody<B>>, Response = Response<R>> + Clone,
        T::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body<Data = Bytes>,
    {
        let (mut parts, body) = request.into_parts();
        let context = parts.extensions.remove::<LoginContext>();
        let context = context.ok_or_else(|| misconfigured(NO_LAYER))?;
        let is_navigation =
            self.downloads && context.is_own_navigation(&parts.method, &parts.headers);
        let session = self
            .authorize(&context, &parts, is_navigation)
            .map_err(|response| *response)?;
        let uri = self.find_target(&parts).map_err(|response| *response)?;
        let step_up = self
            .steps_up
            .then(|| RelayedStepUp::new(&context, &session, &parts.headers, is_navigation));
        let outer = context.outer_path().unwrap_or_default();
        let outer = outer.split('?').next().unwrap_or_default();
        let relayed = self.target.relayed_url(&uri, outer, parts.uri.path());
        let handshake = WebSocketHandshake::take(&mut parts).map_err(refusal::invalid_handshake)?;
        let token = session.valid_token(self.resource.as_deref()).await;
        let token =
            token.map_err(|error| refusal::token_unavailable(&error, &context, &parts.headers))?;

        let is_bound = token.proof_key().is_some();
        let body = StrippedBody::new(body, self.fields.request_trailers());
        let mut body = match is_bound {
            true => OutgoingBody::keep(body, context.clock(), self.timeout).await?,
            false => OutgoingBody::Streamed(body),
        };
        let mut is_repeated = false;
        let response = loop {
            let credentials = session.credentials(&token, &parts.method, &uri);
            let credentials = credentials
                .map_err(|error| refusal::token_unavailable(&error, &context, &parts.headers))?;
            let progress = RequestProgress::default();
            let (attempt, again) = RequestBody::new(body, progress.clone());
            let mut upstream_request = Request::new(attempt);
            *upstream_request.method_mut() = parts.method.clone();
            *upstream_request.uri_mut() = uri.clone();
            *upstream_request.version_mut() = Version::HTTP_11;
            // Extensions are dropped: the session and other data of outer layers are not for the
            // transport.
            let fields = upstream_request.headers_mut();
            *fields = match again {
                Some(_) => parts.headers.clone(),
                None => std::mem::take(&mut parts.headers),
            };
            self.fields
                .rewrite(fields, credentials, handshake.is_some());
            let call = send(transport.clone(), upstream_request);
            let response = self.in_time(call, &progress, context.clock()).await?;
            let rejected = match is_bound {
                true => session.rejected_proof(&uri, response.status(), response.headers()),
                false => None,
            };
            match (rejected, again) {
                (None, _) => break response,
                (Some(RejectedProof::NewNonce), Some(again)) if !is_repeated => {
                    (body, is_repeated) = (again, true);
                }
                (Some(RejectedProof::NewNonce), None) => return Err(refusal::send_again()),
                (Some(rejected), _) => return Err(refusal::proof_rejected(rejected)),
            }
        };
        let mut response = self
            .forward_response(response, handshake, step_up, context.clock())
            .map_err(|response| *response)?;
        RelayedUrl::rewrite(relayed.as_ref(), response.headers_mut())
            .map_err(|reason| refusal::foreign_location(&reason))?;
        Ok(response)
    }

    /// Waits for the response head of the upstream. An upload may take longer as long as it makes progress.
    async fn in_time<R, E: Into<Box<dyn Error + Send + Sync>>>(
        &self,
        call: impl Future<Output = Result<Response<R>, E>>,
        progress: &RequestProgress,
        clock: &SharedClock,
    ) -> Result<Response<R>, RelayResponse> {
        let mut call = pin!(call);
        loop {
            let before = progress.count();
            if let Some(response) = within(&**clock, self.timeout, call.as_mut()).await {
                return response.map_err(|error| refusal::unreachable(&*error.into()));
            }
            if progress.count() == before {
                return Err(refusal::timed_out());
            }
        }
    }

    /// Returns the upstream URI. A router that removes a prefix may remove a second slash with it,
    /// so the original path is checked too.
    fn find_target(&self, parts: &Parts) -> Result<Uri, Box<RelayResponse>> {
        let original = original_uri(&parts.uri, &parts.extensions).path();
        let target = self.target.find(&parts.uri);
        let target = target.and_then(|uri| match find_ambiguity(original) {
            Some(ambiguity) => Err(TargetError::Ambiguous(ambiguity)),
            None => Ok(uri),
        });
        target.map_err(|reason| Box::new(refusal::invalid_target(reason, original)))
    }

    /// Returns the session if the request may be relayed. `is_navigation`: the user followed a link to a download.
    fn authorize(
        &self,
        context: &LoginContext,
        parts: &Parts,
        is_navigation: bool,
    ) -> Result<Session, Box<RelayResponse>> {
        let (method, headers) = (&parts.method, &parts.headers);
        context.note_session_dependence();
        let Some(session) = parts.extensions.get::<Session>() else {
            return Err(Box::new(match is_navigation {
                true => context.login_required_for_download(method, headers),
                false => context.login_required_for_script(headers),
            }));
        };
        if request_fields::requests_executable(headers) {
            return Err(Box::new(refusal::executable_destination()));
        }
        let is_allowed = !self.requires_csrf_header
            || context.is_from_own_script(method, headers)
            || is_navigation;
        if !is_allowed {
            return Err(Box::new(context.reject_cross_site(headers)));
        }
        if !self.methods.allow(method) {
            let allowed = self.methods.list();
            return Err(Box::new(refusal::method_not_allowed(allowed)));
        }
        Ok(session.clone())
    }

    /// Turns the upstream's response into the response for the browser.
    fn forward_response<R>(
        &self,
        mut response: Response<R>,
        handshake: Option<WebSocketHandshake>,
        step_up: Option<RelayedStepUp<'_>>,
        clock: &SharedClock,
    ) -> Result<Response<ResponseBody<R>>, Box<RelayResponse>> {
        if let Some(response) = step_up.and_then(|step_up| step_up.respond_to(&response)) {
            return Err(Box::new(response));
        }
        let bad = |reason| Box::new(refusal::bad_gateway(reason));
        let status = response.status();
        let fields = &self.response_fields;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            let handshake = handshake
                .ok_or_else(|| bad("the upstream switched protocols without a handshake"))?;
            let connected = handshake.connect(&mut response, Arc::clone(clock));
            connected.map_err(bad)?;
            fields.rewrite(status, response.headers_mut());
            websocket::add_upgrade(response.headers_mut());
            let mut switching = Response::new(ResponseBody::own(Bytes::new()));
            *switching.status_mut() = status;
            *switching.headers_mut() = std::mem::take(response.headers_mut());
            return Ok(switching);
        }
        // RFC 9110 §15.5.8: a proxy on the way to the upstream requires credentials of this
        // application, not of the browser.
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Err(bad("a proxy requires credentials"));
        }
        fields.rewrite(status, response.headers_mut());
        response.extensions_mut().clear();
        *response.version_mut() = Version::HTTP_11;
        Ok(response.map(|body| ResponseBody::upstream(body, fields)))
    }
}

async fn send<T: Service<R>, R>(mut transport: T, request: R) -> Result<T::Response, T::Error> {
    poll_fn(|cx| transport.poll_ready(cx)).await?;
    transport.call(request).await
}

impl<R> Future for RelayFuture<R> {
    type Output = Result<Response<ResponseBody<R>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl<R> fmt::Debug for RelayFuture<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayFuture").finish_non_exhaustive()
    }
}

const NO_LAYER: &str = "a Relay has no LoginLayer around it: add `.layer(login)` after it";
