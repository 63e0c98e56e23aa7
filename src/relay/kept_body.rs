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
    /// Reads a body if its size is known and at most [`MAX_KEPT`]. All of it must arrive within `limit`.
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
        match within(&**clock, limit, KeptBody::read(body)).await {
            Some(read) => read.map(Self::Kept),
            None => Err(refusal::body_too_late(limit)),
        }
    }
}

impl KeptBody {
    async fn read<B: Body<Data = Bytes>>(body: StrippedBody<B>) -> Result<Self, RelayResponse> {
        let (mut data, mut trailers) = (BytesMut::new(), None);
        let mut body = pin!(body);
        // The error of a body need not be `Send`.
        while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx).map_err(|_| ())).await {
            let frame = frame.map_err(|()| refusal::unreadable_body(BROKEN))?;
            match frame.into_data() {
                // A body can have any number of empty frames ready. Yielding between them lets the timeout fire.
                Ok(part) if part.is_empty() => tokio::task::yield_now().await,
                Ok(part) => data.extend_from_slice(&part),
                Err(frame) => trailers = frame.into_trailers().ok().or(trailers),
            }
            // The size was wrong.
            if u64::try_from(data.len()).is_ok_and(|size| size > MAX_KEPT) {
                return Err(refusal::unreadable_body(LONGER));
            }
        }
        Ok(Self {
            data: data.freeze(),
            trailers,
        })
    }
}

const BROKEN: &str = "it ended early, or is malformed";
const LONGER: &str = "it is longer than its size hint, which is at most 64 KiB";
