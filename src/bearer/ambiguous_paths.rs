//! [`RejectAmbiguousPathsLayer`]: rejects paths that an inner service can interpret as other paths.

use std::fmt;
use std::sync::Arc;

use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use tower_layer::Layer;

use super::guard::{Guard, Requirement};
use crate::clock::{Clock, SharedClock, SystemClock};
use crate::protocol::AmbiguousPath;
use crate::protocol::request_target::find_ambiguity;
use crate::protocol::sanitize::log_safe;
use crate::telemetry::LogLimits;
use crate::token::original_uri;

/// Rejects requests whose path can be interpreted in more than one way, with 400 and an empty body, including gRPC
/// calls.
///
/// Use it if one component makes decisions by path and another component parses the path again: a proxy or a middleware
/// that protects `/admin/`, axum's `nest` with layers on one branch only, tower-http's `ServeDir`, or a reverse proxy to
/// a service that decodes differently. The first component does not recognize `/public/..%2fadmin`, `/%61dmin` and
/// `//admin`; the second can interpret them as `/admin`. The parts of this crate that make decisions by path reject such
/// paths themselves: [`MethodScopesLayer`](super::MethodScopesLayer), the relay and [`Dpop`](crate::token::Dpop).
///
/// Add it as the outermost layer. In axum, add it to the outermost `Router`; in a nested router it also checks the path
/// before the prefix was removed (`OriginalUri`).
///
/// # Rejected paths
///
/// The layer checks the path as sent, and decoded once:
///
/// | in the path | examples |
/// | --- | --- |
/// | no path | `*`, `example.com:443` (asterisk and authority form) |
/// | control characters, line separators, a raw space | `%00`, `%0d%0a`, `%7f`, `%c2%85` |
/// | `%u` escapes | `%u002e%u002e` |
/// | a percent sign without two hexadecimal digits | `100%`, `%4`, `%zz` |
/// | dot segments | `/../`, `/.`, `/%2e%2e/`, `/..;x/`, `/..%20/` |
/// | backslashes | `\`, `%5C` |
/// | encoded slashes and dots | `%2F`, `%2E` |
/// | double encoding | `%252e`, `%252F`, `%2541` |
/// | overlong UTF-8, bytes that are not UTF-8 | `%c0%ae`, `%e0%80%af`, `%e9` |
/// | look-alikes of `.`, `/`, `\`, `%`, `;`, `?`, `#` | U+FF0E, U+2024, U+3002, U+FF0F, U+2215, U+FF1F |
/// | raw bytes outside of ASCII | `/café`, not encoded |
/// | path parameters | `;jsessionid=1`, `%3B` |
/// | encoded `?` and `#` | `%3F`, `%23` |
/// | empty segments | `//admin`, `/a//b` |
/// | escapes of letters, digits, `-`, `_`, `~` | `%61dmin`, `%7Eroot` |
///
/// Other escapes are accepted: `%20`, `%3A`, `%40`, UTF-8 such as `caf%c3%a9`. The absolute form
/// (`GET http://example.com/a`) is accepted if its path is, because HTTP/2 has no other form. The kind of ambiguity is
/// inserted into the response extensions as an [`AmbiguousPath`] and logged (`ambiguous_path`). Individual kinds cannot be
/// allowed: do not add the layer to routes whose paths contain such data.
///
/// # Not checked
///
/// The query, letter case, a trailing slash, and equivalent spellings in Unicode: compare them as the inner service does.
/// Also what an HTTP server removes before this layer, such as a fragment.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use http::{Request, StatusCode};
/// use tower::ServiceExt;
/// use tower_oauth::bearer::RejectAmbiguousPathsLayer;
///
/// let app = Router::new()
///     .route("/files/{*path}", get(async || "a file"))
///     .layer(RejectAmbiguousPathsLayer::new());
/// for (path, status) in [
///     ("/files/a%20b.txt", StatusCode::OK),
///     ("/files/..%2fsecret.txt", StatusCode::BAD_REQUEST),
/// ] {
///     let request = Request::get(path).body(axum::body::Body::empty())?;
///     assert_eq!(app.clone().oneshot(request).await?.status(), status);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RejectAmbiguousPathsLayer {
    log: Arc<AmbiguityLog>,
}

impl RejectAmbiguousPathsLayer {
    /// Creates a layer that rejects ambiguous paths.
    #[must_use]
    pub fn new() -> Self {
        Self {
            log: Arc::new(AmbiguityLog::new(Arc::new(SystemClock))),
        }
    }

    /// Sets the clock that limits warnings to one of each kind in ten seconds. The default is the system clock.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        Self {
            log: Arc::new(AmbiguityLog::new(Arc::new(clock))),
        }
    }
}

impl Default for RejectAmbiguousPathsLayer {
    fn default() -> Self {
        Self::new()
    }
}

/// Logs one warning of each kind in ten seconds, because every caller can cause these events.
struct AmbiguityLog {
    clock: SharedClock,
    limits: LogLimits,
}

impl AmbiguityLog {
    fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            limits: LogLimits::per_ten_seconds(),
        }
    }

    fn write(&self, found: AmbiguousPath, path: &str) {
        let path = log_safe(path);
        let now = self.clock.monotonic();
        if self.limits.allows("ambiguous_path", found.as_str(), now) {
            tracing::warn!(
                name: "ambiguous_path", target: "tower_oauth::bearer", %found, path,
                "rejected a request whose path can be interpreted as another one"
            );
        } else {
            tracing::debug!(
                name: "ambiguous_path_again", target: "tower_oauth::bearer", %found, path,
                "rejected another request whose path can be interpreted as another one"
            );
        }
    }
}

impl Requirement for AmbiguityLog {
    fn check(&self, head: &mut Parts) -> Result<(), Box<Response<()>>> {
        let original = original_uri(&head.uri, &head.extensions);
        // A layer in between may have rewritten the path, so both are checked.
        for path in [original.path(), head.uri.path()] {
            if let Some(found) = find_ambiguity(path) {
                self.write(found, path);
                return Err(Box::new(bad_request(found)));
            }
        }
        Ok(())
    }
}

fn bad_request(found: AmbiguousPath) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    response.extensions_mut().insert(found);
    response
}

impl<S> Layer<S> for RejectAmbiguousPathsLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let log = Arc::clone(&self.log);
        Guard::new(inner, log)
    }
}

impl fmt::Debug for AmbiguityLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AmbiguityLog")
    }
}

impl fmt::Debug for RejectAmbiguousPathsLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RejectAmbiguousPathsLayer")
    }
}
