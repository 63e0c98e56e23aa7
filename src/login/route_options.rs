//! The settings of a login layer that concern its routes and where users are redirected to.

use url::Url;

use super::events;
use super::layer::LoginLayer;
use super::route_paths::{RouteNames, RoutePaths};
use super::settings::Settings;
use crate::config_error::ConfigError;

impl LoginLayer {
    /// Sets the URI that the authorization server redirects to after a sign-out (RP-Initiated
    /// Logout §3). It must be registered there. Without it, users end on a page of the
    /// authorization server.
    ///
    /// It may be any URI of this origin except the other routes of this layer. If a browser returns
    /// there from its own sign-out, as an encrypted cookie and `state` show, it is redirected to
    /// the `return_to` of that sign-out. All other requests for that URI are handled as without
    /// this setting.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] for a URI of another origin, or one that cannot be a redirect URI.
    pub fn with_post_logout_redirect_uri(self, uri: &str) -> Result<Self, ConfigError> {
        let invalid = |reason| ConfigError::Url {
            setting: "post-logout redirect URI",
            value: uri.to_owned(),
            reason,
        };
        let url = Url::parse(uri).map_err(|_| invalid("it must be an absolute URL"))?;
        if url.origin() != self.settings.flow().redirect_uri().origin() {
            return Err(invalid("its origin must be that of the redirect URI"));
        }
        let login = self.with_each_flow(|flow| flow.with_post_logout_redirect_uri(uri))?;
        login.with_paths(|settings| settings.post_logout_path = Some(url.path().to_owned()))
    }

    /// Sets the path that users return to after a sign-in or sign-out without `return_to`. Default:
    /// `/`, or the home page below the [prefix](Self::with_path_prefix).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] for anything but a path on this origin of at most 512 bytes.
    pub fn with_default_return_to(self, path: &str) -> Result<Self, ConfigError> {
        self.with_paths(|settings| settings.default_return_to = Some(path.to_owned()))
    }

    /// Sets the prefix that a proxy removes from paths before they reach this application. Default:
    /// none.
    ///
    /// With `/app`, the browser's `https://shop.example.com/app/account` arrives here as `/account`.
    /// The redirect URI, links, return targets and all paths that this layer returns are those of
    /// the browser; requests are compared without the prefix. The prefix is never read from a
    /// request (`X-Forwarded-Prefix`), since a caller could choose where users are redirected.
    ///
    /// A prefix that `axum::Router::nest` removes needs no setting: the layer reads the original URI.
    /// Other routers that remove a prefix need it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is an unambiguous path such as `/app` that the redirect
    /// URI is below; [`ConfigError::Url`] if another setting is not possible with it.
    pub fn with_path_prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        let paths = self.settings.paths.clone().with_prefix(prefix)?;
        if paths.are_in_the_root() {
            events::routes_in_the_root(&paths);
        }
        self.with_paths(|settings| settings.paths = paths)
    }

    /// Sets the names of the routes. Default: [`RouteNames::new`].
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless each is one path segment of letters, digits, `-`, `.`, `_` and
    /// `~`, and all are different, regardless of case; [`ConfigError::Url`] if another setting is not
    /// possible with them.
    pub fn with_route_names(self, names: RouteNames) -> Result<Self, ConfigError> {
        let prefix = self.settings.paths.prefix();
        let paths = RoutePaths::beside(self.settings.flow().redirect_uri(), &names)?
            .with_providers(self.settings.manager.providers());
        let paths = match prefix {
            "" => paths,
            prefix => paths.with_prefix(prefix)?,
        };
        self.with_paths(|settings| (settings.paths, settings.route_names) = (paths, names))
    }

    /// Ends the session of the browser at a front-channel logout without `iss` and `sid`. Off by
    /// default: it is 400.
    ///
    /// They are optional in the specification (OpenID Connect Front-Channel Logout §3), and some
    /// servers send them only if the client is registered with `frontchannel_logout_session_required`.
    ///
    /// # Security
    ///
    /// Without them, every page that the browser sends the session cookie for can sign the user out
    /// (logout CSRF): with `SameSite=Lax` pages of the same site, such as a sibling subdomain. The
    /// request must be for a frame (`Sec-Fetch-Dest: iframe`), and only the session here ends.
    #[must_use]
    pub fn with_unnamed_frontchannel_logout(self) -> Self {
        self.with(|settings| settings.ends_unnamed_sessions = true)
    }

    pub(super) fn with_paths(
        self,
        change: impl FnOnce(&mut Settings),
    ) -> Result<Self, ConfigError> {
        let login = self.with(change);
        login.settings.check_paths()?;
        login.settings.check_client_metadata()?;
        Ok(login)
    }
}
