//! Several issuers behind one layer, each with a verifier of its own (`A20`).
//!
//! What a token says of its issuer only chooses who judges it. Whoever is chosen has its own keys,
//! audience and algorithms, and compares the issuer once more; nobody else is asked.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{VerifyError, VerifyErrorKind};
use super::jws::MAX_TOKEN_LENGTH;
use super::jwt::JwtVerifier;
use crate::ConfigError;
use crate::clock::SharedClock;
use crate::crypto::Jws;
use crate::protocol::json::{Json, parse_object};

/// The issuers that are known from the start.
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
                    reason: "there are two verifiers for it: let one take all its audiences",
                });
            }
        }
        let clock = clock.ok_or_else(|| ConfigError::Setting {
            setting: "issuers",
            value: "[]".to_owned(),
            reason: "there must be at least one",
        })?;
        Ok(Self {
            by_issuer: Arc::new(by_issuer),
            clock,
        })
    }

    /// Who judges this token: found in memory, before anything is fetched for it (`J20`).
    pub(super) fn verifier_for(&self, compact: &str) -> Result<&JwtVerifier, VerifyError> {
        let issuer = claimed_issuer(compact)?;
        let verifier = self.by_issuer.get(&issuer);
        verifier.ok_or_else(|| VerifyErrorKind::Issuer.into())
    }

    /// Whether one of them takes tokens for this resource.
    pub(super) fn serve(&self, resource: &str) -> bool {
        let mut verifiers = self.by_issuer.values();
        verifiers.any(|verifier| verifier.audience().may_be(resource))
    }

    /// That of the first: issuers of one layer are judged by one clock, or the application errs.
    pub(super) fn clock(&self) -> &SharedClock {
        &self.clock
    }
}

/// No issuer identifier is longer, and it may be kept as a name.
const MAX_ISSUER_LENGTH: usize = 1024;

/// The issuer a token says to be of. Nobody has vouched for it.
pub(super) fn claimed_issuer(compact: &str) -> Result<Box<str>, VerifyError> {
    if compact.len() > MAX_TOKEN_LENGTH {
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
