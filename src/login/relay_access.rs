//! What a relay inside the layer needs of it.

use http::Method;
use http::header::HeaderMap;

use super::context::LoginContext;
use super::navigation::RequestKind;
use super::response::LayerResponse;
use crate::clock::SharedClock;

impl LoginContext {
    /// Returns whether a script of this application sent the request. A WebSocket handshake needs a
    /// matching origin only.
    pub(crate) fn is_from_own_script(&self, method: &Method, headers: &HeaderMap) -> bool {
        let check = self.settings().csrf_check();
        check.is_from_own_script(method, headers)
    }

    /// Returns whether the request is a navigation from a page of this application.
    pub(crate) fn is_own_navigation(&self, method: &Method, headers: &HeaderMap) -> bool {
        let check = self.settings().csrf_check();
        check.is_navigation(method, headers) && check.is_same_origin(headers)
    }

    /// Returns the response to a request from another site.
    pub(crate) fn reject_cross_site(&self, headers: &HeaderMap) -> LayerResponse {
        self.settings().reject_cross_site(headers)
    }

    /// Returns the response to a script without a session: 401, never a redirect.
    pub(crate) fn login_required_for_script(&self, headers: &HeaderMap) -> LayerResponse {
        self.note_session_dependence();
        let settings = self.settings();
        settings.login_required(RequestKind::Program, headers, None)
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        self.settings().flow().clock()
    }
}
