//! The routes of the layer as an axum router, for applications that cannot add the layer last.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use tower_layer::Layer as _;
use tower_service::Service;

use super::layer::LoginLayer;

impl LoginLayer {
    /// Returns the routes of this layer as a router to merge into the application's. Merge it into
    /// the outermost router.
    ///
    /// An application that adds the layer last needs no such router. `Router` calls the layer of an
    /// inner router for its routes only: `route_layer`, `nest`, a `fallback` that is set after the
    /// layer, and `merge` with a router that has a fallback lose the routes of the layer otherwise.
    /// The [guide](super::guide) has the table.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use tower_oauth::{LoginLayer, Session};
    /// # use tower_oauth::{AuthorizationServer, Client, CookieKey};
    /// # fn main() -> Result<(), tower_oauth::ConfigError> {
    /// # let server = AuthorizationServer::new("https://id.example.com")?;
    /// # let (client, key) = (Client::public("shop"), CookieKey::generate()?);
    ///
    /// let redirect_uri = "https://shop.example.com/auth/callback";
    /// let login = LoginLayer::new(&server, client, redirect_uri, key)?;
    /// let account = |session: Session| async move { session.subject().to_owned() };
    /// let pages = Router::new()
    ///     .route("/account", get(account).layer(login.required()))
    ///     .route_layer(login.clone());
    /// let app: Router = Router::new()
    ///     .nest("/shop", pages)
    ///     .merge(login.routes())
    ///     .fallback(|| async { "not found" });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The routes have the settings of this value. The post-logout redirect URI is not among them
    /// unless it is the logout route: the page there is the application's, and needs the layer
    /// around it.
    pub fn routes<S>(&self) -> Router<S>
    where
        S: Clone + Send + Sync + 'static,
    {
        let service = self.layer(NotFound);
        let paths = self.settings.route_paths();
        // A segment of a redirect URI may begin with `:` or `*`, which axum otherwise takes for a parameter of 0.7.
        let router = Router::new().without_v07_checks();
        paths.fold(router, |router, path| {
            router.route_service(path, service.clone())
        })
    }
}

/// What is inside of the layer. It is never called for its routes.
#[derive(Clone, Copy, Debug)]
struct NotFound;

impl Service<Request<Body>> for NotFound {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_FOUND;
        ready(Ok(response))
    }
}
