//! A warning for operators: valid tokens are rejected, and another [`TokenProfile`] would accept them.

use std::sync::atomic::Ordering;

use super::settings::JwtSettings;
use crate::clock::Now;
use crate::token::jws::{Rules, UnverifiedToken};
use crate::token::profile::TokenProfile;

/// The profiles for authorization servers that do not send `at+jwt`, the most specific first.
const CANDIDATES: [TokenProfile; 6] = [
    TokenProfile::Keycloak,
    TokenProfile::Cognito,
    TokenProfile::Entra,
    TokenProfile::Okta,
    TokenProfile::Auth0,
    TokenProfile::Generic,
];

/// Logs which profile would accept a token that was rejected because of its `typ`, if there is one.
///
/// Only tokens with a valid signature are considered, so an attacker cannot cause the warning. Keys are not
/// fetched for it.
pub(super) fn log(settings: &JwtSettings, compact: &str, now: &Now<'_>) {
    let logged = &settings.advice_logged;
    if logged.load(Ordering::Relaxed) {
        return;
    }
    let Some(profile) = accepting_profile(settings, compact, now) else {
        return;
    };
    if !logged.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            name: "token_profile_mismatch",
            target: "tower_oauth::bearer",
            issuer = settings.server.issuer(),
            "rejected an access token because its typ is not at+jwt: \
             `JwtVerifier::new(..)?.with_profile(TokenProfile::{profile:?})` would accept it"
        );
    }
}

fn accepting_profile(settings: &JwtSettings, compact: &str, now: &Now<'_>) -> Option<TokenProfile> {
    let rules = Rules {
        media_type: TokenProfile::Generic.media_type(),
        ..settings.rules.clone()
    };
    let server = &settings.server;
    let token = UnverifiedToken::read(server, compact, &rules, None, now).ok()?;
    // The future of a fetch is dropped before it begins.
    let signed = token
        .verify(server, rules.fetch_budget, now)
        .ready()?
        .ok()?;
    let accepts = |profile: &&TokenProfile| {
        profile.is_plausible(server.issuer(), &signed.markers)
            && profile.check(&signed.registered, &signed.markers).is_ok()
    };
    let profile = *CANDIDATES.iter().find(accepts)?;
    settings.check(&signed, profile, now).ok().map(|_| profile)
}
