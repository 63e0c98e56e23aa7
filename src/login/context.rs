//! What the layer leaves in a request for those inside: that it is there, and how to ask for a login.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::HeaderMap;
use http::uri::PathAndQuery;
use http::{Method, Uri};

use super::navigation;
use super::response::Answer;
use super::settings::Settings;

/// In the extensions of every request that went through a login layer.
#[derive(Clone, Debug)]
pub(crate) struct LoginContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Arc<Settings>,
    /// The address as the browser knows it: routers inside may cut it.
    original: Option<PathAndQuery>,
    looked: AtomicBool,
}

impl LoginContext {
    pub(super) fn new(settings: Arc<Settings>, uri: &Uri) -> Self {
        Self(Arc::new(Inner {
            settings,
            original: uri.path_and_query().cloned(),
            looked: AtomicBool::new(false),
        }))
    }

    pub(super) fn layer(&self) -> u64 {
        self.0.settings.layer
    }

    /// Notes that the response depends on who is signed in, so that no cache keeps it for others (`L7`).
    pub(crate) fn look(&self) {
        self.0.looked.store(true, Ordering::Relaxed);
    }

    #[cfg(feature = "relay")]
    pub(super) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(super) fn looked(&self) -> bool {
        self.0.looked.load(Ordering::Relaxed)
    }

    /// The answer to a request that needs a session and has none.
    pub(crate) fn ask_to_log_in(&self, method: &Method, headers: &HeaderMap) -> Answer {
        self.look();
        // `L35`: only a GET is a navigation, so the address of another request is never returned to.
        let original = self.0.original.as_ref().map(PathAndQuery::as_str);
        let settings = &self.0.settings;
        let kind = navigation::kind(method, headers, &settings.origin);
        settings.ask_to_log_in(kind, headers, original)
    }
}
