//! Validation of an active token (RFC 7662 §4): the authorization server also introspects tokens for other
//! resource servers.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::response::{ActiveToken, TokenType};
use super::settings::Settings;
use crate::protocol::Claims;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::confirmation::Confirmation;
use crate::token::TokenInfo;
use crate::token::audience::Audience;
use crate::token::cache::CacheData;
use crate::token::error::VerifyErrorKind;

/// Validates issuer, times, audience and type of an active token.
pub(super) fn validate(
    settings: &Settings,
    active: ActiveToken,
    now: i64,
) -> Result<TokenInfo, VerifyErrorKind> {
    let ActiveToken {
        text,
        mut registered,
        scopes,
        token_type,
        confirmation,
    } = active;
    let issuer = settings.server.issuer();
    if registered
        .issuer
        .as_deref()
        .is_some_and(|iss| iss != issuer)
    {
        return Err(VerifyErrorKind::Issuer);
    }
    check_times(&registered, now, settings.leeway)?;
    check_audience(settings, &registered)?;
    let confirmation = confirmation.map_err(|()| VerifyErrorKind::Bound)?;
    check_token_type(token_type, confirmation.as_ref())?;
    // Without `iss` the token was issued by the server that introspected it. A subject identifies a user
    // only together with its issuer.
    registered.issuer.get_or_insert_with(|| issuer.into());
    Ok(TokenInfo {
        claims: Arc::new(Claims::new(text.into(), registered)),
        scopes,
        confirmation: confirmation.map(Box::new),
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

/// Checks `aud`. As with JWTs, a token without `aud` is rejected unless the audience is unchecked.
fn check_audience(settings: &Settings, claims: &RegisteredClaims) -> Result<(), VerifyErrorKind> {
    if settings.audience.accepts(claims) {
        return Ok(());
    }
    let is_missing = claims.audience.is_empty() && matches!(settings.audience, Audience::AnyOf(_));
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
    Err(VerifyErrorKind::Audience)
}

/// Checks that `token_type` is `DPoP` if and only if the token is bound to a proof key (RFC 9449 §6.2). A server
/// that omits `token_type` is accepted.
fn check_token_type(
    token_type: TokenType,
    confirmation: Option<&Confirmation>,
) -> Result<(), VerifyErrorKind> {
    let needs_proof = confirmation.is_some_and(|one| one.jwk_thumbprint.is_some());
    match token_type {
        TokenType::Other => Err(VerifyErrorKind::NotAnAccessToken),
        TokenType::Bearer { is_explicit: true } if needs_proof => Err(VerifyErrorKind::Bound),
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
        let (explicit, implicit) = (
            TokenType::Bearer { is_explicit: true },
            TokenType::Bearer { is_explicit: false },
        );
        for (name, token_type, confirmation, expect) in [
            ("Bearer", explicit, None, Ok(())),
            (
                "Bearer, proof key",
                explicit,
                Some(&proof_key),
                Err(VerifyErrorKind::Bound),
            ),
            ("Bearer, certificate", explicit, Some(&certificate), Ok(())),
            ("no type, proof key", implicit, Some(&proof_key), Ok(())),
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
