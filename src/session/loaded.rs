//! A session as a cookie presents it, and as it was loaded; and the secret of a session that is kept in a store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zeroize::Zeroizing;

use crate::crypto::base64url;
use crate::crypto::binding::Binding;
use crate::crypto::digest::sha256;
use crate::random::{Random, RandomError};
use crate::record::{SessionId, SessionRecord};
use crate::store::{Expect, Key, Put, SharedStore, StoreError};

/// A session as a cookie presents it, decrypted but not yet loaded.
#[derive(Clone, Debug)]
pub(crate) enum PresentedSession {
    Record(Arc<SessionRecord>),
    Secret(SessionSecret),
}

/// The result of opening a presented session, or of loading it again.
#[derive(Debug)]
pub(crate) enum OpenedSession {
    Session(LoadedSession),
    /// The session has ended, for this reason, or never existed.
    Ended(&'static str),
    /// This process cannot read the record. Another process may be able to, so this one neither removes nor
    /// replaces the record: the request is anonymous and the browser keeps its cookie.
    Unreadable,
}

/// A session as a request has loaded it.
#[derive(Clone, Debug)]
pub(crate) struct LoadedSession {
    record: Arc<SessionRecord>,
    /// The secret in its cookie, if the session is kept in a store.
    secret: Option<SessionSecret>,
    /// The version of its entry in the store, if there is one, against which a write is compared.
    version: Option<u64>,
    /// Whether the cookie of the browser is older than the record.
    stale_cookie: bool,
}

impl OpenedSession {
    pub(super) const SIGNED_OUT: Self = Self::Ended("signed_out");
    pub(super) const EXPIRED: Self = Self::Ended("expired");
    /// The user signed in at a provider that the layer does not have (any more).
    pub(super) const OTHER_PROVIDER: Self = Self::Ended("provider_unknown");
    pub(super) const REFRESH_REJECTED: Self = Self::Ended("refresh_refused");

    /// Returns the one live session. Two live sessions are rejected, since an attacker may have planted one
    /// of them.
    pub(super) fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Session(_), Self::Session(_)) => Self::Ended(AMBIGUOUS),
            (Self::Ended(AMBIGUOUS), _) => Self::Ended(AMBIGUOUS),
            (Self::Ended(_), other) => other,
            (Self::Unreadable, session @ Self::Session(_)) => session,
            (opened, _) => opened,
        }
    }

    /// Returns the session, or `None` if it has ended. A record that this process cannot read is an error, since the
    /// session may be live.
    pub(super) fn live(self) -> Result<Option<LoadedSession>, StoreError> {
        match self {
            Self::Session(loaded) => Ok(Some(loaded)),
            Self::Ended(_) => Ok(None),
            Self::Unreadable => Err(StoreError::unavailable(
                "this process cannot read the session record: its key or format is unknown",
            )),
        }
    }
}

impl LoadedSession {
    /// Returns a session that its cookie contains.
    pub(super) fn in_cookie(record: Arc<SessionRecord>) -> Self {
        Self {
            record,
            secret: None,
            version: None,
            stale_cookie: false,
        }
    }

    /// Returns a session in a store.
    pub(super) fn in_store(record: SessionRecord, secret: SessionSecret) -> Self {
        Self {
            secret: Some(secret),
            ..Self::in_cookie(Arc::new(record))
        }
    }

    /// Returns the same session with a newer record, which is not in a cookie yet.
    #[must_use]
    pub(super) fn with_record(&self, record: SessionRecord) -> Self {
        Self {
            record: Arc::new(record),
            stale_cookie: true,
            ..self.clone()
        }
    }

    /// Returns the same session with a record that its cookie is too small for.
    #[must_use]
    pub(super) fn completed(&self, record: SessionRecord) -> Self {
        Self {
            record: Arc::new(record),
            ..self.clone()
        }
    }

    #[must_use]
    pub(super) fn with_version(self, version: Option<u64>) -> Self {
        Self { version, ..self }
    }

    pub(crate) fn record(&self) -> &Arc<SessionRecord> {
        &self.record
    }

    /// Returns the secret in the cookie if the session is kept in a store.
    pub(crate) fn secret(&self) -> Option<&SessionSecret> {
        self.secret.as_ref()
    }

    /// Returns what a write to the store expects there: what was loaded.
    pub(super) fn expected(&self) -> Expect {
        self.version.map_or(Expect::Absent, Expect::Version)
    }

    /// Writes an entry of the session if the store still has what was loaded. Returns `None` otherwise.
    pub(super) async fn put(
        self,
        store: &SharedStore,
        key: &Key,
        value: Bytes,
        ttl: Duration,
    ) -> Result<Option<Self>, StoreError> {
        Ok(match store.put(key, value, ttl, self.expected()).await? {
            Put::Stored(version) => Some(self.with_version(Some(version))),
            Put::Conflict => None,
        })
    }

    /// Reports whether the session has to be written to its cookie again.
    pub(crate) fn wants_cookie(&self) -> bool {
        self.stale_cookie && self.secret.is_none()
    }
}

/// 256 random bits that only the browser has. The store has a digest of them.
#[derive(Clone)]
pub(crate) struct SessionSecret(Zeroizing<[u8; 32]>);

impl SessionSecret {
    pub(super) fn random(random: Random) -> Result<Self, RandomError> {
        Ok(Self(Zeroizing::new(random.bytes()?)))
    }

    /// Parses the value of a cookie. Returns `None` for a value that [`to_text`](Self::to_text) cannot
    /// produce.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(base64url::decode(text)?);
        let secret = bytes.as_slice().try_into().ok()?;
        Some(Self(Zeroizing::new(secret)))
    }

    /// Returns the value of the cookie.
    pub(crate) fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64url::encode(&*self.0))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the ID of the session, a digest of the secret and of the binding of the layer: at another
    /// layer the same secret has another ID, which does not exist.
    pub(super) fn id(&self, binding: Binding) -> SessionId {
        let mut input = Zeroizing::new(Vec::with_capacity(ID_PREFIX.len() + 64));
        input.extend_from_slice(ID_PREFIX);
        input.extend_from_slice(binding.as_bytes());
        input.extend_from_slice(&*self.0);
        let mut id = [0; 32];
        id.copy_from_slice(&sha256(&input));
        SessionId::new(id)
    }
}

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret(..)")
    }
}

const AMBIGUOUS: &str = "two_sessions";
const ID_PREFIX: &[u8] = b"tower-oauth session 2\0";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_43_characters_and_the_session_id_is_a_digest_of_it() {
        let secret = SessionSecret::random(Random::system()).unwrap();
        let text = secret.to_text();
        assert_eq!(text.len(), 43);
        let again = SessionSecret::parse(&text).unwrap();
        let here = Binding::new(&["here"]);
        assert_eq!(again.id(here), secret.id(here));
        assert_ne!(secret.id(here), secret.id(Binding::new(&["there"])));
        assert_ne!(secret.id(here).to_string(), *text);
        assert_eq!(format!("{secret:?}"), "SessionSecret(..)");
        for odd in [
            "",
            "x",
            &text[..42],
            &format!("{}A", *text),
            &"ü".repeat(20),
        ] {
            assert!(SessionSecret::parse(odd).is_none(), "{odd}");
        }
    }
}
