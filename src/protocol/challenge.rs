//! The `WWW-Authenticate` field, RFC 9110 §11.6.1 and RFC 6750 §3.

use std::fmt::Write;

use http::HeaderValue;

use super::error_code::BearerErrorCode;
use super::scope::ScopeSet;

/// A challenge of the scheme `Bearer`.
///
/// Everything in it comes from the configuration or from a fixed set: nothing a caller sent is ever
/// repeated (`A18`, `C9`).
#[derive(Clone, Debug)]
pub(crate) struct Challenge<'a> {
    pub(crate) realm: &'a Realm,
    pub(crate) error: Option<(BearerErrorCode, &'static str)>,
    pub(crate) scope: Option<&'a ScopeSet>,
}

/// The name of a protection space, in characters that need no escape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Realm(std::sync::Arc<str>);

impl Realm {
    /// `None` for an empty name and for characters that would need an escape.
    pub(crate) fn new(realm: &str) -> Option<Self> {
        let plain = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        (!realm.is_empty() && realm.bytes().all(plain)).then(|| Self(realm.into()))
    }
}

impl Default for Realm {
    fn default() -> Self {
        Self("api".into())
    }
}

impl Challenge<'_> {
    /// The field's value. There is always one parameter, since a bare scheme breaks the grammar of
    /// RFC 6750 §3, and each at most once.
    pub(crate) fn to_header_value(&self) -> HeaderValue {
        let mut text = format!("Bearer realm=\"{}\"", self.realm.0);
        if let Some((code, description)) = self.error {
            let _ = write!(text, ", error=\"{}\"", code.as_str());
            let _ = write!(text, ", error_description=\"{description}\"");
        }
        if let Some(scope) = self.scope.filter(|scope| !scope.is_empty()) {
            let _ = write!(text, ", scope=\"{scope}\"");
        }
        // Every part was checked to be printable ASCII where it was configured.
        HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("Bearer realm=\"api\""))
    }
}
