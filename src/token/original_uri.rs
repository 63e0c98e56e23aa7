//! The URI of a request as the client sent it.

use http::{Extensions, Uri};

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
