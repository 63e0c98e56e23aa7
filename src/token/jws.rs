//! The way every signed token goes, from its text to a payload that its issuer vouches for.
//!
//! The checks stand from cheap to dear, and none that needs a key comes before those that do not
//! (`A17`): what is refused by its shape, type, issuer or age costs no fetch.

use std::sync::Arc;

use super::error::{VerifyError, VerifyErrorKind};
use super::profile::Marks;
use super::scope_mapping::{ClaimMapping, MappedClaims};
use crate::clock::unix_seconds;
use crate::crypto::{Algorithm, Jws};
use crate::issuer::{AuthorizationServer, FetchBudget, KeyError, SelectedKey};
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::json::parse_object_text;

/// No issuer needs more for a token, and no header block holds much more.
pub(crate) const MAX_TOKEN_LENGTH: usize = 16 * 1024;

/// What a use of signed tokens asks of them before the signature is looked at.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) algorithms: Vec<Algorithm>,
    /// Whether a `typ`, or its absence, is acceptable.
    pub(crate) media_type: fn(Option<&str>) -> bool,
    pub(crate) leeway: i64,
    /// Whether it must say until when it is good; where it does, that is checked either way.
    pub(crate) needs_expiry: bool,
    /// How such tokens come to us: what an unknown key of theirs may cost depends on it.
    pub(crate) source: FetchBudget,
}

/// A payload with a good signature of the issuer, within its time.
#[derive(Debug)]
pub(crate) struct Signed {
    /// The JSON text that was signed.
    pub(crate) payload: Arc<str>,
    pub(crate) registered: RegisteredClaims,
    pub(crate) marks: Marks,
    pub(crate) mapped: MappedClaims,
    pub(crate) algorithm: Algorithm,
    /// The key that made the signature.
    pub(crate) key: SelectedKey,
}

/// A token that needs only its signature checked.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    jws: Jws<'a>,
    payload: Arc<str>,
    registered: RegisteredClaims,
    marks: Marks,
    mapped: MappedClaims,
}

/// Takes a token, checks everything that needs no key, then finds the key and checks the signature.
pub(crate) async fn verify(
    server: &AuthorizationServer,
    compact: &str,
    rules: &Rules,
) -> Result<Signed, VerifyError> {
    let candidate = Candidate::read(server, compact, rules, None)?;
    candidate.verify(server, rules).await
}

impl<'a> Candidate<'a> {
    /// All that can be said of a token without a key. What `reading` finds is nobody's word yet.
    pub(crate) fn read(
        server: &AuthorizationServer,
        compact: &'a str,
        rules: &Rules,
        reading: Option<&ClaimMapping>,
    ) -> Result<Self, VerifyError> {
        if compact.len() > MAX_TOKEN_LENGTH {
            return Err(VerifyErrorKind::TooLong.into());
        }
        let jws = Jws::read(compact)?;
        // RFC 8725 §3.1: an allow-list, compared with what was named exactly (`A2`).
        if !rules.algorithms.contains(&jws.algorithm()) {
            return Err(VerifyErrorKind::Algorithm.into());
        }
        if !(rules.media_type)(jws.media_type()) {
            return Err(VerifyErrorKind::Type.into());
        }
        let text = str::from_utf8(jws.payload()).map_err(|_| VerifyErrorKind::Malformed)?;
        let text = Arc::<str>::from(text);
        let payload = parse_object_text(&text).map_err(|_| VerifyErrorKind::Malformed)?;
        // RFC 8725 §3.8: byte for byte, and one string only (`A8`).
        if payload.member("iss").and_then(|iss| iss.as_str()) != Some(server.issuer()) {
            return Err(VerifyErrorKind::Issuer.into());
        }
        let registered =
            RegisteredClaims::read_within(&text, &payload).map_err(|_| VerifyErrorKind::Claims)?;
        let marks = Marks::read(&payload);
        let mapped = reading.map(|reading| reading.read(&payload));
        let mapped = mapped.unwrap_or_default();
        check_times(&registered, unix_seconds(&**server.clock()), rules)?;
        Ok(Self {
            jws,
            payload: text,
            registered,
            marks,
            mapped,
        })
    }

    /// Checks the signature, after a fetch of keys where one is needed.
    pub(crate) async fn verify(
        self,
        server: &AuthorizationServer,
        rules: &Rules,
    ) -> Result<Signed, VerifyError> {
        let (key_id, algorithm) = (self.jws.key_id(), self.jws.algorithm());
        let key = server.key(key_id, algorithm, rules.source).await;
        self.verify_with(key)
    }

    /// The answer for a key that is at hand, `None` where one would have to wait for it.
    pub(crate) fn cached_key(
        &self,
        server: &AuthorizationServer,
    ) -> Option<Result<SelectedKey, KeyError>> {
        server.cached_key(self.jws.key_id(), self.jws.algorithm())
    }

    /// Checks the signature; from here on the claims are the issuer's word.
    pub(crate) fn verify_with(
        self,
        key: Result<SelectedKey, KeyError>,
    ) -> Result<Signed, VerifyError> {
        let key = key.map_err(|error| match error {
            KeyError::Unknown => VerifyErrorKind::UnknownKey.into(),
            KeyError::Unfit => VerifyErrorKind::UnfitKey.into(),
            KeyError::Ambiguous => VerifyErrorKind::AmbiguousKey.into(),
            KeyError::Unavailable(unavailable) => VerifyError::from(unavailable),
        })?;
        if !key.public_key().is_some_and(|key| self.jws.verify(key)) {
            return Err(VerifyErrorKind::Signature.into());
        }
        let algorithm = self.jws.algorithm();
        Ok(Signed {
            payload: self.payload,
            registered: self.registered,
            marks: self.marks,
            mapped: self.mapped,
            algorithm,
            key,
        })
    }
}

/// `exp` must be ahead; `nbf` and `iat`, where present, must not be (`A10`, `A11`).
pub(super) fn check_times(
    claims: &RegisteredClaims,
    now: i64,
    rules: &Rules,
) -> Result<(), VerifyError> {
    match claims.expires_at {
        Some(expires_at) if now >= expires_at.saturating_add(rules.leeway) => {
            return Err(VerifyErrorKind::Expired.into());
        }
        None if rules.needs_expiry => return Err(VerifyErrorKind::Claims.into()),
        _ => {}
    }
    let begins = claims.not_before.into_iter().chain(claims.issued_at).max();
    if begins.is_some_and(|begins| begins > now.saturating_add(rules.leeway)) {
        return Err(VerifyErrorKind::NotYetValid.into());
    }
    Ok(())
}
