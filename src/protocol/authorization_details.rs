//! Authorization details (RFC 9396 §2): what a token permits, more precisely than a scope can say it.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::json::parse_object;

/// Limit on the details of one request, token or response.
const MAX_DETAILS: usize = 64;

/// Limit on the JSON text of the details that a login requests, in bytes: they are part of a URL, unless the request is
/// pushed (RFC 9126).
const MAX_REQUESTED: usize = 4096;

/// Authorization details: a list of objects, each with a `type` ([RFC 9396 §2]).
///
/// [`VerifiedToken::authorization_details`](crate::VerifiedToken::authorization_details) has those of an access token that
/// are meant for this API, [`Session::authorization_details`](crate::Session::authorization_details) those that a user
/// granted at the login. Cloning is cheap. The `Debug` output shows types only.
///
/// [RFC 9396 §2]: https://www.rfc-editor.org/rfc/rfc9396#section-2
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AuthorizationDetails(Arc<[AuthorizationDetail]>);

/// One of the [`AuthorizationDetails`]. The `Debug` output shows the type only.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorizationDetail(Map<String, Value>);

/// Authorization details are malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InvalidAuthorizationDetails(pub(crate) &'static str);

/// The member of a JSON object that has authorization details. Other members are skipped.
#[derive(Deserialize)]
struct DetailsMember {
    /// `None` for `null` as well.
    authorization_details: Option<Value>,
}

impl AuthorizationDetails {
    /// Returns the details in the order of the document.
    pub fn iter(&self) -> impl Iterator<Item = &AuthorizationDetail> {
        self.0.iter()
    }

    /// Returns the details of one type, compared byte for byte.
    pub fn of_type(&self, detail_type: &str) -> impl Iterator<Item = &AuthorizationDetail> {
        self.iter()
            .filter(move |detail| detail.detail_type() == detail_type)
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the details as a JSON array.
    pub fn to_json(&self) -> String {
        let details = self.iter().map(|detail| Value::Object(detail.0.clone()));
        Value::Array(details.collect()).to_string()
    }

    /// Checks the details of an authorization request: at least one, and at most 4 KiB of JSON.
    pub(crate) fn for_request(details: Value) -> Result<Self, InvalidAuthorizationDetails> {
        let checked = Self::from_value(details)?;
        let text = checked.to_json();
        if checked.is_empty() || text.len() > MAX_REQUESTED {
            return Err(InvalidAuthorizationDetails(
                "there must be at least one, and at most 4 KiB of JSON",
            ));
        }
        // The nesting is limited as that of all other documents.
        let document = format!("{{\"authorization_details\":{text}}}");
        match parse_object(document.as_bytes()) {
            Ok(_) => Ok(checked),
            Err(_) => Err(InvalidAuthorizationDetails("they are nested too deeply")),
        }
    }

    /// Reads the member `authorization_details` of a JSON object that was parsed strictly before. `None` means that it is
    /// absent.
    pub(crate) fn of_document(text: &[u8]) -> Result<Option<Self>, InvalidAuthorizationDetails> {
        let document: DetailsMember =
            serde_json::from_slice(text).map_err(|_| InvalidAuthorizationDetails(NOT_A_LIST))?;
        document
            .authorization_details
            .map(Self::from_value)
            .transpose()
    }

    /// Reads what [`to_json`](Self::to_json) returned.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        Self::from_value(serde_json::from_str(text).ok()?).ok()
    }

    fn from_value(details: Value) -> Result<Self, InvalidAuthorizationDetails> {
        let Value::Array(details) = details else {
            return Err(InvalidAuthorizationDetails(NOT_A_LIST));
        };
        if details.len() > MAX_DETAILS {
            return Err(InvalidAuthorizationDetails("there are more than 64"));
        }
        let details = details.into_iter().map(AuthorizationDetail::from_value);
        details.collect::<Result<Arc<[_]>, _>>().map(Self)
    }

