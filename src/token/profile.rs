//! The ways in which authorization servers mark their access tokens.

use serde::Deserialize;

use super::error::VerifyErrorKind;
use super::scope_mapping::{ClaimMapping, ScopeMapping};
use crate::crypto::same_media_type;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::confirmation::Confirmation;
use crate::protocol::json::{Json, Object};

/// Selects the server whose access tokens are accepted: Keycloak, Entra, Okta, Auth0, Cognito, or any by RFC 9068.
///
/// Servers mark their access tokens in different ways; a profile knows the mark, so that no other token is accepted.
///
/// An ID token has the same issuer, a valid signature and sometimes even a matching audience. The mark of an access
/// token is `typ: at+jwt` ([RFC 9068 §2.1]). For authorization servers that do not send it, choose the profile that
/// checks the mark of their access tokens; the profile is never detected automatically. For servers that no profile knows,
/// state the mark with [`JwtVerifier::with_token_mark`](super::JwtVerifier::with_token_mark).
///
/// Every profile rejects a token that states that it is another one: by `events` or `s_hash`, or by a `typ`,
/// `token_use`, `token_type` or `tokenName` that names ID, refresh or logout tokens. Of the other claims of ID tokens,
/// `nonce`, `at_hash` and `c_hash` are ignored beside a mark that only access tokens have: `typ: at+jwt`, Keycloak's
/// `typ` or Cognito's `token_use`. A mark that is `null` or empty is none.
///
/// Tokens that are bound to a key (DPoP, claim `cnf.jkt`) or to a certificate (`cnf.x5t#S256`) are accepted by every
/// profile, with the proof of possession that [`BearerLayer::with_dpop`](crate::BearerLayer::with_dpop) or
/// [`with_mtls`](crate::BearerLayer::with_mtls) checks.
///
/// [RFC 9068 §2.1]: https://www.rfc-editor.org/rfc/rfc9068#section-2.1
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenProfile {
    /// Requires `typ: at+jwt`, `iss`, `aud` and `exp`. The default.
    #[default]
    Rfc9068,
    /// As `Rfc9068`, and also requires `sub`, `client_id`, `iat` and `jti` (RFC 9068 §2.2).
    Rfc9068Full,
    /// Keycloak: `typ` in the header is `JWT`, `at+jwt` or absent, and the claim `typ` is `Bearer`, or `DPoP` in a token
    /// that is bound to a key.
    ///
    /// Use it also for clients with the setting "Use "at+jwt" as access token header type": the client is still in
    /// `azp`, which [`Rfc9068`](Self::Rfc9068) does not read.
    Keycloak,
    /// Microsoft Entra ID, tokens of version 1.0 and 2.0: requires `scp` or `roles`, and the client in `azp` or
    /// `appid`. Scopes are read from `scp`. App roles are not read as scopes, since they state what a user may do, not
    /// what the client was granted.
    ///
    /// A token without `scp` is a client-credentials token. If the client has no role, the token has neither `scp` nor
    /// `roles` and is rejected.
    ///
    /// The registration of the API (`requestedAccessTokenVersion` of its manifest) decides about the version, and with
    /// it about the issuer. While both are in use, accept both:
    ///
    /// ```
    /// use tower_oauth::token::{JwtVerifier, TokenProfile, Verifier};
    /// use tower_oauth::{AuthorizationServer, BearerLayer};
    ///
    /// let tenant = "7e6b25a1-0a3d-4b4f-9c1e-2f4d5c6b7a89";
    /// let v1 = AuthorizationServer::new(&format!("https://sts.windows.net/{tenant}/"))?;
    /// let v2 = AuthorizationServer::new(&format!("https://login.microsoftonline.com/{tenant}/v2.0"))?;
    /// let layer = BearerLayer::new(Verifier::issuers([
    ///     JwtVerifier::new(&v1, "api://orders")?.with_profile(TokenProfile::Entra),
    ///     // `aud` is the application id of the API.
    ///     JwtVerifier::new(&v2, "0c5a1b7e-91a4-4b43-8a55-13a1f2d3c4b5")?
    ///         .with_profile(TokenProfile::Entra),
    /// ])?);
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    Entra,
    /// Okta, a custom authorization server: requires `cid` and `scp`. Scopes are read from `scp`.
    ///
    /// Tokens of the organization's own authorization server are meant for Okta only. They have another type and are
    /// rejected.
    Okta,
    /// Auth0, in its own format or that of RFC 9068: requires `scope`, `scp` or `permissions`, and `client_id`, `azp`
    /// or `cid`. Scopes are read from `scope`. If permissions are added to the token, configure them with
    /// [`with_scopes_from`](super::JwtVerifier::with_scopes_from).
    Auth0,
    /// Amazon Cognito: `token_use` is `access`. Cognito sends no `aud`; use
    /// [`Audience::clients`](super::Audience::clients).
    Cognito,
    /// Any other authorization server whose `typ` is `JWT` or absent: requires `scope`, `scp` or `permissions`, and
    /// `client_id`, `azp` or `cid`. The only profile that accepts a token with `nonce`.
    Generic,
}

