//! The bodies: handed on frame by frame, trailers too, and never collected.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::fields::Fields;
use super::response_fields::ResponseFields;
use crate::bearer::StrippedBody;

pin_project! {
    /// The body of a request on its way to the upstream.
    #[derive(Debug)]
    pub struct Upload<B> {
        #[pin]
        inner: StrippedBody<B>,
        progress: Progress,
    }
}

/// How many frames of an upload went through: as long as some do, nobody is late with an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicU64>);

impl Progress {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<B> Upload<B> {
    pub(super) fn new(inner: B, progress: Progress, fields: &Fields) -> Self {
        Self {
            inner: StrippedBody::new(inner, fields.outward_trailers()),
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
    /// The body of an answer: the upstream's, or the few words of the relay itself.
    #[derive(Debug)]
    pub struct Download<R> {
        #[pin]
        state: State<R>,
    }
}

pin_project! {
    #[project = Projected]
    #[derive(Debug)]
    enum State<R> {
        Upstream { #[pin] body: StrippedBody<R> },
        Own { words: Bytes },
    }
}

impl<R> Download<R> {
    pub(super) fn upstream(body: R, fields: &ResponseFields) -> Self {
        let body = StrippedBody::new(body, fields.inward_trailers());
        let state = State::Upstream { body };
        Self { state }
    }

    pub(super) fn own(words: Bytes) -> Self {
        let state = State::Own { words };
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
            Projected::Upstream { body } => body.poll_frame(cx),
            Projected::Own { words } if words.is_empty() => Poll::Ready(None),
            Projected::Own { words } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(words))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Upstream { body } => body.is_end_stream(),
            State::Own { words } => words.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Upstream { body } => body.size_hint(),
            State::Own { words } => {
                SizeHint::with_exact(u64::try_from(words.len()).unwrap_or(u64::MAX))
            }
        }
    }
}
