//! The record of a session.

use std::fmt;
use std::sync::Arc;

use super::identifiers::{EntryId, SessionId, SessionRef, UserDigest, UserKey};
use crate::crypto::ProofKey;
use crate::protocol::claims::seconds;
use crate::protocol::json::{Json, parse_object};
use crate::protocol::{AccessToken, AuthorizationDetails, Claims, IdToken, RefreshToken, ScopeSet};

/// The content of a session: claims, tokens, timestamps and application data. Times are in seconds since the Unix
/// epoch.
///
/// An immutable value; methods return changed copies. It contains tokens, so it is encrypted before it is stored.
#[derive(Clone)]
pub(crate) struct SessionRecord {
    pub(super) id: SessionId,
    pub(super) entry: EntryId,
    pub(super) subject_source: SubjectSource,
    pub(super) created_at: i64,
    pub(super) last_seen: i64,
    /// The absolute limit at the time of login. If the configured limit is raised later, existing sessions keep
    /// theirs.
    pub(super) ends_by: i64,
    pub(super) claims: Claims,
    pub(super) provider: ProviderSession,
    /// Increases with every refresh: of two records of a session, the one with the greater value has the newer
    /// tokens.
    pub(super) generation: u64,
    pub(super) tokens: SessionTokens,
    pub(super) app_data: Option<String>,
    /// Increases with every change of the application data, like `generation` for the tokens.
    pub(super) app_data_generation: u64,
}

/// Where the provider of a session says who the user is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubjectSource {
    /// In a verified ID token.
    IdToken,
    /// In a response of the provider to a request with the access token: the provider does not support OpenID Connect.
    Userinfo,
}

/// The tokens of a session, which a refresh replaces.
#[derive(Clone)]
pub(crate) struct SessionTokens {
    /// The resource that the access token and its scopes were requested for (RFC 8707). The configuration may have changed
    /// since.
    pub(crate) resource: Option<Arc<str>>,
    pub(crate) scopes: ScopeSet,
    pub(crate) access_token: AccessToken,
    /// The time at which the access token was received.
    pub(crate) access_token_since: i64,
    pub(crate) access_token_expires_at: i64,
    pub(crate) refresh_token: Option<RefreshToken>,
    pub(crate) refresh_token_expires_at: Option<i64>,
    /// Needed as `id_token_hint` at logout only.
    pub(crate) id_token: Option<IdToken>,
    /// The key that the access token is bound to (RFC 9449 §5). `None` for bearer tokens.
    pub(crate) proof_key: Option<ProofKey>,
    /// What was granted with the access token; empty if the authorization server did not say.
    pub(crate) authorization_details: AuthorizationDetails,
    pub(crate) resource_tokens: Vec<ResourceToken>,
}

/// An access token for one resource. It can be requested again with the refresh token.
#[derive(Clone)]
pub(crate) struct ResourceToken {
    pub(crate) resource: String,
    pub(crate) access_token: AccessToken,
    /// The time at which the access token was received.
    pub(crate) since: i64,
    pub(crate) expires_at: i64,
    pub(crate) scopes: ScopeSet,
}

/// The claims of an ID token about the session at the authorization server.
#[derive(Clone, Default)]
pub(super) struct ProviderSession {
    /// `sid`.
    sid: Option<String>,
    /// `session_expiry`: when the session at the authorization server ends.
    pub(super) expiry: Option<i64>,
}

/// The result of a login.
pub(crate) struct NewRecord {
    pub(crate) id: SessionId,
    pub(crate) entry: EntryId,
    pub(crate) subject_source: SubjectSource,
    pub(crate) now: i64,
    pub(crate) claims: Claims,
    pub(crate) tokens: SessionTokens,
}

impl SessionRecord {
    pub(crate) fn new(new: NewRecord) -> Self {
        let provider = parse_object(new.claims.as_json().as_bytes());
        let provider = provider.map(|claims| ProviderSession::read(|name| claims.member(name)));
        Self {
            id: new.id,
            entry: new.entry,
            subject_source: new.subject_source,
            created_at: new.now,
            last_seen: new.now,
            ends_by: i64::MAX,
            claims: new.claims,
            provider: provider.unwrap_or_default(),
            generation: 0,
            tokens: new.tokens,
            app_data: None,
            app_data_generation: 0,
        }
    }

