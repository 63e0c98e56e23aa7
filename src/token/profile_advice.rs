//! A warning for operators: valid tokens are rejected, and another [`TokenProfile`] would accept them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::jws::{Rules, UnverifiedToken};
use super::jwt::JwtVerifier;
use super::profile::TokenProfile;
use crate::clock::Now;

/// The profiles for authorization servers that do not send `at+jwt`, the most specific first.
const CANDIDATES: [TokenProfile; 6] = [
    TokenProfile::Keycloak,
    TokenProfile::Cognito,
    TokenProfile::Entra,
    TokenProfile::Okta,
    TokenProfile::Auth0,
    TokenProfile::Generic,
];

/// Logs the warning once per verifier.
#[derive(Clone, Debug, Default)]
pub(super) struct ProfileAdvice {
    logged: Arc<AtomicBool>,
}

impl ProfileAdvice {
    /// Logs which profile would accept a token that was rejected because of its `typ`, if there is one.
    ///
    /// Only tokens with a valid signature are considered, so an attacker cannot cause the warning. Keys are not
    /// fetched for it.
    pub(super) fn log(&self, verifier: &JwtVerifier, rules: &Rules, compact: &str, now: &Now<'_>) {
        if self.logged.load(Ordering::Relaxed) {
            return;
        }
        let rules = Rules {
            media_type: TokenProfile::Generic.media_type(),
            ..rules.clone()
        };
        let accepting_profile = || {
            let server = verifier.server();
            let token = UnverifiedToken::read(server, compact, &rules, None, now).ok()?;
            // The future of a fetch is dropped before it begins.
            let signed = token
                .verify(server, rules.fetch_budget, now)
                .ready()?
                .ok()?;
            let issuer = server.issuer();
            let accepts = |profile: &&TokenProfile| {
                profile.is_plausible(issuer, &signed.markers)
                    && profile.check(&signed.registered, &signed.markers).is_ok()
            };
            let profile = *CANDIDATES.iter().find(accepts)?;
            verifier
                .check_claims(signed, profile, now)
                .ok()
                .map(|_| profile)
        };
        if let Some(profile) =
            accepting_profile().filter(|_| !self.logged.swap(true, Ordering::Relaxed))
        {
            tracing::warn!(
                name: "token_profile_mismatch",
                target: "tower_oauth::bearer",
                issuer = verifier.server().issuer(),
                "rejected an access token because its typ is not at+jwt: \
                 `JwtVerifier::new(..)?.with_profile(TokenProfile::{profile:?})` would accept it"
            );
        }
    }
}
