//! The metadata document of the client and its key set, which the layer serves.

mod document;
mod of_layer;
mod options;
mod response;

pub(super) use document::{client_metadata_json, key_set_json};
pub use options::ClientMetadata;
pub(super) use response::respond;
