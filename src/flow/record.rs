//! The record of a session.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::encoding::{Reader, Writer};
use super::refresh::SessionTokens;
use super::session_id::SessionId;
use super::transaction::CLOCK_SKEW_ALLOWANCE;
use crate::protocol::claims::{RegisteredClaims, seconds};
use crate::protocol::json::{Json, parse_object};
use crate::protocol::{AccessToken, Claims, IdToken, RefreshToken, ScopeSet};

/// Records with another schema cannot be decoded.
const SCHEMA: u8 = 2;

/// The content of a session: claims, tokens, timestamps and application data.
///
/// An immutable value; methods return changed copies. It contains tokens, so it is encrypted before it is stored.
#[derive(Clone)]
pub(crate) struct SessionRecord {
    id: SessionId,
    /// Increases with every refresh: of two records of a session, the one with the greater value has the newer
    /// tokens.
    generation: u64,
    created_at: i64,
    last_seen: i64,
    /// The absolute limit at the time of login. If the configured limit is raised later, existing sessions keep
    /// theirs.
    ends_by: i64,
    claims: Claims,
    /// The session at the authorization server: `sid` of the ID token.
    sid: Option<String>,
    /// The end of the session at the authorization server: `session_expiry` of the ID token.
    session_expiry: Option<i64>,
    scopes: ScopeSet,
    access_token: AccessToken,
    access_token_since: i64,
    access_token_expires_at: i64,
    refresh_token: Option<RefreshToken>,
    refresh_token_expires_at: Option<i64>,
    id_token: Option<IdToken>,
    app_data: Option<String>,
    /// Increases with every change of the application data, like `generation` for the tokens.
    app_data_generation: u64,
}

/// The result of a login.
pub(super) struct NewRecord {
    pub(super) id: SessionId,
    pub(super) now: i64,
    pub(super) claims: Claims,
    pub(super) scopes: ScopeSet,
    pub(super) access_token: AccessToken,
    pub(super) access_token_expires_at: i64,
    pub(super) refresh_token: Option<RefreshToken>,
    pub(super) refresh_token_expires_at: Option<i64>,
    pub(super) id_token: IdToken,
}

impl SessionRecord {
    pub(super) fn new(new: NewRecord) -> Self {
        let provider = parse_object(new.claims.as_json().as_bytes());
        let provider = provider.map(|claims| ProviderSession::read(|name| claims.member(name)));
        let provider = provider.unwrap_or_default();
        Self {
            id: new.id,
            generation: 0,
            created_at: new.now,
            last_seen: new.now,
            ends_by: i64::MAX,
            claims: new.claims,
            sid: provider.sid,
            session_expiry: provider.expiry,
            scopes: new.scopes,
            access_token: new.access_token,
            access_token_since: new.now,
            access_token_expires_at: new.access_token_expires_at,
            refresh_token: new.refresh_token,
            refresh_token_expires_at: new.refresh_token_expires_at,
            id_token: Some(new.id_token),
            app_data: None,
            app_data_generation: 0,
        }
    }

