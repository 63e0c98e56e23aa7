//! What a relay inside the layer asks of it.

use http::Method;
use http::header::HeaderMap;

use super::context::LoginContext;
use super::navigation::Kind;
use super::response::Answer;
use crate::clock::SharedClock;

impl LoginContext {
    /// Whether a script of this application sent the request, or it is a WebSocket of one (`L59`).
    pub(crate) fn is_of_a_script(&self, method: &Method, headers: &HeaderMap) -> bool {
        let evidence = self.settings().evidence();
        evidence.is_of_a_script(method, headers)
    }

    /// Whether a person goes there, from a page of this application.
    pub(crate) fn is_own_navigation(&self, method: &Method, headers: &HeaderMap) -> bool {
        let evidence = self.settings().evidence();
        evidence.is_navigation(method, headers) && evidence.is_shown_by(headers)
    }

    /// The answer to a request that comes from elsewhere.
    pub(crate) fn refuse_foreign(&self, headers: &HeaderMap) -> Answer {
        self.settings().refuse_foreign(headers)
    }

    /// The answer to a script without a session: 401, never a redirect.
    pub(crate) fn ask_script_to_log_in(&self, headers: &HeaderMap) -> Answer {
        self.look();
        let settings = self.settings();
        settings.ask_to_log_in(Kind::Program, headers, None)
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        self.settings().flow().clock()
    }
}
