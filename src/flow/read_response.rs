//! Reads the authorization response in the mode that was requested.

use super::error::FlowError;
use super::settings::Flow;
use crate::crypto::base64url;
use crate::protocol::State;
use crate::protocol::authorization_response::{
    AuthorizationResponse, InvalidAuthorizationResponse, response_jwt,
};
use crate::protocol::json::parse_object;
use crate::token::response_jwt::{self as jwt, ResponseJwtError};

impl Flow {
    /// Reads the query or the form of a callback. A response in another mode than the requested one is an error: it did
    /// not come from the authorization server, or without the protection that was asked for.
    ///
    /// A signed response is verified here, and may have to wait for the keys. `has_login` is whether the browser has a
    /// login in progress: without one, an unknown key is not fetched. A plain response causes no request.
    pub(crate) async fn read_response(
        &self,
        parameters: &str,
        has_login: bool,
    ) -> Result<AuthorizationResponse, FlowError> {
        if !self.response_mode().is_signed() {
            let response = AuthorizationResponse::parse(parameters);
            return response.map_err(|error| self.explain_mode(error));
        }
        let compact = response_jwt(parameters).map_err(|error| self.explain_mode(error))?;
        let client_id = self.client.id();
        let settings = self.id_tokens();
        let response = jwt::verify(&self.server, &compact, client_id, settings, has_login);
        response.await.map_err(FlowError::from)
    }

    /// Returns the `state` of a response that was not accepted. It is not authenticated: use it only to offer a page to
    /// continue at.
    pub(crate) fn unverified_state(&self, parameters: &str) -> Option<State> {
        if !self.response_mode().is_signed() {
            let response = AuthorizationResponse::parse(parameters).ok()?;
            return Some(response.state().clone());
        }
        let compact = response_jwt(parameters).ok()?;
        let claims = base64url::decode(compact.split('.').nth(1)?)?;
        let claims = parse_object(&claims).ok()?;
        claims.string("state").ok().flatten().map(State::new)
    }

    /// Returns an error if [`read_response`](Self::read_response) would, as far as that can be told without keys.
    pub(crate) fn check_response(&self, parameters: &str) -> Result<(), FlowError> {
        let checked = match self.response_mode().is_signed() {
            true => response_jwt(parameters).map(|_| ()),
            false => AuthorizationResponse::parse(parameters).map(|_| ()),
        };
        checked.map_err(|error| self.explain_mode(error))
    }

    /// Names the setting of the response mode if the response has another one.
    fn explain_mode(&self, error: InvalidAuthorizationResponse) -> FlowError {
        match error {
            InvalidAuthorizationResponse::Mode => self.other_response_mode(&error.to_string()),
            _ => error.into(),
        }
    }

    /// The response came in another mode than the requested one.
    pub(crate) fn other_response_mode(&self, found: &str) -> FlowError {
        let expected = self.response_mode().name().unwrap_or("query");
        FlowError::request(
            "response_mode_mismatch",
            format!("{found}, expected {expected}; see `LoginLayer::with_response_mode`"),
        )
    }
}

impl From<ResponseJwtError> for FlowError {
    fn from(error: ResponseJwtError) -> Self {
        let code = match &error {
            ResponseJwtError::Unavailable(unavailable) => {
                return Self::without_document(
                    unavailable,
                    "keys_unavailable",
                    "keys_configuration",
                );
            }
            ResponseJwtError::Encrypted => "response_jwt_encrypted",
            ResponseJwtError::Response(invalid) => Self::from(*invalid).code(),
            ResponseJwtError::Audience(_) => "response_jwt_audience",
            ResponseJwtError::Token(_) | ResponseJwtError::Explained { .. } => "response_jwt",
        };
        Self::request(code, format!("the response JWT was rejected: {error}"))
    }
}
