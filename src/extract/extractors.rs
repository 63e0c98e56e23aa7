//! The extractors for axum handlers: `VerifiedToken<C>`, `Session`, `Principal<C>`, each of them as an `Option`, and
//! `LoginLayer`.

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;

use super::principal::Principal;
use super::rejection::PrincipalRejection;
use crate::bearer::{AuthState, Refusal, WireFormat, refuse};
use crate::login::{LoginContext, LoginLayer, misconfigured};
use crate::session::Session;
use crate::token::VerifiedToken;

/// The rejection of the [`VerifiedToken`] extractor.
///
/// The response is 401 with the challenges of the `BearerLayer` if the request is anonymous, and 500 if the layer is
/// missing or has other claims than `C`.
#[derive(Debug)]
pub struct TokenRejection(Box<http::Response<&'static str>>);

/// Extracts the token of the request; without one the handler is not called.
impl<S: Sync, C: Send + Sync + 'static> FromRequestParts<S> for VerifiedToken<C> {
    type Rejection = TokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, TokenRejection> {
        let token = find_token(parts).and_then(|token| token.ok_or(Refusal::NoCredentials));
        token.map_err(|refusal| reject(parts, refusal))
    }
}

/// Extracts the token of the request, if there is one. A missing layer is an error, not `None`.
impl<S: Sync, C: Send + Sync + 'static> OptionalFromRequestParts<S> for VerifiedToken<C> {
    type Rejection = TokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, TokenRejection> {
        find_token(parts).map_err(|refusal| reject(parts, refusal))
    }
}

fn find_token<C: Send + Sync + 'static>(
    parts: &Parts,
) -> Result<Option<VerifiedToken<C>>, Refusal> {
    let state = AuthState::of(&parts.extensions, NO_BEARER_LAYER)?;
    state
        .token(&parts.extensions, OTHER_TYPE)
        .map(Option::<&_>::cloned)
}

fn reject(parts: &Parts, refusal: Refusal) -> TokenRejection {
    // A misconfiguration is reported to the developer, in the body of the response.
    let message = match refusal {
        Refusal::MissingLayer(message)
            if WireFormat::of(&parts.method, &parts.headers) == WireFormat::Http =>
        {
            message
        }
        _ => "",
    };
    TokenRejection(Box::new(refuse(refusal, parts).map(|()| message)))
}

impl IntoResponse for TokenRejection {
    fn into_response(self) -> Response {
        self.0.map(Body::from)
    }
}

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

fn login_context(parts: &Parts) -> Result<&LoginContext, SessionRejection> {
    let context = parts.extensions.get::<LoginContext>();
    let context = context.ok_or_else(|| SessionRejection::missing_layer(NO_LOGIN_LAYER))?;
    context.note_session_dependence();
    Ok(context)
}

/// Extracts the login layer around the handler, for the URLs of its routes.
impl<S: Sync> FromRequestParts<S> for LoginLayer {
    type Rejection = SessionRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRejection> {
        let layer = Self::of(parts);
        layer.ok_or_else(|| SessionRejection::missing_layer(NO_OUTER_LAYER))
    }
}

impl SessionRejection {
    fn missing_layer(message: &'static str) -> Self {
        Self(Box::new(misconfigured(message)))
    }
}

impl IntoResponse for SessionRejection {
    fn into_response(self) -> Response {
        self.0.map(Body::from)
    }
}

/// Extracts the principal of the request; without one the handler is not called.
impl<S: Sync, C: Send + Sync + 'static> FromRequestParts<S> for Principal<C> {
    type Rejection = PrincipalRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PrincipalRejection> {
        Self::required(&*parts)
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

const NO_BEARER_LAYER: &str = "the VerifiedToken extractor requires an outer BearerLayer";
const NO_LOGIN_LAYER: &str = "the Session extractor requires an outer LoginLayer";
const NO_OUTER_LAYER: &str = "the LoginLayer extractor requires an outer LoginLayer";
const OTHER_TYPE: &str =
    "the VerifiedToken extractor and its BearerLayer have different claims types";
