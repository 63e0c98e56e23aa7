//! Extractors for axum handlers.

mod session;
