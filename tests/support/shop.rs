//! A shop behind a login layer, an authorization server in the same process, and raw requests to both.

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tower::ServiceExt as _;
use tower_oauth::testing::{Browser, ManualClock, TestClient, TestServer, TestUser};
use tower_oauth::{Client, CookieKey, LoginLayer, Session};

use super::logs;

pub const SHOP: &str = "https://shop.example.com";
pub const ISSUER: &str = "https://id.example.test";
pub const CALLBACK: &str = "https://shop.example.com/auth/callback";
pub const LOGOUT: &str = "https://shop.example.com/auth/logout";
pub const SESSION: &str = "__Host-Http-shop-session";
/// The names of login cookies without the number at their end.
pub const SLOT: &str = "__Host-Http-shop-tx-pFI8-";
pub const KEY: [u8; 32] = [7; 32];

/// The header fields of a navigation.
pub const PAGE: [(&str, &str); 5] = [
    ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-site", "none"),
    ("sec-fetch-user", "?1"),
];

#[derive(Clone)]
pub struct Shop {
    pub server: TestServer,
    pub app: Router,
}

pub fn server() -> TestServer {
    logs::listen();
    super::still_server(ISSUER)
        .unwrap()
        .add_client(client())
        .add_user(TestUser::new("alice", "wonderland"))
        .add_user(TestUser::new("bob", "builder"))
}

pub fn client() -> TestClient {
    TestClient::confidential("shop", "shop-secret")
        .add_redirect_uri(CALLBACK)
        .unwrap()
        .add_post_logout_redirect_uri(LOGOUT)
        .unwrap()
        .without_consent()
}

pub fn login(server: &TestServer) -> LoginLayer {
    login_with(server, CookieKey::from_bytes(&KEY).unwrap())
}

pub fn login_with(server: &TestServer, key: CookieKey) -> LoginLayer {
    let client = Client::confidential("shop", "shop-secret");
    LoginLayer::new(&server.authorization_server(), client, CALLBACK, key)
        .unwrap()
        .with_post_logout_redirect_uri(LOGOUT)
        .unwrap()
}

pub fn app(login: &LoginLayer) -> Router {
    Router::new()
        .route("/", get(home))
        .route(
            "/account",
            get(account).post(account).layer(login.required()),
        )
        .route("/notes", get(home).post(home).put(home))
        .route("/mine", get(account))
        .route(
            "/cached",
            get(|| async { ([("cache-control", "public, max-age=600")], "cached") }),
        )
        .layer(login.clone())
}

async fn home(session: Option<Session>) -> String {
    session.map_or_else(
        || "hello stranger".to_owned(),
        |session| format!("hello {}", session.subject()),
    )
}

async fn account(session: Session) -> String {
    format!("account of {}", session.subject())
}

impl Shop {
    pub fn new() -> Self {
        let server = server();
        let app = app(&login(&server));
        Self { server, app }
    }

