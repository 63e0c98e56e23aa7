//! The login layer: its construction, its routes and its services.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::request::Parts;
use tower_layer::Layer;

use super::cookies::{Cookies, SameSite};
use super::csrf::{Csrf, X_CSRF};
use super::events;
use super::extracted_from::ExtractedFrom;
use super::provider::Provider;
use super::redemptions::RedemptionCache;
use super::required::RequiredLayer;
use super::route_paths::{RouteNames, RoutePaths};
use super::service::Login;
use super::settings::Settings;
use super::silent_login::SilentLoginLayer;
use crate::config_error::ConfigError;
use crate::crypto::CookieKey;
use crate::flow::FlowError;
use crate::issuer::{AuthorizationServer, Client};
use crate::session::{ProviderEntry, Providers, SessionAdmin, SessionManager};

/// Signs users in with the authorization code flow and adds their [`Session`](crate::Session) to
/// requests.
///
/// The [module documentation](super) describes how each request is handled. Settings apply in any
/// order. Cloning is cheap; all clones, and all services created from them, share their state.
#[derive(Debug)]
pub struct LoginLayer {
    pub(super) settings: Arc<Settings>,
    /// Follows later settings.
    pub(super) sessions: SessionAdmin,
    /// The request of the handler that extracted the layer.
    pub(super) extracted_from: Option<ExtractedFrom>,
}

impl LoginLayer {
    /// Creates a layer that signs users in at `server`, for the application at the origin of
    /// `redirect_uri`.
    ///
    /// The redirect URI is the one registered with the authorization server: https, or http on
    /// loopback, without a query. Its last path segment is the callback route; the routes `login`,
    /// `logout`, `session`, `backchannel-logout` and `frontchannel-logout` are in the same folder,
    /// as are those of [`with_client_metadata`](Self::with_client_metadata)
    /// ([`with_route_names`](Self::with_route_names) renames them). With a path of one segment they
    /// are in the root, among the application's own routes, and the log has a warning. The `Host` of
    /// a request changes none of this. This performs no I/O; see [`ready`](Self::ready).
    ///
    /// Sessions are bound to the layer that created them. A layer with another issuer, client,
    /// origin or folder does not accept them, even with the same key and store;
    /// `/admin/auth/callback` is in another folder than `/auth/callback`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] if the redirect URI cannot be used, or another variant if `client`
    /// cannot be used.
    pub fn new(
        server: &AuthorizationServer,
        client: Client,
        redirect_uri: &str,
        cookie_key: CookieKey,
    ) -> Result<Self, ConfigError> {
        Self::for_provider(Provider::unnamed(server, client)?, redirect_uri, cookie_key)
    }

    /// Like [`new`](Self::new), from a [`Provider`] with its name and its settings.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] if the redirect URI cannot be used, or [`ConfigError::Setting`] if it contradicts the settings of
    /// the provider.
    pub fn for_provider(
        provider: Provider,
        redirect_uri: &str,
        cookie_key: CookieKey,
    ) -> Result<Self, ConfigError> {
        let display_name = Arc::clone(provider.display_name());
        let flow = provider.flow.with_redirect_uri(redirect_uri)?;
        flow.check_fapi2()?;
        let route_names = RouteNames::default();
        let paths = RoutePaths::beside(flow.redirect_uri(), &route_names)?;
        if paths.are_in_the_root() {
            events::routes_in_the_root(&paths);
        }
        let origin = flow.redirect_uri().origin().ascii_serialization();
        let cookies = Cookies::new(&flow, cookie_key.clone());
        let redemptions = RedemptionCache::new(Arc::clone(flow.clock()));
        let first = ProviderEntry {
            name: provider.name,
            display_name,
            accepts_uris_below: provider.accepts_uris_below,
            flow: Arc::new(flow),
        };
        let providers = Providers::new(first);
        let paths = paths.with_providers(&providers);
        let manager = SessionManager::new(providers, cookie_key);
        static LAYERS: AtomicU64 = AtomicU64::new(0);
        Ok(Self::from_settings(Arc::new(Settings {
            layer: LAYERS.fetch_add(1, Ordering::Relaxed),
            origin,
            manager: Arc::new(manager),
            cookies,
            route_names,
            paths,
            default_return_to: None,
            post_logout_path: None,
            clears_site_data: false,
            ends_unnamed_sessions: false,
            csrf: Csrf::default(),
            csrf_header: X_CSRF,
            same_site: SameSite::default(),
            ends_with_browser: false,
            error_page: None,
            chooser_page: None,
            redemptions: Arc::new(redemptions),
            login_route: Arc::default(),
            third_party_login: false,
            client_metadata: None,
            silent_logins: Arc::default(),
        })))
    }

