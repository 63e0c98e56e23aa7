//! `Principal` and `Option<Principal>` as arguments of axum handlers.

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use super::rejection::Asked;
use super::{Principal, PrincipalRejection};

/// The principal of this request; for nobody the handler is not called.
impl<S: Sync, C: Send + Sync + 'static> FromRequestParts<S> for Principal<C> {
    type Rejection = PrincipalRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PrincipalRejection> {
        let asked = Asked {
            extensions: &parts.extensions,
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
        };
        asked.principal()
    }
}

/// The principal of this request, if there is one; without both layers it is an error, not `None`.
impl<S: Sync, C: Send + Sync + 'static> OptionalFromRequestParts<S> for Principal<C> {
    type Rejection = PrincipalRejection;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> Result<Option<Self>, PrincipalRejection> {
        Self::find(&parts.extensions)
    }
}

impl IntoResponse for PrincipalRejection {
    fn into_response(self) -> Response {
        self.into_http::<Body>()
    }
}
