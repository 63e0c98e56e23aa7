//! A word to whoever sets a layer up: their tokens are good, and another profile would take them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::jws::{Candidate, Rules};
use super::jwt::JwtVerifier;
use super::profile::TokenProfile;

/// The profiles for servers that do not send `at+jwt`, the most specific first.
const OTHERS: [TokenProfile; 6] = [
    TokenProfile::Keycloak,
    TokenProfile::Cognito,
    TokenProfile::Entra,
    TokenProfile::Okta,
    TokenProfile::Auth0,
    TokenProfile::Generic,
];

/// Whether the word was said; once is enough.
#[derive(Clone, Debug, Default)]
pub(super) struct Hint(Arc<AtomicBool>);

impl Hint {
    /// Says which profile takes a token that was refused for its type, if one does and its signature
    /// is good: what an attacker sends is not worth a word. Nothing is fetched for it (`J7`).
    pub(super) fn give(&self, verifier: &JwtVerifier, rules: &Rules, compact: &str) {
        if self.0.load(Ordering::Relaxed) {
            return;
        }
        let rules = Rules {
            media_type: TokenProfile::Generic.media_type(),
            ..rules.clone()
        };
        let taken_by = || {
            let candidate = Candidate::read(verifier.server(), compact, &rules, None).ok()?;
            let key = candidate.cached_key(verifier.server())?;
            let signed = candidate.verify_with(key).ok()?;
            let issuer = verifier.server().issuer();
            let fits = |one: &&TokenProfile| {
                one.suggests_itself(issuer, &signed.marks)
                    && one.check(&signed.registered, &signed.marks).is_ok()
            };
            let profile = *OTHERS.iter().find(fits)?;
            verifier.judge(signed, profile).ok().map(|_| profile)
        };
        if let Some(profile) = taken_by().filter(|_| !self.0.swap(true, Ordering::Relaxed)) {
            tracing::warn!(
                name: "other_profile",
                target: "tower_oauth::bearer",
                issuer = verifier.server().issuer(),
                "an access token was refused because its typ is not at+jwt; \
                 `JwtVerifier::new(..)?.with_profile(TokenProfile::{profile:?})` would take it"
            );
        }
    }
}
