//! The layer: what an application sets up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderName;
use tower_layer::Layer;
use url::Url;

use super::SameSite;
use super::cookie_cipher::CookieCipher;
use super::cookies::CookieNames;
use super::csrf::{Csrf, X_CSRF};
use super::pages::ErrorPage;
use super::required::RequiredLayer;
use super::routes::{Route, Routes};
use super::service::Login;
use super::settings::{OwnErrorPage, Settings};
use super::transactions::MAX_RETURN_TO;
use crate::config_error::ConfigError;
use crate::crypto::CookieKey;
use crate::flow::{Flow, FlowError, route_folder};
use crate::issuer::{AuthorizationServer, Client};
use crate::protocol::return_to::check_return_to;
use crate::session::{SessionAdmin, SessionManager};
use crate::store::{SharedStore, Store};

/// Signs people in with the authorization code flow, and tells the routes inside who they are.
///
/// The [module documentation](super) says what it does with which request. Cheap to clone; all clones
/// and all services made from it share one memory.
#[derive(Clone, Debug)]
pub struct LoginLayer {
    pub(super) settings: Arc<Settings>,
}

impl LoginLayer {
    /// A login at `server` for the application at the origin of `redirect_uri`.
    ///
    /// The redirect URI is the one registered with the authorization server: https, or http on loopback.
    /// Its last segment is the callback route; `login`, `logout`, `session`, `backchannel-logout` and
    /// `frontchannel-logout` stand beside it. Nothing a
    /// request says of its host changes any of this. There is no I/O here: see [`ready`](Self::ready).
    ///
    /// Sessions belong to the layer that began them. A layer with another issuer, client, origin or folder does
    /// not accept them, even with the same key and store; `/admin/auth/callback` is a folder of its own.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] for a redirect URI that cannot be used, or another variant where `client`
    /// cannot be.
    pub fn new(
        server: &AuthorizationServer,
        client: Client,
        redirect_uri: &str,
        cookie_key: CookieKey,
    ) -> Result<Self, ConfigError> {
        let flow = Flow::new(server, client, redirect_uri)?;
        let app = default_cookie_name(&flow);
        let secure = flow.redirect_uri().scheme() == "https";
        let routes = Routes::beside(flow.redirect_uri())?;
        let sealer = CookieCipher {
            key: cookie_key,
            random: *flow.random(),
            names: CookieNames::new(&app, secure),
            binding: flow.binding(),
        };
        static LAYERS: AtomicU64 = AtomicU64::new(0);
        Ok(Self {
            settings: Arc::new(Settings {
                layer: LAYERS.fetch_add(1, Ordering::Relaxed),
                origin: flow.redirect_uri().origin().ascii_serialization(),
                keeper: Arc::new(SessionManager::new(Arc::new(flow), sealer.key.clone())),
                sealer,
                routes,
                default_return_to: "/".to_owned(),
                after_sign_out: None,
                clears_site_data: false,
                csrf: Csrf::default(),
                csrf_header: X_CSRF,
                same_site: SameSite::default(),
                error_page: None,
                callbacks: Arc::default(),
            }),
        })
    }

