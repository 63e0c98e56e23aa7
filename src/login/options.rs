//! The settings of a login layer, which apply in any order: cookies, sessions and pages.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::cookies::{SameSite, is_app_name};
use super::csrf::Csrf;
use super::layer::LoginLayer;
use super::pages::ErrorPage;
use super::settings::{ErrorPageRenderer, Settings};
use crate::config_error::ConfigError;
use crate::session::{MAX_PER_USER, SessionManager};
use crate::store::{SharedStore, Store};

impl LoginLayer {
    /// Sets the application name in cookie names.
    ///
    /// The default is the client id. If the routes are not in the folder `/auth`, a digest of the
    /// issuer, client, origin and folder is appended, so that two layers of one application use
    /// different cookies.
    ///
    /// Cookies do not distinguish ports: two applications on one host need different names. Two
    /// layers with the same name clear each other's cookies.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is 1 to 32 ASCII letters, digits, `-` and `_`.
    pub fn with_cookie_name(self, name: &str) -> Result<Self, ConfigError> {
        if !is_app_name(name) {
            return Err(ConfigError::Setting {
                setting: "cookie name",
                value: name.to_owned(),
                reason: "it must be 1 to 32 ASCII letters, digits, `-` and `_`",
            });
        }
        let cookies = self.settings.cookies.clone().with_app(name);
        Ok(self.with(|settings| settings.cookies = cookies))
    }

    /// Sets the maximum duration of a session, and the maximum time without a request. Default: 8
    /// hours and 1 hour.
    ///
    /// The time of the last request is updated at most once per tenth of the idle limit.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for a limit of less than a minute or more than 400 days (the
    /// maximum lifetime of a cookie in browsers), and for an idle limit above the absolute limit.
    pub fn with_session_limits(
        self,
        absolute: Duration,
        idle: Duration,
    ) -> Result<Self, ConfigError> {
        let invalid = |value: Duration, reason| ConfigError::Setting {
            setting: "session limit",
            value: format!("{value:?}"),
            reason,
        };
        for limit in [absolute, idle] {
            if !(MIN_SESSION_LIMIT..=MAX_SESSION_LIMIT).contains(&limit) {
                return Err(invalid(limit, "it must be between a minute and 400 days"));
            }
        }
        if idle > absolute {
            return Err(invalid(
                idle,
                "the idle limit must not exceed the absolute limit",
            ));
        }
        Ok(self.with_session_manager(|manager| manager.with_limits(absolute, idle)))
    }

    /// Keeps sessions in `store`; the cookie then has a random secret only.
    ///
    /// Sessions can then have any size, end on all replicas immediately, can be listed, and refresh
    /// tokens rotate safely across replicas. [`session`](crate::session) compares the ways to keep
    /// sessions. While the store is unavailable, requests with a session get 503.
    #[must_use]
    pub fn with_session_store(self, store: impl Store) -> Self {
        let store = SharedStore::new(store);
        self.with_session_manager(|manager| manager.with_session_store(store))
    }

    /// Keeps sessions in encrypted cookies, and shared state in `store`: completed logins, ended
    /// sessions, and the latest tokens of refreshed sessions.
    ///
    /// Every request with a session then reads the store; while it is unavailable, these requests
    /// get 503.
    #[must_use]
    pub fn with_shared_store(self, store: impl Store) -> Self {
        let store = SharedStore::new(store);
        self.with_session_manager(|manager| manager.with_shared_store(store))
    }

    /// Sets the maximum number of concurrent sessions per user. A login beyond it ends the oldest
    /// session. Default: 256.
    ///
    /// Needs [`with_session_store`](Self::with_session_store) or
    /// [`with_shared_store`](Self::with_shared_store), in any order: without a store, sessions
    /// cannot be counted, so [`ready`](Self::ready) fails and logins are rejected with 500.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for 0 or more than 256.
    pub fn with_max_sessions_per_user(self, max: usize) -> Result<Self, ConfigError> {
        if !(1..=MAX_PER_USER).contains(&max) {
            return Err(ConfigError::Setting {
                setting: "max sessions per user",
                value: max.to_string(),
                reason: "it must be 1 to 256",
            });
        }
        Ok(self.with_session_manager(|manager| manager.with_max_sessions_per_user(max)))
    }

    /// Clears the browser's cache and script storage for this origin on sign-out (`Clear-Site-Data:
    /// "cache", "storage"`). Off by default: it affects the whole origin, and takes some browsers
    /// seconds.
    #[must_use]
    pub fn with_clear_site_data(self) -> Self {
        self.with(|settings| settings.clears_site_data = true)
    }

    /// Sets the maximum time between the start of a login and its callback. Default: 10 minutes.
    ///
    /// A login that takes longer gets a page that says so, with a link to start again and the same
    /// return target. A longer limit gives users more time to authenticate or to register; a login
    /// in progress is bound to its browser for that long.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for less than a minute or more than an hour.
    pub fn with_login_time_limit(self, limit: Duration) -> Result<Self, ConfigError> {
        self.with_each_flow(|flow| flow.with_login_time_limit(limit))
    }

    /// Sets the `SameSite` attribute of the session cookie. Default: [`SameSite::Lax`].
    #[must_use]
    pub fn with_same_site(self, same_site: SameSite) -> Self {
        let cookies = self.settings.cookies.clone().with_same_site(same_site);
        self.with(|settings| {
            settings.same_site = same_site;
            settings.cookies = cookies;
        })
    }

    /// Makes the session cookie last until the browser is closed, by leaving out `Max-Age`. By default
    /// it lasts as long as the session can.
    ///
    /// This is a request to the browser and no limit of the session: a browser that restores its tabs
    /// at the next start keeps such cookies, and mobile browsers may never be closed. The
    /// [limits of sessions](Self::with_session_limits) apply in any case.
    #[must_use]
    pub fn with_browser_session_cookie(self) -> Self {
        self.with(|settings| settings.ends_with_browser = true)
    }

    /// Sets the protection against cross-site request forgery. Default: [`Csrf::SameOrigin`].
    #[must_use]
    pub fn with_csrf(self, csrf: Csrf) -> Self {
        self.with(|settings| settings.csrf = csrf)
    }

    /// Sets the name of the static header that scripts of this application send with the value `1`.
    /// Default: `X-CSRF`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is a header name that begins with `x-`. Other headers may
    /// be set by browsers themselves, or be sent by any site without a preflight.
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

    /// Sets the function that renders error pages as HTML. The texts of [`ErrorPage`] are not
    /// escaped.
    #[must_use]
    pub fn with_error_page(
        self,
        render: impl Fn(&ErrorPage<'_>) -> String + Send + Sync + 'static,
    ) -> Self {
        self.with(|settings| settings.error_page = Some(ErrorPageRenderer(Arc::new(render))))
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    pub(super) fn with_session_manager(
        self,
        change: impl FnOnce(SessionManager) -> SessionManager,
    ) -> Self {
        let manager = Arc::new(change(SessionManager::clone(&self.settings.manager)));
        self.sessions.set_manager(Arc::clone(&manager));
        self.with(|settings| settings.manager = manager)
    }
}

const MIN_SESSION_LIMIT: Duration = Duration::from_secs(60);
const MAX_SESSION_LIMIT: Duration = Duration::from_secs(400 * 24 * 60 * 60);
