//! The optional members of JSON objects that other parties send: metadata, keys, claims, token and introspection
//! responses.
//!
//! The serializers of several languages print `null`, `""` or `[]` for a member that is not set. Such a member counts
//! as absent, so that a member that this application does not need makes no document unusable. A member of the wrong
//! type is not absent. Where presence alone decides (`crit`, `cnf`, `nonce`, `events`), use
//! [`Object::member`] instead.

use super::json::{Json, Object};

/// A member has the wrong type, or is an empty identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} has the wrong type or is empty")]
pub(crate) struct InvalidMember(pub(crate) &'static str);

impl<'a> Object<'a> {
    /// Returns a member, or `None` if it is absent, `null`, `""` or `[]`.
    pub(crate) fn value(&self, name: &str) -> Option<&Json<'a>> {
        self.member(name).filter(|value| !value.is_unset())
    }

    /// Returns a member that is a string. Any other type is an error.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, InvalidMember> {
        self.value(name)
            .map(|value| value.as_str().ok_or(InvalidMember(name)))
            .transpose()
    }

    /// Returns a member that is an array of strings. Any other type is an error, also that of an element.
    pub(crate) fn texts(&self, name: &'static str) -> Result<Option<Vec<&str>>, InvalidMember> {
        self.value(name)
            .map(|value| value.as_texts().ok_or(InvalidMember(name)))
            .transpose()
    }

    /// Returns a member that identifies a user, a client, an issuer or a token.
    ///
    /// Only `null` counts as absent: an empty identifier would be equal for all whom it was sent for.
    pub(crate) fn identifier(&self, name: &'static str) -> Result<Option<&str>, InvalidMember> {
        match self.member(name) {
            None | Some(Json::Null) => Ok(None),
            Some(Json::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(InvalidMember(name)),
        }
    }
}

impl Json<'_> {
    /// Returns whether the value is what serializers print for a member that is not set.
    pub(crate) fn is_unset(&self) -> bool {
        match self {
            Self::Null => true,
            Self::String(text) => text.is_empty(),
            Self::Array(items) => items.is_empty(),
            _ => false,
        }
    }

    /// Returns the elements of an array of strings.
    pub(crate) fn as_texts(&self) -> Option<Vec<&str>> {
        self.as_array()?.iter().map(Self::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::parse_object;

    #[test]
    fn only_unset_members_are_absent_and_a_wrong_type_is_an_error() {
        let wrong = InvalidMember("a");
        for (json, text, texts, identifier) in [
            ("{}", Ok(None), Ok(None), Ok(None)),
            (r#"{"a":null}"#, Ok(None), Ok(None), Ok(None)),
            (r#"{"a":""}"#, Ok(None), Ok(None), Err(wrong)),
            (r#"{"a":[]}"#, Ok(None), Ok(None), Err(wrong)),
            (r#"{"a":"b"}"#, Ok(Some("b")), Err(wrong), Ok(Some("b"))),
            (r#"{"a":" "}"#, Ok(Some(" ")), Err(wrong), Ok(Some(" "))),
            (
                r#"{"a":["b"]}"#,
                Err(wrong),
                Ok(Some(vec!["b"])),
                Err(wrong),
            ),
            (r#"{"a":[""]}"#, Err(wrong), Ok(Some(vec![""])), Err(wrong)),
            (r#"{"a":["b",null]}"#, Err(wrong), Err(wrong), Err(wrong)),
            (r#"{"a":[[]]}"#, Err(wrong), Err(wrong), Err(wrong)),
            (r#"{"a":{}}"#, Err(wrong), Err(wrong), Err(wrong)),
            (r#"{"a":0}"#, Err(wrong), Err(wrong), Err(wrong)),
            (r#"{"a":false}"#, Err(wrong), Err(wrong), Err(wrong)),
        ] {
            let object = parse_object(json.as_bytes()).unwrap();
            assert_eq!(object.text("a"), text, "{json}");
            assert_eq!(object.texts("a"), texts, "{json}");
            assert_eq!(object.identifier("a"), identifier, "{json}");
        }
    }
}
