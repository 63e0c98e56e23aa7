//! The extractors `VerifiedToken<C>` and `Option<VerifiedToken<C>>`.

use std::any::type_name;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use crate::bearer::{AuthState, ChallengeHints, ChallengeParams, Refusal, WireFormat, refuse};
use crate::telemetry::may_log;
use crate::token::VerifiedToken;

/// The rejection of the [`VerifiedToken`] extractor.
///
/// The response is 401 with the challenges of the `BearerLayer` if the request is anonymous, and 500 if the layer is
/// missing or has other claims than `C`.
#[derive(Debug)]
pub struct TokenRejection {
    refusal: Refusal,
    challenge: Arc<ChallengeParams>,
    wire_format: WireFormat,
}

const NO_LAYER: &str = "the VerifiedToken extractor requires an outer BearerLayer";
const OTHER_TYPE: &str =
    "the VerifiedToken extractor and its BearerLayer have different claims types";

/// Extracts the token of the request; without one the handler is not called.
impl<S: Sync, C: Send + Sync + 'static> FromRequestParts<S> for VerifiedToken<C> {
    type Rejection = TokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, TokenRejection> {
        match find(parts)? {
            Some(token) => Ok(token),
            None => Err(rejection(parts, Refusal::NoCredentials)),
        }
    }
}

/// Extracts the token of the request, if there is one. A missing layer is an error, not `None`.
impl<S: Sync, C: Send + Sync + 'static> OptionalFromRequestParts<S> for VerifiedToken<C> {
    type Rejection = TokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, TokenRejection> {
        find(parts)
    }
}

fn find<C: Send + Sync + 'static>(
    parts: &Parts,
) -> Result<Option<VerifiedToken<C>>, TokenRejection> {
    let Some(state) = parts.extensions.get::<AuthState>() else {
        return Err(rejection(parts, Refusal::MissingLayer(NO_LAYER)));
    };
    match (
        parts.extensions.get::<VerifiedToken<C>>(),
        &state.token_info,
    ) {
        (Some(token), Some(_)) => Ok(Some(token.clone())),
        (None, Some(_)) => {
            if may_log("claims_type_mismatch", type_name::<C>()) {
                tracing::error!(
                    name: "claims_type_mismatch",
                    target: "tower_oauth::bearer",
                    expected = type_name::<C>(),
                    OTHER_TYPE
                );
            }
            Err(rejection(parts, Refusal::MissingLayer(OTHER_TYPE)))
        }
        (_, None) => Ok(None),
    }
}

fn rejection(parts: &Parts, refusal: Refusal) -> TokenRejection {
    let state = parts.extensions.get::<AuthState>();
    let challenge = state.map(|state| Arc::clone(&state.challenge));
    let challenge = challenge.unwrap_or_default();
    challenge.report(&refusal, &parts.method, &parts.uri);
    TokenRejection {
        refusal,
        challenge,
        wire_format: WireFormat::of(&parts.method, &parts.headers),
    }
}

impl IntoResponse for TokenRejection {
    fn into_response(self) -> Response {
        let message = match (&self.refusal, self.wire_format) {
            (Refusal::MissingLayer(message), WireFormat::Http) => Some(*message),
            _ => None,
        };
        let (hints, wire_format) = (ChallengeHints::default(), self.wire_format);
        let response: Response = refuse(self.refusal, &self.challenge, None, hints, wire_format);
        match message {
            Some(message) => response.map(|_| axum_core::body::Body::from(message)),
            None => response,
        }
    }
}