    /// The scopes to ask for, separated by spaces; `openid` when this is not called.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] for a word that is no scope (RFC 6749 §3.3), and without `openid`.
    pub fn with_scopes(self, scopes: &str) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_scopes(scopes))
    }

    /// Adds a parameter to every authorization request, such as `audience` or `access_type`.
    ///
    /// `prompt` may be `consent`, which many servers want to see before they give a refresh token
    /// (OpenID Connect Core §11), or `select_account`; a login that asks for another prompt asks for both,
    /// a silent one for neither.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for a parameter that the flow itself sets.
    pub fn with_authorization_parameter(
        self,
        name: &str,
        value: &str,
    ) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_authorization_parameter(name, value))
    }

    /// Where the authorization server sends the browser after signing out there, which must be
    /// registered there too. Without it, people end on the authorization server's own page.
    ///
    /// It may be any address of this origin but the other routes of this layer. A browser that comes back
    /// there from its own sign-out, which a sealed cookie and `state` show, is sent on to the `return_to` of
    /// that sign-out; to anybody else the address is what it is without this layer.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] for a URI of another origin, or one that cannot be a redirect URI.
    pub fn with_post_logout_redirect_uri(self, uri: &str) -> Result<Self, ConfigError> {
        let refused = |reason| ConfigError::Url {
            setting: "post-logout redirect URI",
            value: uri.to_owned(),
            reason,
        };
        let url = Url::parse(uri).map_err(|_| refused("it is not a URL"))?;
        if url.origin() != self.settings.flow().redirect_uri().origin() {
            return Err(refused("its origin is not that of the redirect URI"));
        }
        let route = self.settings.routes.find(url.path());
        if route.is_some_and(|route| route != Route::Logout) {
            return Err(refused("it is another route of this layer"));
        }
        let login = self.with_flow(|flow| flow.with_post_logout_redirect_uri(uri))?;
        Ok(login.with(|settings| settings.after_sign_out = Some(url.path().to_owned())))
    }

    /// Where browsers are sent to sign out at an authorization server that does so in its own way, and
    /// what it calls the address to come back to. Without it, its metadata says (`end_session_endpoint`).
    ///
    /// | server | endpoint | parameter |
    /// | --- | --- | --- |
    /// | Auth0 | `https://TENANT.auth0.com/v2/logout` | `returnTo` |
    /// | Cognito | `https://DOMAIN.auth.REGION.amazoncognito.com/logout` | `logout_uri` |
    ///
    /// Only `client_id` and, where
    /// [`with_post_logout_redirect_uri`](Self::with_post_logout_redirect_uri) was called, that parameter
    /// are sent. Such servers bring no `state` back, so people end at the default return target and not at
    /// the `return_to` of their sign-out.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] for a URL that is not https (or http on loopback), [`ConfigError::Setting`]
    /// for a parameter that is empty, `client_id`, or more than letters, digits, `_`, `-` and `.`.
    pub fn with_end_session_endpoint(
        self,
        url: &str,
        redirect_parameter: &str,
    ) -> Result<Self, ConfigError> {
        self.with_flow(|flow| flow.with_end_session_endpoint(url, redirect_parameter))
    }

    /// Where people go who did not say where; `/` when this is not called.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] for anything but a path on this origin of at most 512 bytes.
    pub fn with_default_return_to(self, path: &str) -> Result<Self, ConfigError> {
        let settings = &self.settings;
        let no_targets = settings.routes.no_targets();
        // It is kept with each login like any other target, so it must fit there.
        let fits = path.len() <= MAX_RETURN_TO
            && check_return_to(path, settings.flow().redirect_uri(), &no_targets).is_some();
        if !fits {
            return Err(ConfigError::Url {
                setting: "default return target",
                value: path.to_owned(),
                reason: "it must be a path of this application of at most 512 bytes, and no route of this layer",
            });
        }
        Ok(self.with(|settings| settings.default_return_to = path.to_owned()))
    }

    /// Sets the word in the names of the cookies.
    ///
    /// By default it is the client id. If the routes are not in the folder `/auth`, a digest of the issuer,
    /// client, origin and folder follows, so that two layers of one application have different cookies.
    ///
    /// Cookies do not distinguish ports: two applications on one host need different words. Two layers with
    /// the same word clear each other's cookies.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is 1 to 32 ASCII letters, digits, `-` and `_`.
    pub fn with_cookie_name(self, name: &str) -> Result<Self, ConfigError> {
        if name.is_empty() || name.len() > MAX_APP_NAME || !name.bytes().all(is_name_byte) {
            return Err(ConfigError::Setting {
                setting: "cookie name",
                value: name.to_owned(),
                reason: "it must be 1 to 32 ASCII letters, digits, `-` and `_`",
            });
        }
        let secure = self.settings.flow().redirect_uri().scheme() == "https";
        Ok(self.with(|settings| settings.sealer.names = CookieNames::new(name, secure)))
    }

    /// How long a session lasts at most, and how long without a request; 8 hours and 1 hour when this
    /// is not called.
    ///
    /// A session in use is written anew at most once in a tenth of the second limit.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for less than a minute, more than 400 days (which browsers allow a
    /// cookie), and an idle limit above the other.
    pub fn with_session_limits(
        self,
        absolute: Duration,
        idle: Duration,
    ) -> Result<Self, ConfigError> {
        let refused = |value: Duration, reason| ConfigError::Setting {
            setting: "session limit",
            value: format!("{value:?}"),
            reason,
        };
        for limit in [absolute, idle] {
            if !(SHORTEST..=LONGEST).contains(&limit) {
                return Err(refused(limit, "it must be between a minute and 400 days"));
            }
        }
        if idle > absolute {
            return Err(refused(idle, "the idle limit is above the absolute one"));
        }
        Ok(self.with_session_manager(|keeper| keeper.with_limits(absolute, idle)))
    }

    /// Keeps sessions in this store; a browser then has a random ticket in its cookie, and nothing else.
    ///
    /// For sessions of any size, that end everywhere at once, that can be listed, and whose refresh tokens
    /// rotate safely over several machines; [`session`](crate::session) compares the ways to keep them.
    /// While the store cannot be asked, requests with a session get 503.
    #[must_use]
    pub fn with_session_store(self, store: impl Store) -> Self {
        let store = SharedStore::new(store);
        self.with_session_manager(|keeper| keeper.with_session_store(store))
    }

    /// Leaves sessions in sealed cookies, and keeps in this store what all replicas must know together:
    /// which logins were completed, which sessions were ended, and what refreshed sessions have become.
    ///
    /// Every request with a session asks the store then; while it cannot be asked, they get 503.
    #[must_use]
    pub fn with_shared_store(self, store: impl Store) -> Self {
        let store = SharedStore::new(store);
        self.with_session_manager(|keeper| keeper.with_shared_store(store))
    }

    /// How many sessions a person may have at a time, in different browsers. A login beyond that ends the
    /// oldest. Up to 256 when this is not called.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for 0, for more than 256, and before
    /// [`with_session_store`](Self::with_session_store) or
    /// [`with_shared_store`](Self::with_shared_store): without a store nobody can count.
    pub fn with_max_sessions_per_user(self, most: usize) -> Result<Self, ConfigError> {
        let keeper = SessionManager::clone(&self.settings.keeper);
        let keeper =
            keeper
                .with_max_sessions_per_user(most)
                .ok_or_else(|| ConfigError::Setting {
                    setting: "max sessions per user",
                    value: most.to_string(),
                    reason: "it must be 1 to 256, and there must be a store",
                })?;
        Ok(self.with_session_manager(|_| keeper))
    }

    /// Has the browser forget what it kept of this origin when somebody signs out: its cache, and what
    /// scripts stored (`Clear-Site-Data: "cache", "storage"`). Off when this is not called: it concerns all
    /// of the origin, and some browsers take seconds for it.
    #[must_use]
    pub fn with_clear_site_data(self) -> Self {
        self.with(|settings| settings.clears_site_data = true)
    }

    /// How long an access token is used when the authorization server does not say how long it lives;
    /// 5 minutes when this is not called.
    #[must_use]
    pub fn with_default_token_lifetime(self, lifetime: Duration) -> Self {
        let flow = Flow::clone(self.settings.flow()).with_default_token_lifetime(lifetime);
        self.with_session_manager(|keeper| keeper.with_flow(Arc::new(flow)))
    }

    /// The `SameSite` attribute of the session cookie; [`SameSite::Lax`] when this is not called.
    #[must_use]
    pub fn with_same_site(self, same_site: SameSite) -> Self {
        self.with(|settings| settings.same_site = same_site)
    }

    /// What a session may be used for from elsewhere; [`Csrf::SameOrigin`] when this is not called.
    #[must_use]
    pub fn with_csrf(self, csrf: Csrf) -> Self {
        self.with(|settings| settings.csrf = csrf)
    }

    /// The name of the static header that scripts of this application send with the value `1`; `X-CSRF`
    /// when this is not called.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is the name of a header that begins with `x-`: others are set by
    /// browsers themselves, or may be sent by every site without asking.
    pub fn with_csrf_header(self, name: &str) -> Result<Self, ConfigError> {
        let header = HeaderName::try_from(name).ok();
        let header =
            header.filter(|header| header.as_str().len() > 2 && header.as_str().starts_with("x-"));
        let Some(header) = header else {
            return Err(ConfigError::Setting {
                setting: "CSRF header",
                value: name.to_owned(),
                reason: "it must be the name of a header that begins with `x-`",
            });
        };
        Ok(self.with(|settings| settings.csrf_header = header))
    }

    /// Makes the error pages: HTML from what happened. The texts it gets are not escaped.
    #[must_use]
    pub fn with_error_page(
        self,
        page: impl Fn(&ErrorPage<'_>) -> String + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.error_page = Some(OwnErrorPage(Arc::new(page))))
    }

    /// Waits until no refresh is under way in this process, `limit` at most, and says whether that came
    /// about: for the end of an application that is told to stop, after it has stopped to take requests.
    ///
    /// A refresh is a task that outlives its request. Where refresh tokens rotate, one that dies with its
    /// process between the server's answer and the store costs somebody their session. Five seconds do
    /// unless the store is away.
    pub async fn wait_for_refreshes(&self, limit: Duration) -> bool {
        self.settings.keeper.wait_for_refreshes(limit).await
    }

    /// Waits until the authorization server is known and fit for a login, for those who want to know at
    /// the start; logins find out by themselves.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the kind `Configuration` where the metadata rules a login out (it lists code
    /// challenge methods without S256, or names no endpoint), `Unavailable` where it cannot be had.
    pub async fn ready(&self) -> Result<(), FlowError> {
        self.settings.flow().ready().await
    }

    /// Lists and ends sessions from outside of them, for an administrator. Call it when all is set.
    pub fn sessions(&self) -> SessionAdmin {
        SessionAdmin::new(Arc::clone(&self.settings.keeper))
    }

    /// A layer for the routes that need a session. This layer must be around it.
    #[must_use]
    pub fn required(&self) -> RequiredLayer {
        RequiredLayer::new(self.settings.layer)
    }

    #[cfg(feature = "testing")]
    pub(crate) fn keeper(&self) -> &Arc<SessionManager> {
        &self.settings.keeper
    }

    #[cfg(test)]
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    pub(super) fn with_session_manager(
        self,
        change: impl FnOnce(SessionManager) -> SessionManager,
    ) -> Self {
        let keeper = change(SessionManager::clone(&self.settings.keeper));
        self.with(|settings| settings.keeper = Arc::new(keeper))
    }

    fn with_flow(
        self,
        change: impl FnOnce(Flow) -> Result<Flow, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let flow = Arc::new(change(Flow::clone(self.settings.flow()))?);
        Ok(self.with_session_manager(|keeper| keeper.with_flow(flow)))
    }
}

impl<S> Layer<S> for LoginLayer {
    type Service = Login<S>;

    fn layer(&self, inner: S) -> Login<S> {
        Login::new(inner, Arc::clone(&self.settings))
    }
}

/// Returns the word in the names of the cookies of a layer that was given none: two layers on one host
/// have the same word only if they also have the same routes.
fn default_cookie_name(flow: &Flow) -> String {
    let client_id = flow.client().id();
    if route_folder(flow.redirect_uri()) == USUAL_FOLDER {
        return app_name(client_id, MAX_APP_NAME);
    }
    let digest = format!("-{:.4x}", flow.binding());
    app_name(client_id, MAX_APP_NAME - digest.len()) + &digest
}

/// A client id may be anything; what a cookie's name cannot hold becomes `-`.
fn app_name(client_id: &str, longest: usize) -> String {
    client_id
        .bytes()
        .take(longest)
        .map(|byte| {
            if is_name_byte(byte) {
                char::from(byte)
            } else {
                '-'
            }
        })
        .collect()
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

const MAX_APP_NAME: usize = 32;

/// The folder of the routes in all examples: its cookies are called by the client id alone.
const USUAL_FOLDER: &str = "/auth";
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);
