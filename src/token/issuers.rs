//! A fixed set of issuers, each with its own verifier.
//!
//! The unverified `iss` only selects the verifier. That verifier compares the issuer again, and uses only its own
//! keys, audience and algorithms (RFC 8725 §3.8).

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{VerifyError, VerifyErrorKind};
use super::explanation::Explanation;
use super::jwt::JwtVerifier;
use crate::ConfigError;
use crate::clock::SharedClock;
use crate::crypto::Jws;
use crate::protocol::json::{Json, parse_object};
use crate::protocol::limits::MAX_PRESENTED_TOKEN;
use crate::protocol::sanitize::listed;

/// The verifiers by issuer.
#[derive(Clone, Debug)]
pub(super) struct Issuers {
    by_issuer: Arc<HashMap<Box<str>, JwtVerifier>>,
    clock: SharedClock,
}

impl Issuers {
    pub(super) fn new(
        verifiers: impl IntoIterator<Item = JwtVerifier>,
    ) -> Result<Self, ConfigError> {
        let mut by_issuer = HashMap::new();
        let mut clock = None;
        for verifier in verifiers {
            clock.get_or_insert_with(|| Arc::clone(verifier.server().clock()));
            let issuer = verifier.server().issuer();
            if by_issuer.insert(issuer.into(), verifier.clone()).is_some() {
                return Err(ConfigError::Issuer {
                    value: issuer.to_owned(),
                    reason: "it has two verifiers: use one that accepts all of its audiences",
                });
            }
        }
        let clock = clock.ok_or_else(|| ConfigError::Setting {
            setting: "issuers",
            value: "[]".to_owned(),
            reason: "at least one is required",
        })?;
        Ok(Self {
            by_issuer: Arc::new(by_issuer),
            clock,
        })
    }

    pub(super) fn restricted_to_fapi2(self) -> Result<Self, ConfigError> {
        let by_issuer = self.by_issuer.iter().map(|(issuer, verifier)| {
            let verifier = verifier.clone().restricted_to_fapi2()?;
            Ok((issuer.clone(), verifier))
        });
        Ok(Self {
            by_issuer: Arc::new(by_issuer.collect::<Result<_, ConfigError>>()?),
            clock: self.clock,
        })
    }

    /// Returns the verifier for a token, without any fetch: an allow-list against server-side request forgery.
    pub(super) fn verifier_for(&self, compact: &str) -> Result<&JwtVerifier, VerifyError> {
        let issuer = claimed_issuer(compact)?;
        let verifier = self.by_issuer.get(&issuer);
        verifier.ok_or_else(|| {
            let known = listed(self.by_issuer.keys().map(|issuer| &**issuer));
            let explanation = Explanation::new("another iss", known, "Verifier::issuers");
            VerifyError::explained(VerifyErrorKind::Issuer, explanation)
        })
    }

    /// Returns whether at least one verifier accepts tokens for this resource.
    pub(super) fn accepts_resource(&self, resource: &str) -> bool {
        let mut verifiers = self.by_issuer.values();
        verifiers.any(|verifier| verifier.audience().accepts_resource(resource))
    }

    /// Returns the clock of the first verifier. All issuers of one layer are expected to share a clock.
    pub(super) fn clock(&self) -> &SharedClock {
        &self.clock
    }
}

/// In bytes. Issuer identifiers are shorter, and the lookup uses them as cache keys.
const MAX_ISSUER_LENGTH: usize = 1024;

/// Returns the `iss` of a token, which is **not verified**.
pub(super) fn claimed_issuer(compact: &str) -> Result<Box<str>, VerifyError> {
    if compact.len() > MAX_PRESENTED_TOKEN {
        return Err(VerifyErrorKind::TooLong.into());
    }
    let jws = Jws::read(compact)?;
    let payload = parse_object(jws.payload()).map_err(|_| VerifyErrorKind::Malformed)?;
    let issuer = payload.member("iss").and_then(Json::as_str);
    issuer
        .filter(|issuer| issuer.len() <= MAX_ISSUER_LENGTH)
        .map(Box::from)
        .ok_or_else(|| VerifyErrorKind::Issuer.into())
}
