//! Protected resource metadata ([RFC 9728]): how a client that knows nothing but an address finds the
//! authorization server.
//!
//! [`ResourceMetadata`] is the document, [`ResourceMetadataLayer`] accepts_resource it, and
//! [`BearerLayer::with_resource_metadata`](crate::BearerLayer::with_resource_metadata) names its address
//! in every challenge.
//!
//! [RFC 9728]: https://www.rfc-editor.org/rfc/rfc9728

mod document;
mod layer;
mod members;
mod order;

pub use document::ResourceMetadata;
pub use layer::{ResourceMetadataFuture, ResourceMetadataLayer, ServeResourceMetadata};
pub use members::BearerMethod;
pub(super) use members::resource_scopes;
pub(super) use order::LayerOrder;
