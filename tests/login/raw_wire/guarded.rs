//! Every layer around a service that accepts every path.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tower::service_fn;
use tower_oauth::bearer::{
    ClaimHeadersLayer, FormTokenLayer, MethodScopesLayer, ResourceMetadata, ResourceMetadataLayer,
    TokenSource,
};
use tower_oauth::login::Csrf;
use tower_oauth::relay::{Relay, RequestBody};
use tower_oauth::testing::TestServer;
use tower_oauth::{BearerLayer, LoginLayer, ScopeLayer};

use super::executed::Recorder;

use crate::support::shop::{Shop, login, server};

pub(crate) const AUDIENCE: &str = "https://api.example.test";
pub(crate) const DOCUMENT: &str = "/.well-known/oauth-protected-resource";
/// A path that every layer accepts from an authorized caller.
pub(crate) const PATH: &str = "/shop.Orders/List";
/// The path prefix of the upstream.
pub(crate) const UPSTREAM: &str = "https://upstream.example.test";

/// An application behind one or more layers, and a credential that it accepts.
pub(crate) struct Guarded {
    pub(crate) name: &'static str,
    pub(crate) app: Router,
    pub(crate) executed: Recorder,
    /// The header fields of a valid credential, with CSRF evidence if it is required.
    pub(crate) credential: Vec<(&'static str, String)>,
    /// The subject of the credential.
    pub(crate) subject: &'static str,
    /// Whether the application serves the metadata document.
    pub(crate) has_document: bool,
    /// The prefix of the target in the record of executed requests.
    pub(crate) base: &'static str,
}

impl Guarded {
    /// The credential as lines of HTTP/1.1.
    pub(crate) fn credential_lines(&self) -> String {
        let line = |(name, value): &(&str, String)| format!("{name}: {value}\r\n");
        self.credential.iter().map(line).collect()
    }

    pub(crate) fn credential_fields(&self) -> HeaderMap {
        let field = |(name, value): &(&str, String)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        self.credential.iter().map(field).collect()
    }

    pub(crate) fn is_login(&self) -> bool {
        self.name.starts_with("login") || self.name == "relay"
    }

    /// Asserts that the request with this method and target was executed once, by the right caller.
    pub(crate) fn assert_executed(&self, method: &str, target: &str) -> Result<(), String> {
        let executed = self.executed.take();
        let [one] = executed.as_slice() else {
            return Err(format!("executed {} times: {executed:?}", executed.len()));
        };
        let target = format!("{}{target}", self.base);
        // The upstream of the relay receives the token, not the session.
        let by = match self.base {
            "" => one.subject.as_deref() == Some(self.subject),
            _ => one.headers.contains_key("authorization"),
        };
        match one.method.as_str() == method && one.target == target && by {
            true => Ok(()),
            false => Err(format!("executed {one:?} instead of {method} {target}")),
        }
    }
}

/// The layers of one authorization server.
pub(crate) struct World {
    server: TestServer,
    token: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let server = server();
        let token = server.access_token().with_audience(AUDIENCE);
        let token = token.with_subject("alice").with_scope("read").sign();
        Self { server, token }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    fn jwt(&self) -> BearerLayer {
        BearerLayer::jwt(&self.server.authorization_server(), AUDIENCE).unwrap()
    }

    fn metadata(&self) -> ResourceMetadata {
        ResourceMetadata::new(AUDIENCE)
            .unwrap()
            .add_authorization_server(&self.server.authorization_server())
    }

    fn bearer(&self, name: &'static str, wrap: impl FnOnce(Router) -> Router) -> Guarded {
        let executed = Recorder::default();
        Guarded {
            name,
            app: wrap(inner(&executed)),
            executed,
            credential: vec![("authorization", format!("Bearer {}", self.token))],
            subject: "alice",
            has_document: false,
            base: "",
        }
    }

