//! The parameter `claims` of an authorization request (OpenID Connect Core §5.5).

use std::fmt;

use serde_json::{Map, Value};

use super::json::parse_object;

/// Limit on the JSON text, in bytes: it is part of a URL, unless the request is pushed (RFC 9126).
const MAX_TEXT: usize = 4096;

/// Limits on what the ID token is checked for, which a cookie of the login keeps: claims, and values of all of them.
const MAX_CHECKED: usize = 4;
const MAX_VALUES: usize = 6;
const MAX_NAME: usize = 64;

/// The claims that a login requests by name, in the ID token and from the userinfo endpoint.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct RequestedClaims {
    id_token: Map<String, Value>,
    userinfo: Map<String, Value>,
}

/// What the ID token must have because of the request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CheckedClaim<'a> {
    pub(crate) name: &'a str,
    /// Whether it must be present.
    pub(crate) is_required: bool,
    /// Its permitted values, or none if every value is.
    pub(crate) values: Vec<&'a Value>,
}

/// The requested claims are malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InvalidRequestedClaims(pub(crate) &'static str);

impl RequestedClaims {
    pub(crate) fn parse(claims: Value) -> Result<Self, InvalidRequestedClaims> {
        let Value::Object(members) = claims else {
            return Err(InvalidRequestedClaims(SHAPE));
        };
        let mut parsed = Self::default();
        for (name, value) in members {
            let Value::Object(requested) = value else {
                return Err(InvalidRequestedClaims(SHAPE));
            };
            for (claim, request) in &requested {
                check_request(claim, request)?;
            }
            match name.as_str() {
                "id_token" => parsed.id_token = requested,
                "userinfo" => parsed.userinfo = requested,
                _ => return Err(InvalidRequestedClaims(SHAPE)),
            }
        }
        let text = parsed.to_json();
        if parsed.is_empty() || text.len() > MAX_TEXT || parse_object(text.as_bytes()).is_err() {
            return Err(InvalidRequestedClaims(
                "there must be at least one claim, and at most 4 KiB of JSON, not nested too deeply",
            ));
        }
        let values: usize = parsed.checked().map(|claim| claim.values.len()).sum();
        if parsed.checked().count() > MAX_CHECKED || values > MAX_VALUES {
            return Err(InvalidRequestedClaims(
                "at most 4 claims of the ID token may be requested with values, which are at most 6 in total",
            ));
        }
        Ok(parsed)
    }

    /// Reads what [`to_json`](Self::to_json) returned.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        Self::parse(serde_json::from_str(text).ok()?).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.id_token.is_empty() && self.userinfo.is_empty()
    }

    /// Returns the value of the parameter.
    pub(crate) fn to_json(&self) -> String {
        let mut document = Map::new();
        for (name, claims) in [("id_token", &self.id_token), ("userinfo", &self.userinfo)] {
            if !claims.is_empty() {
                document.insert(name.to_owned(), Value::Object(claims.clone()));
            }
        }
        Value::Object(document).to_string()
    }

    /// Returns these claims and those of `other`, whose requests replace those of the same name.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let merged = |mine: &Map<String, Value>, others: &Map<String, Value>| {
            let all = mine.iter().chain(others);
            all.map(|(name, request)| (name.clone(), request.clone()))
                .collect()
        };
        Self {
            id_token: merged(&self.id_token, &other.id_token),
            userinfo: merged(&self.userinfo, &other.userinfo),
        }
    }

    /// Returns what the ID token must have (OpenID Connect Core §5.5.1):
    ///
    /// - a claim with values has one of them if it is present, and is present if it is essential;
    /// - `acr` may have another value, or none, unless it is essential (§5.5.1.1);
    /// - `auth_time` is present if it is essential (§2).
    ///
    /// Another essential claim may be missing: the user may not have it, or not release it.
    pub(crate) fn checked(&self) -> impl Iterator<Item = CheckedClaim<'_>> {
        self.id_token.iter().filter_map(|(name, request)| {
            let is_essential = request.get("essential") == Some(&Value::Bool(true));
            let values: Vec<&Value> = match (request.get("value"), request.get("values")) {
                (Some(value), _) => vec![value],
                (None, Some(values)) => values.as_array()?.iter().collect(),
                (None, None) => Vec::new(),
            };
            let is_checked = match name.as_str() {
                "acr" => is_essential && !values.is_empty(),
                "auth_time" => is_essential || !values.is_empty(),
                _ => !values.is_empty(),
            };
            is_checked.then_some(CheckedClaim {
                name,
                is_required: is_essential,
                values,
            })
        })
    }
}

