//! User sessions: where they are kept, how their tokens are refreshed, and how they end.
//!
//! [`LoginLayer`](crate::LoginLayer) creates a [`Session`] for each login and loads it by its cookie. One
//! setting of the layer selects where sessions are kept:
//!
//! | | session in | requires |
//! | --- | --- | --- |
//! | [`LoginLayer::new`](crate::LoginLayer::new) | an encrypted cookie | nothing |
//! | [`with_shared_store`](crate::LoginLayer::with_shared_store) | an encrypted cookie; a store has ended sessions and refreshed tokens | a [`Store`](crate::store::Store) |
//! | [`with_session_store`](crate::LoginLayer::with_session_store) | a store; the cookie has a random secret | a [`Store`](crate::store::Store) |
//!
//! The [guide] compares them and lists what each does when something fails.
//!
//! # Access tokens
//!
//! If the login returned a refresh token ([RFC 6749 §6]), the access token is refreshed before it expires.
//! [`Session::access_token`] returns a token that is valid now. Concurrent callers share one refresh, in this
//! process and in all processes that share a store. A refresh continues if the client disconnects, tokens are
//! saved before they are used, and an outage of the authorization server ends no session. With encrypted
//! cookies alone, the response of the request that started a refresh waits for it for at most two seconds,
//! since it carries the new cookie.
//!
//! If the authorization server rejects the refresh token, the session ends. With encrypted cookies alone, it
//! ends when its access token has expired, since another replica may have used the refresh token.
//!
//! # Stored data
//!
//! A record is encrypted with a key that is derived from the cookie key and the session secret, which only
//! the browser has. It is stored under a digest of the secret. A reader of the store learns the number of
//! sessions and their expiry; a writer can end sessions and cannot create any.
//!
//! Every change is a compare-and-swap. A slow response restores neither an ended session nor replaced tokens.
//!
//! # Extension points
//!
//! - Approve or reject logins: [`with_on_login`](crate::LoginLayer::with_on_login).
//! - Follow refreshes: [`with_on_refresh`](crate::LoginLayer::with_on_refresh).
//! - Observe ended sessions: [`with_on_logout`](crate::LoginLayer::with_on_logout).
//! - Keep application data in the session: [`Session::set_app_data`].
//!
//! [RFC 6749 §6]: https://www.rfc-editor.org/rfc/rfc6749#section-6

mod admin;
mod api_request;
mod app_data;
mod backend;
mod clock_rollback;
mod denylist;
mod error;
mod events;
mod handle;
mod hooks;
mod index;
mod latest;
mod loaded;
mod logout;
mod manager;
mod pending_ends;
mod providers;
mod refresh;
mod sign_in;
mod sign_out;

pub use crate::flow::{UserInfo, UserInfoError};
pub use crate::record::{Email, InvalidSessionId, SessionId, SubjectSource, UserKey};
pub use admin::{SessionAdmin, SessionAdminError, SessionInfo};
pub(crate) use backend::MAX_COOKIE_BYTES;
pub(crate) use clock_rollback::SessionTime;
pub use error::{AppDataError, SessionError};
pub(crate) use error::{CreateSessionError, SealSessionError};
pub use handle::Session;
pub use hooks::{
    EndReason, EndedSession, LoginDecision, NewLogin, RefreshDecision, RefreshedSession,
};
pub(crate) use hooks::{LoginRejection, SessionHook};
pub(crate) use loaded::{LoadedSession, OpenedSession, PresentedSession, SessionSecret};
pub(crate) use logout::EndSessionError;
pub(crate) use manager::{MAX_PER_USER, SessionManager};
pub(crate) use providers::{ProviderEntry, Providers};
pub(crate) use sign_in::SignInError;
pub(crate) use sign_out::SignOut;

#[doc = include_str!("../../docs/sessions.md")]
pub mod guide {}
