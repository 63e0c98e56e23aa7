//! The ways in which authorization servers mark their access tokens.

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
/// checks the mark of their access tokens; the profile is never detected automatically.
///
/// Every profile rejects a token that states that it is another one: by `at_hash`, `c_hash` or `s_hash`, or by a
/// `typ`, `token_use`, `token_type` or `tokenName` that names ID, refresh or logout tokens.
///
/// [RFC 9068 §2.1]: https://www.rfc-editor.org/rfc/rfc9068#section-2.1
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenProfile {
    /// Requires `typ: at+jwt`, `iss`, `aud` and `exp`. The default.
    #[default]
    Rfc9068,
    /// As `Rfc9068`, and also requires `sub`, `client_id`, `iat` and `jti` (RFC 9068 §2.2).
    Rfc9068Full,
    /// Keycloak: `typ` in the header is `JWT` or absent, and the claim `typ` is `Bearer`.
    Keycloak,
    /// Microsoft Entra ID, tokens of version 1.0 and 2.0: requires `scp` or `roles`, and the client in `azp` or
    /// `appid`. Scopes are read from `scp`. App roles are not read as scopes, since they state what a user may do, not
    /// what the client was granted.
    ///
    /// A token without `scp` is a client-credentials token. If the client has no role, the token has neither `scp` nor
    /// `roles` and is rejected.
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

    /// Runs the checks of the claims that differ by profile.
    pub(super) fn check(
        self,
        claims: &RegisteredClaims,
        markers: &TypeMarkers,
    ) -> Result<(), VerifyErrorKind> {
        if markers.other_type || (markers.nonce && self != Self::Generic) {
            return Err(VerifyErrorKind::NotAnAccessToken);
        }
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
            Self::Keycloak => markers.typ_bearer,
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct TypeMarkers {
    /// The token states that it is an ID, refresh or logout token.
    other_type: bool,
    nonce: bool,
    /// The claim `typ` is `Bearer`.
    typ_bearer: bool,
    /// The claim `token_use` is `access`.
    token_use_access: bool,
    scope: bool,
    scp: bool,
    permissions: bool,
    roles: bool,
    client_id: bool,
    azp: bool,
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
    pub(super) fn read(payload: &Object<'_>) -> Self {
        let has = |name| payload.member(name).is_some();
        let is = |name, value| payload.member(name).and_then(Json::as_str) == Some(value);
        Self {
            other_type: states_other_type(payload),
            nonce: has("nonce"),
            typ_bearer: is("typ", "Bearer"),
            token_use_access: is("token_use", "access"),
            scope: has("scope"),
            scp: has("scp"),
            permissions: has("permissions"),
            roles: has("roles"),
            client_id: has("client_id"),
            azp: has("azp"),
            appid: has("appid"),
            cid: has("cid"),
            tid: has("tid"),
            client_credentials: is("gty", "client-credentials"),
            confirmation: payload
                .member("cnf")
                .map(|cnf| Confirmation::read(cnf).ok()),
        }
    }
}

/// The members in which authorization servers state the type of a token.
const TYPE_MEMBERS: [&str; 4] = ["typ", "token_use", "token_type", "tokenName"];

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

/// Hashes of values issued together with the token: only ID tokens have them (OpenID Connect Core §3.1.3.6, FAPI 1.0
/// Advanced §5.1.1).
const HASH_MEMBERS: [&str; 3] = ["at_hash", "c_hash", "s_hash"];

/// Returns whether the members of a token or of an introspection response state that it is an ID, refresh or logout
/// token. `false` does not prove that it is an access token.
pub(super) fn states_other_type(members: &Object<'_>) -> bool {
    let has_other_type = |name: &&str| {
        let stated = members.member(name).and_then(Json::as_str);
        stated.is_some_and(|stated| {
            OTHER_TYPES
                .iter()
                .any(|one| stated.eq_ignore_ascii_case(one))
        })
    };
    let has_hash = HASH_MEMBERS
        .iter()
        .any(|name| members.member(name).is_some());
    has_hash || TYPE_MEMBERS.iter().any(has_other_type)
}
