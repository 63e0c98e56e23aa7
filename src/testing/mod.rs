//! An authorization server, a browser and a token mint, to test an application against and to try
//! things out.
mod browser;
mod clock;
mod endpoint;
mod fault;
mod grants;
mod key_ring;
mod keys;
mod mint;
mod parameters;
mod record;
mod registry;
mod respond;
mod server;
mod service;
mod sessions;
mod tcp;

pub use browser::{Browser, BrowserError, Cookie, Form, Page, SameSite};
pub use clock::ManualClock;
pub use fault::Fault;
pub use keys::SigningKey;
pub use mint::TokenMint;
pub use record::{Endpoint, RecordedRequest};
pub use registry::{ClientAuthentication, Grant, TestClient, TestUser};
pub use server::TestServer;
pub use service::{BackChannel, Disconnected};
pub use tcp::Listening;
