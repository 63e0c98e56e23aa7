//! Reading a small form out of a request body.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::Buf as _;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body::Body;

use crate::protocol::form;

/// The pairs of a url-encoded form; nothing for another type, a body that breaks off or a large one.
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
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(mut data) = frame.ok()?.into_data() else {
            continue;
        };
        if text.len() + data.remaining() > MAX_FORM {
            return None;
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            let length = chunk.len();
            text.extend_from_slice(chunk);
            data.advance(length);
        }
    }
    form::parse(std::str::from_utf8(&text).ok()?).ok()
}

/// Our own form is empty; an application's may hold a return target.
const MAX_FORM: usize = 16 * 1024;
