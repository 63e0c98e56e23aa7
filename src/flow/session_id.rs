//! Session identifiers, which are not secret.

use std::fmt;
use std::str::FromStr;

use crate::crypto::base64url;

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
