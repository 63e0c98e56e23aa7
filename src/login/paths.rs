//! The routes of the layer and their paths, in the folder of the redirect URI.

use url::Url;

use crate::config_error::ConfigError;
use crate::flow::route_folder;

/// A route of the layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Login,
    Callback,
    Logout,
    Session,
    BackchannelLogout,
    FrontchannelLogout,
}

/// The paths of the routes.
#[derive(Clone, Debug)]
pub(super) struct RoutePaths {
    pub(super) login: String,
    pub(super) callback: String,
    pub(super) logout: String,
    pub(super) session: String,
    pub(super) backchannel_logout: String,
    pub(super) frontchannel_logout: String,
}

impl RoutePaths {
    pub(super) fn beside(redirect_uri: &Url) -> Result<Self, ConfigError> {
        let callback = redirect_uri.path();
        let invalid = |reason| ConfigError::Url {
            setting: "redirect URI",
            value: redirect_uri.to_string(),
            reason,
        };
        // A browser would read a redirect to such a path as a URL of another host.
        if callback.starts_with("//") {
            return Err(invalid("its path must not begin with two slashes"));
        }
        let folder = route_folder(redirect_uri);
        let name = callback
            .strip_prefix(folder)
            .and_then(|name| name.strip_prefix('/'))
            .filter(|name| !name.is_empty())
            .ok_or_else(|| invalid("its path must not end in a slash"))?;
        if OTHER_ROUTES.contains(&name) {
            return Err(invalid(
                "its last segment must not be `login`, `logout`, `session`, `backchannel-logout` or \
                 `frontchannel-logout`: these are other routes of this layer",
            ));
        }
        Ok(Self {
            login: format!("{folder}/{LOGIN}"),
            callback: callback.to_owned(),
            logout: format!("{folder}/{LOGOUT}"),
            session: format!("{folder}/{SESSION}"),
            backchannel_logout: format!("{folder}/{BACKCHANNEL_LOGOUT}"),
            frontchannel_logout: format!("{folder}/{FRONTCHANNEL_LOGOUT}"),
        })
    }

    pub(super) fn find(&self, path: &str) -> Option<Route> {
        [
            (&self.callback, Route::Callback),
            (&self.login, Route::Login),
            (&self.logout, Route::Logout),
            (&self.session, Route::Session),
            (&self.backchannel_logout, Route::BackchannelLogout),
            (&self.frontchannel_logout, Route::FrontchannelLogout),
        ]
        .into_iter()
        .find_map(|(own, route)| (path == own).then_some(route))
    }

    /// The routes that are not allowed as return targets: they would cause redirect loops, or sign
    /// out.
    pub(super) fn forbidden_targets(&self) -> [&str; 5] {
        [
            &self.login,
            &self.callback,
            &self.logout,
            &self.backchannel_logout,
            &self.frontchannel_logout,
        ]
    }
}

const LOGIN: &str = "login";
const LOGOUT: &str = "logout";
const SESSION: &str = "session";
const BACKCHANNEL_LOGOUT: &str = "backchannel-logout";
const FRONTCHANNEL_LOGOUT: &str = "frontchannel-logout";
const OTHER_ROUTES: [&str; 5] = [
    LOGIN,
    LOGOUT,
    SESSION,
    BACKCHANNEL_LOGOUT,
    FRONTCHANNEL_LOGOUT,
];
