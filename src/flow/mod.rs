//! The authorization code flow (RFC 6749 §4.1, OpenID Connect Core §3.1), independent of HTTP services and
//! cookies.
//!
//! The steps of a session, each in a file of its own:
//!
//! 1. `start` returns the authorization URL and a transaction, which the browser must present at the callback.
//!    `start_request` is what one login may ask for, `send_request` how the authorization request is sent.
//! 2. `callback` validates the authorization response against the transaction and returns a grant.
//! 3. `redeem` exchanges the code of the grant for tokens.
//! 4. `complete` verifies the tokens and returns the record of a session.
//! 5. `userinfo` requests further claims.
//! 6. `refresh` replaces the tokens of a record.
//! 7. `revoke` revokes them after the session has ended.
//! 8. `logout` returns the logout URL of the authorization server.
//!
//! At an authorization server without OpenID Connect, `identity` says who the user is.
//!
//! Encrypted ID tokens and encrypted userinfo responses are not supported.

mod access_settings;
mod api_request;
mod authenticated_request;
mod callback;
mod complete;
mod dpop;
mod error;
mod fapi2;
mod identify;
mod identity;
mod logout;
mod provider_settings;
mod pushed_request;
mod read_response;
mod redeem;
mod redirect_uri;
mod refresh;
mod registration;
mod request_deadline;
mod request_object;
mod request_settings;
mod requested_access;
mod revoke;
mod send_request;
mod settings;
mod start;
mod start_request;
#[cfg(test)]
pub(crate) mod tests;
mod token_endpoint;
mod transaction;
mod userinfo;

pub(crate) use callback::AuthorizationGrant;
pub(crate) use dpop::{ApiCredentials, CredentialsError, RejectedProof};
pub use error::{FlowError, FlowErrorKind};
pub use identity::{Identity, IdentityError, IdentitySource, UserApi};
pub(crate) use logout::EndSession;
pub(crate) use redeem::RedemptionOutcome;
pub(crate) use redirect_uri::route_folder;
pub(crate) use refresh::{RefreshFailure, RefreshTarget, Refreshed};
pub(crate) use registration::Registration;
pub(crate) use request_deadline::REQUEST_TIME_LIMIT;
pub use request_settings::{PushedRequests, ResponseMode};
pub(crate) use requested_access::{requested_claims, requested_details};
pub(crate) use settings::Flow;
pub(crate) use start_request::StartRequest;
#[cfg(test)]
pub(crate) use transaction::{Destination, LoginSecret};
pub(crate) use transaction::{LoginPurpose, PageDigest, StateDigest, Transaction, has_expired};
pub use userinfo::{UserInfo, UserInfoError};
