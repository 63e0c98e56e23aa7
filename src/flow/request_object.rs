//! Signed request objects (RFC 9101): the parameters of an authorization request as the claims of a JWT.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::error::{FlowError, FlowErrorKind};
use super::settings::Flow;
use crate::clock::{seconds_after, unix_seconds};
use crate::crypto::SigningKey;
use crate::protocol::authorization_request::AuthorizationRequest;
use crate::random::RandomError;

/// RFC 9101 §10.8: tells a request object from every other JWT that the key signs.
const MEDIA_TYPE: &str = "oauth-authz-req+jwt";

/// How long an object is valid. The browser sends it to the server immediately.
const LIFETIME: Duration = Duration::from_secs(300);

/// The claims of the JWT itself. `sub` is never there: an object whose `sub` is the client id could be taken for a client
/// assertion (RFC 9101 §10.8).
const CLAIMS_OF_JWT: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

impl Flow {
    /// Returns a new request object with all parameters of `request`, for this authorization server and for five minutes.
    pub(super) fn request_object(
        &self,
        key: &SigningKey,
        request: &AuthorizationRequest,
    ) -> Result<String, FlowError> {
        let now = unix_seconds(&**self.clock());
        let mut claims = Map::new();
        for (name, value) in request.parameters() {
            add_claim(&mut claims, name, value);
        }
        let of_jwt = [
            ("iss", json!(self.client.id())),
            // A string: some servers accept no list.
            ("aud", json!(self.server.issuer())),
            ("exp", json!(seconds_after(now, LIFETIME))),
            ("nbf", json!(now)),
            ("iat", json!(now)),
            ("jti", json!(self.random_string()?)),
        ];
        claims.extend(of_jwt.map(|(name, value)| (name.to_owned(), value)));
        let object = key.sign(MEDIA_TYPE, &Value::Object(claims));
        object.ok_or_else(|| RandomError.into())
    }

    /// Rejects configured parameters with the names of claims that the object has already.
    pub(super) fn check_claim_names(&self) -> Result<(), FlowError> {
        let mut names = self.parameters.iter().map(|(name, _)| name.as_str());
        match names.find(|name| CLAIMS_OF_JWT.contains(name)) {
            None => Ok(()),
            Some(name) => Err(FlowError::new(
                FlowErrorKind::Configuration,
                "request_object_parameter",
                format!(
                    "the parameter `{name}` of `LoginLayer::with_authorization_parameter` cannot be in a signed request: \
                     the claim has another meaning there"
                ),
            )),
        }
    }
}

/// Adds a parameter as the claim that it is in an object: numbers and JSON texts are not strings there (RFC 9101 §4,
/// OpenID Connect Core §6.1), and several values are a list.
fn add_claim(claims: &mut Map<String, Value>, name: &str, value: &str) {
    let value = match name {
        "max_age" | "claims" | "authorization_details" => {
            serde_json::from_str(value).unwrap_or_else(|_| json!(value))
        }
        _ => json!(value),
    };
    match claims.get_mut(name) {
        None => {
            claims.insert(name.to_owned(), value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(first) => {
            let values = vec![first.take(), value];
            *first = Value::Array(values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_json_and_repeated_parameters_have_their_types_in_the_object() {
        let mut claims = Map::new();
        for (name, value) in [
            ("scope", "openid 7"),
            ("state", "7"),
            ("max_age", "0"),
            ("claims", r#"{"id_token":{"acr":null}}"#),
            ("authorization_details", r#"[{"type":"payment"}]"#),
            ("resource", "https://one.example"),
            ("resource", "https://two.example"),
            ("resource", "https://three.example"),
            ("audience", "{}"),
        ] {
            add_claim(&mut claims, name, value);
        }
        assert_eq!(
            Value::Object(claims),
            json!({
                "scope": "openid 7", "state": "7", "max_age": 0,
                "claims": { "id_token": { "acr": null } },
                "authorization_details": [{ "type": "payment" }],
                "resource": ["https://one.example", "https://two.example", "https://three.example"],
                "audience": "{}",
            })
        );
    }
}
