//! Protected resource metadata ([RFC 9728]): clients discover the authorization server of an API from its URL.
//!
//! [`ResourceMetadata`] is the document, [`ResourceMetadataLayer`] serves it, and
//! [`BearerLayer::with_resource_metadata`](crate::BearerLayer::with_resource_metadata) adds its URL to every challenge.
//!
//! [RFC 9728]: https://www.rfc-editor.org/rfc/rfc9728

mod document;
mod layer;
mod members;
mod request;

pub use document::ResourceMetadata;
pub use layer::{ResourceMetadataLayer, ServeResourceMetadata};
pub use members::BearerMethod;
pub(super) use members::resource_scopes;
pub(super) use request::LayerOrder;
