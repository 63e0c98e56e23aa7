//! The settings of a [`JwtVerifier`](super::JwtVerifier), and the checks that depend only on them and the clock.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::clock::Now;
use crate::issuer::AuthorizationServer;
use crate::protocol::claims::RegisteredClaims;
use crate::token::audience::Audience;
use crate::token::error::VerifyErrorKind;
use crate::token::jws::{MediaTypes, Rules, Signed};
use crate::token::profile::TokenProfile;
use crate::token::scope_mapping::{ClaimMapping, ScopeMapping};
use crate::token::token_mark::TokenMark;

#[derive(Clone, Debug)]
pub(in crate::token) struct JwtSettings {
    pub(in crate::token) server: AuthorizationServer,
    /// Shared with the tokens that were accepted.
    pub(super) audience: Arc<Audience>,
    pub(super) profile: TokenProfile,
    /// Replaces the mark of the profile.
    pub(super) mark: Option<TokenMark>,
    /// The configured scope claims, which replace those of the profile.
    pub(super) scopes: Option<ScopeMapping>,
    pub(super) mapping: ClaimMapping,
    pub(super) rules: Rules,
    /// In seconds.
    pub(super) max_age: Option<i64>,
    pub(super) reports: Arc<Reports>,
}

/// What was logged about the tokens of one verifier.
#[derive(Debug, Default)]
pub(super) struct Reports {
    /// One bit for each kind.
    logged: AtomicU32,
    /// Whether keys were fetched only to explain a rejection, which is done once.
    pub(super) has_fetched: AtomicBool,
}

/// The bit of the warning about scopes; the lower ones are kinds of rejections.
pub(super) const SCOPE_ARRAY: u32 = 1 << 31;

impl Reports {
    /// Returns whether this is the first report with this bit.
    pub(super) fn is_first(&self, bit: u32) -> bool {
        self.logged.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}

impl JwtSettings {
    /// Combines the configured scope claims with the mapping of the profile, independent of the order of calls.
    pub(super) fn update_mapping(&mut self) {
        self.mapping = self.profile.claim_mapping();
        if let Some(scopes) = &self.scopes {
            self.mapping.scopes = Some(scopes.clone());
        }
    }

    /// Takes the types from the mark, or else from the profile.
    pub(super) fn update_types(&mut self) {
        self.rules.media_types = match &self.mark {
            Some(mark) => mark.media_types(),
            None => MediaTypes::Checked(self.profile.media_type()),
        };
    }

    /// Describes the accepted `typ`, for operators.
    pub(super) fn expected_type(&self) -> &'static str {
        match self.mark {
            Some(_) => "a typ of the TokenMark",
            None => self.profile.expected_type(),
        }
    }

    /// Describes the required mark, for operators.
    pub(super) fn expected_mark(&self) -> &'static str {
        match self.mark {
            Some(_) => {
                "the claims of the TokenMark, and an aud that is not the client of the token"
            }
            None => self.profile.expected_mark(),
        }
    }

    /// Runs the checks that follow the signature check: audience, profile, age and confirmation. Returns the period of
    /// validity: within it the times of a cached token need no other check.
    pub(super) fn check(
        &self,
        signed: &Signed,
        profile: TokenProfile,
        now: &Now<'_>,
    ) -> Result<Range<i64>, VerifyErrorKind> {
        if !self.audience.accepts(&signed.registered) {
            return Err(VerifyErrorKind::Audience);
        }
        match &self.mark {
            Some(mark) => mark.check(signed)?,
            None => profile.check(&signed.registered, &signed.markers)?,
        }
        let too_old_at = self.check_age(&signed.registered, now)?;
        match signed.markers.confirmation {
            Some(None) => Err(VerifyErrorKind::Bound),
            _ => Ok(signed.validity.start..signed.validity.end.min(too_old_at)),
        }
    }

    /// Checks the maximum age, if one is configured. This requires `iat`. Returns when the token is too old.
    fn check_age(
        &self,
        registered: &RegisteredClaims,
        now: &Now<'_>,
    ) -> Result<i64, VerifyErrorKind> {
        let Some(max_age) = self.max_age else {
            return Ok(i64::MAX);
        };
        let issued_at = registered.issued_at.ok_or(VerifyErrorKind::Claims)?;
        let limit = max_age.saturating_add(self.rules.leeway);
        let too_old_at = issued_at.saturating_add(limit);
        if now.unix_seconds(self.server.clock()) >= too_old_at {
            return Err(VerifyErrorKind::TooOld);
        }
        Ok(too_old_at)
    }
}
