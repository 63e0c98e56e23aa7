//! Malformed members of the metadata: which are ignored, and which a login must not ignore.

use crate::protocol::json::{Json, Object};
use crate::protocol::sanitize::log_safe;

/// A member of the metadata that is not used because of its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} of the metadata {problem}: {value}")]
pub(crate) struct MalformedMember {
    pub(crate) name: &'static str,
    problem: &'static str,
    /// The value, escaped and truncated for the log.
    value: String,
}

/// The members that raise the protection of a login. If one is malformed, a login must not proceed as if it were
/// absent: a check would be omitted. Client authentication checks its own lists.
pub(crate) const PROTECTION_OF_LOGINS: [&str; 4] = [
    CHALLENGE_METHODS,
    ISS_PARAMETER,
    REQUIRE_PUSHED_REQUESTS,
    REQUIRE_SIGNED_REQUESTS,
];

pub(crate) const ISS_PARAMETER: &str = "authorization_response_iss_parameter_supported";
pub(super) const REQUIRE_PUSHED_REQUESTS: &str = "require_pushed_authorization_requests";
pub(super) const REQUIRE_SIGNED_REQUESTS: &str = "require_signed_request_object";
/// Needed with DPoP only.
pub(crate) const DPOP_ALGORITHMS: &str = "dpop_signing_alg_values_supported";
pub(crate) const CHALLENGE_METHODS: &str = "code_challenge_methods_supported";

impl MalformedMember {
    /// Records an endpoint that requests must not be sent to.
    pub(super) fn endpoint(name: &'static str, url: &str) -> Self {
        Self {
            name,
            problem: "is not an https URL without a user name and a fragment",
            value: log_safe(url),
        }
    }
}

/// Reads optional members and records those of the wrong type.
pub(super) struct MemberReader<'a> {
    pub(super) object: &'a Object<'a>,
    pub(super) malformed: Vec<MalformedMember>,
}

impl MemberReader<'_> {
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.object.text(name).map(|text| text.map(str::to_owned));
        value.unwrap_or_else(|_| self.reject(name, "is not a string"))
    }

    pub(super) fn list(&mut self, name: &'static str) -> Option<Vec<String>> {
        let value = self.object.texts(name);
        let value = value.map(|list| list.map(|all| all.into_iter().map(str::to_owned).collect()));
        value.unwrap_or_else(|_| self.reject(name, "is not a list of strings"))
    }

    pub(super) fn flag(&mut self, name: &'static str) -> bool {
        match self.object.value(name) {
            None => false,
            Some(Json::Bool(flag)) => *flag,
            Some(_) => self.reject::<()>(name, "is not a boolean").is_some(),
        }
    }

    fn reject<T>(&mut self, name: &'static str, problem: &'static str) -> Option<T> {
        let value = self
            .object
            .member(name)
            .map_or_else(String::new, Json::describe);
        self.malformed.push(MalformedMember {
            name,
            problem,
            value,
        });
        None
    }
}
