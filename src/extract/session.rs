//! The extractors `Session` and `Option<Session>`.

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;

use crate::login::{LoginContext, misconfigured};
use crate::session::Session;

/// The rejection of the [`Session`] extractor: the user is not signed in, or the layer is missing.
///
/// The response is that of [`LoginLayer::required`](crate::LoginLayer::required): a navigation is redirected to the
/// login, other requests get 401. Without an outer [`LoginLayer`](crate::LoginLayer) it is 500.
#[derive(Debug)]
pub struct SessionRejection(Box<http::Response<Bytes>>);

/// Extracts the session of the request; without one the handler is not called.
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        let context = login_context(parts)?;
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            let response = context.login_required(&parts.method, &parts.headers);
            SessionRejection(Box::new(response))
        })
    }
}

/// Extracts the session of the request, if there is one. A missing layer is an error, not `None`.
impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = SessionRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, SessionRejection> {
        login_context(parts)?;
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

impl IntoResponse for SessionRejection {
    fn into_response(self) -> Response {
        self.0.map(Body::from)
    }
}

fn login_context(parts: &Parts) -> Result<&LoginContext, SessionRejection> {
    let context = parts.extensions.get::<LoginContext>();
    let context = context.ok_or_else(|| SessionRejection(Box::new(misconfigured(NO_LAYER))))?;
    context.note_session_dependence();
    Ok(context)
}

const NO_LAYER: &str = "the Session extractor requires an outer LoginLayer";