impl TokenProfile {
    /// Returns the check of `typ` in the header. Every profile rejects explicit types of other tokens (RFC 8725 §3.12).
    pub(super) fn media_type(self) -> fn(Option<&str>) -> bool {
        match self {
            Self::Rfc9068 | Self::Rfc9068Full => {
                |sent| sent.is_some_and(|sent| same_media_type(sent, "at+jwt"))
            }
            Self::Keycloak
            | Self::Entra
            | Self::Okta
            | Self::Auth0
            | Self::Cognito
            | Self::Generic => |sent| {
                sent.is_none_or(|sent| {
                    same_media_type(sent, "JWT") || same_media_type(sent, "at+jwt")
                })
            },
        }
    }

    /// Describes the accepted `typ`, for operators.
    pub(super) fn expected_type(self) -> &'static str {
        match self {
            Self::Rfc9068 | Self::Rfc9068Full => "typ at+jwt",
            _ => "typ JWT, typ at+jwt or no typ",
        }
    }

    /// Describes the required mark, for operators.
    pub(super) fn expected_mark(self) -> &'static str {
        match self {
            Self::Rfc9068 => "typ at+jwt",
            Self::Rfc9068Full => "the claims sub, client_id, iat and jti",
            Self::Keycloak => "the claim typ Bearer, or DPoP with cnf.jkt",
            Self::Entra => "the claims scp or roles, and azp or appid, without nonce",
            Self::Okta => "the claims scp and cid, without nonce",
            Self::Cognito => "the claim token_use access",
            Self::Auth0 => "scope, scp or permissions, and client_id, azp or cid, without nonce",
            Self::Generic => "scope, scp or permissions, and client_id, azp or cid",
        }
    }

    /// Runs the checks of the claims that differ by profile.
    pub(super) fn check(
        self,
        claims: &RegisteredClaims,
        markers: &TypeMarkers,
    ) -> Result<(), VerifyErrorKind> {
        let has_strong_mark = match self {
            Self::Keycloak => markers.typ_bearer || markers.typ_dpop,
            Self::Cognito => markers.token_use_access,
            _ => false,
        };
        markers.check_other_type(has_strong_mark, self == Self::Generic)?;
        let has_grant = markers.scope || markers.scp || markers.permissions;
        let is_marked = match self {
            Self::Rfc9068 => true,
            Self::Rfc9068Full => {
                let is_complete = claims.subject.is_some()
                    && claims.client_id.is_some()
                    && claims.issued_at.is_some()
                    && claims.jwt_id.is_some();
                return if is_complete {
                    Ok(())
                } else {
                    Err(VerifyErrorKind::Claims)
                };
            }
            Self::Keycloak => markers.typ_bearer || markers.typ_dpop,
            // `roles` alone is not enough: if an application is both client and API, its ID tokens have the roles of
            // the user.
            Self::Entra => (markers.scp || markers.roles) && (markers.azp || markers.appid),
            Self::Okta => markers.scp && markers.cid,
            Self::Cognito => markers.token_use_access,
            Self::Auth0 | Self::Generic => {
                has_grant && (markers.client_id || markers.azp || markers.cid)
            }
        };
        if is_marked {
            Ok(())
        } else {
            Err(VerifyErrorKind::NotAnAccessToken)
        }
    }

    /// Returns the claims that contain the scopes and the client identifier.
    pub(super) fn claim_mapping(self) -> ClaimMapping {
        // Only claims whose values were all granted to the client are read as scopes by default.
        let scopes = match self {
            Self::Entra | Self::Okta => Some(ScopeMapping::of("scp")),
            _ => None,
        };
        let clients: &[&str] = match self {
            // `client_id` itself is a registered claim and always read.
            Self::Rfc9068 | Self::Rfc9068Full | Self::Cognito => &[],
            Self::Keycloak | Self::Auth0 => &["client_id", "azp"],
            Self::Entra => &["azp", "appid"],
            Self::Okta => &["cid"],
            Self::Generic => &["client_id", "azp", "cid"],
        };
        ClaimMapping { scopes, clients }
    }

    /// Returns whether a token is a client-credentials token by another sign than equal `sub` and `client_id`
    /// (RFC 9068 §5).
    pub(super) fn is_client_only(self, markers: &TypeMarkers) -> bool {
        match self {
            // Keycloak has no sign: `sub` is the identifier of the client's service account.
            // Here `sub` is the object ID of the client's service principal.
            Self::Entra => !markers.scp,
            // Here `sub` is the client identifier followed by `@clients`.
            Self::Auth0 => markers.client_credentials,
            _ => false,
        }
    }

    /// Returns whether a rejected token looks as if it was issued for this profile. Only for the log.
    pub(super) fn is_plausible(self, issuer: &str, markers: &TypeMarkers) -> bool {
        match self {
            Self::Entra => markers.tid,
            Self::Auth0 => issuer.trim_end_matches('/').ends_with(".auth0.com"),
            _ => true,
        }
    }
}

