//! Extractors for axum handlers.
//!
//! They only read what a layer has put there. A missing layer is the application's mistake, answered
//! with 500 and a message that names the layer, never with an anonymous request.

mod session;
mod token;

pub use session::SessionRejection;
pub use token::TokenRejection;
