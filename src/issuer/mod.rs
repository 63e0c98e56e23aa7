//! The authorization server as this application sees it: its metadata, its key set, and the back
//! channel over which both are fetched.
//!
//! Nothing is fetched before it is needed, what is fetched is fetched once for all who wait, and what
//! was good stays in use while the server is away.

mod back_channel;
mod client;
mod client_assertion;
mod discovery;
mod fetch_budget;
mod flight;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod health;
mod key_fetch;
mod key_set;
mod key_source;
mod key_status;
#[cfg(any(feature = "reqwest", feature = "relay"))]
mod renewable;
#[cfg(feature = "reqwest")]
mod reqwest;
mod server;
mod static_keys;
#[cfg(test)]
mod wycheproof;

pub use back_channel::BackChannelError;
pub(crate) use back_channel::{is_loopback, retry_after};
pub use client::Client;
pub(crate) use client::Parameters;
pub(crate) use client_assertion::FetchTrigger;
pub(crate) use fetch_budget::FetchBudget;
pub(crate) use flight::{Flight, Seat};
pub use health::{Health, KeySetHealth};
pub(crate) use key_set::SelectedKey;
pub(crate) use key_source::KeyError;
pub(crate) use key_status::{KeyRef, KeyStatus};
#[cfg(feature = "relay")]
pub(crate) use renewable::Renewable;
pub use server::{AuthorizationServer, Unavailable};
pub use static_keys::StaticKeys;