    /// Returns the identifier, which is new at every login and not secret.
    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }

    /// Returns the record with another identifier, for a session that has not been saved yet.
    pub(crate) fn with_id(self, id: SessionId) -> Self {
        Self { id, ..self }
    }

    /// Returns the record with this absolute limit, which later changes of the configuration do not extend.
    pub(crate) fn with_limit(self, absolute: Duration) -> Self {
        let ends_by = after(self.created_at, absolute);
        Self { ends_by, ..self }
    }

    /// Returns the record with a creation time later than `time`, for a session that has not been saved yet.
    pub(crate) fn created_after(self, time: i64) -> Self {
        let created_at = self.created_at.max(time.saturating_add(1));
        Self {
            created_at,
            last_seen: self.last_seen.max(created_at),
            ..self
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn issuer(&self) -> &str {
        self.claims.issuer().unwrap_or_default()
    }

    pub(crate) fn subject(&self) -> &str {
        self.claims.subject().unwrap_or_default()
    }

    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }

    pub(crate) fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// Returns the time of the login in seconds since the Unix epoch, like all times of a record.
    pub(crate) fn created_at(&self) -> i64 {
        self.created_at
    }

    /// Returns `iat` of the ID token of the login, by the clock of the authorization server.
    pub(crate) fn issued_at(&self) -> i64 {
        self.claims.issued_at().unwrap_or(i64::MIN)
    }

    pub(crate) fn last_seen(&self) -> i64 {
        self.last_seen
    }

    pub(crate) fn id_token(&self) -> Option<&IdToken> {
        self.id_token.as_ref()
    }

    /// Returns `sid`, which is unique within the issuer.
    pub(crate) fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    pub(crate) fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    /// Returns the time at which the access token was received.
    pub(crate) fn access_token_since(&self) -> i64 {
        self.access_token_since
    }

    pub(crate) fn access_token_expires_at(&self) -> i64 {
        self.access_token_expires_at
    }

    pub(crate) fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref()
    }

    pub(crate) fn refresh_token_expires_at(&self) -> Option<i64> {
        self.refresh_token_expires_at
    }

    /// Returns the application data as JSON.
    pub(crate) fn app_data(&self) -> Option<&str> {
        self.app_data.as_deref()
    }

    pub(crate) fn with_app_data(self, app_data: Option<String>) -> Self {
        Self {
            app_data,
            app_data_generation: self.app_data_generation.saturating_add(1),
            ..self
        }
    }

    /// Returns whether this record has newer tokens or newer application data than `other`, a record of the same
    /// session.
    pub(crate) fn is_ahead_of(&self, other: &Self) -> bool {
        self.generation > other.generation || self.app_data_generation > other.app_data_generation
    }

    /// Merges two records of the same session: the newer tokens and the newer application data.
    pub(crate) fn merged(&self, other: &Self) -> Self {
        let tokens = if other.generation > self.generation {
            other
        } else {
            self
        };
        let data = if other.app_data_generation > self.app_data_generation {
            other
        } else {
            self
        };
        Self {
            last_seen: self.last_seen.max(other.last_seen),
            app_data: data.app_data.clone(),
            app_data_generation: data.app_data_generation,
            ..tokens.clone()
        }
    }

    /// Returns the record with other tokens. Claims and application data stay.
    pub(super) fn with_tokens(&self, tokens: SessionTokens) -> Self {
        let old = self.clone();
        Self {
            generation: tokens.generation,
            scopes: tokens.scopes,
            access_token: tokens.access_token,
            access_token_since: tokens.access_token_since,
            access_token_expires_at: tokens.access_token_expires_at,
            refresh_token: tokens.refresh_token,
            refresh_token_expires_at: tokens.refresh_token_expires_at,
            id_token: tokens.id_token,
            ..old
        }
    }

    /// Returns the time at which the session ends regardless of its use: at the absolute limit, at
    /// `session_expiry` of the ID token, or when access token and refresh token have both expired.
    ///
    /// `lost` returns by how many seconds the wall clock understates the age of a timestamp, because the clock
    /// was set back.
    pub(crate) fn ends_at(&self, absolute: Duration, lost: impl Fn(i64) -> i64) -> i64 {
        let latest = self.latest_expiry(absolute, lost);
        let tokens = self
            .refresh_token_expires_at
            .map(|end| end.max(self.access_token_expires_at));
        tokens.map_or(latest, |end| end.min(latest))
    }

    /// Like [`ends_at`](Self::ends_at), without the limit of the tokens: a refresh may return a refresh token
    /// that expires later.
    pub(crate) fn latest_expiry(&self, absolute: Duration, lost: impl Fn(i64) -> i64) -> i64 {
        let limit = after(self.created_at, absolute).min(self.ends_by);
        let limit = limit.saturating_sub(lost(self.created_at));
        self.session_expiry
            .map_or(limit, |expiry| expiry.min(limit))
    }

    /// Returns the time at which the session ends if it is not used again.
    pub(crate) fn expires_at(
        &self,
        absolute: Duration,
        idle: Duration,
        lost: impl Fn(i64) -> i64,
    ) -> i64 {
        let idle = after(self.last_seen, idle).saturating_sub(lost(self.last_seen));
        idle.min(self.ends_at(absolute, lost))
    }

    /// Returns whether the record was created or used in the future. Such a session is rejected: the clock was set
    /// back, which must not extend a session.
    pub(crate) fn is_from_the_future(&self, now: i64) -> bool {
        self.created_at.max(self.last_seen) > now.saturating_add(CLOCK_SKEW_ALLOWANCE)
    }

    /// Returns whether the time of the last use needs to be saved: a tenth of the idle limit has passed since.
    pub(crate) fn needs_touch(&self, now: i64, idle: Duration) -> bool {
        now >= after(self.last_seen, (idle / 10).max(Duration::from_secs(1)))
    }

    /// Returns the record with `now` as the time of the last use.
    pub(crate) fn touched(self, now: i64) -> Self {
        Self {
            last_seen: now.max(self.last_seen),
            ..self
        }
    }

    /// Returns the record without the encoded ID token, to make it smaller. The ID token is only needed as
    /// `id_token_hint` at logout.
    pub(crate) fn without_id_token(self) -> Self {
        Self {
            id_token: None,
            ..self
        }
    }

    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        Writer::new(SCHEMA)
            .raw(self.id.as_bytes())
            .unsigned(self.generation)
            .number(self.created_at)
            .number(self.last_seen)
            .number(self.ends_by)
            .text(self.claims.as_json())
            .text(&self.scopes.to_string())
            .text(self.access_token.expose())
            .number(self.access_token_since)
            .number(self.access_token_expires_at)
            .optional(self.refresh_token.as_ref().map(RefreshToken::expose))
            .optional_number(self.refresh_token_expires_at)
            .optional(self.id_token.as_ref().map(IdToken::expose))
            .optional(self.app_data.as_deref())
            .unsigned(self.app_data_generation)
            .finish()
    }

    /// Decodes a record. Returns `None` if the schema differs or the bytes are not a record of a user.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes, SCHEMA)?;
        let (id, generation) = (reader.array().map(SessionId::new)?, reader.unsigned()?);
        let (created_at, last_seen) = (reader.number()?, reader.number()?);
        let ends_by = reader.number()?;
        let (claims, provider) = claims(reader.text()?)?;
        let record = Self {
            id,
            generation,
            created_at,
            last_seen,
            ends_by,
            claims,
            sid: provider.sid,
            session_expiry: provider.expiry,
            scopes: ScopeSet::from_wire(reader.text()?),
            access_token: AccessToken::new(reader.text()?),
            access_token_since: reader.number()?,
            access_token_expires_at: reader.number()?,
            refresh_token: reader.optional()?.map(RefreshToken::new),
            refresh_token_expires_at: reader.optional_number()?,
            id_token: reader.optional()?.map(IdToken::new),
            app_data: reader.optional()?.map(str::to_owned),
            app_data_generation: reader.unsigned()?,
        };
        reader.finish()?;
        Some(record)
    }
}