    /// The layers of a resource server. Every application rejects requests without a valid token.
    pub(crate) fn resource_servers(&self) -> Vec<Guarded> {
        let scope = ScopeLayer::all("read").unwrap();
        let announced = || self.jwt().with_resource_metadata(&self.metadata()).unwrap();
        let document = || ResourceMetadataLayer::new(self.metadata());
        let cookie = TokenSource::cookie("__Host-token").unwrap();
        let methods = MethodScopesLayer::new()
            .add("/shop.Orders/List", scope.clone())
            .unwrap()
            .add("/shop.Orders/Delete", ScopeLayer::all("admin").unwrap())
            .unwrap()
            .add("/shop.Orders/*", scope.clone())
            .unwrap();
        let documented = |guarded| Guarded {
            has_document: true,
            ..guarded
        };
        let mut from_cookie = self.bearer("token in a cookie", |app| {
            app.layer(self.jwt().add_token_source(cookie))
        });
        from_cookie.credential = vec![("cookie", format!("__Host-token={}", self.token))];
        vec![
            self.bearer("plain", |app| app.layer(self.jwt())),
            self.bearer("optional with a scope", |app| {
                app.layer(scope).layer(self.jwt().optional())
            }),
            documented(self.bearer("metadata outside", |app| {
                app.layer(announced()).layer(document())
            })),
            documented(self.bearer("metadata inside", |app| {
                app.layer(document()).layer(announced())
            })),
            self.bearer("metadata only announced", |app| app.layer(announced())),
            from_cookie,
            self.bearer("claim headers", |app| {
                let headers = ClaimHeadersLayer::new("x-auth-").unwrap();
                app.layer(headers).layer(self.jwt().without_forwarding())
            }),
            self.bearer("form token", |app| {
                app.layer(self.jwt()).layer(FormTokenLayer::new())
            }),
            self.bearer("method scopes", |app| app.layer(methods).layer(self.jwt())),
        ]
    }

    async fn session(
        &self,
        name: &'static str,
        login: LoginLayer,
        executed: Recorder,
        app: Router,
    ) -> Guarded {
        let shop = Shop {
            server: self.server.clone(),
            app: app.layer(login),
        };
        let jar = shop.signed_in().await;
        assert!(executed.take().is_empty());
        Guarded {
            name,
            app: shop.app,
            executed,
            credential: vec![
                ("cookie", jar.header()),
                ("sec-fetch-site", "same-origin".to_owned()),
                ("x-csrf", "1".to_owned()),
            ],
            subject: "alice",
            has_document: false,
            base: "",
        }
    }

    /// The layers of browser sessions. Every application rejects requests without a session.
    pub(crate) async fn logins(&self) -> Vec<Guarded> {
        let mut all = Vec::new();
        for (name, csrf) in [
            ("login", Csrf::SameOrigin),
            ("login with the static header", Csrf::StaticHeader),
        ] {
            let login = login(&self.server).with_csrf(csrf);
            let executed = Recorder::default();
            let app = inner(&executed).layer(login.required());
            all.push(self.session(name, login, executed, app).await);
        }
        all
    }

    pub(crate) async fn relay(&self) -> Guarded {
        let executed = Recorder::default();
        let upstream = executed.clone();
        let upstream = service_fn(move |request: Request<RequestBody<Body>>| {
            let upstream = upstream.clone();
            let answer = async move { Ok(upstream.execute(request).await) };
            Box::pin(answer) as Pin<Box<dyn Future<Output = io::Result<Response<Body>>> + Send>>
        });
        let relay = Relay::new(UPSTREAM).unwrap().with_transport(upstream);
        let app = Router::new().fallback_service(relay);
        let login = login(&self.server);
        let mut relay = self.session("relay", login, executed, app).await;
        relay.base = UPSTREAM;
        relay
    }

    pub(crate) async fn all(&self) -> Vec<Guarded> {
        let mut all = self.resource_servers();
        all.extend(self.logins().await);
        all.push(self.relay().await);
        all
    }
}

fn inner(executed: &Recorder) -> Router {
    let executed = executed.clone();
    Router::new().fallback_service(service_fn(move |request: Request<Body>| {
        let executed = executed.clone();
        async move { Ok::<_, Infallible>(executed.execute(request).await) }
    }))
}
