//! Logins at authorization servers without OpenID Connect: the user is whom an API says the access token belongs to.
//!
//! An access token alone does not authenticate a user, since it may have been issued to another client (RFC 6749 §10.16).
//! Here it was: it is the response to a code of this login, which PKCE and `state` bind to this browser.

mod api;
mod error;
mod source;
mod user;

pub use api::UserApi;
pub(super) use api::{ResponseFuture, SendUserRequest};
pub use error::IdentityError;
pub use source::IdentitySource;
pub(super) use source::SharedIdentitySource;
pub use user::Identity;
