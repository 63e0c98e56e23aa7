//! The request extension by which [`RequiredLayer`](super::RequiredLayer), extractors and relays find
//! the login layer around them.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use http::header::HeaderMap;
use http::uri::PathAndQuery;
use http::{Extensions, Method, Uri};

use super::events;
use super::login_request::LoginRequest;
use super::navigation::{self, RequestKind};
use super::refusal::{FORBIDDEN, UNCHECKED_POLICY, WEAK_AUTHENTICATION};
use super::response::{LayerResponse, misconfigured};
use super::settings::Settings;
use crate::bearer::{Policy, UnmetBySession};
#[cfg(feature = "relay")]
use crate::clock::SharedClock;
use crate::session::Session;

/// The login layer whose session a request has, in the extensions of every request: the innermost
/// one, or that of the innermost `required()`.
#[derive(Clone, Debug)]
pub(crate) struct LoginContext {
    layer: Arc<LayerContext>,
    /// The other login layers around the service.
    others: Vec<OtherLayer>,
}

#[derive(Debug)]
struct LayerContext {
    settings: Arc<Settings>,
    original: OriginalPath,
    /// Why users cannot sign in.
    conflict: OnceLock<&'static str>,
    depends_on_session: AtomicBool,
}

/// The path and query of a request as they arrived; nested routers may shorten the URI.
#[derive(Clone, Debug)]
pub(super) struct OriginalPath {
    path: Option<PathAndQuery>,
    /// Whether it has the prefix that a proxy removes from most requests.
    has_prefix: bool,
}

impl OriginalPath {
    pub(super) fn new(uri: &Uri, has_prefix: bool) -> Self {
        Self {
            path: uri.path_and_query().cloned(),
            has_prefix,
        }
    }
}

/// A login layer whose session is not in the extensions of the request.
#[derive(Clone, Debug)]
struct OtherLayer {
    layer: Arc<LayerContext>,
    session: Option<Session>,
}

impl LoginContext {
    /// Puts the layer of `settings` and its session into the extensions of a request. An outer layer
    /// with the same routes or cookies is logged, and users of neither can sign in.
    pub(super) fn insert(
        settings: Arc<Settings>,
        session: Option<Session>,
        original: OriginalPath,
        extensions: &mut Extensions,
    ) -> Self {
        let mut others = Self::take(extensions);
        others.retain(|other| other.layer.settings.layer != settings.layer);
        let context = Self {
            layer: Arc::new(LayerContext {
                settings,
                original,
                conflict: OnceLock::new(),
                depends_on_session: AtomicBool::new(false),
            }),
            others,
        };
        for other in &context.others {
            if let Some(conflict) = other.layer.settings.conflict(context.settings()) {
                events::misconfigured(conflict);
                for layer in [&other.layer, &context.layer] {
                    let _ = layer.conflict.set(conflict);
                }
            }
        }
        extensions.insert(context.clone());
        if let Some(session) = session {
            extensions.insert(session);
        }
        context
    }

    /// Makes `layer` the one whose session the request has. Returns whether it is around the
    /// service.
    pub(super) fn select(layer: u64, extensions: &mut Extensions) -> bool {
        let is_selected = |context: &Self| context.settings().layer == layer;
        if extensions.get().is_some_and(is_selected) {
            return true;
        }
        let mut others = Self::take(extensions);
        let found = others
            .iter()
            .position(|other| other.layer.settings.layer == layer);
        // The last one is the one that was selected before.
        let Some(selected) = found.map(|at| others.remove(at)).or_else(|| others.pop()) else {
            return false;
        };
        let OtherLayer { layer, session } = selected;
        extensions.insert(Self { layer, others });
        if let Some(session) = session {
            extensions.insert(session);
        }
        found.is_some()
    }

