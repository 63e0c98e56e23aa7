//! The metadata of providers, as they publish them: the members that a login reads.

use serde_json::{Value, json};

/// <https://accounts.google.com/.well-known/openid-configuration>
pub fn google() -> Value {
    json!({
        "issuer": "https://accounts.google.com",
        "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
        "device_authorization_endpoint": "https://oauth2.googleapis.com/device/code",
        "token_endpoint": "https://oauth2.googleapis.com/token",
        "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo",
        "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
        "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
        "response_types_supported": ["code", "token", "id_token", "code token", "code id_token", "none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "profile"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "code_challenge_methods_supported": ["plain", "S256"],
    })
}

/// `https://login.microsoftonline.com/{audience}/v2.0/.well-known/openid-configuration`: `issuer` has the placeholder for
/// `common` and `organizations` (<https://github.com/MicrosoftDocs/azure-docs/issues/113944>).
pub fn microsoft(audience: &str, issuer: &str) -> Value {
    let at = format!("https://login.microsoftonline.com/{audience}");
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{at}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{at}/oauth2/v2.0/token"),
        "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
        "end_session_endpoint": format!("{at}/oauth2/v2.0/logout"),
        "jwks_uri": format!("{at}/discovery/v2.0/keys"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "request_uri_parameter_supported": false,
    })
}

/// <https://appleid.apple.com/.well-known/openid-configuration>
pub fn apple() -> Value {
    json!({
        "issuer": "https://appleid.apple.com",
        "authorization_endpoint": "https://appleid.apple.com/auth/authorize",
        "token_endpoint": "https://appleid.apple.com/auth/token",
        "revocation_endpoint": "https://appleid.apple.com/auth/revoke",
        "jwks_uri": "https://appleid.apple.com/auth/keys",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "name"],
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    })
}

