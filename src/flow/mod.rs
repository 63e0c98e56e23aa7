//! The authorization code flow (RFC 6749 §4.1, OpenID Connect Core §3.1), independent of HTTP services and
//! cookies.
//!
//! `start` returns the authorization URL and a transaction, which the browser must present at the callback.
//! `accept` validates the authorization response against the transaction and returns a grant. `redeem` exchanges
//! the code of the grant for tokens. `complete` verifies the tokens and returns the record of a session.
//! `refresh`, `revoke`, `userinfo` and `end_session` work with such a record.
//!
//! Logins without the scope `openid`, encrypted ID tokens and encrypted userinfo responses are not supported.

mod complete;
mod email;
mod encoding;
mod error;
#[cfg(feature = "testing")]
mod injected;
mod logout;
mod record;
mod redeem;
mod refresh;
mod revoke;
mod session_id;
mod session_ref;
mod settings;
mod start;
#[cfg(test)]
#[cfg(feature = "aws-lc-rs")]
pub(crate) mod tests;
mod token_endpoint;
mod transaction;
mod userinfo;

pub(crate) use complete::AuthorizationGrant;
pub use email::Email;
pub use error::{FlowError, FlowErrorKind};
#[cfg(feature = "testing")]
pub(crate) use injected::Injected;
pub(crate) use logout::EndSession;
pub(crate) use record::SessionRecord;
pub(crate) use redeem::RedemptionOutcome;
pub(crate) use refresh::{RefreshFailure, Refreshed};
pub use session_id::{InvalidSessionId, SessionId};
pub(crate) use session_ref::{SessionRef, UserDigest};
pub(crate) use settings::{Flow, route_folder};
pub(crate) use start::StartRequest;
pub(crate) use transaction::Transaction;
pub use userinfo::{UserInfo, UserInfoError};
