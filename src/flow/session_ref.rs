//! References to sessions without their content, for recording that a session has ended.

use super::record::SessionRecord;
use super::session_id::SessionId;
use crate::crypto::digest::sha256;

/// Identifies a user by the first 16 bytes of SHA-256 over issuer and subject.
///
/// Users may be able to choose their subject. With 16 bytes, finding a subject with the digest of another user takes
/// 2^128 attempts; an accidental collision is expected after 2^64 users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct UserDigest([u8; 16]);

/// A session, its user and its original creation time.
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
        let mut digest = [0; 16];
        digest.copy_from_slice(&sha256(&input)[..16]);
        Self(digest)
    }

    pub(super) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<&SessionRecord> for SessionRef {
    fn from(record: &SessionRecord) -> Self {
        Self {
            id: *record.id(),
            user: UserDigest::new(record.issuer(), record.subject()),
            created_at: record.created_at(),
        }
    }
}
