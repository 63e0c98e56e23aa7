//! Which `iss` the tokens of an authorization server may have.

use std::sync::Arc;

use super::error::{VerifyError, VerifyErrorKind};
use super::explanation::Explanation;
use crate::config_error::ConfigError;
use crate::protocol::json::{Json, Object};

/// The issuers whose tokens an authorization server may sign.
#[derive(Clone, Debug, Default)]
pub(crate) enum ExpectedIssuer {
    /// The issuer of the server alone, byte for byte (RFC 8725 §3.8).
    #[default]
    Exact,
    /// The issuer of the server, or another text for the same one. Both become the issuer of the server in the claims, so
    /// that a user is the same with each.
    Aliases(Arc<[String]>),
    /// The issuers of these tenants. The issuer of the server is a template of them.
    Tenants(Arc<[Tenant]>),
}

/// A tenant of a server whose issuer is a template.
#[derive(Debug)]
pub(crate) struct Tenant {
    /// A GUID, in lower case.
    id: String,
    issuer: String,
}

/// The placeholder for the id of a tenant in the issuer of a metadata document or of a key.
const PLACEHOLDER: &str = "{tenantid}";

/// The claim with the id of the tenant.
const TENANT_CLAIM: &str = "tid";

impl ExpectedIssuer {
    /// Creates the form for the tenants of a server whose issuer is `template`.
    pub(crate) fn tenants<'a>(
        template: &str,
        tenants: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        if template.matches(PLACEHOLDER).count() != 1 {
            return Err(invalid(
                template,
                "the issuer of the server has no `{tenantid}`",
            ));
        }
        let mut all = Vec::new();
        for tenant in tenants {
            let issuer = issuer_of_tenant(template, tenant)?;
            let id = tenant.to_ascii_lowercase();
            if !all.iter().any(|one: &Tenant| one.id == id) {
                all.push(Tenant { id, issuer });
            }
        }
        if all.is_empty() {
            return Err(invalid("[]", "at least one tenant is required"));
        }
        Ok(Self::Tenants(all.into()))
    }

    /// Returns the issuer that users of a token with this `iss` belong to. `None` if such a token is not accepted.
    pub(crate) fn canonical<'a>(&self, server: &'a str, iss: &'a str) -> Option<&'a str> {
        match self {
            Self::Exact => (iss == server).then_some(server),
            Self::Aliases(aliases) => {
                (iss == server || aliases.iter().any(|one| one == iss)).then_some(server)
            }
            Self::Tenants(tenants) => tenants.iter().any(|one| one.issuer == iss).then_some(iss),
        }
    }

    /// Returns every issuer that users can belong to. `server` is the issuer of the server.
    pub(crate) fn all<'a>(&'a self, server: &'a str) -> Vec<&'a str> {
        match self {
            Self::Exact | Self::Aliases(_) => vec![server],
            Self::Tenants(tenants) => tenants.iter().map(|one| one.issuer.as_str()).collect(),
        }
    }

    /// Checks `iss` of a payload, and the claim of the tenant, which must say the same: applications decide by it.
    pub(super) fn check(&self, server: &str, payload: &Object<'_>) -> Result<(), VerifyError> {
        let text = |name| payload.member(name).and_then(Json::as_str);
        let found = text("iss").filter(|iss| self.canonical(server, iss).is_some());
        let Some(iss) = found else {
            return Err(self.reject(text(TENANT_CLAIM)));
        };
        match self {
            Self::Exact | Self::Aliases(_) => Ok(()),
            Self::Tenants(tenants) => {
                let is_same =
                    |one: &Tenant| one.issuer == iss && text(TENANT_CLAIM) == Some(&one.id);
                match tenants.iter().any(is_same) {
                    true => Ok(()),
                    false => Err(VerifyError::explained(
                        VerifyErrorKind::Issuer,
                        Explanation::new(
                            "iss of a permitted tenant, and a tid that is missing or of another one",
                            "a tid that is the tenant of iss",
                            "",
                        ),
                    )),
                }
            }
        }
    }

    /// Checks that the key is one for the tenants of this `iss`: a key set for all tenants says of each key whose tokens it
    /// may sign.
    pub(super) fn check_key(&self, iss: &str, key_issuer: Option<&str>) -> Result<(), VerifyError> {
        let Self::Tenants(tenants) = self else {
            return Ok(());
        };
        let tenant = tenants.iter().find(|one| one.issuer == iss);
        let is_for_tenant = |key_issuer: &str| {
            tenant.is_some_and(|one| key_issuer.replace(PLACEHOLDER, &one.id) == one.issuer)
        };
        match key_issuer.is_some_and(is_for_tenant) {
            true => Ok(()),
            false => Err(VerifyError::explained(
                VerifyErrorKind::UnfitKey,
                Explanation::new(
                    match key_issuer {
                        Some(_) => "a key whose issuer is another tenant",
                        None => "a key without the member issuer",
                    },
                    "a key whose issuer is the tenant of the token, or all tenants ({tenantid})",
                    "the metadata URL of the server: it must be that of a key set for several tenants",
                ),
            )),
        }
    }

    /// The id of a tenant has a fixed form, so it is named although it is not verified.
    fn reject(&self, tenant: Option<&str>) -> VerifyError {
        match (self, tenant.filter(|tenant| is_guid(tenant))) {
            (Self::Tenants(_), Some(tenant)) => VerifyError::explained(
                VerifyErrorKind::Issuer,
                Explanation::new(
                    format!("tid {tenant}"),
                    "a tenant of the list",
                    "the tenants of the provider",
                ),
            ),
            _ => VerifyErrorKind::Issuer.into(),
        }
    }
}

/// Returns the issuer of a tenant of a server.
pub(crate) fn issuer_of_tenant(template: &str, tenant: &str) -> Result<String, ConfigError> {
    // A name such as `common` or `contoso.com` is never the `tid` of a token.
    match is_guid(tenant) {
        true => Ok(template.replace(PLACEHOLDER, &tenant.to_ascii_lowercase())),
        false => Err(invalid(tenant, "a tenant must be a GUID, its directory ID")),
    }
}

fn invalid(value: &str, reason: &'static str) -> ConfigError {
    ConfigError::Setting {
        setting: "tenants",
        value: value.to_owned(),
        reason,
    }
}

/// Returns whether a text has the form 8-4-4-4-12 of hexadecimal digits.
fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12])
        && text
            .bytes()
            .all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}
