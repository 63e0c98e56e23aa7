//! `Session` and `Option<Session>` as arguments of axum handlers.

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::Response;
use http::request::Parts;

use crate::flow::Session;
use crate::login::{Mark, missing};

/// The session of this request. Without one the handler is not called: a navigation is sent to log in,
/// anything else gets 401, as behind [`LoginLayer::required`](crate::LoginLayer::required). Without the
/// layer it is a 500 that says so.
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl<S: Send + Sync> FromRequestParts<S> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let mark = layer(parts)?;
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            mark.ask_to_log_in(&parts.method, &parts.headers)
                .map(Body::from)
        })
    }
}

/// The session of this request, if there is one. Without the layer it is a 500 that says so.
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl<S: Send + Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Response> {
        layer(parts)?;
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

/// An anonymous request and one that no layer looked at are two things.
fn layer(parts: &Parts) -> Result<&Mark, Response> {
    let mark = parts.extensions.get::<Mark>();
    let mark = mark.ok_or_else(|| missing(MISSING).map(Body::from))?;
    mark.look();
    Ok(mark)
}

const MISSING: &str =
    "the extractor `Session` has no LoginLayer around it: add `.layer(login)` outside";
