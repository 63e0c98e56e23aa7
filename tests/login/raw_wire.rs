//! Raw requests over HTTP/1.1 and HTTP/2, sent to each layer around a service that accepts every path and records what it
//! executes.
//!
//! Each test is a table of attacks. For every row: without a valid credential nothing is executed, with one
//! the service executes the request that was authorized and no other, the status is one of those expected, and
//! the server answers the next request.

mod credentials;
mod executed;
mod guarded;
mod http1;
mod http2;
mod http2_frames;
mod login;
mod relay;
mod rows;
mod smuggling;
mod trailers;
mod wire;
