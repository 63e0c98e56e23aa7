//! The introspection response (RFC 7662 §2.2): parsing, and validation of an active token (§4).
//!
//! The authorization server also introspects tokens for other resource servers, so `active` alone does not suffice.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::settings::Settings;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::confirmation::Confirmation;
use crate::protocol::json::{Json, Object, parse_object};
use crate::protocol::members::InvalidMember;
use crate::protocol::sanitize::log_safe;
use crate::protocol::{Claims, ScopeSet};
use crate::token::audience::Audience;
use crate::token::error::{VerifyError, VerifyErrorKind};
use crate::token::explanation::{Explanation, ahead, past};
use crate::token::profile::IntrospectedType;
use crate::token::scope_mapping::{ScopeMapping, report_array};
use crate::token::token_info::{CacheData, TokenInfo};

/// A well-formed introspection response.
#[derive(Debug)]
pub(super) enum IntrospectionResponse {
    /// The other members of such a response are ignored.
    Inactive,
    Active(Box<ActiveToken>),
}

#[derive(Debug)]
pub(super) struct ActiveToken {
    /// The JSON text of the response.
    pub(super) text: String,
    pub(super) registered: RegisteredClaims,
    /// The scopes found by the scope mapping, if one is configured.
    pub(super) scopes: Option<ScopeSet>,
    /// Whether `scope` is an array and no mapping reads it.
    pub(super) has_unread_scopes: bool,
    pub(super) token_type: TokenType,
    /// `Err` if the confirmation method is not supported.
    pub(super) confirmation: Result<Option<Confirmation>, ()>,
}

/// The type of the token according to the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenType {
    /// `token_type` is `Bearer`, states only that it is an access token, or is absent.
    Bearer,
    /// The response states that the token is bound to the key of DPoP proofs.
    Dpop,
    /// A refresh token, an ID token, or an unknown type.
    Other,
}

/// A malformed response. The fault is the authorization server's, never the caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidResponse {
    #[error("the response is not a strict JSON object")]
    Json,
    #[error("active is missing or not a boolean")]
    NoActive,
    #[error("{0}")]
    Member(#[from] InvalidMember),
}

pub(super) fn read(
    text: &[u8],
    scopes: Option<&ScopeMapping>,
) -> Result<IntrospectionResponse, InvalidResponse> {
    // RFC 8259 §4: parsers disagree on which of two members with the same name counts, so the
    // parser rejects duplicates.
    let members = parse_object(text).map_err(|_| InvalidResponse::Json)?;
    match members.member("active") {
        Some(Json::Bool(true)) => {}
        Some(Json::Bool(false)) => return Ok(IntrospectionResponse::Inactive),
        // RFC 7662 §2.2: `active` is required and a boolean. A string "true" is not accepted.
        _ => return Err(InvalidResponse::NoActive),
    }
    let registered = RegisteredClaims::read(&members)?;
    let token_type = read_token_type(&members)?;
    let confirmation = members
        .member("cnf")
        .map(Confirmation::read)
        .transpose()
        .map_err(|_| ());
    Ok(IntrospectionResponse::Active(Box::new(ActiveToken {
        // The JSON parser has checked that it is UTF-8.
        text: String::from_utf8_lossy(text).into_owned(),
        registered,
        scopes: scopes.map(|mapping| mapping.read(&members)),
        has_unread_scopes: scopes.is_none()
            && matches!(members.member("scope"), Some(Json::Array(_))),
        token_type,
        confirmation,
    })))
}

/// The accepted values of `token_type`: the types of RFC 6749 §7.1 and RFC 9449 §5, and those with which servers state
/// only that it is an access token, the word and URN of RFC 8693 §3 and the media type of RFC 9068 §2.1.
const KNOWN_TYPES: [&str; 5] = [
    "Bearer",
    "DPoP",
    "access_token",
    "urn:ietf:params:oauth:token-type:access_token",
    "at+jwt",
];

/// Reads the type of the token. `token_type` is case-insensitive (RFC 6749 §5.1), and an unknown type is rejected
/// (§7.1). Some servers also report refresh tokens and ID tokens as active, and mark them with a proprietary member.
fn read_token_type(members: &Object<'_>) -> Result<TokenType, InvalidResponse> {
    let name = members.text("token_type")?;
    let stated = IntrospectedType::read(members);
    let is_known = |name: &str| {
        let mut known = KNOWN_TYPES.iter();
        known.any(|known| known.eq_ignore_ascii_case(name))
    };
    Ok(if stated.is_other || !name.is_none_or(is_known) {
        TokenType::Other
    } else if stated.is_dpop {
        TokenType::Dpop
    } else {
        TokenType::Bearer
    })
}

