//! Bodies of requests and responses: streamed, trailers included. Only a short request body that may have to be sent
//! again is kept.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::kept_body::{KeptBody, OutgoingBody};
use super::response_fields::ResponseFields;
use crate::bearer::StrippedBody;

pin_project! {
    /// The body of a request to the upstream.
    #[derive(Debug)]
    pub struct RequestBody<B> {
        #[pin]
        state: RequestBodyState<B>,
        progress: RequestProgress,
    }
}

pin_project! {
    #[project = RequestBodyProjection]
    #[derive(Debug)]
    enum RequestBodyState<B> {
        Streamed { #[pin] body: StrippedBody<B> },
        Kept { body: KeptBody },
    }
}

/// Counts the frames of an upload: the response timeout is extended while frames are sent.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestProgress(Arc<AtomicU64>);

impl RequestProgress {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<B> RequestBody<B> {
    /// Returns the body of one attempt, and the same body for another attempt if it can be sent again.
    pub(super) fn new(
        body: OutgoingBody<B>,
        progress: RequestProgress,
    ) -> (Self, Option<OutgoingBody<B>>) {
        let (state, again) = match body {
            OutgoingBody::Streamed(body) => (RequestBodyState::Streamed { body }, None),
            OutgoingBody::Kept(body) => {
                let again = OutgoingBody::Kept(body.clone());
                (RequestBodyState::Kept { body }, Some(again))
            }
        };
        (Self { state, progress }, again)
    }
}

impl<B: Body<Data = Bytes>> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let frame = match this.state.project() {
            RequestBodyProjection::Streamed { body } => body.poll_frame(cx),
            RequestBodyProjection::Kept { body } if !body.data.is_empty() => {
                let data = std::mem::take(&mut body.data);
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            RequestBodyProjection::Kept { body } => {
                Poll::Ready(body.trailers.take().map(|all| Ok(Frame::trailers(all))))
            }
        };
        if frame.is_ready() {
            this.progress.0.fetch_add(1, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            RequestBodyState::Streamed { body } => body.is_end_stream(),
            RequestBodyState::Kept { body } => body.data.is_empty() && body.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            RequestBodyState::Streamed { body } => body.size_hint(),
            RequestBodyState::Kept { body } => {
                SizeHint::with_exact(u64::try_from(body.data.len()).unwrap_or(u64::MAX))
            }
        }
    }
}

pin_project! {
    /// The body of a response: that of the upstream, or the text of the relay itself.
    #[derive(Debug)]
    pub struct ResponseBody<R> {
        #[pin]
        state: ResponseBodyState<R>,
    }
}

pin_project! {
    #[project = ResponseBodyProjection]
    #[derive(Debug)]
    enum ResponseBodyState<R> {
        Upstream { #[pin] body: StrippedBody<R> },
        Own { text: Bytes },
    }
}

impl<R> ResponseBody<R> {
    pub(super) fn upstream(body: R, fields: &ResponseFields) -> Self {
        let body = StrippedBody::new(body, fields.response_trailers());
        let state = ResponseBodyState::Upstream { body };
        Self { state }
    }

    pub(super) fn own(text: Bytes) -> Self {
        let state = ResponseBodyState::Own { text };
        Self { state }
    }
}

impl<R: Body<Data = Bytes>> Body for ResponseBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.project().state.project() {
            ResponseBodyProjection::Upstream { body } => body.poll_frame(cx),
            ResponseBodyProjection::Own { text } if text.is_empty() => Poll::Ready(None),
            ResponseBodyProjection::Own { text } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(text)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            ResponseBodyState::Upstream { body } => body.is_end_stream(),
            ResponseBodyState::Own { text } => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            ResponseBodyState::Upstream { body } => body.size_hint(),
            ResponseBodyState::Own { text } => {
                SizeHint::with_exact(u64::try_from(text.len()).unwrap_or(u64::MAX))
            }
        }
    }
}
