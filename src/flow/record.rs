//! What is kept of somebody who signed in.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::encoding::{Reader, Writer};
use super::refresh::Tokens;
use super::session_id::SessionId;
use super::transaction::CLOCK_ERROR;
use crate::protocol::claims::{Registered, seconds};
use crate::protocol::json::{Json, parse_object};
use crate::protocol::{AccessToken, Claims, IdToken, RefreshToken, ScopeSet};

/// A record of another schema is nothing (`L46`).
const SCHEMA: u8 = 2;

/// A session: who signed in, when, and what the application may do for them.
///
/// A value, changed by making another. It holds tokens: whoever keeps it seals it.
#[derive(Clone)]
pub(crate) struct SessionRecord {
    id: SessionId,
    /// Grows with every refresh: of two records of one session the greater is the newer.
    generation: u64,
    created_at: i64,
    last_seen: i64,
    /// The absolute limit when it began: a limit that is raised later is one for later sessions.
    ends_by: i64,
    claims: Claims,
    /// The session at the authorization server (`sid`), as the ID token names it.
    sid: Option<String>,
    /// When the authorization server says that it ends.
    expiry: Option<i64>,
    scopes: ScopeSet,
    access_token: AccessToken,
    access_token_since: i64,
    access_token_expires_at: i64,
    refresh_token: Option<RefreshToken>,
    refresh_token_expires_at: Option<i64>,
    id_token: Option<IdToken>,
    app_data: Option<String>,
    /// Grows with every change of it: of two records of one session the greater has the newer data.
    app_data_count: u64,
}

