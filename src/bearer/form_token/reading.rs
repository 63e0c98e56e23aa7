//! Buffers a form within the limits, and extracts its token.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use http_body::Body;

use super::Settings;
use crate::clock::Sleep;
use crate::protocol::form;

/// Reads a form for a call of the inner service.
pub(super) struct FormReader<S, B> {
    // Boxed, because a body may not be `Unpin`.
    pub(super) body: Pin<Box<B>>,
    pub(super) buffer: Vec<u8>,
    pub(super) settings: Settings,
    /// Starts when the body is first pending.
    pub(super) timer: Option<Sleep>,
    pub(super) call: Option<(S, http::request::Parts)>,
}

impl<S, B: Body> FormReader<S, B> {
    /// Reads the body to its end, or returns the status of the rejection.
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
                // A body can have any number of empty frames ready, which do not count towards the limit of size.
                // Yielding between them lets the timeout elapse.
                _ => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            };
            if data.remaining() > self.settings.limit - self.buffer.len() {
                return Poll::Ready(Err(StatusCode::PAYLOAD_TOO_LARGE));
            }
            while data.has_remaining() {
                let chunk = data.chunk();
                let length = chunk.len();
                self.buffer.extend_from_slice(chunk);
                data.advance(length);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Creates the response to a form that was not read to its end.
pub(super) fn reject<R: Default>(status: StatusCode, version: Version) -> Response<R> {
    tracing::debug!(
        name: "form_rejected",
        target: "tower_oauth::bearer",
        %status,
        "rejected a form that was too long, interrupted or too slow"
    );
    let mut response = Response::new(R::default());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The server would parse the rest of the body as the next request. HTTP/2 has no `Connection` field.
    if version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// RFC 6750 §2.2: the body is a single-part form, and the method defines semantics for it.
pub(super) fn may_have_token(method: &Method, headers: &HeaderMap) -> bool {
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

/// Adds the token of a form as an `Authorization` field, and returns whether there is one.
pub(super) fn add_authorization(form: &[u8], headers: &mut HeaderMap) -> bool {
    // RFC 6750 §2.2: a form with a token consists entirely of ASCII characters.
    let is_ascii = form.is_ascii();
    // Parsed pair by pair: a malformed pair, or too many pairs, must not hide a second token. Two fields are enough
    // for `BearerLayer` to reject the request.
    let pairs = form
        .split(|byte| *byte == b'&')
        .map(String::from_utf8_lossy);
    let mut has_token = false;
    for pair in pairs.filter(|pair| is_token(pair)).take(2) {
        has_token = true;
        let token = form::parse(&pair).ok().and_then(|mut pairs| pairs.pop());
        let line =
            token.and_then(|(_, token)| HeaderValue::try_from(format!("Bearer {token}")).ok());
        // A field without a token makes `BearerLayer` reject the request as malformed.
        let line = line.filter(|_| is_ascii);
        let mut line = line.unwrap_or(HeaderValue::from_static("Bearer"));
        line.set_sensitive(true);
        headers.append(AUTHORIZATION, line);
    }
    has_token
}

fn is_token(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    let name = form::parse(name).unwrap_or_default();
    name.first().is_some_and(|(name, _)| name == "access_token")
}
