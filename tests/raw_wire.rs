//! Raw requests over HTTP/1.1 and HTTP/2, sent to each layer around a service that accepts every path and records what it
//! executes.
//!
//! Each test is a table of attacks. For every row: without a valid credential nothing is executed, with one
//! the service executes the request that was authorized and no other, the status is one of those expected, and
//! the server answers the next request.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::as_conversions
)]

mod login_support;

#[path = "raw_wire/credentials.rs"]
mod credentials;
#[path = "raw_wire/executed.rs"]
mod executed;
#[path = "raw_wire/guarded.rs"]
mod guarded;
#[path = "raw_wire/http1.rs"]
mod http1;
#[path = "raw_wire/http2.rs"]
mod http2;
#[path = "raw_wire/http2_frames.rs"]
mod http2_frames;
#[path = "raw_wire/relay.rs"]
mod relay;
#[path = "raw_wire/rows.rs"]
mod rows;
#[path = "raw_wire/smuggling.rs"]
mod smuggling;
#[path = "raw_wire/trailers.rs"]
mod trailers;
#[path = "raw_wire/wire.rs"]
mod wire;
