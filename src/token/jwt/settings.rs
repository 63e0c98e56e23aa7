//! The settings of a [`JwtVerifier`](super::JwtVerifier), and the checks that depend only on them and the clock.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::clock::Now;
use crate::issuer::{AuthorizationServer, KeyRef, KeyStatus};
use crate::protocol::claims::RegisteredClaims;
use crate::token::audience::Audience;
use crate::token::error::VerifyErrorKind;
use crate::token::jws::{Rules, Signed, check_times};
use crate::token::profile::TokenProfile;
use crate::token::scope_mapping::{ClaimMapping, ScopeMapping};

#[derive(Clone, Debug)]
pub(in crate::token) struct JwtSettings {
    pub(in crate::token) server: AuthorizationServer,
    pub(super) audience: Audience,
    pub(super) profile: TokenProfile,
    /// The configured scope claims, which replace those of the profile.
    pub(super) scopes: Option<ScopeMapping>,
    pub(super) mapping: ClaimMapping,
    pub(super) rules: Rules,
    /// In seconds.
    pub(super) max_age: Option<i64>,
    /// Whether the advice on profiles was logged: it is logged once per verifier.
    pub(super) advice_logged: Arc<AtomicBool>,
}

impl JwtSettings {
    /// Combines the configured scope claims with the mapping of the profile, independent of the order of calls.
    pub(super) fn update_mapping(&mut self) {
        self.mapping = self.profile.claim_mapping();
        if let Some(scopes) = &self.scopes {
            self.mapping.scopes = Some(scopes.clone());
        }
    }

    /// Runs the checks that follow the signature check: audience, profile, age and confirmation.
    pub(super) fn check(
        &self,
        signed: &Signed,
        profile: TokenProfile,
        now: &Now<'_>,
    ) -> Result<(), VerifyErrorKind> {
        if !self.audience.accepts(&signed.registered) {
            return Err(VerifyErrorKind::Audience);
        }
        profile.check(&signed.registered, &signed.markers)?;
        self.check_age(&signed.registered, now)?;
        match signed.markers.confirmation {
            Some(None) => Err(VerifyErrorKind::Bound),
            _ => Ok(()),
        }
    }

    /// Checks a cached token again: its times against the clock, and its key against the cached key set, so that an
    /// expired token or one of a withdrawn key is not accepted from the cache.
    pub(in crate::token) fn key_status(
        &self,
        registered: &RegisteredClaims,
        key: &KeyRef,
        now: &Now<'_>,
    ) -> KeyStatus {
        let seconds = now.unix_seconds(self.server.clock());
        let is_timely = check_times(registered, seconds, &self.rules).is_ok()
            && self.check_age(registered, now).is_ok();
        if !is_timely {
            return KeyStatus::Withdrawn;
        }
        self.server.key_status(key, now)
    }

    /// Checks the maximum age, if one is configured. This requires `iat`.
    fn check_age(
        &self,
        registered: &RegisteredClaims,
        now: &Now<'_>,
    ) -> Result<(), VerifyErrorKind> {
        let Some(max_age) = self.max_age else {
            return Ok(());
        };
        let issued_at = registered.issued_at.ok_or(VerifyErrorKind::Claims)?;
        let limit = max_age.saturating_add(self.rules.leeway);
        if now.unix_seconds(self.server.clock()) >= issued_at.saturating_add(limit) {
            return Err(VerifyErrorKind::TooOld);
        }
        Ok(())
    }
}
