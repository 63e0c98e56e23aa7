//! What an ID token must have because of the parameter `claims` of its login, as the transaction keeps it.

use serde_json::{Map, Value};

use super::error::IdTokenError;
use crate::crypto::sha256_start;
use crate::protocol::Claims;
use crate::protocol::requested_claims::RequestedClaims;
use crate::protocol::sanitize::log_safe;
use crate::token::explanation::Explanation;

/// The claims that an ID token is checked for. Digests of names and values keep the cookie of a login short.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClaimRequirements(Vec<RequestedValue>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct RequestedValue {
    name: [u8; NAME_DIGEST],
    is_required: bool,
    values: Vec<[u8; VALUE_DIGEST]>,
}

/// 32 bits distinguish the claims of a token, and 64 bits values: the authorization server chooses both.
const NAME_DIGEST: usize = 4;
const VALUE_DIGEST: usize = 8;

/// The bit beside the number of values.
const REQUIRED: u8 = 0x80;

impl ClaimRequirements {
    pub(crate) fn of(requested: &RequestedClaims) -> Self {
        let requirements = requested.checked().map(|claim| RequestedValue {
            name: sha256_start(claim.name.as_bytes()),
            is_required: claim.is_required,
            values: claim
                .values
                .into_iter()
                // The members of objects are sorted.
                .map(|value| sha256_start(value.to_string().as_bytes()))
                .collect(),
        });
        Self(requirements.collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks the claims of a verified ID token (OpenID Connect Core §5.5.1).
    pub(crate) fn check(&self, claims: &Claims) -> Result<(), IdTokenError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let claims: Map<String, Value> = claims.deserialize().unwrap_or_default();
        self.0
            .iter()
            .try_for_each(|requirement| requirement.check(&claims))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for one in &self.0 {
            let count = u8::try_from(one.values.len()).unwrap_or_default();
            bytes.extend_from_slice(&one.name);
            bytes.push(count | if one.is_required { REQUIRED } else { 0 });
            bytes.extend_from_slice(&one.values.concat());
        }
        bytes
    }

    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut requirements = Vec::new();
        while !bytes.is_empty() {
            let (&name, rest) = bytes.split_first_chunk()?;
            let (&flags, rest) = rest.split_first()?;
            let length = usize::from(flags & !REQUIRED) * VALUE_DIGEST;
            let (values, rest) = rest.split_at_checked(length)?;
            requirements.push(RequestedValue {
                name,
                is_required: flags & REQUIRED != 0,
                values: values.as_chunks().0.to_vec(),
            });
            bytes = rest;
        }
        Some(Self(requirements))
    }
}

impl RequestedValue {
    fn check(&self, claims: &Map<String, Value>) -> Result<(), IdTokenError> {
        let mut named = claims
            .iter()
            .filter(|(name, _)| sha256_start(name.as_bytes()) == self.name);
        let found = match named.next() {
            None | Some((_, Value::Null)) if !self.is_required => return Ok(()),
            None | Some((_, Value::Null)) => "no claim with the requested name".to_owned(),
            Some((name, value)) => {
                let value = sha256_start(value.to_string().as_bytes());
                if self.values.is_empty() || self.values.contains(&value) {
                    return Ok(());
                }
                format!("another value of {}", log_safe(name))
            }
        };
        let expected = match self.values.len() {
            0 => "the claim".to_owned(),
            count => format!("one of {count} values"),
        };
        let explanation = Explanation::new(found, expected, SETTING);
        Err(IdTokenError::RequestedClaim.explained(explanation))
    }
}

const SETTING: &str = "LoginLayer::with_requested_claims, or the claims of this login";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::protocol::claims::RegisteredClaims;
    use crate::protocol::json::parse_object;

    fn requirements(claims: &Value) -> ClaimRequirements {
        ClaimRequirements::of(&RequestedClaims::parse(json!({ "id_token": claims })).unwrap())
    }

    fn claims(claims: &Value) -> Claims {
        let text: std::sync::Arc<str> = claims.to_string().into();
        let registered = RegisteredClaims::read(&parse_object(text.as_bytes()).unwrap()).unwrap();
        Claims::new(text, registered)
    }

    #[test]
    fn requested_values_and_essential_claims_are_enforced() {
        let intent = json!({"openbanking_intent_id": {"value": "i1", "essential": true}});
        let voluntary = json!({"openbanking_intent_id": {"value": "i1"}});
        let strong = json!({"acr": {"essential": true, "values": ["gold", "silver"]}});
        let wished = json!({"acr": {"values": ["gold"]}});
        for (requested, sent, is_met) in [
            (&intent, json!({"openbanking_intent_id": "i1"}), true),
            (&intent, json!({"openbanking_intent_id": "i2"}), false),
            (&intent, json!({"openbanking_intent_id": ["i1"]}), false),
            (&intent, json!({"openbanking_intent_id": null}), false),
            (&intent, json!({}), false),
            (&voluntary, json!({}), true),
            (&voluntary, json!({"openbanking_intent_id": "i2"}), false),
            (&strong, json!({"acr": "silver"}), true),
            (&strong, json!({"acr": "bronze"}), false),
            (&strong, json!({}), false),
            // §5.5.1.1: a voluntary one may have the value of the current authentication.
            (&wished, json!({"acr": "bronze"}), true),
            (&wished, json!({}), true),
            (
                &json!({"sub": {"value": "alice"}}),
                json!({"sub": "alice"}),
                true,
            ),
            (
                &json!({"sub": {"value": "alice"}}),
                json!({"sub": "Alice"}),
                false,
            ),
            (&json!({"auth_time": {"essential": true}}), json!({}), false),
            (
                &json!({"auth_time": {"essential": true}}),
                json!({"auth_time": 1}),
                true,
            ),
            (&json!({"auth_time": null}), json!({}), true),
            // The user may not have it.
            (&json!({"email": {"essential": true}}), json!({}), true),
            (&json!({"n": {"value": 1}}), json!({"n": 1}), true),
            (&json!({"n": {"value": 1}}), json!({"n": "1"}), false),
            (
                &json!({"o": {"value": {"b": 1, "a": [2]}}}),
                json!({"o": {"a": [2], "b": 1}}),
                true,
            ),
        ] {
            let requirements = requirements(requested);
            let checked = requirements.check(&claims(&sent));
            assert_eq!(checked.is_ok(), is_met, "{requested} {sent}");
            let bytes = requirements.to_bytes();
            assert_eq!(ClaimRequirements::from_bytes(&bytes), Some(requirements));
        }
    }
}
