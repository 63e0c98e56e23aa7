//! Logins that a handler starts, with the [`LoginLayer`] that it extracted from its request.

use bytes::Bytes;
use http::Response;

use super::context::reason_of;
use super::layer::LoginLayer;
use super::login_request::LoginRequest;
use super::navigation::{self, RequestKind};
use super::refusal::{LoginRefusal, SIGNED_OUT};
use super::response::{LayerResponse, misconfigured};
use super::sealed_request::SealedRequest;
use crate::session::Session;

impl LoginLayer {
    /// Returns the response that starts a login with the parameters of `request`, for a handler that extracted this
    /// layer from its request.
    ///
    /// | request | response |
    /// | --- | --- |
    /// | a navigation, a form | 303 to the login route |
    /// | a script | 401, a problem document with `login_url` and the code `login_required` |
    /// | htmx | the same with `HX-Redirect` |
    ///
    /// After the login the user returns to [`with_return_to`](LoginRequest::with_return_to), or to the page that was
    /// navigated to, or to [the default](Self::with_default_return_to). A user who is signed in can sign in as another
    /// user; the new session then replaces the current one. Claims and authorization details are requested only in a browser
    /// that still has the session of this request, if there is one. Without a request (the layer was not extracted), the
    /// response is 500.
    ///
    #[cfg_attr(feature = "axum", doc = "```")]
    #[cfg_attr(not(feature = "axum"), doc = "```ignore")]
    /// use axum::response::Response;
    /// use tower_oauth::login::LoginRequest;
    /// use tower_oauth::{ConfigError, LoginLayer};
    ///
    /// /// Asks for the e-mail address only where it is needed.
    /// async fn newsletter(login: LoginLayer) -> Result<Response, String> {
    ///     let claims = serde_json::json!({ "id_token": { "email": { "essential": true } } });
    ///     let request = LoginRequest::new().with_requested_claims(claims);
    ///     let request = request.map_err(|error: ConfigError| error.to_string())?;
    ///     Ok(login.start(request))
    /// }
    /// ```
    pub fn start<B: From<Bytes>>(&self, request: LoginRequest) -> Response<B> {
        self.start_response(request).map(B::from)
    }

    /// Returns the response that has the user of `session` authenticate again as `request` says, for a handler that
    /// extracted this layer from its request.
    ///
    /// A navigation gets 303 to the login route. Forms get a page with a link to it, scripts 401 with `login_url` and
    /// the code `authentication_too_weak`, htmx also `HX-Redirect`. The login replaces the session only if the same user
    /// completes it, with an `acr` and an `auth_time` that fit; otherwise the user gets an error page and keeps the
    /// session. The new session has new tokens and the application data of the login hook. An `acr` that every login
    /// requests is still required: if `request` has none of these, the response is 403.
    ///
    /// Call it if the session does not meet what the handler requires, and check that again in the next request. For 30
    /// seconds after such a login, the same page gets 403 instead of another redirect, whatever the return target was. To
    /// require an authentication of a whole route, use
    /// [`RequiredLayer::with_step_up`](super::RequiredLayer::with_step_up).
    ///
    #[cfg_attr(feature = "axum", doc = "```")]
    #[cfg_attr(not(feature = "axum"), doc = "```ignore")]
    /// use axum::response::{IntoResponse as _, Response};
    /// use tower_oauth::login::LoginRequest;
    /// use tower_oauth::{ConfigError, LoginLayer, Session};
    ///
    /// async fn close_account(login: LoginLayer, session: Session) -> Result<Response, String> {
    ///     if session.claims().get("acr").is_some_and(|acr| acr == "phr") {
    ///         return Ok("please confirm".into_response());
    ///     }
    ///     let request = LoginRequest::new().with_acr_values(["phr"]);
    ///     let request = request.map_err(|error: ConfigError| error.to_string())?;
    ///     Ok(login.step_up(&session, request))
    /// }
    /// ```
    pub fn step_up<B: From<Bytes>>(&self, session: &Session, request: LoginRequest) -> Response<B> {
        let response = match &self.extracted_from {
            None => misconfigured(NOT_EXTRACTED),
            Some(from) => {
                let reason = reason_of(session, &"the application requires it");
                let from = from.request();
                let (method, headers) = (&from.method, &from.headers);
                from.context
                    .step_up(session, request, method, headers, reason)
            }
        };
        response.map(B::from)
    }

    fn start_response(&self, request: LoginRequest) -> LayerResponse {
        let Some(from) = &self.extracted_from else {
            return misconfigured(NOT_EXTRACTED);
        };
        let from = from.request();
        let (headers, context) = (&from.headers, &from.context);
        context.note_session_dependence();
        let settings = context.settings();
        // The handler has received the form, so a redirect does not discard it.
        let requested = navigation::request_kind(&from.method, headers, &settings.origin);
        let kind = match requested {
            RequestKind::Form => RequestKind::Navigation,
            kind => kind,
        };
        if let Some(response) = context.conflict_response(kind) {
            return response;
        }
        let original = context.outer_path();
        let computed = settings.target_after_login(requested, headers, original.as_deref());
        // Another user who obtains the URL of the login must not have these requested in the name of the user who opens it.
        let is_bound = request.claims.is_some() || request.authorization_details.is_some();
        let sealed = SealedRequest {
            request,
            session: from.session.filter(|_| is_bound),
            ..SealedRequest::default()
        };
        match settings.sealed_login_url(None, sealed, computed) {
            Ok(login_url) => settings.require_login(kind, headers, &login_url, &SIGNED_OUT),
            Err(error) => settings.reject(headers, &LoginRefusal::from(error), None),
        }
    }
}

const NOT_EXTRACTED: &str = "a login was started with a LoginLayer that was not extracted from a request: take it as an \
                             argument of the handler";
