//! The `WWW-Authenticate` field, RFC 9110 §11.6.1: RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3, RFC 9728 §5.1.

use std::fmt::Write;

use http::HeaderValue;

use super::credentials::Scheme;
use super::error_code::BearerErrorCode;
use super::scope::ScopeSet;

/// A challenge of one scheme; a response has a field line for each.
///
/// Everything in it comes from the configuration or from a fixed set: nothing a caller sent is ever
/// repeated (`A18`, `C9`).
#[derive(Clone, Debug)]
pub(crate) struct Challenge<'a> {
    pub(crate) scheme: Scheme,
    pub(crate) realm: &'a Realm,
    pub(crate) error: Option<(BearerErrorCode, &'static str)>,
    pub(crate) scope: Option<&'a ScopeSet>,
    /// What a step-up asks for, space-separated (`C11`).
    pub(crate) acr_values: Option<&'a str>,
    /// In seconds.
    pub(crate) max_age: Option<u64>,
    /// The algorithms of DPoP proofs, space-separated.
    pub(crate) algorithms: Option<&'a str>,
    pub(crate) resource_metadata: Option<&'a str>,
}

/// The name of a protection space, in characters that need no escape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Realm(std::sync::Arc<str>);

impl Realm {
    /// `None` for an empty name and for characters that would need an escape.
    pub(crate) fn new(realm: &str) -> Option<Self> {
        (!realm.is_empty() && is_plain(realm)).then(|| Self(realm.into()))
    }
}

impl Default for Realm {
    fn default() -> Self {
        Self("api".into())
    }
}

/// Whether a text can stand in a quoted string as it is: printable ASCII without quote and backslash.
pub(crate) fn is_plain(text: &str) -> bool {
    let plain = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    text.bytes().all(plain)
}

impl Challenge<'_> {
    /// The field's value. There is always one parameter, since a bare scheme breaks the grammar of
    /// RFC 6750 §3, and each at most once.
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
        // Every part was checked to be printable ASCII where it was configured.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer realm=\"api\""))
    }
}
