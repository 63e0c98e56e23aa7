//! `VerifiedToken<C>` and `Option<VerifiedToken<C>>`.

use std::any::type_name;
use std::sync::Arc;

use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;

use crate::bearer::{AuthState, ChallengeHints, ChallengeParams, Refusal, WireFormat, refuse};
use crate::telemetry::may_log;
use crate::token::VerifiedToken;

/// Why there is no [`VerifiedToken`] for a handler.
#[derive(Debug)]
pub struct TokenRejection {
    refusal: Refusal,
    protection: Arc<ChallengeParams>,
    speech: WireFormat,
}

const NO_LAYER: &str = "a handler asks for VerifiedToken, but no BearerLayer is around it";
const OTHER_TYPE: &str =
    "a handler asks for VerifiedToken with other claims than its BearerLayer has";

impl<S: Sync, C: Send + Sync + 'static> FromRequestParts<S> for VerifiedToken<C> {
    type Rejection = TokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, TokenRejection> {
        match find(parts)? {
            Some(token) => Ok(token),
            None => Err(rejection(parts, Refusal::NoCredentials)),
        }
    }
}

impl<S: Sync, C: Send + Sync + 'static> OptionalFromRequestParts<S> for VerifiedToken<C> {
    type Rejection = TokenRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, TokenRejection> {
        find(parts)
    }
}

fn find<C: Send + Sync + 'static>(
    parts: &Parts,
) -> Result<Option<VerifiedToken<C>>, TokenRejection> {
    let Some(judged) = parts.extensions.get::<AuthState>() else {
        return Err(rejection(parts, Refusal::MissingLayer(NO_LAYER)));
    };
    match (
        parts.extensions.get::<VerifiedToken<C>>(),
        &judged.token_info,
    ) {
        (Some(token), Some(_)) => Ok(Some(token.clone())),
        (None, Some(_)) => {
            if may_log("other_claims", type_name::<C>()) {
                tracing::error!(
                    name: "other_claims",
                    target: "tower_oauth::bearer",
                    wanted = type_name::<C>(),
                    OTHER_TYPE
                );
            }
            Err(rejection(parts, Refusal::MissingLayer(OTHER_TYPE)))
        }
        (_, None) => Ok(None),
    }
}

fn rejection(parts: &Parts, refusal: Refusal) -> TokenRejection {
    let protection = parts
        .extensions
        .get::<AuthState>()
        .map(|judged| Arc::clone(&judged.protection));
    let protection = protection.unwrap_or_default();
    protection.tell(&refusal, &parts.method, &parts.uri);
    TokenRejection {
        refusal,
        protection,
        speech: WireFormat::of(&parts.method, &parts.headers),
    }
}

impl IntoResponse for TokenRejection {
    fn into_response(self) -> Response {
        let message = match (&self.refusal, self.speech) {
            (Refusal::MissingLayer(message), WireFormat::Http) => Some(*message),
            _ => None,
        };
        let demand = ChallengeHints::default();
        let response: Response = refuse(self.refusal, &self.protection, None, demand, self.speech);
        match message {
            Some(message) => response.map(|_| axum_core::body::Body::from(message)),
            None => response,
        }
    }
}
