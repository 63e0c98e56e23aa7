//! How an authorization server marks its access tokens.

use super::error::VerifyErrorKind;
use crate::crypto::same_media_type;
use crate::protocol::claims::Registered;
use crate::protocol::confirmation::Confirmation;
use crate::protocol::json::{Json, Object};

/// How an authorization server marks its access tokens, so that no other token of it passes for one.
///
/// An ID token has the same issuer, a good signature and sometimes even a fitting audience. What sets
/// an access token apart is `typ: at+jwt` ([RFC 9068 §2.1]); servers that do not send it are named
/// here, each with the mark that its access tokens do have. The choice is never automatic.
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
    /// Any other server whose `typ` is `JWT` or absent: one of `scope`, `scp` or `permissions` is there,
    /// and one of `client_id`, `azp` or `cid`.
    Generic,
}

impl TokenProfile {
    /// The header's `typ`: explicit types of other tokens are refused in every profile (`A1`).
    pub(super) fn media_type(self) -> fn(Option<&str>) -> bool {
        match self {
            Self::Rfc9068 | Self::Rfc9068Full => {
                |sent| sent.is_some_and(|sent| same_media_type(sent, "at+jwt"))
            }
            Self::Keycloak | Self::Generic => |sent| {
                sent.is_none_or(|sent| {
                    same_media_type(sent, "JWT") || same_media_type(sent, "at+jwt")
                })
            },
        }
    }

    /// What the claims must say beyond the checks that all profiles share.
    pub(super) fn check(self, claims: &Registered, marks: &Marks) -> Result<(), VerifyErrorKind> {
        if marks.hashes || (marks.nonce && self != Self::Generic) {
            return Err(VerifyErrorKind::NotAnAccessToken);
        }
        let (marked, otherwise) = match self {
            Self::Rfc9068 => (true, VerifyErrorKind::Claims),
            Self::Rfc9068Full => (
                claims.subject.is_some()
                    && claims.client_id.is_some()
                    && claims.issued_at.is_some()
                    && claims.jwt_id.is_some(),
                VerifyErrorKind::Claims,
            ),
            Self::Keycloak => (marks.bearer, VerifyErrorKind::NotAnAccessToken),
            Self::Generic => (
                marks.grant && marks.client,
                VerifyErrorKind::NotAnAccessToken,
            ),
        };
        if marked { Ok(()) } else { Err(otherwise) }
    }
}

/// The members that tell one kind of token from another, noted while the payload is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    /// `at_hash` or `c_hash`: only ID tokens carry hashes of what was issued with them (OpenID
    /// Connect Core §3.1.3.6).
    hashes: bool,
    nonce: bool,
    /// The claim `typ` is `Bearer`.
    bearer: bool,
    /// Something is granted: `scope`, `scp` or `permissions`.
    grant: bool,
    /// A client is named: `client_id`, `azp` or `cid`.
    client: bool,
    /// `cnf`: the key the token is bound to, `Some(None)` where it cannot be read.
    pub(super) confirmation: Option<Option<Confirmation>>,
}

impl Marks {
    pub(super) fn read(payload: &Object<'_>) -> Self {
        let has = |name| payload.member(name).is_some();
        Self {
            hashes: has("at_hash") || has("c_hash"),
            nonce: has("nonce"),
            bearer: payload.member("typ").and_then(Json::as_str) == Some("Bearer"),
            grant: has("scope") || has("scp") || has("permissions"),
            client: has("client_id") || has("azp") || has("cid"),
            confirmation: payload
                .member("cnf")
                .map(|cnf| Confirmation::read(cnf).ok()),
        }
    }
}
