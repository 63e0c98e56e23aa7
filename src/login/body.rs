//! Reads a small form from a request body.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body;

use crate::protocol::form;

/// Returns the parameters of a URL-encoded form; `None` for another content type, an incomplete
/// body or one over the limit.
pub(super) async fn read_form<B: Body>(
    headers: &HeaderMap,
    mut body: Pin<&mut B>,
) -> Option<Vec<(String, String)>> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return None;
    }
    let mut text = Vec::new();
    poll_fn(|cx| poll_text(body.as_mut(), &mut text, cx)).await?;
    form::parse(std::str::from_utf8(&text).ok()?).ok()
}

/// Reads the body to the end; `None` if it is incomplete or over the limit.
fn poll_text<B: Body>(
    mut body: Pin<&mut B>,
    text: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<Option<()>> {
    while let Some(frame) = ready!(body.as_mut().poll_frame(cx)) {
        let Ok(frame) = frame else {
            return Poll::Ready(None);
        };
        let mut data = match frame.into_data() {
            Ok(data) if data.has_remaining() => data,
            // Empty frames do not count toward the size limit, and a body can have any number of
            // them ready. Yielding between them lets the caller's timeout fire.
            _ => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        };
        if text.len() + data.remaining() > MAX_FORM_BYTES {
            return Poll::Ready(None);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            let length = chunk.len();
            text.extend_from_slice(chunk);
            data.advance(length);
        }
    }
    Poll::Ready(Some(()))
}

/// The form of the sign-out page has no fields; an application's may have a return target.
const MAX_FORM_BYTES: usize = 16 * 1024;
