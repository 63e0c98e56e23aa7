//! [`RouteNamesSettings`]: the names of the routes of a login layer.

use serde::Deserialize;

use crate::login::RouteNames;

/// The names of the routes of a login layer. Default: those of [`RouteNames::new`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RouteNamesSettings {
    /// See [`RouteNames::with_login`].
    pub login: Option<String>,
    /// See [`RouteNames::with_logout`].
    pub logout: Option<String>,
    /// See [`RouteNames::with_session`].
    pub session: Option<String>,
    /// See [`RouteNames::with_backchannel_logout`].
    pub backchannel_logout: Option<String>,
    /// See [`RouteNames::with_frontchannel_logout`].
    pub frontchannel_logout: Option<String>,
    /// See [`RouteNames::with_client_metadata`].
    pub client_metadata: Option<String>,
    /// See [`RouteNames::with_jwks`].
    pub jwks: Option<String>,
}

impl RouteNamesSettings {
    pub(super) fn build(&self) -> RouteNames {
        type SetName = fn(RouteNames, &str) -> RouteNames;
        let set = |names: RouteNames, name: &Option<String>, change: SetName| match name {
            Some(name) => change(names, name),
            None => names,
        };
        let names = set(RouteNames::new(), &self.login, RouteNames::with_login);
        let names = set(names, &self.logout, RouteNames::with_logout);
        let names = set(names, &self.session, RouteNames::with_session);
        let backchannel = &self.backchannel_logout;
        let names = set(names, backchannel, RouteNames::with_backchannel_logout);
        let frontchannel = &self.frontchannel_logout;
        let names = set(names, frontchannel, RouteNames::with_frontchannel_logout);
        let metadata = &self.client_metadata;
        let names = set(names, metadata, RouteNames::with_client_metadata);
        set(names, &self.jwks, RouteNames::with_jwks)
    }
}
