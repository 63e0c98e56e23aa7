//! An access token that is a JWT, verified here (RFC 9068 §4, RFC 8725).

use std::sync::Arc;
use std::time::Duration;

use super::audience::Audience;
use super::error::{VerifyError, VerifyErrorKind};
use super::hint::Hint;
use super::jws::{self, Candidate, Rules, Signed};
use super::profile::TokenProfile;
use super::verified::Verdict;
use crate::ConfigError;
use crate::clock::unix_seconds;
use crate::crypto::{Algorithm, DEFAULT_ALGORITHMS};
use crate::issuer::{AuthorizationServer, TokenSource};
use crate::protocol::Claims;
use crate::protocol::claims::Registered;

const DEFAULT_LEEWAY: i64 = 30;
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// Judges access tokens of one issuer for one audience.
#[derive(Clone, Debug)]
pub(crate) struct JwtVerifier {
    server: AuthorizationServer,
    audience: Audience,
    profile: TokenProfile,
    rules: Rules,
    max_age: Option<i64>,
    hint: Hint,
}

impl JwtVerifier {
    pub(crate) fn new(
        server: &AuthorizationServer,
        audience: Audience,
    ) -> Result<Self, ConfigError> {
        let profile = TokenProfile::default();
        Ok(Self {
            server: server.clone(),
            audience: audience.checked()?,
            profile,
            rules: Rules {
                algorithms: DEFAULT_ALGORITHMS.to_vec(),
                media_type: profile.media_type(),
                leeway: DEFAULT_LEEWAY,
                needs_expiry: true,
                source: TokenSource::Request,
            },
            max_age: None,
            hint: Hint::default(),
        })
    }

    pub(crate) fn set_profile(&mut self, profile: TokenProfile) {
        self.profile = profile;
        self.rules.media_type = profile.media_type();
    }

    pub(crate) fn set_algorithms(&mut self, algorithms: Vec<Algorithm>) -> Result<(), ConfigError> {
        if algorithms.is_empty() {
            return Err(ConfigError::Setting {
                setting: "algorithms",
                value: "[]".to_owned(),
                reason: "there must be at least one",
            });
        }
        self.rules.algorithms = algorithms;
        Ok(())
    }

    pub(crate) fn set_leeway(&mut self, leeway: Duration) -> Result<(), ConfigError> {
        if leeway > MAX_LEEWAY {
            return Err(ConfigError::Setting {
                setting: "leeway",
                value: format!("{leeway:?}"),
                reason: "it must be at most 5 minutes",
            });
        }
        self.rules.leeway = i64::try_from(leeway.as_secs()).unwrap_or(DEFAULT_LEEWAY);
        Ok(())
    }

    pub(crate) fn set_max_age(&mut self, max_age: Duration) -> Result<(), ConfigError> {
        if max_age.as_secs() == 0 {
            return Err(ConfigError::Setting {
                setting: "max age",
                value: format!("{max_age:?}"),
                reason: "it must be at least a second",
            });
        }
        self.max_age = Some(i64::try_from(max_age.as_secs()).unwrap_or(i64::MAX));
        Ok(())
    }

    pub(super) fn server(&self) -> &AuthorizationServer {
        &self.server
    }

    /// The verdict, where it can be given without waiting for a key.
    pub(crate) fn verify_at_hand(&self, compact: &str) -> Option<Result<Verdict, VerifyError>> {
        let candidate = match Candidate::read(&self.server, compact, &self.rules) {
            Ok(candidate) => candidate,
            Err(error) => {
                if error.kind() == VerifyErrorKind::Type {
                    self.hint.give(self, &self.rules, compact);
                }
                return Some(Err(error));
            }
        };
        let key = candidate.key_at_hand(&self.server)?;
        Some(
            candidate
                .verify_with(key)
                .and_then(|signed| self.judge(signed, self.profile)),
        )
    }

    /// The verdict, after a fetch of keys where one is needed.
    pub(crate) async fn verify(&self, compact: &str) -> Result<Verdict, VerifyError> {
        jws::verify(&self.server, compact, &self.rules)
            .await
            .and_then(|signed| self.judge(signed, self.profile))
    }

    /// What only makes sense of a token whose signature is good.
    pub(super) fn judge(
        &self,
        signed: Signed,
        profile: TokenProfile,
    ) -> Result<Verdict, VerifyError> {
        let Signed {
            payload,
            registered,
            marks,
            ..
        } = signed;
        if !self.audience.accepts(&registered) {
            return Err(VerifyErrorKind::Audience.into());
        }
        profile.check(&registered, &marks)?;
        self.check_age(&registered)?;
        // RFC 9449 §7.2, RFC 8705 §3: a bound token without its proof is a stolen one.
        if marks.bound {
            return Err(VerifyErrorKind::Bound.into());
        }
        Ok(Verdict {
            claims: Claims::new(payload.into(), Arc::new(registered)),
        })
    }

    /// Where an age was set, `iat` has to be there (`A11`).
    fn check_age(&self, registered: &Registered) -> Result<(), VerifyErrorKind> {
        let Some(max_age) = self.max_age else {
            return Ok(());
        };
        let issued_at = registered.issued_at.ok_or(VerifyErrorKind::Claims)?;
        let limit = max_age.saturating_add(self.rules.leeway);
        if unix_seconds(&**self.server.clock()) >= issued_at.saturating_add(limit) {
            return Err(VerifyErrorKind::TooOld);
        }
        Ok(())
    }
}
