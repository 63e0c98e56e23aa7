//! The extractors `Principal` and `Option<Principal>`.

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use super::rejection::PrincipalRequest;
use super::{Principal, PrincipalRejection};

/// Extracts the principal of the request; without one the handler is not called.
impl<S: Sync, C: Send + Sync + 'static> FromRequestParts<S> for Principal<C> {
    type Rejection = PrincipalRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PrincipalRejection> {
        let request = PrincipalRequest {
            extensions: &parts.extensions,
            method: &parts.method,
            uri: &parts.uri,
            headers: &parts.headers,
        };
        request.principal()
    }
}

/// Extracts the principal of the request, if there is one. A missing layer is an error, not `None`.
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
