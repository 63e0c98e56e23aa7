//! The request extension by which inner services and extractors find the login layer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::HeaderMap;
use http::uri::PathAndQuery;
use http::{Method, Uri};

use super::navigation;
use super::response::LayerResponse;
use super::settings::Settings;
#[cfg(feature = "relay")]
use crate::clock::SharedClock;

/// The login layer around a service, in the extensions of every request.
#[derive(Clone, Debug)]
pub(crate) struct LoginContext(Arc<LoginContextInner>);

#[derive(Debug)]
struct LoginContextInner {
    settings: Arc<Settings>,
    /// The path and query as sent by the browser; nested routers may shorten the URI.
    original: Option<PathAndQuery>,
    depends_on_session: AtomicBool,
}

impl LoginContext {
    pub(super) fn new(settings: Arc<Settings>, uri: &Uri) -> Self {
        Self(Arc::new(LoginContextInner {
            settings,
            original: uri.path_and_query().cloned(),
            depends_on_session: AtomicBool::new(false),
        }))
    }

    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.0.settings
    }

    /// Records that the response depends on the session, so that no shared cache may store it.
    pub(crate) fn note_session_dependence(&self) {
        self.0.depends_on_session.store(true, Ordering::Relaxed);
    }

    pub(super) fn depends_on_session(&self) -> bool {
        self.0.depends_on_session.load(Ordering::Relaxed)
    }

    /// Returns the response to a request that needs a session and has none.
    pub(crate) fn login_required(&self, method: &Method, headers: &HeaderMap) -> LayerResponse {
        self.note_session_dependence();
        // Only a GET is a navigation, so users never return to the URL of another method.
        let original = self.0.original.as_ref().map(PathAndQuery::as_str);
        let settings = &self.0.settings;
        let kind = navigation::request_kind(method, headers, &settings.origin);
        settings.login_required(kind, headers, original)
    }
}

/// What a relay inside the layer needs of it.
#[cfg(feature = "relay")]
impl LoginContext {
    /// Returns whether a script of this application sent the request. A WebSocket handshake needs a
    /// matching origin only.
    pub(crate) fn is_from_own_script(&self, method: &Method, headers: &HeaderMap) -> bool {
        let check = self.0.settings.csrf_check();
        check.is_from_own_script(method, headers)
    }

    /// Returns whether the request is a navigation from a page of this application.
    pub(crate) fn is_own_navigation(&self, method: &Method, headers: &HeaderMap) -> bool {
        let check = self.0.settings.csrf_check();
        check.is_navigation(method, headers) && check.is_same_origin(headers)
    }

    /// Returns the response to a request from another site.
    pub(crate) fn reject_cross_site(&self, headers: &HeaderMap) -> LayerResponse {
        self.0.settings.reject_cross_site(headers)
    }

    /// Returns the response to a script without a session: 401, never a redirect.
    pub(crate) fn login_required_for_script(&self, headers: &HeaderMap) -> LayerResponse {
        self.note_session_dependence();
        let settings = &self.0.settings;
        settings.login_required(navigation::RequestKind::Program, headers, None)
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        self.0.settings.flow().clock()
    }
}