    pub fn with(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Self {
        let server = server();
        let app = app(&configure(login(&server)));
        Self { server, app }
    }

    pub fn clock(&self) -> ManualClock {
        self.server.clock()
    }

    pub fn browser(&self) -> Browser {
        self.server
            .browser()
            .with_origin(SHOP, self.app.clone())
            .unwrap()
    }

    pub async fn send(&self, request: Ask) -> Answer {
        send(&self.app, request).await
    }

    /// Starts a login by a user, and keeps its cookies.
    pub async fn start(&self, path: &str, jar: &mut Jar) -> Answer {
        let answer = self.send(Ask::page(path).jar(jar)).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        jar.take(&answer);
        answer
    }

    /// Signs in at the authorization server, and returns the path and query of the callback.
    pub async fn approve(&self, location: &str, user: &str) -> String {
        let browser = self
            .server
            .browser()
            .with_origin(SHOP, Router::new().fallback(|| async { "stub" }))
            .unwrap();
        let password = if user == "alice" {
            "wonderland"
        } else {
            "builder"
        };
        let page = browser.navigate(location).await.unwrap();
        let page = page.sign_in(user, password).await.unwrap();
        page.url().strip_prefix(SHOP).unwrap().to_owned()
    }

    /// Performs a whole login, step by step.
    pub async fn sign_in(&self, user: &str, jar: &mut Jar) -> Answer {
        let answer = self.start("/auth/login", jar).await;
        let callback = self.approve(answer.location(), user).await;
        let answer = self.send(Ask::page(&callback).jar(jar)).await;
        jar.take(&answer);
        answer
    }

    pub async fn signed_in(&self) -> Jar {
        let mut jar = Jar::default();
        let answer = self.sign_in("alice", &mut jar).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{answer:?}");
        jar
    }

    /// Returns the user that the home page greets.
    pub async fn greeting(&self, jar: &Jar) -> String {
        self.send(Ask::page("/").jar(jar)).await.text()
    }

    /// Makes further logins return no refresh token, which would cause a cookie to be written.
    pub fn forget_refresh_tokens(&self) {
        let client =
            client().with_grant_types([tower_oauth::testing::GrantType::AuthorizationCode]);
        let _ = self.server.clone().add_client(client);
    }

    pub fn token_calls(&self) -> usize {
        self.server.count(tower_oauth::testing::Endpoint::Token)
    }
}

pub async fn send(app: &Router, request: Ask) -> Answer {
    let response = app.clone().oneshot(request.build()).await.unwrap();
    Answer::read(response).await
}

/// A request built by hand.
#[derive(Clone, Debug)]
pub struct Ask {
    method: Method,
    uri: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Ask {
    pub fn new(method: &str, uri: &str) -> Self {
        Self {
            method: method.parse().unwrap(),
            uri: uri.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    pub fn page(uri: &str) -> Self {
        Self::new("GET", uri).with(&PAGE)
    }

    pub fn with(mut self, fields: &[(&str, &str)]) -> Self {
        for (name, value) in fields {
            let name: http::HeaderName = name.parse().unwrap();
            self.headers
                .append(name, HeaderValue::from_str(value).unwrap());
        }
        self
    }

    pub fn set(mut self, name: &'static str, value: &str) -> Self {
        self.headers
            .insert(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub fn at(mut self, uri: &str) -> Self {
        uri.clone_into(&mut self.uri);
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub fn body(mut self, body: &str) -> Self {
        self.body = Bytes::copy_from_slice(body.as_bytes());
        self
    }

    pub fn jar(self, jar: &Jar) -> Self {
        match jar.header() {
            header if header.is_empty() => self,
            header => self.with(&[(COOKIE.as_str(), &header)]),
        }
    }

    fn build(self) -> Request<axum::body::Body> {
        let mut request = Request::new(axum::body::Body::new(Full::new(self.body)));
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri.parse().unwrap();
        *request.headers_mut() = self.headers;
        request
    }
}

/// A response with its whole body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub async fn read<B>(response: Response<B>) -> Self
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: std::fmt::Debug,
    {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// All header fields as sent, also those whose values `Debug` hides.
    pub fn head(&self) -> String {
        let line = |(name, value): (&http::HeaderName, &HeaderValue)| {
            format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
        };
        self.headers.iter().map(line).collect()
    }

    pub fn location(&self) -> &str {
        assert!(self.headers.contains_key(LOCATION), "{self:?}");
        self.header("location")
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// All cookies but the mark of a recent sign-in, whose tests use a browser.
    pub fn set_cookies(&self) -> Vec<&str> {
        let all = self.headers.get_all(SET_COOKIE).iter();
        all.map(|value| value.to_str().unwrap())
            .filter(|cookie| !cookie.contains("-signed-in="))
            .collect()
    }

    /// The names of the cookies it sets (but does not clear).
    pub fn sets(&self) -> Vec<&str> {
        self.cookies(false)
    }

    pub fn clears(&self) -> Vec<&str> {
        self.cookies(true)
    }

    fn cookies(&self, cleared: bool) -> Vec<&str> {
        self.set_cookies()
            .into_iter()
            .filter(|cookie| cookie.contains("Max-Age=0") == cleared)
            .map(|cookie| cookie.split('=').next().unwrap())
            .collect()
    }

    pub fn parameter(&self, name: &str) -> Option<String> {
        parameter(self.location(), name)
    }
}

/// Returns a parameter of a URL's query.
pub fn parameter(url: &str, name: &str) -> Option<String> {
    let base = url::Url::parse(SHOP).unwrap();
    let url = base.join(url).unwrap();
    url.query_pairs()
        .find(|(other, _)| other == name)
        .map(|(_, value)| value.into_owned())
}

/// Returns the URL with another value of one parameter.
pub fn with_parameter(url: &str, name: &str, value: Option<&str>) -> String {
    let base = url::Url::parse(SHOP).unwrap();
    let mut url = base.join(url).unwrap();
    let mut pairs: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(other, _)| other != name)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    pairs.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url.as_str().strip_prefix(SHOP).unwrap().to_owned()
}

/// The cookies of a browser, without its rules.
#[derive(Clone, Debug, Default)]
pub struct Jar(pub Vec<(String, String)>);

impl Jar {
    pub fn of(cookies: &[(&str, &str)]) -> Self {
        Self(
            cookies
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    pub fn take(&mut self, answer: &Answer) {
        for cookie in answer.set_cookies() {
            let pair = cookie.split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.0.retain(|(other, _)| other != name);
            if !cookie.contains("Max-Age=0") {
                self.0.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    pub fn header(&self) -> String {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    pub fn value(&self, name: &str) -> &str {
        &self.0.iter().find(|(other, _)| other == name).unwrap().1
    }

    pub fn transactions(&self) -> Vec<&str> {
        self.names()
            .into_iter()
            .filter(|name| name.contains("-tx-"))
            .collect()
    }

    pub fn only(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(
            self.0
                .iter()
                .filter(|(name, _)| keep(name))
                .cloned()
                .collect(),
        )
    }

    pub fn and(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The size of the `Cookie` field.
    pub fn bytes(&self) -> usize {
        self.header().len()
    }
}

pub fn accept_html() -> (&'static str, &'static str) {
    (ACCEPT.as_str(), PAGE[0].1)
}
