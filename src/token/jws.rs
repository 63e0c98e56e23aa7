//! Verification of signed tokens, from the compact serialization to a payload with a valid signature.
//!
//! All checks that need no key run before the first fetch of keys, in the order of their cost, so a token with a wrong
//! shape, type, issuer or time costs no request to the authorization server.

use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::{VerifyError, VerifyErrorKind};
use super::expected_issuer::ExpectedIssuer;
use super::explanation::Explanation;
use super::profile::TypeMarkers;
use super::scope_mapping::{ClaimMapping, MappedClaims};
use crate::clock::Now;
use crate::crypto::{Algorithm, Jws, same_media_type};
use crate::issuer::{AuthorizationServer, FetchBudget, KeyCandidates, KeyError, SelectedKey};
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::json::{parse_object_text, parse_object_with_repeats};
use crate::verification::Verification;

/// The checks of one kind of signed token before its signature is verified.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// In bytes.
    pub(crate) max_length: usize,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) media_types: MediaTypes,
    /// In seconds.
    pub(crate) leeway: i64,
    /// Whether `exp` is required. A present `exp` is always checked.
    pub(crate) requires_expiry: bool,
    /// Whether a claim may occur several times with the same string. Any other repetition rejects the token (RFC 7519 §4).
    pub(crate) accepts_repeats: bool,
    pub(crate) issuer: ExpectedIssuer,
    /// The budget for key set fetches that an unknown key of such a token may cause.
    pub(crate) fetch_budget: FetchBudget,
}

/// The accepted values of `typ` in the header.
#[derive(Clone, Debug)]
pub(crate) enum MediaTypes {
    /// Returns whether this `typ`, or its absence, is accepted.
    Checked(fn(Option<&str>) -> bool),
    Listed(Arc<[Box<str>]>),
}

impl MediaTypes {
    pub(crate) fn accepts(&self, sent: Option<&str>) -> bool {
        match self {
            Self::Checked(accepts) => accepts(sent),
            Self::Listed(types) => {
                sent.is_some_and(|sent| types.iter().any(|one| same_media_type(sent, one)))
            }
        }
    }
}

/// A payload with a valid signature of the issuer, within its period of validity.
#[derive(Debug)]
pub(crate) struct Signed {
    /// The signed JSON text.
    pub(crate) payload: Arc<str>,
    pub(crate) registered: RegisteredClaims,
    /// The period of validity, in seconds since the Unix epoch.
    pub(crate) validity: Range<i64>,
    pub(crate) markers: TypeMarkers,
    pub(crate) mapped: MappedClaims,
    pub(crate) algorithm: Algorithm,
    /// The key that verified the signature.
    pub(crate) key: SelectedKey,
}

impl Signed {
    /// Returns the payload with another text for its issuer.
    pub(crate) fn with_issuer(self, issuer: &str) -> Result<Self, VerifyError> {
        let malformed = || VerifyError::from(VerifyErrorKind::Malformed);
        let mut claims: Map<String, Value> =
            serde_json::from_str(&self.payload).map_err(|_| malformed())?;
        claims.insert("iss".to_owned(), issuer.into());
        let text = Arc::<str>::from(Value::Object(claims).to_string());
        let payload = parse_object_text(&text).map_err(|_| malformed())?;
        let registered = RegisteredClaims::read_within(&text, &payload);
        let registered = registered.map_err(|_| malformed())?;
        Ok(Self {
            payload: Arc::clone(&text),
            registered,
            ..self
        })
    }
}

/// A token that passed all checks except that of its signature.
#[derive(Debug)]
pub(crate) struct UnverifiedToken<'a> {
    jws: Jws<'a>,
    payload: Arc<str>,
    registered: RegisteredClaims,
    validity: Range<i64>,
    markers: TypeMarkers,
    mapped: MappedClaims,
}

/// Verifies a token: first all checks that need no key, then the signature. If that is not valid and `is_for_us` accepts the
/// claims, the keys are fetched again in the background.
pub(crate) async fn verify(
    server: &AuthorizationServer,
    compact: &str,
    rules: &Rules,
    is_for_us: impl FnOnce(&RegisteredClaims) -> bool,
) -> Result<Signed, VerifyError> {
    let verification = {
        let now = Now::new(server.clock());
        let token = UnverifiedToken::read(server, compact, rules, None, &now)?;
        token.verify(server, rules.fetch_budget, is_for_us, &now)
    };
    verification.outcome().await
}