/// The claims that distinguish access tokens from other tokens, recorded when the payload is parsed.
///
/// A mark of an access token counts only if it is not empty. What marks another token counts if it is present.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TypeMarkers {
    /// The token states that it is an ID, refresh or logout token.
    other_type: bool,
    /// `at_hash` or `c_hash`.
    hash: bool,
    nonce: bool,
    /// `typ` in the header is `at+jwt`.
    at_jwt: bool,
    /// The claim `typ` is `Bearer`.
    typ_bearer: bool,
    /// The claim `typ` or `token_type` is `DPoP`.
    typ_dpop: bool,
    /// The claim `token_use` is `access`.
    token_use_access: bool,
    scope: bool,
    /// `scope` is an array, which RFC 9068 §2.2.3 does not permit.
    pub(super) scope_is_array: bool,
    scp: bool,
    permissions: bool,
    roles: bool,
    client_id: bool,
    azp: bool,
    /// A claim that names a client is neither a string nor unset.
    malformed_client: bool,
    appid: bool,
    cid: bool,
    /// The tenant, which only Entra sends.
    tid: bool,
    /// `gty` is `client-credentials`, as Auth0 sends it.
    client_credentials: bool,
    /// `cnf`, the key that the token is bound to; `Some(None)` if it cannot be parsed.
    pub(super) confirmation: Option<Option<Confirmation>>,
}

impl TypeMarkers {
    pub(super) fn read(media_type: Option<&str>, payload: &Object<'_>) -> Self {
        let mut markers = Self {
            at_jwt: media_type.is_some_and(|sent| same_media_type(sent, "at+jwt")),
            ..Self::default()
        };
        for (name, value) in payload.iter() {
            let is = |expected| value.as_str() == Some(expected);
            markers.other_type |= states_other_type(name, value);
            if ["client_id", "azp", "appid", "cid"].contains(&name) {
                markers.malformed_client |= !value.is_unset() && value.as_str().is_none();
            }
            match name {
                "nonce" => markers.nonce = true,
                "at_hash" | "c_hash" => markers.hash = true,
                "typ" => {
                    markers.typ_bearer = is("Bearer");
                    markers.typ_dpop |= states_dpop(value);
                }
                "token_type" => markers.typ_dpop |= states_dpop(value),
                "token_use" => markers.token_use_access = is("access"),
                "gty" => markers.client_credentials = is("client-credentials"),
                "scope" => {
                    markers.scope = is_filled(value);
                    markers.scope_is_array = matches!(value, Json::Array(_));
                }
                "scp" => markers.scp = is_filled(value),
                "permissions" => markers.permissions = is_filled(value),
                "roles" => markers.roles = is_filled(value),
                "client_id" => markers.client_id = is_filled(value),
                "azp" => markers.azp = is_filled(value),
                "appid" => markers.appid = is_filled(value),
                "cid" => markers.cid = is_filled(value),
                "tid" => markers.tid = is_filled(value),
                "cnf" => markers.confirmation = Some(Confirmation::read(value).ok()),
                _ => {}
            }
        }
        markers
    }

