//! Challenges of the `WWW-Authenticate` field (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3,
//! RFC 9728 §5.1).

use std::fmt::Write;

use http::HeaderValue;

use super::credentials::Scheme;
use super::scope::ScopeSet;

/// A challenge of one scheme. A response has one field line for each challenge.
///
/// All values come from the configuration or from a fixed set. Values that a caller sent are never repeated,
/// so a caller cannot inject parameters or header fields.
#[derive(Clone, Debug)]
pub(crate) struct Challenge<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) realm: &'a Realm,
    pub(crate) error: Option<(BearerErrorCode, &'static str)>,
    pub(crate) scope: Option<&'a ScopeSet>,
    /// The authentication context classes that a step-up requires, space-separated (RFC 9470 §3).
    pub(crate) acr_values: Option<&'a str>,
    /// In seconds.
    pub(crate) max_age: Option<u64>,
    /// The algorithms of DPoP proofs, space-separated.
    pub(crate) algorithms: Option<&'a str>,
    pub(crate) resource_metadata: Option<&'a str>,
}

/// The name of a protection space (RFC 9110 §11.5), in characters that need no escape in a quoted string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Realm(std::sync::Arc<str>);

impl Realm {
    /// Returns `None` if the name is empty or has a character that needs an escape.
    pub(crate) fn new(realm: &str) -> Option<Self> {
        (!realm.is_empty() && is_plain(realm)).then(|| Self(realm.into()))
    }
}

impl Default for Realm {
    fn default() -> Self {
        Self("api".into())
    }
}

/// Returns whether a text needs no escape in a quoted string: printable ASCII without quote and backslash.
pub(crate) fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    text.bytes().all(plain)
}

impl Challenge<'_> {
    /// Returns the value of the field. Each parameter appears at most once, and there is always one, since the
    /// grammar of RFC 6750 §3 requires it.
    pub(crate) fn to_header_value(&self) -> HeaderValue {
        let mut text = format!("{} realm=\"{}\"", self.scheme.as_str(), self.realm.0);
        let mut add = |name: &str, value: &str| {
            let _ = write!(text, ", {name}=\"{value}\"");
        };
        if let Some((code, description)) = self.error {
            add("error", code.as_str());
            add("error_description", description);
        }
        if let Some(scope) = self.scope.filter(|scope| !scope.is_empty()) {
            add("scope", &scope.to_string());
        }
        if let Some(acr_values) = self.acr_values {
            add("acr_values", acr_values);
        }
        if let Some(max_age) = self.max_age {
            add("max_age", &max_age.to_string());
        }
        if let Some(algorithms) = self.algorithms {
            add("algs", algorithms);
        }
        if let Some(url) = self.resource_metadata {
            add("resource_metadata", url);
        }
        // Every part was checked to be printable ASCII when it was configured.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer realm=\"api\""))
    }
}

/// The error code of a challenge that a resource server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BearerErrorCode {
    /// `invalid_request`: the request is malformed. Status 400 (RFC 6750 §3.1).
    InvalidRequest,
    /// `invalid_token`: the token is expired, revoked, malformed or issued for another audience. Status 401
    /// (RFC 6750 §3.1).
    InvalidToken,
    /// `insufficient_scope`: the token is valid but lacks a required scope. Status 403 (RFC 6750 §3.1).
    InsufficientScope,
    /// `invalid_dpop_proof`: the DPoP proof is invalid. Status 401 (RFC 9449 §7.1).
    InvalidDpopProof,
    /// `use_dpop_nonce`: the DPoP proof must contain the nonce of this response. Status 401 (RFC 9449 §9).
    UseDpopNonce,
    /// `insufficient_user_authentication`: the authentication is too old or too weak. Status 401
    /// (RFC 9470 §3).
    InsufficientUserAuthentication,
}

impl BearerErrorCode {
    /// Returns the code as it is sent in a challenge.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InsufficientUserAuthentication => "insufficient_user_authentication",
        }
    }
}
