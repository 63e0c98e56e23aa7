//! [`StripTrailersLayer`]: removes trailer fields from requests.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::TRAILER;
use http::{HeaderMap, HeaderName, Request};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::ConfigError;
use crate::protocol::field_name::{is_one_of, normalize_header_name, remove, remove_members};

/// Removes trailer fields from requests ([RFC 9110 §6.5]).
///
/// Trailers are header fields after the body: after the last chunk in HTTP/1.1, in a second header block in HTTP/2. A
/// layer that removes header fields does not see them, because they arrive when the inner service reads the body. A
/// service or a proxy that merges trailers into the header section would then trust an `x-auth-sub`, an `authorization`
/// or a `cookie` field that the caller sent after the body.
///
/// # When it is needed
///
/// Add this layer outside of [`ClaimHeadersLayer`](crate::bearer::ClaimHeadersLayer), or of a
/// [`BearerLayer`](crate::BearerLayer) with [`without_forwarding`](crate::BearerLayer::without_forwarding), if the
/// inner service forwards requests with their trailers or reads trailers itself. An application whose handlers
/// read only headers and body does not need it. The relay (feature `relay`) removes such trailers itself.
///
/// Trailers of *responses* are not changed: gRPC sends its status in them. gRPC requests have no trailers, so
/// [`all`](Self::all) is safe for gRPC services.
///
/// The layer also removes the names of removed fields from the `Trailer` field. It does not change the data, the end of
/// the body and its size hint.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::post};
/// use tower_oauth::bearer::{ClaimHeadersLayer, StripTrailersLayer};
/// use tower_oauth::{AuthorizationServer, BearerLayer};
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let api: Router = Router::new()
///     .route("/legacy", post(async || "forwarded"))
///     .layer(ClaimHeadersLayer::new("x-auth-")?)
///     .layer(BearerLayer::jwt(&server, "https://api.example.com")?.without_forwarding())
///     .layer(StripTrailersLayer::all());
/// # Ok(())
/// # }
/// ```
///
/// [RFC 9110 §6.5]: https://www.rfc-editor.org/rfc/rfc9110#section-6.5
#[derive(Clone, Debug)]
pub struct StripTrailersLayer {
    filter: TrailerFilter,
}

impl StripTrailersLayer {
    /// Creates a layer that removes every trailer field.
    pub fn all() -> Self {
        Self {
            filter: TrailerFilter(None),
        }
    }

    /// Creates a layer that removes the trailer fields with these names. A name that ends with `-` is a prefix, such as
    /// `x-auth-`.
    ///
    /// Names are compared without case. A character that is neither a letter nor a digit equals `-`, because CGI and
    /// similar interfaces cannot distinguish `x_auth_sub` from `x-auth-sub`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if a string is not a field name, or the list is empty.
    pub fn named<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, ConfigError> {
        let names: Vec<String> = names
            .into_iter()
            .map(|name| field_name_setting("trailer field", name.as_ref()))
            .collect::<Result<_, _>>()?;
        if names.is_empty() {
            return Err(ConfigError::Setting {
                setting: "trailer field",
                value: String::new(),
                reason: "the list must not be empty; use `all` to remove every trailer",
            });
        }
        Ok(Self {
            filter: TrailerFilter::new(move |name| is_one_of(&names, name)),
        })
    }
}

/// Parses a field name, or a prefix that ends with `-`, and normalizes it.
pub(crate) fn field_name_setting(setting: &'static str, name: &str) -> Result<String, ConfigError> {
    match HeaderName::try_from(name) {
        Ok(valid) if name != "-" => Ok(normalize_header_name(valid.as_str())),
        _ => Err(ConfigError::Setting {
            setting,
            value: name.to_owned(),
            reason: "it must be a header name, or a prefix of one that ends with `-`",
        }),
    }
}

/// Selects the trailer fields to remove by their normalized names; `None` removes all.
#[derive(Clone)]
pub(crate) struct TrailerFilter(Option<Arc<TrailerPredicate>>);

type TrailerPredicate = dyn Fn(&str) -> bool + Send + Sync;

impl TrailerFilter {
    pub(crate) fn new(is_removed: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_removed)))
    }

    fn strip(&self, trailers: &mut HeaderMap) {
        match &self.0 {
            None => trailers.clear(),
            Some(is_removed) => remove(trailers, |_, name| is_removed(name)),
        }
    }

    /// Removes the names of removed fields from the `Trailer` field.
    fn strip_announcement(&self, headers: &mut HeaderMap) {
        match &self.0 {
            None => {
                headers.remove(TRAILER);
            }
            Some(is_removed) => remove_members(headers, &TRAILER, |name| is_removed(name)),
        }
    }
}

impl fmt::Debug for TrailerFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "All",
            Some(_) => "Named",
        })
    }
}

impl<S> Layer<S> for StripTrailersLayer {
    type Service = StripTrailers<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let filter = self.filter.clone();
        StripTrailers { inner, filter }
    }
}

/// The service created by [`StripTrailersLayer`].
#[derive(Clone, Debug)]
pub struct StripTrailers<S> {
    inner: S,
    filter: TrailerFilter,
}

impl<S, B> Service<Request<B>> for StripTrailers<S>
where
    S: Service<Request<StrippedBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.filter.strip_announcement(request.headers_mut());
        let filter = self.filter.clone();
        self.inner
            .call(request.map(|body| StrippedBody::new(body, filter)))
    }
}

pin_project! {
    /// A body without the trailer fields that a [`StripTrailersLayer`] removes.
    #[derive(Debug)]
    pub struct StrippedBody<B> {
        #[pin]
        inner: B,
        filter: TrailerFilter,
    }
}

impl<B> StrippedBody<B> {
    pub(crate) fn new(inner: B, filter: TrailerFilter) -> Self {
        Self { inner, filter }
    }
}

impl<B: Body> Body for StrippedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        loop {
            let mut polled = ready!(this.inner.as_mut().poll_frame(cx));
            if let Some(Ok(frame)) = &mut polled
                && let Some(trailers) = frame.trailers_mut()
            {
                this.filter.strip(trailers);
                if trailers.is_empty() {
                    continue;
                }
            }
            return Poll::Ready(polled);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
