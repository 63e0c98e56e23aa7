//! The claims of a token: the JSON text as it was signed, and the registered claims parsed from it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::json::{InvalidJson, Json, Object};
use super::members::InvalidMember;
use super::scope::ScopeSet;
use super::shared_text::{SharedText, allocated};

/// Latest accepted `NumericDate`: the last second of the year 9999.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// The claims of a verified token (RFC 7519 §4, RFC 9068 §2.2).
///
/// Contains the JSON text and the registered claims. Other claims are parsed on demand by [`get`](Self::get) or
/// [`deserialize`](Self::deserialize).
#[derive(Clone)]
pub struct Claims {
    text: Arc<str>,
    registered: RegisteredClaims,
}

/// The registered claims (RFC 7519 §4.1, RFC 9068 §2.2). Those that decide whether a token is valid have the required
/// type if present.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegisteredClaims {
    pub(crate) issuer: Option<SharedText>,
    pub(crate) subject: Option<SharedText>,
    pub(crate) audience: Vec<SharedText>,
    pub(crate) expires_at: Option<i64>,
    pub(crate) not_before: Option<i64>,
    pub(crate) issued_at: Option<i64>,
    pub(crate) jwt_id: Option<SharedText>,
    pub(crate) client_id: Option<SharedText>,
    /// `scope`, if it is a string (RFC 9068 §2.2.3). Any other type grants no scopes.
    pub(crate) scope: ScopeSet,
    /// `auth_time` and `acr` (RFC 9470 §6.1). A value of another type counts as absent.
    pub(crate) auth_time: Option<i64>,
    pub(crate) acr: Option<SharedText>,
    /// Whether a provider-specific claim marks a client-credentials token.
    pub(crate) client_only: bool,
}

impl RegisteredClaims {
    /// Reads the registered claims of a payload. Fails if one of them has the wrong type, or is an empty identifier.
    pub(crate) fn read(payload: &Object<'_>) -> Result<Self, InvalidMember> {
        Self::read_as(payload, |part| part.into(), ScopeSet::from_wire)
    }

    /// Returns whether `aud` has this value, compared byte for byte.
    pub(crate) fn has_audience(&self, audience: &str) -> bool {
        self.audience.iter().any(|one| **one == *audience)
    }

    /// Reads only the claims that say by whom, about whom and for whom a token was issued.
    pub(crate) fn read_identity(payload: &Object<'_>) -> Result<Self, InvalidMember> {
        let identifier = |name| payload.identifier(name).map(|value| value.map(Into::into));
        Ok(Self {
            issuer: identifier("iss")?,
            subject: identifier("sub")?,
            audience: audience(payload.value("aud"), |part| part.into())?,
            ..Self::default()
        })
    }

    /// Like [`read`](Self::read), for a payload that was parsed from `text`: its strings are not copied.
    pub(crate) fn read_within(
        text: &Arc<str>,
        payload: &Object<'_>,
    ) -> Result<Self, InvalidMember> {
        let part = |part: &str| SharedText::within(text, part);
        Self::read_as(payload, part, |list| ScopeSet::from_wire_text(part(list)))
    }

    fn read_as(
        payload: &Object<'_>,
        share: impl Fn(&str) -> SharedText,
        scope: impl Fn(&str) -> ScopeSet,
    ) -> Result<Self, InvalidMember> {
        let identifier = |name| payload.identifier(name).map(|value| value.map(&share));
        let time = |name, round: fn(f64) -> f64| {
            seconds(payload.value(name), round).map_err(|_| InvalidMember(name))
        };
        Ok(Self {
            issuer: identifier("iss")?,
            subject: identifier("sub")?,
            audience: audience(payload.value("aud"), &share)?,
            // Rounded down: the token is not accepted on or after `exp` (RFC 7519 §4.1.4).
            expires_at: time("exp", f64::floor)?,
            not_before: time("nbf", f64::ceil)?,
            issued_at: time("iat", f64::floor)?,
            jwt_id: identifier("jti")?,
            client_id: identifier("client_id")?,
            scope: payload
                .member("scope")
                .and_then(Json::as_str)
                .map(scope)
                .unwrap_or_default(),
            auth_time: auth_time(payload),
            acr: payload.text("acr").unwrap_or_default().map(&share),
            client_only: false,
        })
    }
}

/// Reads `aud`: a string or an array of strings (RFC 7519 §4.1.3).
fn audience(
    member: Option<&Json<'_>>,
    share: impl Fn(&str) -> SharedText,
) -> Result<Vec<SharedText>, InvalidMember> {
    match member {
        None => Ok(Vec::new()),
        Some(Json::String(one)) => Ok(vec![share(one)]),
        Some(Json::Array(many)) => many
            .iter()
            .map(|one| one.as_str().map(&share).ok_or(InvalidMember("aud")))
            .collect(),
        Some(_) => Err(InvalidMember("aud")),
    }
}