    /// Returns the URL for a link that signs users in and then sends them to `return_to`, such as
    /// the path of the page with the link.
    ///
    /// A target that the layer does not redirect to is left out: anything but a path of this origin
    /// (with its query and fragment), a route of this layer, or more than 2048 bytes. Users then
    /// return to [the default](Self::with_default_return_to), as with a target of more than 224
    /// bytes that does not fit into the cookies of the browser or that another login replaced.
    ///
    /// In axum handlers, the layer around them is an extractor:
    ///
    #[cfg_attr(feature = "axum", doc = "```")]
    #[cfg_attr(not(feature = "axum"), doc = "```ignore")]
    /// use axum::extract::OriginalUri;
    /// use axum::response::Html;
    /// use tower_oauth::{LoginLayer, Session};
    ///
    /// async fn menu(login: LoginLayer, session: Option<Session>, uri: OriginalUri) -> Html<String> {
    ///     Html(match session {
    ///         None => format!("<a href='{}'>Sign in</a>", login.login_url(uri.path())),
    ///         Some(_) => format!("<form method=post action='{}'>…</form>", login.logout_path()),
    ///     })
    /// }
    /// # use tower_oauth::{AuthorizationServer, Client, CookieKey};
    /// # fn main() -> Result<(), tower_oauth::ConfigError> {
    /// # let server = AuthorizationServer::new("https://id.example.com")?;
    /// # let (client, key) = (Client::public("shop"), CookieKey::generate()?);
    ///
    /// let redirect_uri = "https://shop.example.com/auth/callback";
    /// let login = LoginLayer::new(&server, client, redirect_uri, key)?;
    /// assert_eq!(login.login_url("/cart?step=2"), "/auth/login?return_to=%2Fcart%3Fstep%3D2");
    /// assert_eq!(login.login_url("https://evil.example/"), "/auth/login");
    /// assert_eq!(login.logout_path(), "/auth/logout");
    /// # Ok(())
    /// # }
    /// ```
    pub fn login_url(&self, return_to: &str) -> String {
        let target = self.settings.return_to(return_to);
        self.settings.login_url(target)
    }

    /// Returns the path of the login route, which redirects to the authorization server. This and
    /// the following paths are those that browsers see.
    pub fn login_path(&self) -> &str {
        &self.settings.paths.login
    }

    /// Returns the path of the redirect URI of the layer.
    pub fn callback_path(&self) -> &str {
        &self.settings.paths.callback
    }

    /// Returns the path of the logout route: a form that posts to it signs out, and so does a link
    /// in a page of this application.
    ///
    /// The parameter `return_to` of the query or the form is the path to return to afterwards. A POST
    /// by a script (`fetch`) gets 200 with the member `location` in JSON, which the page navigates to;
    /// for htmx it is in `HX-Redirect`. That URL never has the ID token.
    pub fn logout_path(&self) -> &str {
        &self.settings.paths.logout
    }

    /// Returns the path of the route that returns the signed-in user as JSON, for scripts.
    pub fn session_path(&self) -> &str {
        &self.settings.paths.session
    }

    /// Returns the path to register for back-channel logout, or `None` if there is no such route:
    /// it requires a store that all processes share.
    pub fn backchannel_logout_path(&self) -> Option<&str> {
        let is_route = self.settings.manager.accepts_logout_tokens();
        is_route.then_some(&self.settings.paths.backchannel_logout)
    }

