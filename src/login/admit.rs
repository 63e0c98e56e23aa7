//! What the layer adds to a request with a session, and to the response of the inner service.

use std::pin::Pin;
use std::sync::Arc;

use http::header::CACHE_CONTROL;
use http::{HeaderValue, Request, Response};

use super::context::LoginContext;
use super::presented_cookies::SessionCookieNames;
use super::refusal::LoginRefusal;
use super::response::{self, LayerResponse};
use super::session_cookie::OpenedCookies;
use super::settings::Settings;
use crate::protocol::cache;
use crate::session::Session;

pub(super) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is added to a response of the inner service.
pub(super) struct ResponseFinalizer {
    settings: Arc<Settings>,
    /// `Set-Cookie` values that clear invalid cookies.
    clear_cookies: Vec<HeaderValue>,
    session: Option<Session>,
    /// A refresh in progress; the response waits for it, so that its cookie has the new tokens.
    pub(super) pending_refresh: Option<BoxFuture<()>>,
    /// The names of the cookies that the browser sent the session in.
    presented_names: SessionCookieNames,
    context: LoginContext,
}

/// Adds the session to the request, or returns the response that rejects the request.
pub(super) fn admit<B>(
    settings: &Arc<Settings>,
    opened: OpenedCookies,
    request: &mut Request<B>,
) -> Result<ResponseFinalizer, Box<LayerResponse>> {
    let headers = request.headers();
    // If the store is unavailable, the user is neither signed in nor signed out.
    let cookie = settings
        .resolve(opened, headers)
        .map_err(|error| settings.reject(headers, &LoginRefusal::from(&error), None))?;
    if cookie.session.is_some() && !settings.allows(request.method(), headers) {
        return Err(Box::new(settings.reject_cross_site(headers)));
    }
    let session = cookie.session.map(|loaded| {
        let session = Session::new(Arc::clone(&settings.manager), loaded);
        session.refresh_proactively();
        session
    });
    let pending_refresh = session.as_ref().and_then(Session::pending_refresh);
    let context = LoginContext::new(Arc::clone(settings), request.uri());
    let extensions = request.extensions_mut();
    extensions.insert(context.clone());
    // A session of an outer login layer does not count here.
    extensions.remove::<Session>();
    if let Some(session) = &session {
        extensions.insert(session.clone());
    }
    Ok(ResponseFinalizer {
        settings: Arc::clone(settings),
        clear_cookies: cookie.set_cookies,
        session,
        pending_refresh: pending_refresh.map(|refresh| -> BoxFuture<()> { Box::pin(refresh) }),
        presented_names: cookie.names,
        context,
    })
}

impl ResponseFinalizer {
    pub(super) fn apply<R>(self, mut response: Response<R>) -> Response<R> {
        let headers = response.headers_mut();
        let was_read = self.session.as_ref().is_some_and(Session::was_read);
        let depends_on_session = was_read || self.context.depends_on_session();
        let is_signed_in = self.session.is_some();
        let mut cookies = self.clear_cookies;
        if let Some(session) = self.session {
            let renewed = self
                .settings
                .renewed_cookies(&session.current(), self.presented_names);
            cookies.extend(renewed);
        }
        if !cookies.is_empty() {
            response::forbid_storing(headers);
            response::add_cookies(headers, cookies);
        } else if depends_on_session {
            // Some shared caches ignore `Vary`, so a response that depends on the session must not
            // be stored, even if an inner layer set another `Cache-Control` for all pages.
            if !cache::is_private(headers) {
                response::forbid_storing(headers);
            }
            response::forbid_sharing(headers);
        } else if is_signed_in && !headers.contains_key(CACHE_CONTROL) {
            // A service may have checked for a session without reading it. A response that says
            // that it may be shared, such as a static file, stays so.
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
            response::vary_by_cookie(headers);
        }
        response
    }
}
