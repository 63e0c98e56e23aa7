//! The routes of the layer itself, in the folder of the redirect URI.

mod backchannel_logout;
mod callback;
mod frontchannel_logout;
mod login;
mod logout;
mod session;

pub(super) use logout::come_back;

use std::sync::Arc;

use http::request::Parts;
use http_body::Body;

use super::response::Answer;
use super::settings::Settings;
use crate::config_error::ConfigError;
use crate::flow::route_folder;

/// Which of our routes a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Login,
    Callback,
    Logout,
    Session,
    BackchannelLogout,
    FrontchannelLogout,
}

/// Their paths.
#[derive(Clone, Debug)]
pub(super) struct Routes {
    pub(super) login: String,
    pub(super) callback: String,
    pub(super) logout: String,
    pub(super) session: String,
    backchannel_logout: String,
    frontchannel_logout: String,
}

impl Routes {
    pub(super) fn beside(redirect_uri: &url::Url) -> Result<Self, ConfigError> {
        let callback = redirect_uri.path();
        let refused = |reason| ConfigError::Url {
            setting: "redirect URI",
            value: redirect_uri.to_string(),
            reason,
        };
        // A relative redirect to such a path is one to another host.
        if callback.starts_with("//") {
            return Err(refused("its path must not begin with two slashes"));
        }
        let folder = route_folder(redirect_uri);
        let name = callback
            .strip_prefix(folder)
            .and_then(|name| name.strip_prefix('/'))
            .filter(|name| !name.is_empty())
            .ok_or_else(|| refused("its path must not end in a slash"))?;
        if OTHERS.contains(&name) {
            return Err(refused(
                "`login`, `logout`, `session`, `backchannel-logout` and `frontchannel-logout` beside it \
                 are routes of this layer",
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

    /// Where nobody may be sent afterwards: it would go round in circles (`L32`).
    pub(super) fn no_targets(&self) -> [&str; 5] {
        [
            &self.login,
            &self.callback,
            &self.logout,
            &self.backchannel_logout,
            &self.frontchannel_logout,
        ]
    }
}

pub(super) async fn answer<B: Body>(
    route: Route,
    settings: Arc<Settings>,
    parts: Parts,
    body: B,
) -> Answer {
    match route {
        Route::Login => login::answer(&settings, &parts).await,
        Route::Callback => callback::answer(&settings, &parts).await,
        Route::Logout => logout::answer(&settings, &parts, body).await,
        Route::Session => session::answer(&settings, &parts).await,
        Route::BackchannelLogout => backchannel_logout::answer(&settings, &parts, body).await,
        Route::FrontchannelLogout => frontchannel_logout::answer(&settings, &parts).await,
    }
}

const LOGIN: &str = "login";
const LOGOUT: &str = "logout";
const SESSION: &str = "session";
const BACKCHANNEL_LOGOUT: &str = "backchannel-logout";
const FRONTCHANNEL_LOGOUT: &str = "frontchannel-logout";
const OTHERS: [&str; 5] = [
    LOGIN,
    LOGOUT,
    SESSION,
    BACKCHANNEL_LOGOUT,
    FRONTCHANNEL_LOGOUT,
];
