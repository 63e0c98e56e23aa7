//! The optional members of the document, [RFC 9728 §2].
//!
//! [RFC 9728 §2]: https://www.rfc-editor.org/rfc/rfc9728#section-2

use serde_json::Value;

use super::document::ResourceMetadata;
use crate::ConfigError;
use crate::crypto::Algorithm;
use crate::protocol::ScopeSet;

/// A method of sending a token to a resource ([RFC 6750 §2]). Query parameters are not supported.
///
/// [RFC 6750 §2]: https://www.rfc-editor.org/rfc/rfc6750#section-2
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BearerMethod {
    /// In the `Authorization` header.
    Header,
    /// As `access_token` in a form body; see [`FormTokenLayer`](crate::bearer::FormTokenLayer).
    Body,
}

/// The members that [`ResourceMetadata`] has methods for, which a custom member must not contradict.
const RESERVED: [&str; 7] = [
    "resource",
    "authorization_servers",
    "bearer_methods_supported",
    "scopes_supported",
    "dpop_signing_alg_values_supported",
    "dpop_bound_access_tokens_required",
    "tls_client_certificate_bound_access_tokens",
];

impl ResourceMetadata {
    /// Sets `scopes_supported`, the scopes of this resource (space-separated).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] if a value is not a scope, or is `offline_access`: refresh tokens are a matter between the
    /// client and the authorization server.
    pub fn with_scopes(mut self, scopes: &str) -> Result<Self, ConfigError> {
        let set = resource_scopes(scopes)?;
        self.set("scopes_supported", set.iter().collect::<Vec<_>>().into());
        Ok(self)
    }

    /// Sets `bearer_methods_supported`. The default is the header alone.
    #[must_use]
    pub fn with_bearer_methods(mut self, methods: impl IntoIterator<Item = BearerMethod>) -> Self {
        let name = |method| match method {
            BearerMethod::Header => "header",
            BearerMethod::Body => "body",
        };
        let names: Vec<_> = methods.into_iter().map(name).collect();
        self.set("bearer_methods_supported", names.into());
        self
    }

    /// Sets `dpop_signing_alg_values_supported`, the accepted algorithms of DPoP proofs.
    #[must_use]
    pub fn with_dpop_algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let names: Vec<_> = algorithms.into_iter().map(Algorithm::name).collect();
        self.set("dpop_signing_alg_values_supported", names.into());
        self
    }

    /// Sets `dpop_bound_access_tokens_required`: only DPoP-bound tokens are accepted.
    #[must_use]
    pub fn with_dpop_required(mut self) -> Self {
        self.set("dpop_bound_access_tokens_required", true.into());
        self
    }

    /// Sets `tls_client_certificate_bound_access_tokens`: certificate-bound tokens are accepted.
    #[must_use]
    pub fn with_mtls(mut self) -> Self {
        self.set("tls_client_certificate_bound_access_tokens", true.into());
        self
    }

    /// Sets `resource_name`, a human-readable name. Add other languages with [`with_member`](Self::with_member), such as
    /// `resource_name#de`.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        self.set("resource_name", name.into());
        self
    }

    /// Sets `resource_documentation`, the URL of the documentation for developers.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless it is an http or https URL.
    pub fn with_documentation(self, url: &str) -> Result<Self, ConfigError> {
        self.with_page("resource_documentation", url)
    }

    /// Sets `resource_policy_uri`, the URL of the requirements on the use of the data.
    ///
    /// # Errors
    ///
    /// As [`with_documentation`](Self::with_documentation).
    pub fn with_policy(self, url: &str) -> Result<Self, ConfigError> {
        self.with_page("resource_policy_uri", url)
    }

    /// Sets `resource_tos_uri`, the URL of the terms of service.
    ///
    /// # Errors
    ///
    /// As [`with_documentation`](Self::with_documentation).
    pub fn with_terms_of_service(self, url: &str) -> Result<Self, ConfigError> {
        self.with_page("resource_tos_uri", url)
    }

    /// Sets any other member.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if there is another method for the member, or if the value is empty: empty members must
    /// be omitted ([RFC 9728 §3.2](https://www.rfc-editor.org/rfc/rfc9728#section-3.2)).
    pub fn with_member(mut self, name: &str, value: impl Into<Value>) -> Result<Self, ConfigError> {
        let value = value.into();
        let invalid = |reason| ConfigError::Setting {
            setting: "member",
            value: name.to_owned(),
            reason,
        };
        if RESERVED.contains(&name) {
            return Err(invalid("it is set by another method of `ResourceMetadata`"));
        }
        if name.is_empty() || is_empty(&value) {
            return Err(invalid("name and value must not be empty"));
        }
        self.set(name, value);
        Ok(self)
    }

    fn with_page(mut self, member: &'static str, page: &str) -> Result<Self, ConfigError> {
        let is_page = |url: &url::Url| matches!(url.scheme(), "http" | "https");
        if !url::Url::parse(page).is_ok_and(|url| is_page(&url)) {
            return Err(ConfigError::Url {
                setting: member,
                value: page.to_owned(),
                reason: "it must be an http or https URL",
            });
        }
        self.set(member, page.into());
        Ok(self)
    }

    /// RFC 9728 §3.2: empty members are omitted.
    fn set(&mut self, name: &str, value: Value) {
        if is_empty(&value) {
            self.members.remove(name);
        } else {
            self.members.insert(name.to_owned(), value);
        }
    }
}

/// Parses scopes that a resource may announce.
pub(in crate::bearer) fn resource_scopes(scopes: &str) -> Result<ScopeSet, ConfigError> {
    let set = ScopeSet::parse(scopes).map_err(|error| ConfigError::Scope {
        value: error.value().to_owned(),
        reason: "it must be printable ASCII without quotes and backslashes",
    })?;
    if set.contains("offline_access") {
        return Err(ConfigError::Scope {
            value: "offline_access".to_owned(),
            reason: "it is not a scope of a resource",
        });
    }
    Ok(set)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Number(_) => false,
    }
}
