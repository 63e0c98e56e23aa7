//! Silent logins: a browser that is signed in at the authorization server is signed in here too, without a page
//! (`prompt=none`, OpenID Connect Core §3.1.2.1).
//!
//! A cookie marks that the browser was redirected, so that this happens once. A browser that does not keep the mark gets
//! to the login route without it and is told so there; the link of that page leads back without another redirect. Its
//! target is encrypted: another site must not choose where a page of this application links to.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::header::HeaderMap;
use http::request::Parts;
use tower_layer::Layer;

use super::context::LoginContext;
use super::cookies::{CookieLifetime, SameSite};
use super::jar::{Jar, NO_SILENT_LOGIN};
use super::login_request::LoginRequest;
use super::navigation::{self, FieldValue, RequestKind, SEC_FETCH_SITE};
use super::required::{Required, SessionRequirement};
use super::response::{self, LayerResponse};
use super::sealed_request::SealedRequest;
use super::settings::Settings;
use crate::flow::LoginPurpose;
use crate::session::Session;

/// Signs in users who are signed in at the authorization server, without a page; created by
/// [`LoginLayer::silent_login`](super::LoginLayer::silent_login).
///
/// For pages that are open to all and show more to users: a navigation without a session is redirected to a login with
/// `prompt=none`. If the user is signed in at the authorization server, the page has a session. If not, or if the login
/// fails in any way, the user returns to the page anonymously, and no further attempt is made for 15 minutes, and after a
/// sign-out until the browser is closed or the user signs in. Another site can still link to the login route itself.
///
/// Only navigations of browsers that send fetch metadata are redirected: no programs, crawlers, scripts, forms,
/// prefetches and frames. A browser that rejects cookies gets an error page with a link to the page, which is then
/// shown. With `prompt=login` or `max_age=0` for every login
/// ([`with_authorization_parameter`](super::LoginLayer::with_authorization_parameter)), no request is redirected. With
/// [`SameSite::Strict`](super::SameSite::Strict), a link from another site causes none either, since the session may be
/// in a cookie that was not sent; nor with a [FAPI 2.0 profile](super::LoginLayer::with_fapi2_security_profile), nor at a
/// [provider without ID tokens](crate::Provider::without_id_token).
///
/// All responses depend on the session, so no shared cache may store them.
///
/// ```
/// use axum::{Router, routing::get};
/// # use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer, Session};
///
/// # let server = AuthorizationServer::new("https://id.example.com")?;
/// # let (client, key) = (Client::public("shop"), CookieKey::generate()?);
/// # let login = LoginLayer::new(&server, client, "https://shop.example.com/auth/callback", key)?;
/// async fn home(session: Option<Session>) -> &'static str {
///     if session.is_some() { "your orders" } else { "our offers" }
/// }
/// let pages: Router = Router::new()
///     .route("/", get(home).layer(login.silent_login()))
///     .layer(login);
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SilentLoginLayer {
    layer: u64,
}

impl SilentLoginLayer {
    pub(super) fn new(layer: u64) -> Self {
        Self { layer }
    }
}

impl SessionRequirement for SilentLoginLayer {
    fn check(&self, head: &mut Parts) -> Result<(), Box<LayerResponse>> {
        let messages = [MISSING_LAYER, WRONG_LAYER];
        let context = LoginContext::of_layer(self.layer, &mut head.extensions, messages)?;
        if head.extensions.get::<Session>().is_some() {
            return Ok(());
        }
        match context.start_silently(head) {
            Some(response) => Err(Box::new(response)),
            None => Ok(()),
        }
    }
}

impl<S> Layer<S> for SilentLoginLayer {
    type Service = Required<S>;

    fn layer(&self, inner: S) -> Required<S> {
        Required::new(inner, Arc::new(self.clone()))
    }
}

impl LoginContext {
    /// Returns the redirect to a silent login, unless the request cannot be redirected or this browser had one.
    fn start_silently(&self, head: &Parts) -> Option<LayerResponse> {
        let (settings, headers) = (self.settings(), &head.headers);
        let kind = navigation::request_kind(&head.method, headers, &settings.origin);
        let may_start = kind == RequestKind::Navigation
            && navigation::has_fetch_metadata(headers)
            && !self.has_conflict()
            && !settings.flow().always_prompts()
            && !settings.flow().has_identity_source()
            && !settings.may_hide_session(headers)
            && settings.may_start_login(headers)
            && !settings.comes_from_login_route(headers)
            && !Jar::read(headers, &settings.cookies).has(NO_SILENT_LOGIN);
        let original = self.outer_path().filter(|_| may_start)?;
        // Otherwise the user could not return to this page.
        let target = settings.return_to(&original)?;
        let request = SealedRequest {
            request: LoginRequest {
                prompt: Some("none".to_owned()),
                return_to: Some(target.to_owned()),
                ..LoginRequest::default()
            },
            purpose: LoginPurpose::Optional,
            session: None,
            page: None,
        };
        let provider = &settings.manager.providers().first().name;
        let login_url = settings.login_url_of(Some(provider), &request, None).ok()?;
        let mut response = response::redirect(&login_url);
        let mark = settings.prevent_silent_login(CookieLifetime::Of(PAUSE));
        response::add_cookies(response.headers_mut(), mark);
        Some(response)
    }
}

impl Settings {
    /// Returns the cookie that prevents another silent login.
    pub(super) fn prevent_silent_login(&self, lifetime: CookieLifetime) -> Option<HeaderValue> {
        self.cookies
            .set(NO_SILENT_LOGIN, "1", lifetime, SameSite::Lax)
    }

    /// Returns whether the browser may have a Strict session cookie that it does not send with this request.
    pub(super) fn may_hide_session(&self, headers: &HeaderMap) -> bool {
        let site = navigation::single(headers, &SEC_FETCH_SITE);
        self.same_site == SameSite::Strict
            && !matches!(site, FieldValue::One("none" | "same-origin"))
    }

    /// Returns whether the user followed a link in a page of the login route.
    fn comes_from_login_route(&self, headers: &HeaderMap) -> bool {
        let path = self.referring_path(headers);
        let path = path.and_then(|path| path.split('?').next());
        path.is_some_and(|path| self.paths.starts_logins(path))
    }
}

/// How long after an attempt there is no other one.
const PAUSE: Duration = Duration::from_secs(15 * 60);

const MISSING_LAYER: &str =
    "`login.silent_login()` has no LoginLayer around it: add `.layer(login)` after it";
const WRONG_LAYER: &str = "`login.silent_login()` was created by another LoginLayer than those around it: add \
                           `.layer(login)` after it";
