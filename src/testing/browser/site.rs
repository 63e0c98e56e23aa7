//! Services in this process by origin and path.

use url::{Origin, Url};

use super::transport::Transport;

/// A service that receives the requests below a path of an origin.
#[derive(Clone, Debug)]
pub(in crate::testing) struct Site {
    origin: Origin,
    /// Without a final slash: empty for the whole origin.
    path: String,
    transport: Transport,
}

impl Site {
    pub(in crate::testing) fn new(origin: Origin, path: &str, transport: Transport) -> Self {
        Self {
            origin,
            path: path.trim_end_matches('/').to_owned(),
            transport,
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.origin == other.origin && self.path == other.path
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    fn serves(&self, url: &Url) -> bool {
        let below = url.path().strip_prefix(self.path.as_str());
        self.origin == url.origin()
            && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Returns the site with the longest path that the URL is below.
pub(super) fn serving<'a>(sites: &'a [Site], url: &Url) -> Option<&'a Site> {
    let serving = sites.iter().filter(|site| site.serves(url));
    serving.max_by_key(|site| site.path.len())
}