/// Reads `auth_time`. It is unknown if it is not a number: whether the authentication is recent must not depend on
/// the interpretation of a text (OpenID Connect Core §2).
pub(crate) fn auth_time(payload: &Object<'_>) -> Option<i64> {
    seconds(payload.member("auth_time"), f64::floor).unwrap_or_default()
}

/// Reads a `NumericDate` (RFC 7519 §2) between 1970 and 9999.
pub(crate) fn seconds(
    member: Option<&Json<'_>>,
    round: impl Fn(f64) -> f64,
) -> Result<Option<i64>, InvalidJson> {
    let Some(member) = member else {
        return Ok(None);
    };
    let number = member.as_number().ok_or(InvalidJson)?;
    if !(0.0..=LAST_SECOND).contains(&number) {
        return Err(InvalidJson);
    }
    // In range, so the cast is exact.
    #[allow(clippy::as_conversions, clippy::cast_possible_truncation)]
    Ok(Some(round(number) as i64))
}

/// Converts a `NumericDate`, which is in the range that [`seconds`] accepts.
fn system_time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
}

impl Claims {
    pub(crate) fn new(text: Arc<str>, registered: RegisteredClaims) -> Self {
        Self { text, registered }
    }

    pub(crate) fn registered(&self) -> &RegisteredClaims {
        &self.registered
    }

    /// Estimates the heap memory of these claims in bytes, including the struct itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        let shared = &self.registered;
        let strings = [
            &shared.issuer,
            &shared.subject,
            &shared.jwt_id,
            &shared.client_id,
            &shared.acr,
        ];
        let strings = strings.into_iter().flatten().chain(&shared.audience);
        let beside: usize = strings.map(|one| one.heap_bytes_beside(&self.text)).sum();
        allocated(size_of::<Self>() + 16)
            + allocated(self.text.len() + 16)
            + allocated(shared.audience.capacity() * size_of::<SharedText>())
            + shared.scope.heap_bytes()
            + beside
    }

    /// Returns `iss`: the authorization server that issued the token.
    pub fn issuer(&self) -> Option<&str> {
        self.registered.issuer.as_deref()
    }

    /// Returns `sub`: the subject of the token, unique within the issuer.
    pub fn subject(&self) -> Option<&str> {
        self.registered.subject.as_deref()
    }

    /// Returns the values of `aud`: the intended recipients of the token. A string counts as one value.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.registered.audience.iter().map(|one| &**one)
    }

    /// Returns `exp`: the expiration time, rounded down to whole seconds.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.registered.expires_at.map(system_time)
    }

    /// Returns `iat`: the time of issue, rounded down to whole seconds.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.registered.issued_at.map(system_time)
    }

    /// Returns `nbf`: the time before which the token is not valid, rounded up to whole seconds.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.registered.not_before.map(system_time)
    }

    /// Returns `jti`: the unique identifier of the token.
    pub fn jwt_id(&self) -> Option<&str> {
        self.registered.jwt_id.as_deref()
    }

    /// Returns `client_id`: the client that the token was issued to. With a
    /// [`TokenProfile`](crate::token::TokenProfile) whose provider uses another claim (`azp`, `cid`, `appid`),
    /// returns the value of that claim.
    pub fn client_id(&self) -> Option<&str> {
        self.registered.client_id.as_deref()
    }

    /// Returns whether this is a client-credentials token (RFC 9068 §2.2: `sub` is the client).
    pub(crate) fn is_client_only(&self) -> bool {
        let equal = self.subject().is_some() && self.subject() == self.client_id();
        equal || self.registered.client_only
    }

    /// Returns `scope`, or the empty set if it is absent or not a string.
    pub fn scope(&self) -> &ScopeSet {
        &self.registered.scope
    }

    /// Returns a claim by name, or `None` if it is absent. Parses the JSON text on each call.
    pub fn get(&self, name: &str) -> Option<serde_json::Value> {
        let mut members: serde_json::Map<String, serde_json::Value> = self.deserialize().ok()?;
        members.remove(name)
    }

    /// Deserializes all claims into a type of the application. Parses the JSON text on each call.
    ///
    /// # Errors
    ///
    /// Returns the error of `serde_json` if the claims do not match the type.
    pub fn deserialize<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(&self.text)
    }

    /// Returns the JSON text as it was signed, or as the introspection endpoint sent it.
    pub fn as_json(&self) -> &str {
        &self.text
    }
}

/// Shows issuer, client and expiration; never personal data.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("issuer", &self.issuer())
            .field("client_id", &self.client_id())
            .field("expires_at", &self.registered.expires_at)
            .finish_non_exhaustive()
    }
}
