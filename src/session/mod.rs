//! Sessions: who is signed in, where that is kept, and how it stays true.
//!
//! [`LoginLayer`](crate::LoginLayer) makes a [`Session`] of a login and finds it again by its cookie. Where
//! the session itself is, is one line of its set-up:
//!
//! | | where it is | what it needs |
//! | --- | --- | --- |
//! | [`LoginLayer::new`](crate::LoginLayer::new) | in a sealed cookie | nothing |
//! | [`with_shared_store`](crate::LoginLayer::with_shared_store) | in a sealed cookie; what replicas must know together is in a store | a [`Store`](crate::store::Store) |
//! | [`with_session_store`](crate::LoginLayer::with_session_store) | in a store; the cookie holds a random ticket | a [`Store`](crate::store::Store) |
//!
//! The [guide] says which one is for whom, and what each promises when something fails.
//!
//! # Fresh access tokens
//!
//! Where the login brought a refresh token, the access token is renewed ahead of its end, and
//! [`Session::access_token`] gives one that is good now. However many requests want it, the authorization server is
//! asked once: by this process, or by one of those that share a store. A client that goes away loses nothing, nobody is
//! given a token that is not kept yet, and an outage of the authorization server ends no session. In sealed cookies
//! alone, the response of the request that began a refresh waits for it (two seconds at most), since it carries the
//! new cookie.
//!
//! The authorization server's word that a refresh token is no longer good ends the session; in sealed cookies alone
//! only together with its access token, since another replica may have used it.
//!
//! # What is stored
//!
//! A record is sealed under a key made of the cookie key and of the ticket, which only the browser has, and
//! lies under a digest of the ticket. Who reads the store learns how many sessions there are and until when;
//! who writes to it can end sessions and can make none.
//!
//! Every change compares and swaps: an answer that took long brings back neither a session that was ended
//! nor tokens that were renewed meanwhile.
//!
//! # What an application adds
//!
//! A word at every login ([`with_on_login`](crate::LoginLayer::with_on_login)), at every refresh
//! ([`with_on_refresh`](crate::LoginLayer::with_on_refresh)) and at the end of a session
//! ([`with_on_logout`](crate::LoginLayer::with_on_logout)); and data of its own that goes with the session
//! ([`Session::set_app_data`]).

mod admin;
mod app_data;
mod backend;
mod begin;
mod bounded_map;
mod bulk_logout;
mod claim;
mod clock_rollback;
mod denylist;
mod error;
mod events;
mod handle;
mod hooks;
mod index;
mod last_use;
mod latest;
mod lists;
mod loaded;
mod logout;
mod logout_watermark;
mod manager;
mod open;
mod pending_ends;
mod refresh;
mod secret;
mod shared;
mod stored;
#[cfg(test)]
#[cfg(feature = "aws-lc-rs")]
mod tests;

pub use crate::flow::{Email, InvalidSessionId, SessionId, UserInfo, UserInfoError};
pub use admin::{SessionAdminError, SessionInfo, Sessions};
pub use app_data::AppDataError;
pub(crate) use begin::CreateSessionError;
pub(crate) use bulk_logout::EndSessionError;
pub use error::SessionError;
pub use handle::{Session, UserKey};
pub use hooks::{
    EndReason, EndedSession, LoginDecision, NewLogin, RefreshDecision, RefreshedSession,
};
pub(crate) use hooks::{Hook, LoginRejection};
pub(crate) use loaded::LoadedSession;
pub(crate) use logout::SignOut;
pub(crate) use manager::SessionManager;
pub(crate) use open::{OpenedSession, Presented, PresentedSession};
pub(crate) use secret::SessionSecret;

#[doc = include_str!("../../docs/sessions.md")]
pub mod guide {}