impl<'a> UnverifiedToken<'a> {
    /// Runs all checks that need no key. The claims, including those that `mapping` selects, are not verified yet.
    pub(crate) fn read(
        server: &AuthorizationServer,
        compact: &'a str,
        rules: &Rules,
        mapping: Option<&ClaimMapping>,
        now: &Now<'_>,
    ) -> Result<Self, VerifyError> {
        if compact.len() > rules.max_length {
            return Err(VerifyErrorKind::TooLong.into());
        }
        let jws = Jws::read(compact)?;
        // RFC 8725 §3.1: an allow-list, compared with the exact algorithm name.
        if !rules.algorithms.contains(&jws.algorithm()) {
            return Err(VerifyErrorKind::Algorithm.into());
        }
        if !rules.media_types.accepts(jws.media_type()) {
            return Err(VerifyErrorKind::Type.into());
        }
        let text = str::from_utf8(jws.payload()).map_err(|_| VerifyErrorKind::Malformed)?;
        let text = Arc::<str>::from(text);
        let payload = match rules.accepts_repeats {
            true => parse_object_with_repeats(&text),
            false => parse_object_text(&text),
        };
        let payload = payload.map_err(|_| VerifyErrorKind::Malformed)?;
        // RFC 8725 §3.8: a single string, compared byte for byte.
        rules.issuer.check(server.issuer(), &payload)?;
        let registered = RegisteredClaims::read_within(&text, &payload).map_err(|member| {
            let found = format!("{} of another type, or empty", member.0);
            let expected = "registered claims of the types of RFC 7519 §4.1";
            VerifyError::explained(
                VerifyErrorKind::Claims,
                Explanation::new(found, expected, ""),
            )
        })?;
        let markers = TypeMarkers::read(jws.media_type(), &payload);
        let mapped = mapping.map(|mapping| mapping.read(&payload));
        let mapped = mapped.unwrap_or_default();
        let validity = check_times(&registered, now.unix_seconds(server.clock()), rules)?;
        Ok(Self {
            jws,
            payload: text,
            registered,
            validity,
            markers,
            mapped,
        })
    }

    /// Reads a token that was rejected before its signature was verified, to explain the rejection: its type, issuer and
    /// times are not checked.
    #[cold]
    pub(crate) fn read_rejected(compact: &'a str) -> Option<Self> {
        let jws = Jws::read(compact).ok()?;
        let text = Arc::<str>::from(str::from_utf8(jws.payload()).ok()?);
        let payload = parse_object_text(&text).ok()?;
        let registered = RegisteredClaims::read_within(&text, &payload).ok()?;
        let markers = TypeMarkers::read(jws.media_type(), &payload);
        Some(Self {
            jws,
            payload: text,
            registered,
            validity: i64::MIN..i64::MAX,
            markers,
            mapped: MappedClaims::default(),
        })
    }

    /// Verifies the signature: immediately if the key is cached, else after a fetch that `budget` allows. If it is not
    /// valid and `is_for_us` accepts the claims, the keys are fetched again in the background.
    pub(crate) fn verify(
        self,
        server: &AuthorizationServer,
        budget: FetchBudget,
        is_for_us: impl FnOnce(&RegisteredClaims) -> bool,
        now: &Now<'_>,
    ) -> Verification<Result<Signed, VerifyError>> {
        match server.key(self.jws.key_id(), self.jws.algorithm(), budget, now) {
            Verification::Ready(keys) => {
                Verification::Ready(keys.map_err(error_of).and_then(|keys| {
                    let key = self.find_key(&keys);
                    if key.is_none() && is_for_us(&self.registered) {
                        server.recheck(&keys);
                    }
                    self.verified_by(key)
                }))
            }
            Verification::Pending(keys) => {
                let token = self.into_owned();
                Verification::pending(async move {
                    let keys = keys.await.map_err(error_of)?;
                    let key = token.find_key(&keys);
                    token.verified_by(key)
                })
            }
        }
    }

    fn into_owned(self) -> UnverifiedToken<'static> {
        UnverifiedToken {
            jws: self.jws.into_owned(),
            payload: self.payload,
            registered: self.registered,
            validity: self.validity,
            markers: self.markers,
            mapped: self.mapped,
        }
    }

    /// Returns the key that verifies the signature.
    fn find_key(&self, keys: &KeyCandidates) -> Option<SelectedKey> {
        let verifies =
            |key: &&SelectedKey| key.public_key().is_some_and(|key| self.jws.verify(key));
        keys.iter().find(verifies).cloned()
    }

    /// Returns the claims, which can be trusted as those of the issuer if a key has verified the signature.
    fn verified_by(self, key: Option<SelectedKey>) -> Result<Signed, VerifyError> {
        let key = key.ok_or(VerifyErrorKind::Signature)?;
        let algorithm = self.jws.algorithm();
        Ok(Signed {
            payload: self.payload,
            registered: self.registered,
            validity: self.validity,
            markers: self.markers,
            mapped: self.mapped,
            algorithm,
            key,
        })
    }
}

fn error_of(error: KeyError) -> VerifyError {
    match error {
        KeyError::Unknown => VerifyErrorKind::UnknownKey.into(),
        KeyError::Unfit => VerifyErrorKind::UnfitKey.into(),
        KeyError::Ambiguous => VerifyErrorKind::AmbiguousKey.into(),
        KeyError::Unavailable(unavailable) => VerifyError::from(unavailable),
    }
}

/// RFC 7519 §4.1.4 to §4.1.6: `exp` must be in the future; `nbf` and `iat`, if present, must not be. Returns the period
/// of validity, which includes the leeway.
fn check_times(
    claims: &RegisteredClaims,
    now: i64,
    rules: &Rules,
) -> Result<Range<i64>, VerifyError> {
    let until = match claims.expires_at {
        Some(expires_at) => expires_at.saturating_add(rules.leeway),
        None if rules.requires_expiry => return Err(VerifyErrorKind::Claims.into()),
        None => i64::MAX,
    };
    if now >= until {
        return Err(VerifyErrorKind::Expired.into());
    }
    let from = claims.not_before.into_iter().chain(claims.issued_at).max();
    let from = from.map_or(i64::MIN, |time| time.saturating_sub(rules.leeway));
    if now < from {
        return Err(VerifyErrorKind::NotYetValid.into());
    }
    Ok(from..until)
}
