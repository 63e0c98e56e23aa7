//! The paths of the routes of a login layer, as browsers see them and as requests arrive.

use http::Uri;
use http::uri::PathAndQuery;
use url::Url;

use super::provider::ProviderPaths;
use super::route::Route;
use crate::config_error::ConfigError;
use crate::flow::route_folder;
use crate::protocol::request_target::find_ambiguity;
use crate::session::Providers;

/// The names of the routes of a [`LoginLayer`](super::LoginLayer): the last segments of their
/// paths, in the folder of the redirect URI.
///
/// The last segment of the redirect URI is the name of the callback route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteNames {
    login: String,
    logout: String,
    session: String,
    backchannel_logout: String,
    frontchannel_logout: String,
    client_metadata: String,
    jwks: String,
}

impl RouteNames {
    /// Creates the default names: `login`, `logout`, `session`, `backchannel-logout`,
    /// `frontchannel-logout`, `client-metadata.json` and `jwks.json`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            login: "login".to_owned(),
            logout: "logout".to_owned(),
            session: "session".to_owned(),
            backchannel_logout: "backchannel-logout".to_owned(),
            frontchannel_logout: "frontchannel-logout".to_owned(),
            client_metadata: "client-metadata.json".to_owned(),
            jwks: "jwks.json".to_owned(),
        }
    }

    /// Sets the name of the route that redirects to the authorization server.
    #[must_use]
    pub fn with_login(self, name: &str) -> Self {
        let login = name.to_owned();
        Self { login, ..self }
    }

    /// Sets the name of the route that signs out.
    #[must_use]
    pub fn with_logout(self, name: &str) -> Self {
        let logout = name.to_owned();
        Self { logout, ..self }
    }

    /// Sets the name of the route that returns the signed-in user as JSON.
    #[must_use]
    pub fn with_session(self, name: &str) -> Self {
        let session = name.to_owned();
        Self { session, ..self }
    }

    /// Sets the name of the route for back-channel logout.
    #[must_use]
    pub fn with_backchannel_logout(self, name: &str) -> Self {
        let backchannel_logout = name.to_owned();
        Self {
            backchannel_logout,
            ..self
        }
    }

    /// Sets the name of the route for front-channel logout.
    #[must_use]
    pub fn with_frontchannel_logout(self, name: &str) -> Self {
        let frontchannel_logout = name.to_owned();
        Self {
            frontchannel_logout,
            ..self
        }
    }

    /// Sets the name of the metadata document of the client.
    #[must_use]
    pub fn with_client_metadata(self, name: &str) -> Self {
        let client_metadata = name.to_owned();
        Self {
            client_metadata,
            ..self
        }
    }

    /// Sets the name of the key set of the client.
    #[must_use]
    pub fn with_jwks(self, name: &str) -> Self {
        let jwks = name.to_owned();
        Self { jwks, ..self }
    }

    fn all(&self) -> [&str; 7] {
        [
            &self.login,
            &self.logout,
            &self.session,
            &self.backchannel_logout,
            &self.frontchannel_logout,
            &self.client_metadata,
            &self.jwks,
        ]
    }

    /// Checks that the names are segments that every service reads alike, and that all differ.
    fn check(&self) -> Result<(), ConfigError> {
        let names = self.all();
        for (at, name) in names.into_iter().enumerate() {
            let invalid = |reason| ConfigError::Setting {
                setting: "route name",
                value: name.to_owned(),
                reason,
            };
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            if !name.bytes().all(is_plain) || ["", ".", ".."].contains(&name) {
                return Err(invalid(
                    "it must be one path segment of letters, digits, `-`, `.`, `_` and `~`",
                ));
            }
            let is_same = |other: &&str| other.eq_ignore_ascii_case(name);
            if names[..at].iter().any(is_same) {
                return Err(invalid("it must differ from those of the other routes"));
            }
        }
        Ok(())
    }
}

impl Default for RouteNames {
    fn default() -> Self {
        Self::new()
    }
}

/// The paths of the routes, as browsers see them. Requests arrive without `prefix`, which a proxy
/// has removed.
#[derive(Clone, Debug)]
pub(super) struct RoutePaths {
    pub(super) login: String,
    pub(super) callback: String,
    pub(super) logout: String,
    pub(super) session: String,
    pub(super) backchannel_logout: String,
    pub(super) frontchannel_logout: String,
    pub(super) client_metadata: String,
    pub(super) jwks: String,
    providers: ProviderPaths,
    prefix: String,
    /// The path of the application's home page.
    pub(super) home: String,
}

impl RoutePaths {
    pub(super) fn beside(redirect_uri: &Url, names: &RouteNames) -> Result<Self, ConfigError> {
        let callback = redirect_uri.path();
        let invalid = |reason| ConfigError::Url {
            setting: "redirect URI",
            value: redirect_uri.to_string(),
            reason,
        };
        let folder = route_folder(redirect_uri);
        let name = callback
            .strip_prefix(folder)
            .and_then(|name| name.strip_prefix('/'))
            .filter(|name| !name.is_empty())
            .ok_or_else(|| invalid("its path must not end in a slash"))?;
        if names
            .all()
            .iter()
            .any(|other| other.eq_ignore_ascii_case(name))
        {
            return Err(invalid(
                "its last segment must not be the name of another route of this layer",
            ));
        }
        names.check()?;
        let path = |name: &str| format!("{folder}/{name}");
        Ok(Self {
            login: path(&names.login),
            callback: callback.to_owned(),
            logout: path(&names.logout),
            session: path(&names.session),
            backchannel_logout: path(&names.backchannel_logout),
            frontchannel_logout: path(&names.frontchannel_logout),
            client_metadata: path(&names.client_metadata),
            jwks: path(&names.jwks),
            providers: ProviderPaths::default(),
            prefix: String::new(),
            home: "/".to_owned(),
        })
    }

