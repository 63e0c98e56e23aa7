//! The bodies: handed on frame by frame, trailers too, and never collected.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::request_fields::RequestFields;
use super::response_fields::ResponseFields;
use crate::bearer::StrippedBody;

pin_project! {
    /// The body of a request on its way to the upstream.
    #[derive(Debug)]
    pub struct Upload<B> {
        #[pin]
        inner: StrippedBody<B>,
        progress: UploadProgress,
    }
}

/// How many frames of an upload went through: as long as some do, nobody is late with an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct UploadProgress(Arc<AtomicU64>);

impl UploadProgress {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<B> Upload<B> {
    pub(super) fn new(inner: B, progress: UploadProgress, fields: &RequestFields) -> Self {
        Self {
            inner: StrippedBody::new(inner, fields.request_trailers()),
            progress,
        }
    }
}

impl<B: Body> Body for Upload<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = this.inner.poll_frame(cx);
        if frame.is_ready() {
            this.progress.0.fetch_add(1, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

pin_project! {
    /// The body of an answer: the upstream's, or the few text of the relay itself.
    #[derive(Debug)]
    pub struct Download<R> {
        #[pin]
        state: DownloadState<R>,
    }
}

pin_project! {
    #[project = DownloadProjection]
    #[derive(Debug)]
    enum DownloadState<R> {
        Upstream { #[pin] body: StrippedBody<R> },
        Own { text: Bytes },
    }
}

impl<R> Download<R> {
    pub(super) fn upstream(body: R, fields: &ResponseFields) -> Self {
        let body = StrippedBody::new(body, fields.response_trailers());
        let state = DownloadState::Upstream { body };
        Self { state }
    }

    pub(super) fn own(text: Bytes) -> Self {
        let state = DownloadState::Own { text };
        Self { state }
    }
}

impl<R: Body<Data = Bytes>> Body for Download<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        match self.project().state.project() {
            DownloadProjection::Upstream { body } => body.poll_frame(cx),
            DownloadProjection::Own { text } if text.is_empty() => Poll::Ready(None),
            DownloadProjection::Own { text } => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(text)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            DownloadState::Upstream { body } => body.is_end_stream(),
            DownloadState::Own { text } => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            DownloadState::Upstream { body } => body.size_hint(),
            DownloadState::Own { text } => {
                SizeHint::with_exact(u64::try_from(text.len()).unwrap_or(u64::MAX))
            }
        }
    }
}
