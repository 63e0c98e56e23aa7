//! Identifiers of sessions and users, which are not secret.

use std::fmt;
use std::str::FromStr;

use crate::crypto::base64url;
use crate::crypto::binding::Binding;
use crate::crypto::sha256_start;

/// The identifier of a session, for logs, support and administration. New at every login.
///
/// Not a secret: it does not grant access to the session. `Display` and `FromStr` use 43 characters of base64url.
///
/// ```
/// use tower_oauth::session::SessionId;
///
/// let text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
/// let id: SessionId = text.parse()?;
/// assert_eq!(id.to_string(), text);
/// assert!("admin".parse::<SessionId>().is_err());
/// # Ok::<_, tower_oauth::session::InvalidSessionId>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 32]);

/// Error of parsing a [`SessionId`]: the text is not 43 characters of base64url.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a session identifier")]
pub struct InvalidSessionId(());

impl SessionId {
    pub(crate) const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the beginning of the id for log events: enough to correlate them, too little to name
    /// the session.
    pub(crate) fn log_prefix(&self) -> String {
        base64url::encode(&self.0[..6])
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64url::encode(&self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl FromStr for SessionId {
    type Err = InvalidSessionId;

    fn from_str(text: &str) -> Result<Self, InvalidSessionId> {
        let bytes = base64url::decode(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(InvalidSessionId(()))
    }
}

/// Identifies a user: a subject is unique only within its issuer ([OpenID Connect Core §5.7]).
///
/// [OpenID Connect Core §5.7]: https://openid.net/specs/openid-connect-core-1_0.html#ClaimStability
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct UserKey<'a> {
    /// The issuer (`iss`), which identifies the authorization server.
    pub issuer: &'a str,
    /// The subject (`sub`), which identifies the user at the issuer.
    pub subject: &'a str,
}

impl<'a> UserKey<'a> {
    /// Creates the key of a user from what an application has stored of [`Session::user_key`](crate::Session::user_key).
    pub const fn new(issuer: &'a str, subject: &'a str) -> Self {
        Self { issuer, subject }
    }
}

/// Identifies a user by the first 16 bytes of SHA-256 over issuer and subject.
///
/// Users may be able to choose their subject. With 16 bytes, finding a subject with the digest of another user takes
/// 2^128 attempts; an accidental collision is expected after 2^64 users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UserDigest([u8; 16]);

/// Identifies a provider of a layer: the first 8 bytes of the binding of its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryId([u8; 8]);

impl EntryId {
    pub(crate) const fn new(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn of(binding: &Binding) -> Self {
        let mut start = [0; 8];
        start.copy_from_slice(&binding.as_bytes()[..8]);
        Self(start)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// A session without its content, to record that it has ended: its user and its original creation time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionRef {
    pub(crate) id: SessionId,
    pub(crate) user: UserDigest,
    /// In seconds since the Unix epoch.
    pub(crate) created_at: i64,
}

impl UserDigest {
    pub(crate) fn new(issuer: &str, subject: &str) -> Self {
        let input = [issuer.as_bytes(), b"\0", subject.as_bytes()].concat();
        Self(sha256_start(&input))
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}