    /// Removes the layers and the session from the extensions. The session is read from there, so
    /// that a service in between can remove it.
    fn take(extensions: &mut Extensions) -> Vec<OtherLayer> {
        let session = extensions.remove::<Session>();
        let Some(Self { layer, mut others }) = extensions.remove::<Self>() else {
            return Vec::new();
        };
        others.push(OtherLayer { layer, session });
        others
    }

    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.layer.settings
    }

    /// Records that the response depends on the session, so that no shared cache may store it.
    pub(crate) fn note_session_dependence(&self) {
        self.layer.depends_on_session.store(true, Ordering::Relaxed);
    }

    pub(super) fn depends_on_session(&self) -> bool {
        self.layer.depends_on_session.load(Ordering::Relaxed)
    }

    /// Checks a policy of a session. Returns the response to a request that does not meet it: never
    /// a redirect to the login, which could not change it and would come back.
    pub(crate) fn check_policy(
        &self,
        session: &Session,
        policy: &Policy,
        headers: &HeaderMap,
    ) -> Result<(), Box<LayerResponse>> {
        self.note_session_dependence();
        session
            .check(policy)
            .map_err(|unmet| Box::new(self.forbid(session, &unmet, headers)))
    }

    /// Checks all policies of a session. If only its authentication is not enough, the user authenticates again.
    pub(super) fn check_or_step_up(
        &self,
        session: &Session,
        policies: &[Policy],
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<(), Box<LayerResponse>> {
        self.note_session_dependence();
        let mut weak = None;
        for policy in policies {
            match session.check(policy) {
                Ok(()) => {}
                Err(unmet @ UnmetBySession::Authentication(_)) => weak = Some(unmet),
                // Another authentication does not change these, so they are checked first.
                Err(unmet) => return Err(Box::new(self.forbid(session, &unmet, headers))),
            }
        }
        let Some(unmet) = weak else {
            return Ok(());
        };
        // A login that meets one policy must not lose what another one requires.
        let required = policies.iter().filter_map(Policy::authentication);
        let Some(request) = LoginRequest::for_all(required) else {
            return Err(Box::new(self.forbid(session, &unmet, headers)));
        };
        let reason = reason_of(session, &unmet);
        Err(Box::new(
            self.step_up(session, request, method, headers, reason),
        ))
    }

    fn forbid(
        &self,
        session: &Session,
        unmet: &UnmetBySession,
        headers: &HeaderMap,
    ) -> LayerResponse {
        let refusal = match unmet {
            UnmetBySession::WrongType => UNCHECKED_POLICY,
            UnmetBySession::Authentication(_) => WEAK_AUTHENTICATION,
            UnmetBySession::Grants(_) | UnmetBySession::Condition(_) => FORBIDDEN,
        };
        let refusal = refusal.because(reason_of(session, unmet));
        self.settings().reject(headers, &refusal, None)
    }

    /// Returns the layer with this number around the service. `messages` are for a missing layer and another one.
    pub(super) fn of_layer(
        layer: u64,
        extensions: &mut Extensions,
        messages: [&'static str; 2],
    ) -> Result<Self, Box<LayerResponse>> {
        let is_inside = Self::select(layer, extensions);
        let [missing, other] = messages;
        match extensions.get::<Self>() {
            None => Err(Box::new(misconfigured(missing))),
            Some(_) if !is_inside => Err(Box::new(misconfigured(other))),
            Some(context) => {
                context.note_session_dependence();
                Ok(context.clone())
            }
        }
    }

    /// Returns the response to a request that needs a session and has none.
    pub(crate) fn login_required(&self, method: &Method, headers: &HeaderMap) -> LayerResponse {
        let original = self.outer_path();
        self.login_required_for(method, headers, original.as_deref())
    }

    fn login_required_for(
        &self,
        method: &Method,
        headers: &HeaderMap,
        continue_at: Option<&str>,
    ) -> LayerResponse {
        self.note_session_dependence();
        // Only a GET is a navigation, so users never return to the URL of another method.
        let settings = &self.layer.settings;
        let kind = navigation::request_kind(method, headers, &settings.origin);
        if let Some(response) = self.conflict_response(kind) {
            return response;
        }
        settings.login_required(kind, headers, continue_at)
    }

    /// Returns whether users cannot sign in, because of another layer around the service.
    pub(super) fn has_conflict(&self) -> bool {
        self.layer.conflict.get().is_some()
    }

    /// Returns the response to a navigation that leads to a login, if users cannot sign in.
    pub(super) fn conflict_response(&self, kind: RequestKind) -> Option<LayerResponse> {
        let conflict = self.layer.conflict.get();
        let conflict = conflict.filter(|_| kind == RequestKind::Navigation);
        conflict.map(|reason| misconfigured(reason))
    }

    /// Returns path and query of the request as browsers see them.
    pub(crate) fn outer_path(&self) -> Option<String> {
        let OriginalPath { path, has_prefix } = &self.layer.original;
        let prefix = if *has_prefix {
            ""
        } else {
            self.settings().paths.prefix()
        };
        path.as_ref().map(|path| format!("{prefix}{path}"))
    }
}

/// Describes for the log what a session does not meet.
pub(super) fn reason_of(session: &Session, unmet: &dyn fmt::Display) -> String {
    format!("session {}: {unmet}", session.id().log_prefix())
}

/// What a relay inside the layer needs of it.
#[cfg(feature = "relay")]
impl LoginContext {
    /// Returns whether a script of this application sent the request. A WebSocket handshake needs a
    /// matching origin only.
    pub(crate) fn is_from_own_script(&self, method: &Method, headers: &HeaderMap) -> bool {
        let check = self.layer.settings.csrf_check();
        check.is_from_own_script(method, headers)
    }

    /// Returns whether the user followed a link on a page of this application. The page that continues after a login with
    /// a Strict cookie navigates to a target that another site may have chosen, without a user action.
    pub(crate) fn is_own_navigation(&self, method: &Method, headers: &HeaderMap) -> bool {
        let check = self.layer.settings.csrf_check();
        check.is_navigation(method, headers)
            && check.is_same_origin(headers)
            && navigation::is_user_activated(headers)
    }

    /// Returns the response to a navigation to a download without a session. The user returns to the page with the link:
    /// a redirect to the download itself would not come from a page of this application.
    pub(crate) fn login_required_for_download(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> LayerResponse {
        let page = self.layer.settings.referring_page(headers);
        self.login_required_for(method, headers, page)
    }

    /// Returns the response to a request from another site.
    pub(crate) fn reject_cross_site(&self, headers: &HeaderMap) -> LayerResponse {
        self.layer.settings.reject_cross_site(headers)
    }

    /// Returns the response to a script without a session: 401, never a redirect.
    pub(crate) fn login_required_for_script(&self, headers: &HeaderMap) -> LayerResponse {
        self.note_session_dependence();
        let settings = &self.layer.settings;
        settings.login_required(RequestKind::Program, headers, None)
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        self.layer.settings.flow().clock()
    }
}
