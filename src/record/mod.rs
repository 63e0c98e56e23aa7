//! The record of a session: what it contains, how long it lasts, and how it is encoded.
//!
//! The code flow creates and refreshes records, the session backends seal and keep them.

mod email;
mod encoding;
mod identifiers;
mod lifetime;
mod resource_tokens;
mod session;

pub use email::Email;
pub(crate) use encoding::{Reader, Writer};
pub(crate) use identifiers::{EntryId, SessionRef, UserDigest};
pub use identifiers::{InvalidSessionId, SessionId, UserKey};
pub(crate) use resource_tokens::TokenTimes;
pub use session::SubjectSource;
#[cfg(test)]
pub(crate) use session::tests::record_of;
pub(crate) use session::{NewRecord, ResourceToken, SessionRecord, SessionTokens};
