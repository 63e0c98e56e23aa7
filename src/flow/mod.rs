//! The authorization code flow as steps, with no web framework and no cookie.
//!
//! [`Flow::start`] makes the URL the browser is sent to, and the [`Transaction`] that must come back
//! with it; [`Flow::complete`] takes both the transaction and what the browser brought, and makes a
//! [`SessionRecord`]. Both are taken by value, so a code is redeemed once by type.

mod complete;
mod email;
mod encoding;
mod error;
mod logout;
mod record;
mod redeem;
mod session;
mod settings;
mod start;
#[cfg(test)]
#[cfg(feature = "aws-lc-rs")]
mod tests;
mod transaction;
mod userinfo;

pub use email::Email;
pub use error::{FlowError, FlowErrorKind};
pub(crate) use record::SessionRecord;
pub use session::{Session, SessionError, UserKey};
pub(crate) use settings::Flow;
pub(crate) use start::StartRequest;
pub(crate) use transaction::Transaction;
pub use userinfo::UserInfo;
