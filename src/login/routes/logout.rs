//! `logout`: ends the session here, then at the authorization server (RP-Initiated Logout).
//!
//! A same-origin POST signs out, and so does a link in a page of this application. Any other GET
//! gets a page that asks for confirmation.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::clock::within;
use crate::login::cookies::{CookieLifetime, SameSite};
use crate::login::form::read_form;
use crate::login::jar::{Jar, LOGOUT, NO_SILENT_LOGIN};
use crate::login::navigation::{self, FieldValue, RequestKind, SEC_FETCH_SITE};
use crate::login::refusal::LoginRefusal;
use crate::login::response::{self, LayerResponse};
use crate::login::routes::end_session;
use crate::login::settings::Settings;
use crate::login::{events, pages};
use crate::protocol::form::{encode_component, parse};
use crate::record::SessionRecord;
use crate::session::{EndReason, PresentedSession, SessionManager, SignOut};
use crate::store::StoreError;

pub(super) async fn handle<B: Body>(settings: &Settings, parts: &Parts, body: B) -> LayerResponse {
    let pairs = parse(parts.uri.query().unwrap_or_default()).unwrap_or_default();
    if parts.method == Method::POST {
        // The form must come from this application. No cookie is cleared otherwise: a form of
        // another site brings no Lax cookie, and clearing it in the response would sign the user
        // out.
        if !settings.csrf_check().is_same_origin(&parts.headers) {
            return settings.reject_cross_site(&parts.headers);
        }
        let logout = match PendingLogout::begin(settings, parts).await {
            Ok(logout) => logout,
            Err(error) => {
                return settings.reject(&parts.headers, &LoginRefusal::from(&error), None);
            }
        };
        let mut pairs = pairs;
        let form = read_form(&parts.headers, body);
        // A form that is not received in time is ignored; the sessions have ended already.
        if let Some(Some(more)) = within(&**settings.flow().clock(), FORM_TIMEOUT, form).await {
            pairs.extend(more);
        }
        let kind = kind_of_post(settings, &parts.headers);
        return logout.finish(settings.logout_target(&pairs), kind).await;
    }
    if parts.method != Method::GET {
        return response::method_not_allowed("GET, POST");
    }
    for handle in [
        end_session::return_from_server,
        end_session::continue_to_server,
    ] {
        if let Some(response) = handle(settings, &parts.uri, &parts.headers) {
            return response;
        }
    }
    let target = settings.logout_target(&pairs);
    // A link that a user followed in a page of this application: no prefetch, no image in a page, and no redirect of a
    // script or a `meta` element, which another site can choose the target of.
    let is_own_link = navigation::is_user_activated(&parts.headers)
        && navigation::single(&parts.headers, &SEC_FETCH_SITE) == FieldValue::One("same-origin")
        && navigation::is_document_request(&parts.headers)
        && !navigation::has_cross_origin(&parts.headers, &settings.origin)
        && !navigation::is_prefetch(&parts.headers);
    if is_own_link {
        return match PendingLogout::begin(settings, parts).await {
            Ok(logout) => logout.finish(target, RequestKind::Navigation).await,
            Err(error) => settings.reject(&parts.headers, &LoginRefusal::from(&error), None),
        };
    }
    let jar = Jar::read(&parts.headers, &settings.cookies);
    // Every navigation has the Lax cookie, so without it the user is not signed in.
    if settings.same_site == SameSite::Lax {
        match settings.session(&parts.headers, false).await {
            // With an invalid cookie, the confirmation page is shown; the POST reports the result.
            Ok(cookie)
                if cookie.session.is_none() && !settings.presented_sessions(&jar).has_invalid =>
            {
                return response::redirect(target);
            }
            Ok(_) => {}
            Err(error) => {
                return settings.reject(&parts.headers, &LoginRefusal::from(&error), None);
            }
        }
    }
    let action = format!(
        "{}?return_to={}",
        settings.paths.logout,
        encode_component(target)
    );
    response::html(
        StatusCode::OK,
        pages::confirm_logout(&action, settings.default_return_to()),
        pages::policy(),
    )
}

/// A sign-out in progress: all sessions in the cookies have ended, whatever happens to the rest.
struct PendingLogout<'a> {
    settings: &'a Settings,
    headers: &'a HeaderMap,
    jar: Jar<'a>,
    ended: Vec<EndedBrowserSession>,
    /// Whether a cookie belonged to no session.
    has_invalid: bool,
    /// Whether the store could not save the end of a session.
    store_failed: bool,
}

/// An ended session, and the task that revokes its tokens.
struct EndedBrowserSession {
    record: Option<Arc<SessionRecord>>,
    revocation: JoinHandle<()>,
}

impl EndedBrowserSession {
    /// Ends a session in a separate task, so that a closed connection does not interrupt it.
    async fn end(
        manager: &Arc<SessionManager>,
        presented: PresentedSession,
    ) -> (SignOut, JoinHandle<()>) {
        let (sender, receiver) = oneshot::channel();
        let manager = Arc::clone(manager);
        let ending = async move {
            let outcome = manager.sign_out(presented, EndReason::SignedOut).await;
            let record = match &outcome {
                SignOut::Ended(record) => Some(Arc::clone(record)),
                SignOut::EndedLocally(record) => record.clone(),
                SignOut::AlreadyEnded | SignOut::Failed(_) => None,
            };
            // The request may be gone.
            let _ = sender.send(outcome);
            if let Some(record) = record {
                manager.revoke(&record).await;
            }
        };
        let revocation = tokio::spawn(ending.in_current_span());
        let task_failed = |_| {
            SignOut::Failed(StoreError::unavailable(
                "the task that ends a session is gone",
            ))
        };
        (receiver.await.unwrap_or_else(task_failed), revocation)
    }
}

