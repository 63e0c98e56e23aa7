//! Request bodies that are read before they are sent, so that a request can be repeated.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;

use super::refusal::{self, RelayResponse};
use crate::bearer::StrippedBody;
use crate::clock::{SharedClock, within};

/// The maximum size of a body that is kept, in bytes.
pub(super) const MAX_KEPT: u64 = 64 * 1024;

/// A whole request body with its trailers. Cloning shares the data.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptBody {
    pub(super) data: Bytes,
    pub(super) trailers: Option<HeaderMap>,
}

/// A request body before the request is sent.
#[derive(Debug)]
pub(super) enum OutgoingBody<B> {
    /// It can be sent once.
    Streamed(StrippedBody<B>),
    Kept(KeptBody),
}

impl<B: Body<Data = Bytes>> OutgoingBody<B> {
    /// Reads a body if its size is known and at most [`MAX_KEPT`]. Each frame must arrive within `limit`.
    pub(super) async fn keep(
        body: StrippedBody<B>,
        clock: &SharedClock,
        limit: Duration,
    ) -> Result<Self, RelayResponse> {
        if body.is_end_stream() {
            return Ok(Self::Kept(KeptBody::default()));
        }
        if body.size_hint().exact().is_none_or(|size| size > MAX_KEPT) {
            return Ok(Self::Streamed(body));
        }
        let (mut data, mut trailers) = (BytesMut::new(), None);
        let mut body = pin!(body);
        loop {
            let next = poll_fn(|cx| body.as_mut().poll_frame(cx));
            let frame = within(&**clock, limit, next).await;
            let Some(frame) = frame.ok_or_else(refusal::body_too_late)? else {
                break;
            };
            let frame = frame.map_err(|_| refusal::unreadable_body())?;
            match frame.into_data() {
                Ok(part) => data.extend_from_slice(&part),
                Err(frame) => trailers = frame.into_trailers().ok().or(trailers),
            }
            // The size was wrong.
            if u64::try_from(data.len()).is_ok_and(|size| size > MAX_KEPT) {
                return Err(refusal::unreadable_body());
            }
        }
        Ok(Self::Kept(KeptBody {
            data: data.freeze(),
            trailers,
        }))
    }
}
