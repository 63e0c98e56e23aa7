//! The paths of the providers of a layer, below its login route and its callback.

use std::sync::Arc;

use super::DEFAULT_NAME;
use crate::login::route::Route;
use crate::session::Providers;

/// The paths of all providers, as browsers see them. Empty for a layer that does not distinguish providers.
#[derive(Clone, Debug, Default)]
pub(in crate::login) struct ProviderPaths(Vec<ProviderPath>);

#[derive(Clone, Debug)]
struct ProviderPath {
    name: Arc<str>,
    login: String,
    /// The first provider has that of the layer.
    callback: Option<String>,
}

impl ProviderPaths {
    pub(in crate::login) fn new(login: &str, callback: &str, providers: &Providers) -> Self {
        if !providers.are_several() && *providers.first().name == *DEFAULT_NAME {
            return Self::default();
        }
        let paths = providers.all().enumerate().map(|(index, provider)| {
            let name = &provider.name;
            ProviderPath {
                name: Arc::clone(name),
                login: format!("{login}/{name}"),
                callback: (index > 0).then(|| format!("{callback}/{name}")),
            }
        });
        Self(paths.collect())
    }

    pub(in crate::login) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the login route of this provider, if a layer has several.
    pub(in crate::login) fn login(&self, name: &str) -> Option<&str> {
        let mut paths = self.0.iter().filter(|_| self.0.len() > 1);
        let path = paths.find(|path| *path.name == *name);
        path.map(|path| &*path.login)
    }

    /// Returns the route at `login/{name}`.
    pub(in crate::login) fn login_route(&self, name: &str) -> Option<Route> {
        let index = self.0.iter().position(|path| *path.name == *name);
        index
            .map(|index| Route::Login(Some(index)))
            .or_else(|| self.other())
    }

    /// Returns the route at `callback/{name}`.
    pub(in crate::login) fn callback_route(&self, name: &str) -> Option<Route> {
        let is_own = |path: &ProviderPath| path.callback.is_some() && *path.name == *name;
        let index = self.0.iter().position(is_own);
        index.map(Route::Callback).or_else(|| self.other())
    }

    /// Returns the route for a name that no provider has.
    fn other(&self) -> Option<Route> {
        (self.0.len() > 1).then_some(Route::UnknownProvider)
    }

    pub(in crate::login) fn all(&self) -> impl Iterator<Item = (&str, Route)> {
        self.0.iter().enumerate().flat_map(|(index, path)| {
            let callback = path.callback.as_deref();
            let callback = callback.map(|path| (path, Route::Callback(index)));
            std::iter::once((&*path.login, Route::Login(Some(index)))).chain(callback)
        })
    }
}