impl<'a> PendingLogout<'a> {
    async fn begin(settings: &'a Settings, parts: &'a Parts) -> Result<Self, StoreError> {
        let jar = Jar::read(&parts.headers, &settings.cookies);
        let contents = settings.presented_sessions(&jar);
        let mut logout = Self {
            settings,
            headers: &parts.headers,
            jar,
            ended: Vec::new(),
            has_invalid: contents.has_invalid,
            store_failed: false,
        };
        let mut failure = None;
        // A failure does not stop the others.
        for presented in contents.presented {
            let (outcome, revocation) =
                EndedBrowserSession::end(&settings.manager, presented).await;
            let record = match outcome {
                SignOut::Ended(record) => Some(record),
                SignOut::EndedLocally(record) => {
                    logout.store_failed = true;
                    record
                }
                SignOut::AlreadyEnded => continue,
                SignOut::Failed(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            logout
                .ended
                .push(EndedBrowserSession { record, revocation });
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(logout),
        }
    }

    /// Responds to a sign-out: a navigation is redirected; others get the location as JSON, htmx as
    /// `HX-Redirect`, since a redirect to another origin fails for a script.
    async fn finish(self, target: &str, kind: RequestKind) -> LayerResponse {
        let settings = self.settings;
        let is_script = matches!(kind, RequestKind::Htmx | RequestKind::Program);
        let mut location = None;
        let mut cookies = Vec::new();
        let ended = self.ended.len();
        let mut records = self
            .ended
            .iter()
            .filter_map(|session| session.record.as_ref());
        let record = records.next().cloned();
        if let Some(record) = &record
            && let Some(way) = end_session::begin(settings, record, target, is_script).await
        {
            cookies.extend(way.cookie.clone());
            location = Some(way);
        }
        for session in self.ended {
            // All started concurrently and take at most two seconds; failures are logged.
            let _ = session.revocation.await;
        }
        let session_id = record.as_ref().map(|record| record.id());
        events::logout_completed(session_id, location.is_some());
        // Clears all cookies of this layer except the one set above.
        let keeps_state = !cookies.is_empty();
        let names = self.jar.names();
        let is_kept = |name: &str| (keeps_state && name == LOGOUT) || name == NO_SILENT_LOGIN;
        for name in names.filter(|&name| !is_kept(name)) {
            cookies.extend(settings.cookies.clear(name));
        }
        if settings.silent_logins.load(Ordering::Relaxed) {
            // The user may still be signed in at the authorization server.
            cookies.extend(settings.prevent_silent_login(CookieLifetime::Browser));
        }
        let mut response = if self.store_failed {
            // Scripts can read this response, and no script may get a token.
            let continue_url = location
                .as_ref()
                .map_or(target, |way| &way.end.url_without_hint);
            settings.reject_with_link(self.headers, &ENDED_LOCALLY, continue_url)
        } else if self.has_invalid && ended == 0 {
            settings.reject(self.headers, &UNREADABLE, None)
        } else {
            match location {
                _ if is_script => {
                    let location = location.as_ref().map_or(target, |way| &way.url_for_script);
                    response::location_for_script(location, kind == RequestKind::Htmx)
                }
                Some(way) => response::redirect_to_server(&way.end.url),
                None => response::redirect(target),
            }
        };
        response::add_cookies(response.headers_mut(), cookies);
        if settings.clears_site_data {
            response::clear_site_data(response.headers_mut());
        }
        response
    }
}

/// Returns how to respond to a POST. Without fetch metadata, it counts as a form unless `Accept` says
/// that it is none.
fn kind_of_post(settings: &Settings, headers: &HeaderMap) -> RequestKind {
    let may_be_form = !navigation::has_fetch_metadata(headers)
        && !headers.contains_key("x-requested-with")
        && (navigation::wants_html(headers) || !headers.contains_key(ACCEPT));
    match navigation::request_kind(&Method::POST, headers, &settings.origin) {
        RequestKind::Program if may_be_form => RequestKind::Form,
        kind => kind,
    }
}

/// Timeout for receiving the form.
const FORM_TIMEOUT: Duration = Duration::from_secs(5);

const ENDED_LOCALLY: LoginRefusal = LoginRefusal::new(
    StatusCode::SERVICE_UNAVAILABLE,
    "signed_out_here",
    "You are signed out in this browser. We couldn't save your sign-out yet: until we can, our other servers may \
     accept a copy of your session. We keep trying.",
);
const UNREADABLE: LoginRefusal = LoginRefusal::new(
    StatusCode::BAD_REQUEST,
    pages::NOT_SIGNED_OUT,
    "We couldn't read your session cookie, so no session was ended. The cookie was removed. If you were signed in, \
     please sign in and sign out again to end your sessions.",
);
