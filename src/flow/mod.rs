//! The authorization code flow ([RFC 6749 §4.1], OpenID Connect Core §3.1) as steps, and what comes of
//! it: a [`Session`](crate::Session), or a [`FlowError`] that says who is to blame.
//!
//! Nothing here knows a web framework or a cookie; [`LoginLayer`](crate::LoginLayer) drives it. A start
//! gives the URL the browser is sent to and a transaction that must come back with it. Accepting takes the
//! transaction and what the browser brought by value and makes a grant of them, redeeming gets its tokens, completing
//! takes both.
//!
//! # Not done here
//!
//! Logins without `openid`, encrypted ID tokens and encrypted userinfo answers are refused. Where a session is
//! kept, how it is refreshed and how it ends is told in [`session`](crate::session).
//!
//! [RFC 6749 §4.1]: https://www.rfc-editor.org/rfc/rfc6749#section-4.1

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