    /// Rejects a token that states that it is another one. `has_strong_mark` says that it has a mark that only access tokens
    /// have, beside `typ: at+jwt`.
    pub(super) fn check_other_type(
        &self,
        has_strong_mark: bool,
        permits_nonce: bool,
    ) -> Result<(), VerifyErrorKind> {
        let is_like_id_token = self.hash || (self.nonce && !permits_nonce);
        let has_strong_mark = has_strong_mark || self.at_jwt;
        if self.other_type || (is_like_id_token && !has_strong_mark) {
            return Err(VerifyErrorKind::NotAnAccessToken);
        }
        if self.malformed_client {
            return Err(VerifyErrorKind::Claims);
        }
        if self.typ_dpop && !self.has_proof_key() {
            return Err(VerifyErrorKind::Bound);
        }
        Ok(())
    }

    pub(super) fn states_other_type(&self) -> bool {
        self.other_type
    }

    /// Returns whether the token is bound to the key of DPoP proofs, without which a layer does not accept it.
    fn has_proof_key(&self) -> bool {
        let confirmation = self.confirmation.flatten();
        confirmation.is_some_and(|one| one.jwk_thumbprint.is_some())
    }
}

/// Returns whether a mark has content: a text, or a list with one. Serializers print `null`, `""`, `[]` or `{}` for what is
/// not set, and a mark of another type says nothing.
fn is_filled(value: &Json<'_>) -> bool {
    let is_text = |one: &Json<'_>| one.as_str().is_some_and(|text| !text.trim().is_empty());
    let is_list = |items: &[Json<'_>]| items.iter().any(is_text);
    is_text(value) || value.as_array().is_some_and(is_list)
}

/// The values for other tokens than access tokens, compared without case.
const OTHER_TYPES: [&str; 8] = [
    "id",
    "id_token",
    "refresh",
    "refresh_token",
    "refresh-token",
    "offline",
    "logout",
    "logout_token",
];

/// Returns whether a member of a token or of an introspection response states that the token is an ID, refresh or logout
/// token. `false` does not prove that it is an access token.
fn states_other_type(name: &str, value: &Json<'_>) -> bool {
    match name {
        // The members in which authorization servers state the type of a token.
        "typ" | "token_use" | "token_type" | "tokenName" => value.as_str().is_some_and(|stated| {
            OTHER_TYPES
                .iter()
                .any(|one| stated.eq_ignore_ascii_case(one))
        }),
        // Only logout and security event tokens have `events` (RFC 8417 §2.2), only ID tokens a hash of `state`
        // (FAPI 1.0 Advanced §5.1.1).
        "events" | "s_hash" => true,
        _ => false,
    }
}

/// Returns whether a `typ` or `token_type` states that the token is bound to the key of DPoP proofs (RFC 9449 §5).
fn states_dpop(value: &Json<'_>) -> bool {
    let stated = value.as_str();
    stated.is_some_and(|stated| stated.eq_ignore_ascii_case("DPoP"))
}

/// The type of a token according to an introspection response, which need not have the type of the token itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IntrospectedType {
    /// The response states that it is an ID, refresh or logout token.
    pub(super) is_other: bool,
    /// The response states that it is bound to the key of DPoP proofs.
    pub(super) is_dpop: bool,
}

impl IntrospectedType {
    pub(super) fn read(members: &Object<'_>) -> Self {
        // Only ID tokens have hashes of what is issued with them (OpenID Connect Core §3.1.3.6).
        let is_hash = |name| ["at_hash", "c_hash"].contains(&name);
        let mut members_of_other = members.iter();
        Self {
            is_other: members_of_other
                .any(|(name, value)| is_hash(name) || states_other_type(name, value)),
            is_dpop: members
                .iter()
                .any(|(name, value)| ["typ", "token_type"].contains(&name) && states_dpop(value)),
        }
    }
}
