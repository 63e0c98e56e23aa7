//! Who calls, as handlers are told: [`Principal`], and extractors for axum.
//!
//! They only read what a layer has put there. A missing layer is the application's mistake, answered
//! with 500 and a message that names the layer, never with an anonymous request.

mod principal;
#[cfg(feature = "axum")]
mod session;
#[cfg(feature = "axum")]
mod token;

pub use principal::{Principal, PrincipalRejection};
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use session::SessionRejection;
#[cfg(feature = "axum")]
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
pub use token::TokenRejection;