    /// Returns the path to register for front-channel logout.
    pub fn frontchannel_logout_path(&self) -> &str {
        &self.settings.paths.frontchannel_logout
    }

    /// Waits at most `limit` until no refresh is in progress in this process, and returns whether
    /// that is so. Call it on shutdown, after the server has stopped accepting requests.
    ///
    /// A refresh runs in a task that outlives its request. If refresh tokens rotate, a process that
    /// exits between the token response and the write to the store loses the session. Five seconds
    /// are enough unless the store is unavailable.
    pub async fn wait_for_refreshes(&self, limit: Duration) -> bool {
        self.settings.manager.wait_for_refreshes(limit).await
    }

    /// Fetches the metadata of each authorization server and checks that logins are possible.
    /// Optional: logins do the same.
    ///
    /// # Errors
    ///
    /// [`FlowError`] of the kind `Configuration` if the metadata makes logins impossible (it lists
    /// code challenge methods without S256, an endpoint is missing, or it does not support a setting
    /// such as the response mode, signed or pushed requests, DPoP or the FAPI 2.0 profile), if
    /// settings contradict each other, or if the credentials of the client cannot be used;
    /// `Unavailable` if the metadata or the credentials cannot be fetched.
    pub async fn ready(&self) -> Result<(), FlowError> {
        self.settings.check()?;
        let metadata = self.settings.check_client_metadata();
        metadata.map_err(|error| FlowError::invalid_registration(&error))?;
        for provider in self.settings.manager.providers().all() {
            provider.flow.ready().await?;
        }
        Ok(())
    }

    /// Returns a handle that lists and ends sessions, for administration.
    ///
    /// Later settings of this value apply to the handle too, those of its clones do not.
    pub fn sessions(&self) -> SessionAdmin {
        self.sessions.clone()
    }

    /// Creates a layer for routes that need a session. This layer must be around it. To require roles
    /// too, add [`with_policy`](RequiredLayer::with_policy).
    #[must_use]
    pub fn required(&self) -> RequiredLayer {
        RequiredLayer::new(self.settings.layer)
    }

    /// Creates a layer for pages that are open to all, which signs users in without a page of the
    /// authorization server if they are signed in there. This layer must be around it.
    #[must_use]
    pub fn silent_login(&self) -> SilentLoginLayer {
        self.settings.silent_logins.store(true, Ordering::Relaxed);
        SilentLoginLayer::new(self.settings.layer)
    }

    fn from_settings(settings: Arc<Settings>) -> Self {
        let sessions = SessionAdmin::new(Arc::clone(&settings.manager));
        Self {
            settings,
            sessions,
            extracted_from: None,
        }
    }

    /// Returns the layer around the service that received this request.
    #[cfg_attr(not(feature = "axum"), expect(dead_code))]
    pub(crate) fn of(head: &Parts) -> Option<Self> {
        let extracted_from = ExtractedFrom::new(head)?;
        let settings = Arc::clone(extracted_from.request().context.settings());
        let mut layer = Self::from_settings(settings);
        layer.extracted_from = Some(extracted_from);
        Some(layer)
    }

    #[cfg(feature = "testing")]
    pub(crate) fn manager(&self) -> &Arc<SessionManager> {
        &self.settings.manager
    }

    /// Returns the value of the `Cookie` field of a browser with this session.
    #[cfg(feature = "testing")]
    pub(crate) fn cookie_field(
        &self,
        loaded: &crate::session::LoadedSession,
    ) -> Result<String, crate::session::SealSessionError> {
        self.settings.cookie_field(loaded)
    }
}

/// The settings of a clone are its own from then on.
impl Clone for LoginLayer {
    fn clone(&self) -> Self {
        let mut layer = Self::from_settings(Arc::clone(&self.settings));
        layer.extracted_from.clone_from(&self.extracted_from);
        layer
    }
}

impl<S> Layer<S> for LoginLayer {
    type Service = Login<S>;

    fn layer(&self, inner: S) -> Login<S> {
        Login::new(inner, Arc::clone(&self.settings))
    }
}
