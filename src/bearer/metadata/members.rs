//! The optional members of the document, [RFC 9728 §2].
//!
//! [RFC 9728 §2]: https://www.rfc-editor.org/rfc/rfc9728#section-2

use serde_json::Value;

use super::ResourceMetadata;
use crate::ConfigError;
use crate::crypto::Algorithm;
use crate::protocol::ScopeSet;

/// How a token may be sent to a resource ([RFC 6750 §2]). The query has no name here: it is never read.
///
/// [RFC 6750 §2]: https://www.rfc-editor.org/rfc/rfc6750#section-2
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BearerMethod {
    /// In `Authorization`.
    Header,
    /// As `access_token` in a form; see [`FormTokenLayer`](crate::bearer::FormTokenLayer).
    Body,
}

/// What [`ResourceMetadata`] says by methods of its own, which a custom member must not contradict.
const OWN: [&str; 7] = [
    "resource",
    "authorization_servers",
    "bearer_methods_supported",
    "scopes_supported",
    "dpop_signing_alg_values_supported",
    "dpop_bound_access_tokens_required",
    "tls_client_certificate_bound_access_tokens",
];

impl ResourceMetadata {
    /// The scopes a client may need here: `scopes_supported`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] for something that is no scope, and for `offline_access`: whether there is
    /// a refresh token is between the client and the authorization server.
    pub fn with_scopes(mut self, scopes: &str) -> Result<Self, ConfigError> {
        let set = resource_scopes(scopes)?;
        self.set("scopes_supported", set.iter().collect::<Vec<_>>().into());
        Ok(self)
    }

    /// How tokens may be sent, instead of in the header alone: `bearer_methods_supported`.
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

    /// DPoP proofs with these algorithms are understood: `dpop_signing_alg_values_supported`.
    #[must_use]
    pub fn with_dpop_algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        let names: Vec<_> = algorithms.into_iter().map(Algorithm::name).collect();
        self.set("dpop_signing_alg_values_supported", names.into());
        self
    }

    /// Only DPoP-bound tokens are accepted: `dpop_bound_access_tokens_required`.
    #[must_use]
    pub fn with_dpop_required(mut self) -> Self {
        self.set("dpop_bound_access_tokens_required", true.into());
        self
    }

    /// Tokens bound to a client certificate are understood:
    /// `tls_client_certificate_bound_access_tokens`.
    #[must_use]
    pub fn with_mtls(mut self) -> Self {
        self.set("tls_client_certificate_bound_access_tokens", true.into());
        self
    }

    /// A name for people: `resource_name`. In other languages by
    /// [`with_member`](Self::with_member): `resource_name#de`.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        self.set("resource_name", name.into());
        self
    }

    /// Where developers read on: `resource_documentation`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless it is an http or https URL.
    pub fn with_documentation(self, url: &str) -> Result<Self, ConfigError> {
        self.with_page("resource_documentation", url)
    }

    /// What a client may do with the data: `resource_policy_uri`.
    ///
    /// # Errors
    ///
    /// As [`with_documentation`](Self::with_documentation).
    pub fn with_policy(self, url: &str) -> Result<Self, ConfigError> {
        self.with_page("resource_policy_uri", url)
    }

    /// The terms of service: `resource_tos_uri`.
    ///
    /// # Errors
    ///
    /// As [`with_documentation`](Self::with_documentation).
    pub fn with_terms_of_service(self, url: &str) -> Result<Self, ConfigError> {
        self.with_page("resource_tos_uri", url)
    }

    /// Any other member, as it stands.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for a member that has a method of its own, and for a value with nothing in
    /// it, which is to be left out ([RFC 9728 §3.2](https://www.rfc-editor.org/rfc/rfc9728#section-3.2)).
    pub fn with_member(mut self, name: &str, value: impl Into<Value>) -> Result<Self, ConfigError> {
        let value = value.into();
        let refuse = |reason| ConfigError::Setting {
            setting: "member",
            value: name.to_owned(),
            reason,
        };
        if OWN.contains(&name) {
            return Err(refuse("it has a method of its own"));
        }
        if name.is_empty() || is_empty(&value) {
            return Err(refuse("a member with nothing in it is to be left out"));
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

    /// RFC 9728 §3.2: what has nothing in it is left out (`P4`).
    fn set(&mut self, name: &str, value: Value) {
        if is_empty(&value) {
            self.members.remove(name);
        } else {
            self.members.insert(name.to_owned(), value);
        }
    }
}

/// Scopes that a resource may ask for (`P4`).
pub(in crate::bearer) fn resource_scopes(scopes: &str) -> Result<ScopeSet, ConfigError> {
    let set = ScopeSet::parse(scopes).map_err(|error| ConfigError::Scope {
        value: error.value().to_owned(),
        reason: "it must be printable ASCII without quote and backslash",
    })?;
    if set.contains("offline_access") {
        return Err(ConfigError::Scope {
            value: "offline_access".to_owned(),
            reason: "it is no scope of a resource",
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