/// Checks the request for one claim: `null`, or an object whose known members have the types of §5.5.1.
fn check_request(claim: &str, request: &Value) -> Result<(), InvalidRequestedClaims> {
    let none = Map::new();
    let members = match request {
        Value::Null => &none,
        Value::Object(members) => members,
        _ => return Err(InvalidRequestedClaims(SHAPE)),
    };
    let is_flag = members.get("essential").is_none_or(Value::is_boolean);
    let is_list = members.get("values").is_none_or(|values| {
        let values = values.as_array();
        values.is_some_and(|values| !values.is_empty())
    });
    let is_one = !(members.contains_key("value") && members.contains_key("values"));
    if !is_flag || !is_list || !is_one || claim.is_empty() || claim.len() > MAX_NAME {
        return Err(InvalidRequestedClaims(
            "a claim has at most `essential`, a boolean, and either `value` or `values`, an array that is not empty; its \
             name has at most 64 bytes",
        ));
    }
    Ok(())
}

/// Shows the names of the claims.
impl fmt::Debug for RequestedClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |claims: &Map<String, Value>| claims.keys().cloned().collect::<Vec<_>>();
        f.debug_struct("RequestedClaims")
            .field("id_token", &names(&self.id_token))
            .field("userinfo", &names(&self.userinfo))
            .finish()
    }
}

const SHAPE: &str = "it must be an object with `id_token`, `userinfo` or both; each of them must be an object whose \
                     members are `null` or objects";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_members_of_the_specification_are_accepted() {
        let many: Map<String, Value> = (0..5)
            .map(|n| (format!("c{n}"), json!({"value": n})))
            .collect();
        for (claims, accepted) in [
            (json!({"id_token": {"acr": null}}), true),
            (
                json!({"userinfo": {"email": {"essential": true, "purpose": "x"}}}),
                true,
            ),
            (
                json!({"id_token": {"sub": {"value": "a"}}, "userinfo": {}}),
                true,
            ),
            (json!({}), false),
            (json!({"id_token": {}}), false),
            (json!({"id_token": null}), false),
            (json!({"id_token": {"acr": "gold"}}), false),
            (json!({"access_token": {"acr": null}}), false),
            (json!({"id_token": {"acr": {"essential": "true"}}}), false),
            (json!({"id_token": {"acr": {"values": []}}}), false),
            (json!({"id_token": {"acr": {"values": "gold"}}}), false),
            (
                json!({"id_token": {"acr": {"value": 1, "values": [1]}}}),
                false,
            ),
            (json!({"id_token": {"": null}}), false),
            (
                json!({"id_token": {"x": {"value": "x".repeat(4096)}}}),
                false,
            ),
            (json!({"id_token": many}), false),
            (
                json!({"id_token": {"a": {"values": [1, 2, 3, 4, 5, 6]}}}),
                true,
            ),
            (
                json!({"id_token": {"a": {"values": [1, 2, 3, 4, 5, 6, 7]}}}),
                false,
            ),
            (json!([]), false),
            (json!("{}"), false),
        ] {
            let parsed = RequestedClaims::parse(claims.clone());
            assert_eq!(parsed.is_ok(), accepted, "{claims:.80}");
        }
    }

    #[test]
    fn a_login_adds_to_the_claims_of_every_login() {
        let every = json!({"id_token": {"acr": null, "sub": {"value": "a"}}});
        let one = json!({"id_token": {"acr": {"essential": true}}, "userinfo": {"email": null}});
        let parse = |claims| RequestedClaims::parse(claims).unwrap();
        let both = parse(every).and(&parse(one));
        assert_eq!(
            serde_json::from_str::<Value>(&both.to_json()).unwrap(),
            json!({
                "id_token": {"acr": {"essential": true}, "sub": {"value": "a"}},
                "userinfo": {"email": null},
            })
        );
        let shown = format!("{both:?}");
        assert!(
            shown.contains("email") && !shown.contains("value"),
            "{shown}"
        );
    }
}