    /// Returns these details followed by those of `other`.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self(self.iter().chain(other.iter()).cloned().collect())
    }

    /// Returns the details that are valid at a location that `is_here` accepts: those that name it, and those that name
    /// none (RFC 9396 §2.2).
    pub(crate) fn at(&self, is_here: impl Fn(&str) -> bool) -> Self {
        let is_meant = |detail: &&AuthorizationDetail| match detail.locations() {
            None => true,
            Some(locations) => locations.into_iter().any(&is_here),
        };
        Self(self.iter().filter(is_meant).cloned().collect())
    }
}

impl AuthorizationDetail {
    /// Returns `type`, which determines what the other members mean.
    pub fn detail_type(&self) -> &str {
        self.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns a member by name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Deserializes the detail, `type` included, into a type of the application.
    ///
    /// # Errors
    ///
    /// Returns the error of `serde_json` if the members do not match the type.
    pub fn deserialize<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        T::deserialize(Value::Object(self.0.clone()))
    }

    fn from_value(detail: Value) -> Result<Self, InvalidAuthorizationDetails> {
        let Value::Object(members) = detail else {
            return Err(InvalidAuthorizationDetails(NOT_A_LIST));
        };
        // RFC 9396 §2: required.
        let detail_type = members.get("type").and_then(Value::as_str);
        if detail_type.is_none_or(str::is_empty) {
            return Err(InvalidAuthorizationDetails(
                "each must have a `type`, which is a string",
            ));
        }
        let detail = Self(members);
        // RFC 9396 §2.2. A malformed list must not count as an absent one.
        if detail.get("locations").is_some() && detail.locations().is_none() {
            return Err(InvalidAuthorizationDetails(
                "`locations` must be an array of strings",
            ));
        }
        Ok(detail)
    }

    fn locations(&self) -> Option<Vec<&str>> {
        let locations = self.get("locations")?.as_array()?;
        locations.iter().map(Value::as_str).collect()
    }
}

impl fmt::Debug for AuthorizationDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Debug for AuthorizationDetail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationDetail")
            .field("type", &self.detail_type())
            .finish_non_exhaustive()
    }
}

/// The name of the parameter, of the claim and of the member of responses.
pub(crate) const MEMBER: &str = "authorization_details";

const NOT_A_LIST: &str = "they must be an array of objects";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_an_array_of_objects_with_a_type_is_accepted() {
        let deep = (0..20).fold(json!(1), |inner, _| json!([inner]));
        for (details, request, document) in [
            (json!([{"type": "a"}]), true, true),
            (
                json!([{"type": "a", "locations": ["x"]}, {"type": "a"}]),
                true,
                true,
            ),
            (json!([]), false, true),
            (json!({"type": "a"}), false, false),
            (json!([{"type": ""}]), false, false),
            (json!([{"type": 1}]), false, false),
            (json!([{}]), false, false),
            (json!(["a"]), false, false),
            (json!("a"), false, false),
            (json!([{"type": "a", "locations": "x"}]), false, false),
            (json!([{"type": "a", "locations": ["x", 1]}]), false, false),
            (json!([{"type": "a", "locations": null}]), false, false),
            (json!(vec![json!({"type": "a"}); 65]), false, false),
            (
                json!([{"type": "a", "long": "x".repeat(4096)}]),
                false,
                true,
            ),
            (json!([{"type": "a", "deep": deep}]), false, true),
        ] {
            let text = json!({ "authorization_details": details }).to_string();
            let read = AuthorizationDetails::of_document(text.as_bytes());
            assert_eq!(read.is_ok(), document, "{text:.80}");
            if let Ok(Some(read)) = read {
                assert_eq!(AuthorizationDetails::from_json(&read.to_json()), Some(read));
            }
            let checked = AuthorizationDetails::for_request(details);
            assert_eq!(checked.is_ok(), request, "{text:.80}");
        }
        assert_eq!(AuthorizationDetails::of_document(b"{}"), Ok(None));
    }

    #[test]
    fn the_debug_output_shows_types_only() {
        let details =
            AuthorizationDetails::for_request(json!([{"type": "payment", "iban": "DE1"}]));
        let shown = format!("{:?}", details.unwrap());
        assert_eq!(shown, "[AuthorizationDetail { type: \"payment\", .. }]");
    }
}
