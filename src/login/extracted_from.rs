//! The request of the handler that extracted a [`LoginLayer`](super::LoginLayer).

use std::fmt;
use std::sync::Arc;

use http::Method;
use http::header::HeaderMap;
use http::request::Parts;

use super::context::LoginContext;
use crate::record::SessionId;
use crate::session::Session;

/// The request that a layer was extracted from.
#[derive(Clone)]
pub(super) struct ExtractedFrom(Arc<RequestOfHandler>);

pub(super) struct RequestOfHandler {
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
    pub(super) context: LoginContext,
    pub(super) session: Option<SessionId>,
}

impl ExtractedFrom {
    pub(super) fn new(head: &Parts) -> Option<Self> {
        Some(Self(Arc::new(RequestOfHandler {
            method: head.method.clone(),
            headers: head.headers.clone(),
            context: head.extensions.get::<LoginContext>()?.clone(),
            session: head.extensions.get::<Session>().map(|one| *one.id()),
        })))
    }

    pub(super) fn request(&self) -> &RequestOfHandler {
        &self.0
    }
}

/// Omits the header fields, which contain the session.
impl fmt::Debug for ExtractedFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtractedFrom")
            .field("method", &self.0.method)
            .finish_non_exhaustive()
    }
}
