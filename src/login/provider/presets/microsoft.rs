//! Microsoft Entra ID.

use super::Provider;
use crate::config_error::ConfigError;
use crate::issuer::{Client, CredentialSource};

const HOST: &str = "https://login.microsoftonline.com";

/// The tenant of personal accounts
/// (<https://learn.microsoft.com/en-us/entra/identity-platform/id-token-claims-reference>).
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// The issuer that the metadata for several tenants have, with the placeholder as it is.
const TEMPLATE: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

impl Provider {
    /// Creates the provider "Sign in with Microsoft", named `microsoft`, for the users of one tenant of Entra ID: from
    /// "Directory (tenant) ID", "Application (client) ID" and a client secret of the app registration.
    ///
    /// Requests `openid profile email`; add `offline_access` for refresh tokens
    /// ([`with_scopes`](Self::with_scopes)).
    ///
    /// - **Users** are identified by issuer and `sub`, which is different at each app registration. E-mail address and
    ///   user name (`preferred_username`, `upn`) can be changed and are not verified: never use them as a key.
    /// - **Access tokens** are for Microsoft Graph unless the scopes name another API, and are not for this application.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless `tenant` is a GUID: `common`, `organizations` and domain names are not the issuer of
    /// any token. Use [`microsoft_tenants`](Self::microsoft_tenants) for several.
    pub fn microsoft(
        tenant: &str,
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let client = Client::confidential_post(client_id, secret);
        let issuer = crate::token::expected_issuer::issuer_of_tenant(TEMPLATE, tenant)?;
        Self::discovered("microsoft", "Microsoft", &issuer, client)
    }

    /// Does the same as [`microsoft`](Self::microsoft) for the users of several tenants, in an app registration for
    /// "Accounts in any organizational directory".
    ///
    /// Only these tenants are accepted. Personal accounts are, if `9188040d-6c67-4c5b-b112-36a304b66dad` is one of them.
    /// An ID token must have the issuer and the claim `tid` of the same listed tenant, and be signed with a key that the
    /// key set has for this tenant or for all. A refresh cannot change the tenant. The issuer of a session is that of its
    /// tenant: the same `sub` in two tenants is two users. Methods of [`SessionAdmin`](crate::session::SessionAdmin) that
    /// take a subject concern it in all tenants.
    ///
    /// ```
    /// use tower_oauth::Provider;
    ///
    /// let contoso = "11111111-aaaa-4aaa-8aaa-111111111111";
    /// let fabrikam = "22222222-bbbb-4bbb-8bbb-222222222222";
    /// let microsoft = Provider::microsoft_tenants([contoso, fabrikam], "client id", "secret")?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless all tenants are GUIDs, at least one.
    pub fn microsoft_tenants<'a>(
        tenants: impl IntoIterator<Item = &'a str>,
        client_id: impl Into<String>,
        secret: impl Into<CredentialSource>,
    ) -> Result<Self, ConfigError> {
        let tenants: Vec<&str> = tenants.into_iter().collect();
        let has_consumers = tenants
            .iter()
            .any(|one| one.eq_ignore_ascii_case(CONSUMERS));
        // Which accounts the sign-in page lets in. The list above decides.
        let audience = if has_consumers {
            "common"
        } else {
            "organizations"
        };
        let metadata = format!("{HOST}/{audience}/v2.0/.well-known/openid-configuration");
        let client = Client::confidential_post(client_id, secret);
        Self::discovered("microsoft", "Microsoft", TEMPLATE, client)?
            .with_authorization_server(|server| server.with_metadata_url(&metadata))?
            .with_flow(|flow| flow.with_tenants(tenants))
    }
}
