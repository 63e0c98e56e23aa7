//! The claims of a token: the text as it was signed, and the registered members read from it.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

use super::json::{InvalidJson, Json, Object};
use super::scope::ScopeSet;
use super::shared_text::{SharedText, allocated};

/// The latest moment a claim can name: the last second of the year 9999.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// The claims of a verified token (RFC 7519 §4, RFC 9068 §2.2).
///
/// It keeps the JSON text and the registered members; everything else is read when asked for, by
/// [`get`](Self::get) or [`deserialize`](Self::deserialize).
#[derive(Clone)]
pub struct Claims {
    text: Arc<str>,
    registered: Registered,
}

/// The registered members, of the right type where present (`A10` to `A14`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Registered {
    pub(crate) issuer: Option<SharedText>,
    pub(crate) subject: Option<SharedText>,
    pub(crate) audience: Vec<SharedText>,
    pub(crate) expires_at: Option<i64>,
    pub(crate) not_before: Option<i64>,
    pub(crate) issued_at: Option<i64>,
    pub(crate) jwt_id: Option<SharedText>,
    pub(crate) client_id: Option<SharedText>,
    /// `scope`, where it is a string; any other type grants nothing (`V83`).
    pub(crate) scope: ScopeSet,
    /// That a client got the token for itself, where a claim says so that only some servers send.
    pub(crate) client_only: bool,
}

impl Registered {
    /// Reads the registered members of a payload; one of the wrong type spoils the whole.
    pub(crate) fn read(payload: &Object<'_>) -> Result<Self, InvalidJson> {
        Self::read_as(payload, |part| part.into(), ScopeSet::from_wire)
    }

    /// As [`read`](Self::read), for a payload that was parsed from this very text: its strings are
    /// not copied.
    pub(crate) fn read_within(text: &Arc<str>, payload: &Object<'_>) -> Result<Self, InvalidJson> {
        let part = |part: &str| SharedText::within(text, part);
        Self::read_as(payload, part, |list| ScopeSet::from_wire_text(part(list)))
    }

    fn read_as(
        payload: &Object<'_>,
        share: impl Fn(&str) -> SharedText,
        scope: impl Fn(&str) -> ScopeSet,
    ) -> Result<Self, InvalidJson> {
        let text = |name| payload.string(name).map(|value| value.map(&share));
        Ok(Self {
            issuer: text("iss")?,
            subject: text("sub")?,
            audience: audience(payload.member("aud"), &share)?,
            // The token is valid until the second that `exp` names: a fraction is cut off.
            expires_at: seconds(payload.member("exp"), f64::floor)?,
            not_before: seconds(payload.member("nbf"), f64::ceil)?,
            issued_at: seconds(payload.member("iat"), f64::floor)?,
            jwt_id: text("jti")?,
            client_id: text("client_id")?,
            scope: payload
                .member("scope")
                .and_then(Json::as_str)
                .map(scope)
                .unwrap_or_default(),
            client_only: false,
        })
    }
}

/// `aud` is a string or an array of strings (RFC 7519 §4.1.3).
fn audience(
    member: Option<&Json<'_>>,
    share: impl Fn(&str) -> SharedText,
) -> Result<Vec<SharedText>, InvalidJson> {
    match member {
        None => Ok(Vec::new()),
        Some(Json::String(one)) => Ok(vec![share(one)]),
        Some(Json::Array(many)) => many
            .iter()
            .map(|one| one.as_str().map(&share).ok_or(InvalidJson))
            .collect(),
        Some(_) => Err(InvalidJson),
    }
}

/// A `NumericDate` (RFC 7519 §2) between 1970 and 9999 (`A12`).
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

impl Claims {
    pub(crate) fn new(text: Arc<str>, registered: Registered) -> Self {
        Self { text, registered }
    }

    /// The members whose types were checked.
    pub(crate) fn registered(&self) -> &Registered {
        &self.registered
    }

    /// What they hold on the heap, themselves included, about as an allocator counts.
    pub(crate) fn heap_bytes(&self) -> usize {
        let shared = &self.registered;
        let strings = [
            &shared.issuer,
            &shared.subject,
            &shared.jwt_id,
            &shared.client_id,
        ];
        let strings = strings.into_iter().flatten().chain(&shared.audience);
        let beside: usize = strings.map(|one| one.heap_bytes_beside(&self.text)).sum();
        allocated(size_of::<Self>() + 16)
            + allocated(self.text.len() + 16)
            + allocated(shared.audience.capacity() * size_of::<SharedText>())
            + shared.scope.heap_bytes()
            + beside
    }

    /// `iss`: the authorization server that issued the token.
    pub fn issuer(&self) -> Option<&str> {
        self.registered.issuer.as_deref()
    }

    /// `sub`: whom the token speaks of.
    pub fn subject(&self) -> Option<&str> {
        self.registered.subject.as_deref()
    }

    /// `aud`: for whom the token is, whether it was sent as a string or as a list.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.registered.audience.iter().map(|one| &**one)
    }

    /// `exp` in whole seconds since 1970.
    pub fn expires_at(&self) -> Option<i64> {
        self.registered.expires_at
    }

    /// `iat` in whole seconds since 1970.
    pub fn issued_at(&self) -> Option<i64> {
        self.registered.issued_at
    }

    /// `nbf` in whole seconds since 1970.
    pub fn not_before(&self) -> Option<i64> {
        self.registered.not_before
    }

    /// `jti`: the name of this very token.
    pub fn jwt_id(&self) -> Option<&str> {
        self.registered.jwt_id.as_deref()
    }

    /// `client_id`: the client the token was issued to. Where a
    /// [`TokenProfile`](crate::token::TokenProfile) knows that it stands elsewhere (`azp`, `cid`, `appid`),
    /// what stands there.
    pub fn client_id(&self) -> Option<&str> {
        self.registered.client_id.as_deref()
    }

    /// Whether the client got the token for itself (`A14`).
    pub(crate) fn is_client_only(&self) -> bool {
        let equal = self.subject().is_some() && self.subject() == self.client_id();
        equal || self.registered.client_only
    }

    /// `scope`, where it is a string; empty otherwise.
    pub fn scope(&self) -> &ScopeSet {
        &self.registered.scope
    }

    /// Any member by name, parsed at this call; `None` where it is absent.
    pub fn get(&self, name: &str) -> Option<serde_json::Value> {
        let mut members: serde_json::Map<String, serde_json::Value> = self.deserialize().ok()?;
        members.remove(name)
    }

    /// All claims as a type of one's own, parsed at this call.
    ///
    /// # Errors
    ///
    /// What `serde_json` says where the type does not fit.
    pub fn deserialize<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(&self.text)
    }

    /// The JSON text as it was signed, or as the introspection endpoint sent it.
    pub fn as_json(&self) -> &str {
        &self.text
    }
}

/// Names whose claims they are; never what they say of a person (`X3`).
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("issuer", &self.issuer())
            .field("client_id", &self.client_id())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}
