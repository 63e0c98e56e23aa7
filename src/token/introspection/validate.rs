//! Whether a token that is active is also good here (`I4`): an authorization server accepts_resource many.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::response::{Active, Kind};
use super::settings::Settings;
use crate::protocol::Claims;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::confirmation::Confirmation;
use crate::token::TokenInfo;
use crate::token::audience::Audience;
use crate::token::cache::CacheData;
use crate::token::error::VerifyErrorKind;

pub(super) fn judge(
    settings: &Settings,
    active: Active,
    now: i64,
) -> Result<TokenInfo, VerifyErrorKind> {
    let Active {
        text,
        mut registered,
        scopes,
        kind,
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
    check_kind(kind, confirmation.as_ref())?;
    // Whoever was asked issued the token; a subject means nothing without its issuer.
    registered.issuer.get_or_insert_with(|| issuer.into());
    Ok(TokenInfo {
        claims: Arc::new(Claims::new(text.into(), registered)),
        scopes,
        confirmation,
        cache: CacheData::default(),
    })
}

/// What of a token_info time can change, looked at whenever it is used.
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

/// As with JWTs, missing is nobody (`A9`): a server that says for whom a token is must say so of each.
fn check_audience(settings: &Settings, claims: &RegisteredClaims) -> Result<(), VerifyErrorKind> {
    if settings.audience.accepts(claims) {
        return Ok(());
    }
    let unsaid = claims.audience.is_empty() && matches!(settings.audience, Audience::AnyOf(_));
    if unsaid && !settings.hinted.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            name: "answers_without_audience",
            target: "tower_oauth::bearer",
            issuer = settings.server.issuer(),
            "a token was refused because the introspection endpoint says nothing of its audience; \
             if it gives each resource server only what is meant for it, `Audience::Unchecked` would \
             take it, and `Audience::clients` names the clients to take it from"
        );
    }
    Err(VerifyErrorKind::Audience)
}

/// RFC 9449 §6.2 (`D17`): a token bound to a proof key is of type DPoP, and the other way round.
fn check_kind(kind: Kind, confirmation: Option<&Confirmation>) -> Result<(), VerifyErrorKind> {
    let needs_proof = confirmation.is_some_and(|one| one.jwk_thumbprint.is_some());
    match kind {
        Kind::Other => Err(VerifyErrorKind::NotAnAccessToken),
        Kind::Bearer { said: true } if needs_proof => Err(VerifyErrorKind::Bound),
        Kind::Dpop if !needs_proof => Err(VerifyErrorKind::Bound),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever checks the proof sees only the confirmation, so the type is looked at here (`V130`).
    #[test]
    fn type_and_confirmation_agree() {
        let proof_key = Confirmation {
            jwk_thumbprint: Some([0; 32]),
            certificate_thumbprint: None,
        };
        let certificate = Confirmation {
            jwk_thumbprint: None,
            certificate_thumbprint: Some([0; 32]),
        };
        let (said, unsaid) = (Kind::Bearer { said: true }, Kind::Bearer { said: false });
        for (name, kind, confirmation, expect) in [
            ("Bearer", said, None, Ok(())),
            (
                "V130 Bearer, proof key",
                said,
                Some(&proof_key),
                Err(VerifyErrorKind::Bound),
            ),
            ("Bearer, certificate", said, Some(&certificate), Ok(())),
            ("no type, proof key", unsaid, Some(&proof_key), Ok(())),
            ("DPoP, proof key", Kind::Dpop, Some(&proof_key), Ok(())),
            (
                "DPoP, nothing",
                Kind::Dpop,
                None,
                Err(VerifyErrorKind::Bound),
            ),
            (
                "DPoP, certificate",
                Kind::Dpop,
                Some(&certificate),
                Err(VerifyErrorKind::Bound),
            ),
            (
                "other",
                Kind::Other,
                None,
                Err(VerifyErrorKind::NotAnAccessToken),
            ),
        ] {
            assert_eq!(check_kind(kind, confirmation), expect, "{name}");
        }
    }
}
