//! Buffers a form within the limits, and extracts its token.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use http_body::Body;
use http_body_util::{LengthLimitError, Limited};

use crate::clock::{SharedClock, Sleep};
use crate::protocol::form;
use crate::protocol::media_type::{FORM, has_media_type};

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) limit: usize,
    pub(super) read_timeout: Duration,
    pub(super) clock: SharedClock,
    pub(super) protects_caches: bool,
}

/// Reads a form for a call of the inner service.
pub(super) struct FormReader<S> {
    pub(super) buffer: Vec<u8>,
    pub(super) settings: Settings,
    /// Starts when the body is first pending.
    pub(super) timer: Option<Sleep>,
    pub(super) call: Option<(S, Parts)>,
}

impl<S> FormReader<S> {
    /// Reads the body to its end, or returns the status of the rejection.
    pub(super) fn poll_end<B: Body>(
        &mut self,
        body: Pin<&mut Limited<B>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StatusCode>>
    where
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if let Poll::Ready(end) = self.poll_body(body, cx) {
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

    fn poll_body<B: Body>(
        &mut self,
        mut body: Pin<&mut Limited<B>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), StatusCode>>
    where
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        while let Some(frame) = ready!(body.as_mut().poll_frame(cx)) {
            let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
                true => StatusCode::PAYLOAD_TOO_LARGE,
                false => StatusCode::BAD_REQUEST,
            })?;
            match frame.into_data() {
                Ok(data) if data.has_remaining() => self.buffer.put(data),
                // A body can have any number of empty frames ready, which do not count towards the limit of size.
                // Yielding between them lets the timeout elapse.
                _ => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Creates the response to a form that was not read to its end.
pub(super) fn reject(status: StatusCode, version: Version) -> Response<()> {
    tracing::debug!(
        name: "form_rejected",
        target: "tower_oauth::bearer",
        %status,
        "rejected a form that was too long, interrupted or too slow"
    );
    let mut response = Response::new(());
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
    method && has_media_type(headers, FORM) && !headers.contains_key(CONTENT_ENCODING)
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