/// Validates issuer, times, audience and type of an active token.
pub(super) fn validate(
    settings: &Settings,
    active: ActiveToken,
    now: i64,
) -> Result<TokenInfo, VerifyError> {
    let ActiveToken {
        text,
        mut registered,
        scopes,
        has_unread_scopes,
        token_type,
        confirmation,
    } = active;
    let issuer = settings.server.issuer();
    if registered
        .issuer
        .as_deref()
        .is_some_and(|iss| iss != issuer)
    {
        let explanation = Explanation::new(
            format!(
                "iss {}",
                registered
                    .issuer
                    .as_deref()
                    .map(log_safe)
                    .unwrap_or_default()
            ),
            format!("iss {}", log_safe(issuer)),
            "the issuer of AuthorizationServer::new",
        );
        return Err(VerifyError::explained(VerifyErrorKind::Issuer, explanation));
    }
    check_times(&registered, now, settings.leeway)
        .map_err(|kind| explain_times(kind, &registered, now, settings.leeway))?;
    check_audience(settings, &registered)?;
    let confirmation = confirmation.map_err(|()| VerifyErrorKind::Bound)?;
    check_token_type(token_type, confirmation.as_ref())?;
    if has_unread_scopes && !settings.scope_warning_logged.swap(true, Ordering::Relaxed) {
        report_array(
            issuer,
            "IntrospectionVerifier::with_scopes_from([\"scope\"])",
        );
    }
    // Without `iss` the token was issued by the server that introspected it. A subject identifies a user
    // only together with its issuer.
    registered.issuer.get_or_insert_with(|| issuer.into());
    Ok(TokenInfo {
        claims: Arc::new(Claims::new(text.into(), registered)),
        scopes,
        confirmation: confirmation.map(Box::new),
        audience: Arc::clone(&settings.audience),
        cache: CacheData::default(),
    })
}

/// Checks `exp`, `nbf` and `iat`. Also called on every use of a cached result.
pub(super) fn check_times(
    claims: &RegisteredClaims,
    now: i64,
    leeway: i64,
) -> Result<(), VerifyErrorKind> {
    if claims
        .expires_at
        .is_some_and(|exp| now >= exp.saturating_add(leeway))
    {
        return Err(VerifyErrorKind::Expired);
    }
    let begins = claims.not_before.into_iter().chain(claims.issued_at).max();
    if begins.is_some_and(|begins| begins > now.saturating_add(leeway)) {
        return Err(VerifyErrorKind::NotYetValid);
    }
    Ok(())
}

#[cold]
fn explain_times(
    kind: VerifyErrorKind,
    claims: &RegisteredClaims,
    now: i64,
    leeway: i64,
) -> VerifyError {
    let setting =
        "IntrospectionVerifier::with_leeway, or the clock of this or of the authorization server";
    let begins = claims.not_before.into_iter().chain(claims.issued_at).max();
    let explanation = match (kind, claims.expires_at, begins) {
        (VerifyErrorKind::Expired, Some(at), _) => {
            let expected = format!("exp at most {leeway} seconds ago");
            Explanation::new(past("exp", at, now), expected, setting)
        }
        (_, _, Some(at)) => {
            let expected = format!("nbf and iat at most {leeway} seconds ahead");
            Explanation::new(ahead("nbf or iat", at, now), expected, setting)
        }
        _ => return kind.into(),
    };
    VerifyError::explained(kind, explanation)
}

/// Checks `aud`. As with JWTs, a token without `aud` is rejected unless the audience is unchecked.
fn check_audience(settings: &Settings, claims: &RegisteredClaims) -> Result<(), VerifyError> {
    if settings.audience.accepts(claims) {
        return Ok(());
    }
    let is_missing = claims.audience.is_empty() && matches!(*settings.audience, Audience::AnyOf(_));
    if is_missing
        && !settings
            .audience_warning_logged
            .swap(true, Ordering::Relaxed)
    {
        tracing::warn!(
            name: "introspection_without_audience",
            target: "tower_oauth::bearer",
            issuer = settings.server.issuer(),
            "a token was rejected because the introspection response has no `aud`; use `Audience::clients` \
             to accept the tokens of certain clients, or `Audience::Unchecked` if the authorization server \
             introspects only tokens that are intended for this resource server"
        );
    }
    let explanation = settings.audience.explain(claims);
    Err(VerifyError::explained(
        VerifyErrorKind::Audience,
        explanation,
    ))
}

/// Checks that a token of type `DPoP` is bound to a proof key (RFC 9449 §6.2). Whatever the type, the layer requires the
/// proof of a token that is bound to a key.
fn check_token_type(
    token_type: TokenType,
    confirmation: Option<&Confirmation>,
) -> Result<(), VerifyErrorKind> {
    let needs_proof = confirmation.is_some_and(|one| one.jwk_thumbprint.is_some());
    match token_type {
        TokenType::Other => Err(VerifyErrorKind::NotAnAccessToken),
        TokenType::Dpop if !needs_proof => Err(VerifyErrorKind::Bound),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layer that checks the proof sees only the confirmation, so `token_type` is checked here.
    #[test]
    fn the_token_type_must_match_the_confirmation() {
        let proof_key = Confirmation {
            jwk_thumbprint: Some([0; 32]),
            certificate_thumbprint: None,
        };
        let certificate = Confirmation {
            jwk_thumbprint: None,
            certificate_thumbprint: Some([0; 32]),
        };
        for (name, token_type, confirmation, expect) in [
            ("Bearer", TokenType::Bearer, None, Ok(())),
            (
                "Bearer, proof key",
                TokenType::Bearer,
                Some(&proof_key),
                Ok(()),
            ),
            (
                "Bearer, certificate",
                TokenType::Bearer,
                Some(&certificate),
                Ok(()),
            ),
            ("DPoP, proof key", TokenType::Dpop, Some(&proof_key), Ok(())),
            (
                "DPoP, nothing",
                TokenType::Dpop,
                None,
                Err(VerifyErrorKind::Bound),
            ),
            (
                "DPoP, certificate",
                TokenType::Dpop,
                Some(&certificate),
                Err(VerifyErrorKind::Bound),
            ),
            (
                "other",
                TokenType::Other,
                None,
                Err(VerifyErrorKind::NotAnAccessToken),
            ),
        ] {
            assert_eq!(check_token_type(token_type, confirmation), expect, "{name}");
        }
    }
}