/// `https://{domain}/.well-known/openid-configuration` of an Auth0 tenant
/// (<https://auth0.com/docs/get-started/applications/configure-applications-with-oidc-discovery>).
pub fn auth0() -> Value {
    json!({
        "issuer": "https://shop.eu.auth0.com/",
        "authorization_endpoint": "https://shop.eu.auth0.com/authorize",
        "token_endpoint": "https://shop.eu.auth0.com/oauth/token",
        "userinfo_endpoint": "https://shop.eu.auth0.com/userinfo",
        "jwks_uri": "https://shop.eu.auth0.com/.well-known/jwks.json",
        "revocation_endpoint": "https://shop.eu.auth0.com/oauth/revoke",
        "code_challenge_methods_supported": ["S256", "plain"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["HS256", "RS256", "PS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "private_key_jwt"],
    })
}

/// `https://{org}.okta.com/oauth2/default/.well-known/openid-configuration`
/// (<https://developer.okta.com/docs/api/openapi/okta-oauth/oauth/tag/CustomAS/>).
pub fn okta() -> Value {
    let at = "https://shop.okta.com/oauth2/default";
    json!({
        "issuer": at,
        "authorization_endpoint": format!("{at}/v1/authorize"),
        "token_endpoint": format!("{at}/v1/token"),
        "userinfo_endpoint": format!("{at}/v1/userinfo"),
        "jwks_uri": format!("{at}/v1/keys"),
        "end_session_endpoint": format!("{at}/v1/logout"),
        "revocation_endpoint": format!("{at}/v1/revoke"),
        "code_challenge_methods_supported": ["S256"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": [
            "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"
        ],
    })
}

/// `{realm}/.well-known/openid-configuration` of Keycloak 26
/// (<https://www.keycloak.org/securing-apps/oidc-layers>).
pub fn keycloak() -> Value {
    let at = "https://id.example.com/realms/shop";
    let endpoint = |name: &str| format!("{at}/protocol/openid-connect/{name}");
    json!({
        "issuer": at,
        "authorization_endpoint": endpoint("auth"),
        "token_endpoint": endpoint("token"),
        "userinfo_endpoint": endpoint("userinfo"),
        "jwks_uri": endpoint("certs"),
        "end_session_endpoint": endpoint("logout"),
        "revocation_endpoint": endpoint("revoke"),
        "code_challenge_methods_supported": ["plain", "S256"],
        "id_token_signing_alg_values_supported": ["PS384", "RS384", "EdDSA", "ES384", "HS256", "ES256", "RS256", "PS256"],
        "token_endpoint_auth_methods_supported": [
            "private_key_jwt", "client_secret_basic", "client_secret_post", "tls_client_auth", "client_secret_jwt"
        ],
    })
}

/// <https://gitlab.com/.well-known/openid-configuration>
pub fn gitlab() -> Value {
    json!({
        "issuer": "https://gitlab.com",
        "authorization_endpoint": "https://gitlab.com/oauth/authorize",
        "token_endpoint": "https://gitlab.com/oauth/token",
        "revocation_endpoint": "https://gitlab.com/oauth/revoke",
        "userinfo_endpoint": "https://gitlab.com/oauth/userinfo",
        "jwks_uri": "https://gitlab.com/oauth/discovery/keys",
        "response_modes_supported": ["query", "fragment", "form_post"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["plain", "S256"],
    })
}

/// <https://slack.com/.well-known/openid-configuration>
pub fn slack() -> Value {
    json!({
        "issuer": "https://slack.com",
        "authorization_endpoint": "https://slack.com/openid/connect/authorize",
        "token_endpoint": "https://slack.com/api/openid.connect.token",
        "userinfo_endpoint": "https://slack.com/api/openid.connect.userInfo",
        "jwks_uri": "https://slack.com/openid/connect/keys",
        "scopes_supported": ["openid", "profile", "email"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "claims_supported": ["sub", "auth_time", "iss"],
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        "request_uri_parameter_supported": true,
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
    })
}

/// `https://cognito-idp.{region}.amazonaws.com/{pool}/.well-known/openid-configuration`
/// (<https://docs.aws.amazon.com/cognito/latest/developerguide/federation-endpoints.html>): its logout endpoint has the
/// parameters of <https://docs.aws.amazon.com/cognito/latest/developerguide/logout-endpoint.html>.
pub fn cognito() -> Value {
    let at = "https://shop.auth.eu-central-1.amazoncognito.com";
    let issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI";
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{at}/oauth2/authorize"),
        "end_session_endpoint": format!("{at}/logout"),
        "token_endpoint": format!("{at}/oauth2/token"),
        "userinfo_endpoint": format!("{at}/oauth2/userInfo"),
        "revocation_endpoint": format!("{at}/oauth2/revoke"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "id_token_signing_alg_values_supported": ["RS256"],
        "response_types_supported": ["code", "token"],
        "subject_types_supported": ["public"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    })
}

/// `{instance}/.well-known/openid-configuration`
/// (<https://zitadel.com/docs/apis/openidoauth/endpoints>).
pub fn zitadel() -> Value {
    let at = "https://shop-abc123.eu1.zitadel.cloud";
    json!({
        "issuer": at,
        "authorization_endpoint": format!("{at}/oauth/v2/authorize"),
        "token_endpoint": format!("{at}/oauth/v2/token"),
        "revocation_endpoint": format!("{at}/oauth/v2/revoke"),
        "userinfo_endpoint": format!("{at}/oidc/v1/userinfo"),
        "end_session_endpoint": format!("{at}/oidc/v1/end_session"),
        "jwks_uri": format!("{at}/oauth/v2/keys"),
        "id_token_signing_alg_values_supported": ["EdDSA", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512"],
        "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post", "private_key_jwt"],
        "code_challenge_methods_supported": ["S256"],
    })
}

/// `{application}/.well-known/openid-configuration`
/// (<https://docs.goauthentik.io/add-secure-apps/providers/oauth2/>): endpoints are those of all applications, the issuer
/// and the keys are the application's.
pub fn authentik() -> Value {
    let at = "https://id.example.com/application/o";
    json!({
        "issuer": format!("{at}/shop/"),
        "authorization_endpoint": format!("{at}/authorize/"),
        "token_endpoint": format!("{at}/token/"),
        "userinfo_endpoint": format!("{at}/userinfo/"),
        "end_session_endpoint": format!("{at}/shop/end-session/"),
        "revocation_endpoint": format!("{at}/revoke/"),
        "jwks_uri": format!("{at}/shop/jwks/"),
        "response_modes_supported": ["query", "fragment", "form_post"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "code_challenge_methods_supported": ["plain", "S256"],
    })
}
