//! What [`BearerLayer::on_refusal`](super::BearerLayer::on_refusal) calls.

use std::fmt;
use std::sync::Arc;

use http::{Method, StatusCode, Uri};

use super::refusal::{Refusal, answer};

/// A request that was refused, as far as it may be written down.
///
/// There is no way from here to header fields, body or query: that is where tokens, cookies and
/// proofs are.
#[derive(Clone, Copy)]
pub struct RefusedRequest<'a> {
    refusal: &'a Refusal,
    method: &'a Method,
    uri: &'a Uri,
}

impl<'a> RefusedRequest<'a> {
    /// Why it was refused: more than the caller was told.
    pub fn refusal(&self) -> &'a Refusal {
        self.refusal
    }

    /// The status that answers it: 400, 401, 403, 500 or 503. A gRPC caller gets its own words for it.
    pub fn status(&self) -> StatusCode {
        answer(self.refusal).status
    }

    /// The method of the request.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// The path of the request as the layer saw it, without the query. It is the caller's text, of any
    /// length: log it with `{:?}`, and do not make it a label of a metric.
    pub fn path(&self) -> &'a str {
        self.uri.path()
    }
}

/// At most so much of a path is printed.
const SHOWN: usize = 200;

impl fmt::Debug for RefusedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        // The path of a URI is ASCII but for what may come unescaped.
        let shown = path
            .char_indices()
            .nth(SHOWN)
            .map_or(path, |(end, _)| &path[..end]);
        f.debug_struct("RefusedRequest")
            .field("refusal", self.refusal)
            .field("method", self.method)
            .field("path", &shown)
            .finish()
    }
}

/// A function of the application, or none.
#[derive(Clone, Default)]
pub(super) struct Hook(Option<Call>);

type Call = Arc<dyn Fn(&RefusedRequest<'_>) + Send + Sync>;

impl Hook {
    pub(super) fn new(call: impl Fn(&RefusedRequest<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(call)))
    }

    pub(super) fn call(&self, refusal: &Refusal, method: &Method, uri: &Uri) {
        if let Some(call) = &self.0 {
            call(&RefusedRequest {
                refusal,
                method,
                uri,
            });
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Hook(..)" } else { "Hook" })
    }
}