    /// Returns the identifier, which is new at every login and not secret.
    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }

    /// Returns the provider that the user signed in at.
    pub(crate) fn entry(&self) -> EntryId {
        self.entry
    }

    pub(crate) fn subject_source(&self) -> SubjectSource {
        self.subject_source
    }

    /// Returns the record with another identifier, for a session that has not been saved yet.
    pub(crate) fn with_id(self, id: SessionId) -> Self {
        Self { id, ..self }
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

    pub(crate) fn user_key(&self) -> UserKey<'_> {
        UserKey {
            issuer: self.issuer(),
            subject: self.subject(),
        }
    }

    pub(crate) fn user(&self) -> UserDigest {
        UserDigest::new(self.issuer(), self.subject())
    }

    /// Returns the claims of the ID token of the login.
    pub(crate) fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Returns `iat` of the ID token of the login, by the clock of the authorization server.
    pub(crate) fn issued_at(&self) -> i64 {
        self.claims.registered().issued_at.unwrap_or(i64::MIN)
    }

    /// Returns `sid`, which is unique within the issuer.
    pub(crate) fn sid(&self) -> Option<&str> {
        self.provider.sid.as_deref()
    }

    pub(crate) fn tokens(&self) -> &SessionTokens {
        &self.tokens
    }

    /// Returns the record with other tokens. Claims and application data stay.
    pub(crate) fn with_tokens(&self, tokens: SessionTokens, generation: u64) -> Self {
        Self {
            tokens,
            generation,
            ..self.clone()
        }
    }

    /// Returns the record without the encoded ID token, to make it smaller.
    pub(crate) fn without_id_token(mut self) -> Self {
        self.tokens.id_token = None;
        self
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

    /// Merges two records of the same session: the newer tokens and the newer application data. Of equally old records
    /// one may lack the tokens for further resources.
    pub(crate) fn merged(&self, other: &Self) -> Self {
        let is_complete = self.has_resource_tokens();
        let tokens = if other.generation > self.generation
            || (other.generation == self.generation && !is_complete)
        {
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

impl From<&SessionRecord> for SessionRef {
    fn from(record: &SessionRecord) -> Self {
        Self {
            id: record.id,
            user: record.user(),
            created_at: record.created_at,
        }
    }
}

impl SubjectSource {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::IdToken => 0,
            Self::Userinfo => 1,
        }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::IdToken, Self::Userinfo]
            .into_iter()
            .find(|source| source.to_byte() == byte)
    }
}

impl ProviderSession {
    pub(super) fn read<'a>(claim: impl Fn(&str) -> Option<&'a Json<'a>>) -> Self {
        Self {
            // An empty one would be equal for all sessions of a server that sends it for none.
            sid: claim("sid")
                .and_then(Json::as_str)
                .filter(|sid| !sid.is_empty())
                .map(str::to_owned),
            expiry: seconds(claim("session_expiry"), f64::floor).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::protocol::claims::RegisteredClaims;

    /// Returns the record of a login at `now`.
    pub(crate) fn record_of(subject: &str, now: i64) -> SessionRecord {
        let claims =
            format!(r#"{{"iss":"https://id.example.com","sub":"{subject}","sid":"s1","x":[1]}}"#);
        let claims: Arc<str> = claims.into();
        let registered = RegisteredClaims::read(&parse_object(claims.as_bytes()).unwrap());
        SessionRecord::new(NewRecord {
            id: SessionId::new([7; 32]),
            entry: EntryId::new([9; 8]),
            subject_source: SubjectSource::IdToken,
            now,
            claims: Claims::new(Arc::clone(&claims), registered.unwrap()),
            tokens: SessionTokens {
                resource: None,
                scopes: ScopeSet::from_wire("openid profile"),
                access_token: AccessToken::new("at"),
                access_token_since: now,
                access_token_expires_at: now + 300,
                refresh_token: Some(RefreshToken::new("rt")),
                refresh_token_expires_at: None,
                id_token: Some(IdToken::new("a.b.c")),
                proof_key: None,
                authorization_details: AuthorizationDetails::default(),
                resource_tokens: Vec::new(),
            },
        })
    }

    #[test]
    fn merging_two_records_keeps_the_newer_tokens_and_the_newer_app_data() {
        let old = record_of("alice", 1_000_000);
        let tokens = SessionTokens {
            access_token: AccessToken::new("new"),
            ..old.tokens().clone()
        };
        let refreshed = old.with_tokens(tokens, 1);
        let changed = old
            .clone()
            .with_app_data(Some("1".to_owned()))
            .touched(1_000_900);
        assert!(!old.is_ahead_of(&refreshed) && !old.is_ahead_of(&changed));
        assert!(refreshed.is_ahead_of(&changed) && changed.is_ahead_of(&refreshed));
        for merged in [refreshed.merged(&changed), changed.merged(&refreshed)] {
            assert_eq!(merged.tokens().access_token.expose(), "new");
            assert_eq!(merged.app_data(), Some("1"));
            assert_eq!(merged.last_seen(), 1_000_900);
            assert!(!refreshed.is_ahead_of(&merged) && !changed.is_ahead_of(&merged));
        }
    }

    #[test]
    fn the_debug_output_has_no_tokens() {
        let record = record_of("alice", 1_000_000);
        let shown = format!("{record:?}");
        assert!(shown.contains("alice") && !shown.contains("openid") && !shown.contains("a.b.c"));
        assert!(record.without_id_token().tokens().id_token.is_none());
    }
}