/// What a login gives.
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
        let said = parse_object(new.claims.as_json().as_bytes());
        let said = said.map(|claims| Said::read(|name| claims.member(name)));
        let said = said.unwrap_or_default();
        Self {
            id: new.id,
            generation: 0,
            created_at: new.now,
            last_seen: new.now,
            ends_by: i64::MAX,
            claims: new.claims,
            sid: said.sid,
            expiry: said.expiry,
            scopes: new.scopes,
            access_token: new.access_token,
            access_token_since: new.now,
            access_token_expires_at: new.access_token_expires_at,
            refresh_token: new.refresh_token,
            refresh_token_expires_at: new.refresh_token_expires_at,
            id_token: Some(new.id_token),
            app_data: None,
            app_data_count: 0,
        }
    }

    /// New at every login; no secret.
    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }

    /// The same session under another name, before anybody knew it by the first.
    pub(crate) fn with_id(self, id: SessionId) -> Self {
        Self { id, ..self }
    }

    /// The same session under this absolute limit, whatever is set for others later.
    pub(crate) fn with_limit(self, absolute: Duration) -> Self {
        let ends_by = after(self.created_at, absolute);
        Self { ends_by, ..self }
    }

    /// The same session, created later than that if it was not: for one that begins, before anything depends on it.
    pub(crate) fn created_after(self, moment: i64) -> Self {
        let created_at = self.created_at.max(moment.saturating_add(1));
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

    /// Seconds since 1970, like all times here.
    pub(crate) fn created_at(&self) -> i64 {
        self.created_at
    }

    /// When the authorization server issued the ID token of the login, by its clock.
    pub(crate) fn issued_at(&self) -> i64 {
        self.claims.issued_at().unwrap_or(i64::MIN)
    }

    pub(crate) fn last_seen(&self) -> i64 {
        self.last_seen
    }

    pub(crate) fn id_token(&self) -> Option<&IdToken> {
        self.id_token.as_ref()
    }

    /// `sid`: scoped by the issuer.
    pub(crate) fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    pub(crate) fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    /// When it came.
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

    /// What the application keeps with the session, as JSON.
    pub(crate) fn app_data(&self) -> Option<&str> {
        self.app_data.as_deref()
    }

    pub(crate) fn with_app_data(self, app_data: Option<String>) -> Self {
        Self {
            app_data,
            app_data_count: self.app_data_count.saturating_add(1),
            ..self
        }
    }

    /// Whether `other`, of the same session, lacks newer tokens or newer app data that are here.
    pub(crate) fn is_ahead_of(&self, other: &Self) -> bool {
        self.generation > other.generation || self.app_data_count > other.app_data_count
    }

    /// The newer tokens and the newer app data of two records of one session.
    pub(crate) fn joined(&self, other: &Self) -> Self {
        let tokens = if other.generation > self.generation {
            other
        } else {
            self
        };
        let data = if other.app_data_count > self.app_data_count {
            other
        } else {
            self
        };
        Self {
            last_seen: self.last_seen.max(other.last_seen),
            app_data: data.app_data.clone(),
            app_data_count: data.app_data_count,
            ..tokens.clone()
        }
    }

    /// The same session with other tokens; who signed in, and what is kept with it, stays.
    pub(super) fn with_tokens(&self, tokens: Tokens) -> Self {
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

    /// When the session ends whatever happens (`L44`): by its age, by what the ID token says of the
    /// session at the authorization server, or when neither token can be of use any more.
    ///
    /// `lost` says how much longer ago a moment is than the wall clock tells, in seconds.
    pub(crate) fn ends_at(&self, absolute: Duration, lost: impl Fn(i64) -> i64) -> i64 {
        let last = self.last_moment(absolute, lost);
        let tokens = self
            .refresh_token_expires_at
            .map(|end| end.max(self.access_token_expires_at));
        tokens.map_or(last, |end| end.min(last))
    }

    /// The same, whatever tokens a refresh brings: a rotated refresh token may live longer than the one
    /// before.
    pub(crate) fn last_moment(&self, absolute: Duration, lost: impl Fn(i64) -> i64) -> i64 {
        let old = after(self.created_at, absolute).min(self.ends_by);
        let old = old.saturating_sub(lost(self.created_at));
        self.expiry.map_or(old, |expiry| expiry.min(old))
    }

    /// The earlier of its two limits.
    pub(crate) fn expires_at(
        &self,
        absolute: Duration,
        idle: Duration,
        lost: impl Fn(i64) -> i64,
    ) -> i64 {
        let idle = after(self.last_seen, idle).saturating_sub(lost(self.last_seen));
        idle.min(self.ends_at(absolute, lost))
    }

    /// Whether it is of a time to come: the clock jumped back, which prolongs nothing.
    pub(crate) fn is_from_the_future(&self, now: i64) -> bool {
        self.created_at.max(self.last_seen) > now.saturating_add(CLOCK_ERROR)
    }

    /// Whether its use is worth writing down: a tenth of the idle limit has passed (`L44`).
    pub(crate) fn wants_touch(&self, now: i64, idle: Duration) -> bool {
        now >= after(self.last_seen, (idle / 10).max(Duration::from_secs(1)))
    }

    /// The same session, in use now.
    pub(crate) fn touched(self, now: i64) -> Self {
        Self {
            last_seen: now.max(self.last_seen),
            ..self
        }
    }

    /// The same session without the raw ID token, where room is short: it only served as a hint at
    /// sign-out.
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
            .unsigned(self.app_data_count)
            .finish()
    }

    /// `None` for another schema and for anything that is no session of somebody.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes, SCHEMA)?;
        let (id, generation) = (reader.array().map(SessionId::new)?, reader.unsigned()?);
        let (created_at, last_seen) = (reader.number()?, reader.number()?);
        let ends_by = reader.number()?;
        let (claims, said) = claims(reader.text()?)?;
        let record = Self {
            id,
            generation,
            created_at,
            last_seen,
            ends_by,
            claims,
            sid: said.sid,
            expiry: said.expiry,
            scopes: ScopeSet::from_wire(reader.text()?),
            access_token: AccessToken::new(reader.text()?),
            access_token_since: reader.number()?,
            access_token_expires_at: reader.number()?,
            refresh_token: reader.optional()?.map(RefreshToken::new),
            refresh_token_expires_at: reader.optional_number()?,
            id_token: reader.optional()?.map(IdToken::new),
            app_data: reader.optional()?.map(str::to_owned),
            app_data_count: reader.unsigned()?,
        };
        reader.finish()?;
        Some(record)
    }
}

/// Names whose session it is; no claim, no token.
impl fmt::Debug for SessionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionRecord")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

/// What an ID token says of the session at the authorization server.
#[derive(Default)]
struct Said {
    sid: Option<String>,
    expiry: Option<i64>,
}

impl Said {
    fn read<'a>(claim: impl Fn(&str) -> Option<&'a Json<'a>>) -> Self {
        Self {
            sid: claim("sid").and_then(Json::as_str).map(str::to_owned),
            expiry: seconds(claim("session_expiry"), f64::floor).unwrap_or_default(),
        }
    }
}