    /// Sets the providers, whose paths are below the login route and the callback.
    pub(super) fn with_providers(self, providers: &Providers) -> Self {
        let providers = ProviderPaths::new(&self.login, &self.callback, providers);
        Self { providers, ..self }
    }

    /// Returns the path of the login route of this provider. For the only one, that is the login route of the layer.
    pub(super) fn login_of(&self, provider: &str) -> &str {
        self.providers.login(provider).unwrap_or(&self.login)
    }

    /// Returns whether logins start at this path.
    pub(super) fn starts_logins(&self, path: &str) -> bool {
        matches!(self.find_outer(path), Some(Route::Login(_)))
    }

    /// Sets the prefix that a proxy removes. The routes must be below it.
    pub(super) fn with_prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        let invalid = |reason| ConfigError::Setting {
            setting: "path prefix",
            value: prefix.to_owned(),
            reason,
        };
        let is_path = prefix.starts_with('/') && !prefix.ends_with('/');
        let is_segment = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
        if !is_path || !prefix.bytes().all(is_segment) || find_ambiguity(prefix).is_some() {
            return Err(invalid(
                "it must be an unambiguous path such as `/app`, without a slash at the end",
            ));
        }
        let paths = Self {
            prefix: prefix.to_owned(),
            home: format!("{prefix}/"),
            ..self
        };
        if paths.inner(&paths.callback).is_none() {
            return Err(invalid("the path of the redirect URI must begin with it"));
        }
        Ok(paths)
    }

    /// Returns path and query of a request, without the prefix; `true` if they had it.
    ///
    /// A router in this process that removes the prefix is a proxy too: then the original URI has it,
    /// and the URI of the request is another one.
    pub(super) fn requested<'a>(&self, original: &'a Uri, now: &Uri) -> (&'a str, bool) {
        let original = original.path_and_query().map_or("", PathAndQuery::as_str);
        let now = now.path_and_query().map_or("", PathAndQuery::as_str);
        match original.strip_prefix(self.prefix.as_str()) {
            Some(inner) if !self.prefix.is_empty() && original != now => match inner {
                "" => ("/", true),
                inner if inner.starts_with('/') => (inner, true),
                _ => (original, false),
            },
            _ => (original, false),
        }
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns the path of a request for `path`; `None` if the proxy sends it elsewhere.
    pub(super) fn inner<'a>(&self, path: &'a str) -> Option<&'a str> {
        let path = path.strip_prefix(self.prefix.as_str())?;
        path.starts_with('/').then_some(path)
    }

    /// Returns the route that a request asks for.
    pub(super) fn find(&self, requested: &str) -> Option<Route> {
        let mut of_layer = self.of_layer().into_iter();
        let is_requested = |own: &str| self.inner(own) == Some(requested);
        of_layer
            .find_map(|(own, route)| is_requested(own).then_some(route))
            .or_else(|| self.find_of_provider(requested))
    }

    fn find_of_provider(&self, requested: &str) -> Option<Route> {
        if self.providers.is_empty() {
            return None;
        }
        let below = |own| requested.strip_prefix(self.inner(own)?)?.strip_prefix('/');
        match below(&self.login) {
            Some(name) => self.providers.login_route(name),
            None => self.providers.callback_route(below(&self.callback)?),
        }
    }

    /// Returns the route at a path as browsers see it.
    pub(super) fn find_outer(&self, path: &str) -> Option<Route> {
        self.inner(path).and_then(|path| self.find(path))
    }

    /// Returns whether a request could ask for a route of both layers.
    pub(super) fn overlap(&self, other: &Self) -> bool {
        let is_at = |one: &Self, other: &Self| {
            let mut paths = one.all().filter_map(|(path, _)| one.inner(path));
            paths.any(|path| other.find(path).is_some())
        };
        is_at(self, other) || is_at(other, self)
    }

    /// Returns whether the routes are in the root of the application, among its own.
    pub(super) fn are_in_the_root(&self) -> bool {
        self.inner(&self.login)
            .is_some_and(|path| !path[1..].contains('/'))
    }

    /// The routes that are not allowed as return targets: they would cause redirect loops, or sign
    /// out. With and without the prefix, since both may lead here.
    pub(super) fn forbidden_targets(&self) -> Vec<&str> {
        let forbidden = self.all().filter(|(_, route)| *route != Route::Session);
        forbidden
            .flat_map(|(path, _)| [Some(path), self.inner(path)])
            .flatten()
            .collect()
    }

    /// The paths as requests ask for them.
    #[cfg(feature = "axum")]
    pub(super) fn all_requested(&self) -> Vec<&str> {
        let routes = self.all();
        routes.filter_map(|(path, _)| self.inner(path)).collect()
    }

    fn all(&self) -> impl Iterator<Item = (&str, Route)> {
        self.of_layer().into_iter().chain(self.providers.all())
    }

    fn of_layer(&self) -> [(&str, Route); 8] {
        [
            (&self.callback, Route::Callback(0)),
            (&self.login, Route::Login(None)),
            (&self.logout, Route::Logout),
            (&self.session, Route::Session),
            (&self.backchannel_logout, Route::BackchannelLogout),
            (&self.frontchannel_logout, Route::FrontchannelLogout),
            (&self.client_metadata, Route::ClientMetadata),
            (&self.jwks, Route::Jwks),
        ]
    }
}
