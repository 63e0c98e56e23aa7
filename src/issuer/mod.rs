//! Discovers and caches the metadata and signing keys of an authorization server, over the back channel.
//!
//! Metadata and keys are discovered on first use, cached, refreshed in the background and kept for up to an hour if
//! the authorization server is unreachable. Concurrent requests share one fetch.
//!
//! - [`AuthorizationServer`] is the handle that layers are created from.
//! - [`Client`] is the registration of this application, with its client authentication; [`CredentialSource`] is where
//!   its secret comes from.
//! - [`StaticKeys`] replaces the fetched key set.
//! - [`Health`] is the state for a readiness probe.

mod application_call;
mod assertion_key;
mod back_channel;
mod client;
mod client_assertion;
mod client_authentication;
mod client_check;
mod client_methods;
mod client_options;
mod client_registration;
mod configure;
mod credential_file;
mod credential_source;
mod discovery;
mod error;
mod fapi2;
mod fetch_error;
mod health;
mod key_cache;
mod key_fetch;
mod key_recheck;
mod key_ref;
mod key_set;
mod key_source;
#[cfg(any(feature = "reqwest", feature = "relay"))]
mod renewable;
#[cfg(feature = "reqwest")]
mod reqwest;
mod server;
mod settings;
mod static_keys;
#[cfg(test)]
mod wycheproof;

pub use crate::crypto::HmacAlgorithm;
pub(crate) use application_call::call_application;
pub use assertion_key::{AssertionKey, RemoteSigner};
pub(crate) use back_channel::{is_loopback, retry_after};
pub use client::Client;
pub(crate) use client_assertion::AuthenticationContext;
pub(crate) use client_authentication::{
    ClientRejection, FormParameters, RejectionRule, SentCredentials,
};
pub(crate) use client_methods::EndpointError;
pub(crate) use client_registration::AssertionPublicKey;
pub use credential_source::CredentialSource;
pub(crate) use error::{AuthenticationError, KeyError};
pub use error::{BackChannelError, Unavailable};
pub(crate) use fetch_error::describe;
pub use health::{Health, KeySetHealth};
pub(crate) use key_fetch::FetchBudget;
pub(crate) use key_ref::{KeyRef, KeyStatus};
#[cfg(fuzzing)]
pub(crate) use key_set::KeySet;
pub(crate) use key_set::{KeyCandidates, SelectedKey};
#[cfg(all(test, feature = "relay"))]
pub(crate) use renewable::UNRESPONSIVE_AFTER;
#[cfg(feature = "relay")]
pub(crate) use renewable::{Connections, Renewable};
pub use server::AuthorizationServer;
pub use static_keys::StaticKeys;