/// The claims of a session, which has an issuer and a subject.
fn claims(text: &str) -> Option<(Claims, Said)> {
    let text: Arc<str> = text.into();
    let object = parse_object(text.as_bytes()).ok()?;
    let registered = Registered::read_within(&text, &object).ok()?;
    let said = Said::read(|name| object.member(name));
    (registered.issuer.is_some() && registered.subject.is_some())
        .then(|| (Claims::new(Arc::clone(&text), registered), said))
}

fn after(moment: i64, duration: Duration) -> i64 {
    moment.saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX))
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
    fn a_session_ends_by_its_age_by_its_idleness_and_by_a_clock_that_jumped_back() {
        let record = record(1_000_000);
        for (name, now, seen, expired) in [
            ("fresh", 0, 0, false),
            ("idle, almost", 3599, 0, false),
            ("H62 idle by a second", 3600, 0, true),
            ("used", 3600, 3599, false),
            ("old, almost", 8 * 3600 - 1, 8 * 3600 - 1, false),
            ("old, though used", 8 * 3600, 8 * 3600 - 1, true),
            ("another replica's clock", -60, 0, false),
            ("from the future", -61, 0, true),
        ] {
            let record = record.clone().touched(1_000_000 + seen);
            let now = 1_000_000 + now;
            let ended = now >= record.expires_at(8 * HOUR, HOUR, |_| 0);
            assert_eq!(ended || record.is_from_the_future(now), expired, "{name}");
        }
        let lost = |moment| if moment < 1_000_100 { 60 } else { 0 };
        assert_eq!(record.expires_at(8 * HOUR, HOUR, |_| 0), 1_003_600);
        assert_eq!(record.expires_at(8 * HOUR, HOUR, lost), 1_003_540);
        let record = record.touched(1_000_100);
        assert_eq!(record.expires_at(8 * HOUR, HOUR, lost), 1_003_700);
        assert_eq!(record.ends_at(8 * HOUR, lost), 1_028_740);
    }

    /// `L44`: the earliest of all ends is the end.
    #[test]
    fn the_authorization_server_may_end_a_session_before_its_time() {
        let text = |member: &str| CLAIMS.replace("\"x\":[1]", member);
        let with = |member: &str, tokens_end: Option<i64>| {
            let record = record(1_000_000);
            let (claims, said) = claims(&text(member)).unwrap();
            let record = SessionRecord {
                claims,
                expiry: said.expiry,
                refresh_token_expires_at: tokens_end,
                ..record
            };
            record.ends_at(8 * HOUR, |_| 0)
        };
        let old = 1_028_800;
        assert_eq!(with("\"x\":1", None), old);
        assert_eq!(with("\"session_expiry\":1000900.5", None), 1_000_900);
        assert_eq!(with("\"session_expiry\":2000000", None), old);
        assert_eq!(with("\"session_expiry\":\"soon\"", None), old);
        assert_eq!(with("\"x\":1", Some(1_007_200)), 1_007_200);
        assert_eq!(with("\"x\":1", Some(1_000_001)), 1_000_300);
    }

    #[test]
    fn a_touch_is_due_after_a_tenth_of_the_idle_limit_and_never_turns_back() {
        let record = record(1_000_000);
        assert!(!record.wants_touch(1_000_359, HOUR));
        assert!(record.wants_touch(1_000_360, HOUR));
        assert_eq!(record.touched(999_000).last_seen(), 1_000_000);
    }

    #[test]
    fn of_two_records_the_newer_tokens_and_the_newer_app_data_are_kept() {
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
        for joined in [refreshed.joined(&changed), changed.joined(&refreshed)] {
            assert_eq!(joined.access_token().expose(), "new");
            assert_eq!(joined.app_data(), Some("1"));
            assert_eq!(joined.last_seen(), 1_000_900);
            assert!(!refreshed.is_ahead_of(&joined) && !changed.is_ahead_of(&joined));
        }
    }

    #[test]
    fn a_cut_a_longer_and_a_newer_record_are_nothing() {
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
    fn a_record_without_an_issuer_or_a_subject_is_nothing() {
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
        fn parse_and_print_are_inverse(
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
        fn any_bytes_are_a_record_or_nothing(mut bytes in any::<Vec<u8>>()) {
            let _ = SessionRecord::from_bytes(&bytes);
            bytes.insert(0, SCHEMA);
            let _ = SessionRecord::from_bytes(&bytes);
        }
    }
}
