//! How an authorization server marks its access tokens.

use super::error::VerifyErrorKind;
use super::scope_mapping::{ClaimMapping, ScopeMapping};
use super::token_type::is_of_another_kind;
use crate::crypto::same_media_type;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::confirmation::Confirmation;
use crate::protocol::json::{Json, Object};

/// How an authorization server marks its access tokens, so that no other token of it passes for one.
///
/// An ID token has the same issuer, a good signature and sometimes even a fitting audience. What sets
/// an access token apart is `typ: at+jwt` ([RFC 9068 §2.1]); servers that do not send it are named
/// here, each with the mark that its access tokens do have. The choice is never automatic. Whatever the
/// profile, a token is refused that says itself it is another one: by `at_hash`, `c_hash` or `s_hash`, or by
/// a `typ`, `token_use`, `token_type` or `tokenName` that names ID, refresh or logout tokens.
///
/// [RFC 9068 §2.1]: https://www.rfc-editor.org/rfc/rfc9068#section-2.1
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenProfile {
    /// `typ` is `at+jwt`; `iss`, `aud` and `exp` are there. The default.
    #[default]
    Rfc9068,
    /// As `Rfc9068`, and `sub`, `client_id`, `iat` and `jti` are there too (RFC 9068 §2.2).
    Rfc9068Full,
    /// Keycloak: `typ` in the header is `JWT` or absent, and the claim `typ` is `Bearer`.
    Keycloak,
    /// Microsoft Entra ID, tokens of version 1.0 and 2.0: `scp` or `roles` is there, and `azp` or `appid`
    /// names the client. Scopes are those of `scp`; app roles are not counted among them, since what
    /// a person may do is not what a client was granted.
    ///
    /// A token without `scp` is a client's own. One that was given to a client without any role has
    /// neither `scp` nor `roles`, and is refused.
    Entra,
    /// Okta, a custom authorization server: `cid` and `scp` are there. Scopes are those of `scp`.
    ///
    /// Tokens of the organization's own server are for Okta alone, have a type of their own and are
    /// refused.
    Okta,
    /// Auth0, its own dialect or that of RFC 9068: `scope`, `scp` or `permissions` is there, and
    /// `client_id`, `azp` or `cid`. Scopes are those of `scope`; where permissions are added to the token,
    /// name them by [`with_scopes_from`](super::JwtVerifier::with_scopes_from).
    Auth0,
    /// Amazon Cognito: `token_use` is `access`. It sends no `aud`, so it goes with
    /// [`Audience::clients`](super::Audience::clients).
    Cognito,
    /// Any other server whose `typ` is `JWT` or absent: one of `scope`, `scp` or `permissions` is there,
    /// and one of `client_id`, `azp` or `cid`. The only profile that takes a `nonce`.
    Generic,
}

impl TokenProfile {
    /// The header's `typ`: explicit types of other tokens are refused in every profile (`A1`).
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

    /// What the claims must say beyond the checks that all profiles share.
    pub(super) fn check(
        self,
        claims: &RegisteredClaims,
        marks: &Marks,
    ) -> Result<(), VerifyErrorKind> {
        if marks.other_kind || (marks.nonce && self != Self::Generic) {
            return Err(VerifyErrorKind::NotAnAccessToken);
        }
        let granted = marks.scope || marks.scp || marks.permissions;
        let marked = match self {
            Self::Rfc9068 => true,
            Self::Rfc9068Full => {
                let complete = claims.subject.is_some()
                    && claims.client_id.is_some()
                    && claims.issued_at.is_some()
                    && claims.jwt_id.is_some();
                return if complete {
                    Ok(())
                } else {
                    Err(VerifyErrorKind::Claims)
                };
            }
            Self::Keycloak => marks.bearer,
            // `roles` alone would not do: an ID token has those of the person, for an application
            // that is client and API at once.
            Self::Entra => (marks.scp || marks.roles) && (marks.azp || marks.appid),
            Self::Okta => marks.scp && marks.cid,
            Self::Cognito => marks.for_access,
            Self::Auth0 | Self::Generic => granted && (marks.client_id || marks.azp || marks.cid),
        };
        if marked {
            Ok(())
        } else {
            Err(VerifyErrorKind::NotAnAccessToken)
        }
    }

    /// Where scopes and the client are looked for.
    pub(super) fn reading(self) -> ClaimMapping {
        // Choosing the profile names the claim, and only one where all that stands there was granted
        // to the client (`A15`).
        let scopes = match self {
            Self::Entra | Self::Okta => Some(ScopeMapping::of("scp")),
            _ => None,
        };
        let clients: &[&str] = match self {
            // `client_id` itself is a registered member, read anyway.
            Self::Rfc9068 | Self::Rfc9068Full | Self::Cognito => &[],
            Self::Keycloak | Self::Auth0 => &["client_id", "azp"],
            Self::Entra => &["azp", "appid"],
            Self::Okta => &["cid"],
            Self::Generic => &["client_id", "azp", "cid"],
        };
        ClaimMapping { scopes, clients }
    }

    /// Whether a client got the token for itself, where the claims say so otherwise than by an equal
    /// `sub` (`A14`).
    pub(super) fn says_client_only(self, marks: &Marks) -> bool {
        match self {
            // The subject is then the client's service principal, which has an id of its own.
            Self::Entra => !marks.scp,
            // The subject is then the client id and `@clients`.
            Self::Auth0 => marks.client_credentials,
            _ => false,
        }
    }

    /// Whether a refused token looks as if this profile were the one meant for it; for the log only.
    pub(super) fn suggests_itself(self, issuer: &str, marks: &Marks) -> bool {
        match self {
            Self::Entra => marks.tenant,
            Self::Auth0 => issuer.trim_end_matches('/').ends_with(".auth0.com"),
            _ => true,
        }
    }
}

/// The members that tell one kind of token from another, noted while the payload is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    /// It says itself that it is an ID token or a refresh token.
    other_kind: bool,
    nonce: bool,
    /// The claim `typ` is `Bearer`.
    bearer: bool,
    /// The claim `token_use` is `access`.
    for_access: bool,
    scope: bool,
    scp: bool,
    permissions: bool,
    roles: bool,
    client_id: bool,
    azp: bool,
    appid: bool,
    cid: bool,
    /// `tid`: the tenant, which only Entra names.
    tenant: bool,
    /// `gty` is `client-credentials`, as Auth0 says it.
    client_credentials: bool,
    /// `cnf`: the key the token is bound to, `Some(None)` where it cannot be read.
    pub(super) confirmation: Option<Option<Confirmation>>,
}

impl Marks {
    pub(super) fn read(payload: &Object<'_>) -> Self {
        let has = |name| payload.member(name).is_some();
        Self {
            other_kind: is_of_another_kind(payload),
            nonce: has("nonce"),
            bearer: payload.member("typ").and_then(Json::as_str) == Some("Bearer"),
            for_access: payload.member("token_use").and_then(Json::as_str) == Some("access"),
            scope: has("scope"),
            scp: has("scp"),
            permissions: has("permissions"),
            roles: has("roles"),
            client_id: has("client_id"),
            azp: has("azp"),
            appid: has("appid"),
            cid: has("cid"),
            tenant: has("tid"),
            client_credentials: payload.member("gty").and_then(Json::as_str)
                == Some("client-credentials"),
            confirmation: payload
                .member("cnf")
                .map(|cnf| Confirmation::read(cnf).ok()),
        }
    }
}