/// Shows issuer and subject; no other claims and no tokens.
impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

/// The claims of an ID token about the session at the authorization server.
#[derive(Default)]
struct ProviderSession {
    sid: Option<String>,
    expiry: Option<i64>,
}

impl ProviderSession {
    fn read<'a>(claim: impl Fn(&str) -> Option<&'a Json<'a>>) -> Self {
        Self {
            sid: claim("sid").and_then(Json::as_str).map(str::to_owned),
            expiry: seconds(claim("session_expiry"), f64::floor).unwrap_or_default(),
        }
    }
}

/// Parses the claims of a session. Issuer and subject are required.
fn claims(text: &str) -> Option<(Claims, ProviderSession)> {
    let text: Arc<str> = text.into();
    let object = parse_object(text.as_bytes()).ok()?;
    let registered = RegisteredClaims::read_within(&text, &object).ok()?;
    let provider = ProviderSession::read(|name| object.member(name));
    (registered.issuer.is_some() && registered.subject.is_some())
        .then(|| (Claims::new(Arc::clone(&text), registered), provider))
}

fn after(time: i64, duration: Duration) -> i64 {
    time.saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLAIMS: &str = r#"{"iss":"https://id.example.com","sub":"alice","sid":"s1","x":[1]}"#;
    const HOUR: Duration = Duration::from_secs(3600);

    pub(crate) fn record(now: i64) -> SessionRecord {
        SessionRecord::new(NewRecord {
            id: SessionId::new([7; 32]),
            now,
            claims: claims(CLAIMS).unwrap().0,
            scopes: ScopeSet::from_wire("openid profile"),
            access_token: AccessToken::new("at"),
            access_token_expires_at: now + 300,
            refresh_token: Some(RefreshToken::new("rt")),
            refresh_token_expires_at: None,
            id_token: IdToken::new("a.b.c"),
        })
    }

    #[test]
    fn a_session_ends_at_its_limits_and_after_a_clock_rollback() {
        let record = record(1_000_000);
        for (name, now, seen, expired) in [
            ("fresh", 0, 0, false),
            ("idle, almost", 3599, 0, false),
            ("idle by a second", 3600, 0, true),
            ("used", 3600, 3599, false),
            ("old, almost", 8 * 3600 - 1, 8 * 3600 - 1, false),
            ("old, though used", 8 * 3600, 8 * 3600 - 1, true),
            ("clock skew between replicas", -60, 0, false),
            ("from the future", -61, 0, true),
        ] {
            let record = record.clone().touched(1_000_000 + seen);
            let now = 1_000_000 + now;
            let ended = now >= record.expires_at(8 * HOUR, HOUR, |_| 0);
            assert_eq!(ended || record.is_from_the_future(now), expired, "{name}");
        }
        let lost = |time| if time < 1_000_100 { 60 } else { 0 };
        assert_eq!(record.expires_at(8 * HOUR, HOUR, |_| 0), 1_003_600);
        assert_eq!(record.expires_at(8 * HOUR, HOUR, lost), 1_003_540);
        let record = record.touched(1_000_100);
        assert_eq!(record.expires_at(8 * HOUR, HOUR, lost), 1_003_700);
        assert_eq!(record.ends_at(8 * HOUR, lost), 1_028_740);
    }

    /// The earliest of all limits applies.
    #[test]
    fn the_authorization_server_can_shorten_a_session() {
        let text = |member: &str| CLAIMS.replace("\"x\":[1]", member);
        let with = |member: &str, tokens_end: Option<i64>| {
            let record = record(1_000_000);
            let (claims, provider) = claims(&text(member)).unwrap();
            let record = SessionRecord {
                claims,
                session_expiry: provider.expiry,
                refresh_token_expires_at: tokens_end,
                ..record
            };
            record.ends_at(8 * HOUR, |_| 0)
        };
        let limit = 1_028_800;
        assert_eq!(with("\"x\":1", None), limit);
        assert_eq!(with("\"session_expiry\":1000900.5", None), 1_000_900);
        assert_eq!(with("\"session_expiry\":2000000", None), limit);
        assert_eq!(with("\"session_expiry\":\"soon\"", None), limit);
        assert_eq!(with("\"x\":1", Some(1_007_200)), 1_007_200);
        assert_eq!(with("\"x\":1", Some(1_000_001)), 1_000_300);
    }

    #[test]
    fn a_touch_is_due_after_a_tenth_of_the_idle_limit_and_never_decreases_last_seen() {
        let record = record(1_000_000);
        assert!(!record.needs_touch(1_000_359, HOUR));
        assert!(record.needs_touch(1_000_360, HOUR));
        assert_eq!(record.touched(999_000).last_seen(), 1_000_000);
    }

    #[test]
    fn merging_two_records_keeps_the_newer_tokens_and_the_newer_app_data() {
        let old = record(1_000_000);
        let refreshed = SessionRecord {
            generation: 1,
            access_token: AccessToken::new("new"),
            ..old.clone()
        };
        let changed = old
            .clone()
            .with_app_data(Some("1".to_owned()))
            .touched(1_000_900);
        assert!(!old.is_ahead_of(&refreshed) && !old.is_ahead_of(&changed));
        assert!(refreshed.is_ahead_of(&changed) && changed.is_ahead_of(&refreshed));
        for merged in [refreshed.merged(&changed), changed.merged(&refreshed)] {
            assert_eq!(merged.access_token().expose(), "new");
            assert_eq!(merged.app_data(), Some("1"));
            assert_eq!(merged.last_seen(), 1_000_900);
            assert!(!refreshed.is_ahead_of(&merged) && !changed.is_ahead_of(&merged));
        }
    }

    #[test]
    fn truncated_extended_and_newer_records_are_rejected() {
        let bytes = record(1).to_bytes();
        for length in 0..bytes.len() {
            assert!(
                SessionRecord::from_bytes(&bytes[..length]).is_none(),
                "{length}"
            );
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(SessionRecord::from_bytes(&longer).is_none());
        let mut newer = bytes.to_vec();
        newer[0] += 1;
        assert!(SessionRecord::from_bytes(&newer).is_none());
    }

    #[test]
    fn a_record_without_an_issuer_or_a_subject_is_rejected() {
        for text in [
            r#"{"iss":"i"}"#,
            r#"{"sub":"s"}"#,
            r#"{"iss":"i","sub":1}"#,
            "[]",
            "",
        ] {
            assert!(claims(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn decode_and_encode_are_inverse(
            id in any::<[u8; 32]>(), generation in any::<u64>(), now in any::<i32>(),
            seen in any::<i32>(), token in any::<String>(), refresh in any::<Option<String>>(),
            until in any::<Option<i64>>(), data in any::<Option<String>>(), keep in any::<bool>(),
        ) {
            let record = SessionRecord {
                id: SessionId::new(id),
                generation,
                access_token: AccessToken::new(token),
                access_token_since: seen.into(),
                refresh_token: refresh.map(RefreshToken::new),
                refresh_token_expires_at: until,
                ..record(now.into()).with_app_data(data)
            }
            .touched(seen.into());
            let record = if keep { record } else { record.without_id_token() };
            let again = SessionRecord::from_bytes(&record.to_bytes()).unwrap();
            prop_assert_eq!(&*again.to_bytes(), &*record.to_bytes());
            prop_assert_eq!(again.claims().as_json(), record.claims().as_json());
            prop_assert_eq!(again.scopes(), record.scopes());
            prop_assert_eq!(again.access_token(), record.access_token());
            prop_assert_eq!(again.access_token_since(), record.access_token_since());
            prop_assert_eq!(again.id_token(), record.id_token());
            prop_assert_eq!(again.last_seen(), record.last_seen());
            prop_assert_eq!((again.id(), again.sid()), (record.id(), Some("s1")));
            prop_assert_eq!(again.refresh_token(), record.refresh_token());
            prop_assert_eq!(again.app_data(), record.app_data());
        }

        #[test]
        fn decoding_is_total(mut bytes in any::<Vec<u8>>()) {
            let _ = SessionRecord::from_bytes(&bytes);
            bytes.insert(0, SCHEMA);
            let _ = SessionRecord::from_bytes(&bytes);
        }
    }
}
