//! Reads a form within its limits, and finds the token in it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use http_body::Body;

use super::Settings;
use crate::clock::Sleep;
use crate::protocol::form;

/// A form that is being read, and the request that waits for it.
pub(super) struct Reading<S, B> {
    // Bodies need not be `Unpin`.
    pub(super) body: Pin<Box<B>>,
    pub(super) read: Vec<u8>,
    pub(super) settings: Settings,
    /// Runs from the first time that the body is waited for.
    pub(super) timer: Option<Sleep>,
    pub(super) waiting: Option<(S, http::request::Parts)>,
}

impl<S, B: Body> Reading<S, B> {
    /// Reads to the end, within the time; the status says why not.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StatusCode>> {
        if let Poll::Ready(end) = self.poll_body(cx) {
            return Poll::Ready(end);
        }
        let Settings {
            clock,
            read_timeout,
            ..
        } = &self.settings;
        let timer = self.timer.get_or_insert_with(|| clock.sleep(*read_timeout));
        let ended = timer.as_mut().poll(cx);
        ended.map(|()| Err(StatusCode::REQUEST_TIMEOUT))
    }

    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StatusCode>> {
        while let Some(frame) = ready!(self.body.as_mut().poll_frame(cx)) {
            let Ok(frame) = frame else {
                return Poll::Ready(Err(StatusCode::BAD_REQUEST));
            };
            let mut data = match frame.into_data() {
                Ok(data) if data.has_remaining() => data,
                // Pieces without content count towards no limit of size, and a body can have any number of them
                // ready: between them the time limit has its turn.
                _ => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            };
            if data.remaining() > self.settings.limit - self.read.len() {
                return Poll::Ready(Err(StatusCode::PAYLOAD_TOO_LARGE));
            }
            while data.has_remaining() {
                let chunk = data.chunk();
                let length = chunk.len();
                self.read.extend_from_slice(chunk);
                data.advance(length);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Refuses a form that was not read to its end.
pub(super) fn refuse<R: Default>(status: StatusCode, version: Version) -> Response<R> {
    tracing::debug!(
        name: "form_not_read",
        target: "tower_oauth::bearer",
        %status,
        "a form was not read: see FormTokenLayer::with_limit and with_read_timeout"
    );
    let mut response = Response::new(R::default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What is left of the body would be read as the next request. HTTP/2 has no such field.
    if version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// RFC 6750 §2.2: a form, and a method that gives its body a meaning (`C3`).
pub(super) fn may_hold_token(method: &Method, headers: &HeaderMap) -> bool {
    let method = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return false;
    };
    let essence = kind.as_bytes().split(|byte| *byte == b';').next();
    let essence = essence.unwrap_or_default().trim_ascii();
    method
        && essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
        && !headers.contains_key(CONTENT_ENCODING)
}

/// Adds the token of a form to what the request presents, and returns whether there is one.
pub(super) fn present(form: &[u8], headers: &mut HeaderMap) -> bool {
    // RFC 6750 §2.2: all of ASCII, or it is not a form that carries a token.
    let readable = form.is_ascii();
    // Pair by pair: one that cannot be read, or one of too many, must not hide a token from the rule that
    // there is one. Two are as bad as more.
    let pairs = form
        .split(|byte| *byte == b'&')
        .map(String::from_utf8_lossy);
    let mut found = false;
    for pair in pairs.filter(|pair| is_token(pair)).take(2) {
        found = true;
        let token = form::parse(&pair).ok().and_then(|mut pairs| pairs.pop());
        let line =
            token.and_then(|(_, token)| HeaderValue::try_from(format!("Bearer {token}")).ok());
        // One that cannot stand in a header is shown as credentials that cannot be read.
        let line = line.filter(|_| readable);
        let mut line = line.unwrap_or(HeaderValue::from_static("Bearer"));
        line.set_sensitive(true);
        headers.append(AUTHORIZATION, line);
    }
    found
}

fn is_token(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    let name = form::parse(name).unwrap_or_default();
    name.first().is_some_and(|(name, _)| name == "access_token")
}
