//! `Session` and `Option<Session>` as arguments of axum handlers.

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;

use crate::login::{LoginContext, misconfigured};
use crate::session::Session;

/// Why there is no [`Session`] for a handler: nobody is signed in, or no layer looked.
///
/// As a response it is what [`LoginLayer::required`](crate::LoginLayer::required) answers: a navigation
/// is sent to log in, anything else gets 401. Without a [`LoginLayer`](crate::LoginLayer) around the
/// handler it is a 500 that says so.
#[derive(Debug)]
pub struct SessionRejection(Box<http::Response<Bytes>>);

/// The session of this request; without one the handler is not called.
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        let mark = find_layer(parts)?;
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            let answer = mark.login_required(&parts.method, &parts.headers);
            SessionRejection(Box::new(answer))
        })
    }
}

/// The session of this request, if there is one; without the layer it is an error, not `None`.
impl<S: Sync> OptionalFromRequestParts<S> for Session {
    type Rejection = SessionRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, SessionRejection> {
        find_layer(parts)?;
        Ok(parts.extensions.get::<Self>().cloned())
    }
}

impl IntoResponse for SessionRejection {
    fn into_response(self) -> Response {
        self.0.map(Body::from)
    }
}

fn find_layer(parts: &Parts) -> Result<&LoginContext, SessionRejection> {
    let mark = parts.extensions.get::<LoginContext>();
    let mark = mark.ok_or_else(|| SessionRejection(Box::new(misconfigured(NO_LAYER))))?;
    mark.note_session_dependence();
    Ok(mark)
}

const NO_LAYER: &str = "a handler asks for Session, but no LoginLayer is around it";
