//! The parts of a request that a proof of possession covers.

use http::{Extensions, HeaderMap, Method, Uri};

use crate::clock::Now;
use crate::protocol::credentials::PresentedToken;

/// The parts of a request that a proof of possession covers.
pub(crate) struct RequestParts<'a> {
    pub(crate) presented: &'a PresentedToken,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) extensions: &'a Extensions,
    pub(crate) now: &'a Now<'a>,
}

/// Returns the URI that the client sent. axum removes the prefix of a nested router and keeps the original URI in the
/// extensions.
#[cfg_attr(not(feature = "axum"), allow(unused_variables))]
pub(crate) fn original_uri<'a>(uri: &'a Uri, extensions: &'a Extensions) -> &'a Uri {
    #[cfg(feature = "axum")]
    if let Some(original) = extensions.get::<axum::extract::OriginalUri>() {
        return &original.0;
    }
    uri
}
