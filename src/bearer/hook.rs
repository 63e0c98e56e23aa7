//! The hook of [`BearerLayer::on_refusal`](super::BearerLayer::on_refusal).

use std::fmt;
use std::sync::Arc;

use http::{Method, StatusCode, Uri};

use super::refusal::{Refusal, wire_refusal};

/// Describes a rejected request: the argument of [`on_refusal`](crate::BearerLayer::on_refusal).
///
/// It does not give access to header fields, body and query, because they may contain tokens, cookies and proofs.
#[derive(Clone, Copy)]
pub struct RefusedRequest<'a> {
    refusal: &'a Refusal,
    method: &'a Method,
    uri: &'a Uri,
}

impl<'a> RefusedRequest<'a> {
    /// Returns the reason. It is more detailed than the response: do not send it to callers.
    pub fn refusal(&self) -> &'a Refusal {
        self.refusal
    }

    /// Returns the status of the rejection: 400, 401, 403, 500 or 503. A gRPC caller receives the corresponding
    /// `grpc-status`.
    pub fn status(&self) -> StatusCode {
        wire_refusal(self.refusal).status
    }

    /// Returns the method of the request.
    pub fn method(&self) -> &'a Method {
        self.method
    }

    /// Returns the path of the request as received by the layer, without the query. The caller chooses its content and
    /// length: log it with `{:?}`, and do not use it as a metric label.
    pub fn path(&self) -> &'a str {
        self.uri.path()
    }
}

/// The maximum number of characters of a path in `Debug` output.
const MAX_PATH: usize = 200;

impl fmt::Debug for RefusedRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path();
        // The path of a URI may contain unescaped characters outside of ASCII.
        let shortened = path
            .char_indices()
            .nth(MAX_PATH)
            .map_or(path, |(end, _)| &path[..end]);
        f.debug_struct("RefusedRequest")
            .field("refusal", self.refusal)
            .field("method", self.method)
            .field("path", &shortened)
            .finish()
    }
}

/// The application's function, if it set one.
#[derive(Clone, Default)]
pub(super) struct RefusalHook(Option<RefusalHookFn>);

type RefusalHookFn = Arc<dyn Fn(&RefusedRequest<'_>) + Send + Sync>;

impl RefusalHook {
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

impl fmt::Debug for RefusalHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Some(_) => "RefusalHook(..)",
            None => "RefusalHook",
        })
    }
}
