//! A provider that answers at its real addresses through the back channel, and an application that signs users in there.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock, Mutex};

use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tower::service_fn;
use tower_oauth::testing::{ManualClock, TestSigningKey};
use tower_oauth::{Algorithm, CookieKey, LoginLayer, Provider, Session};

use crate::support::shop::{Answer, Ask, CALLBACK, Jar, send};

pub const NOW: i64 = 1_800_000_000;

/// The key of all imitations: all of them sign with RS256, and creating such a key takes long.
pub static KEY: LazyLock<TestSigningKey> =
    LazyLock::new(|| TestSigningKey::generate(Algorithm::Rs256).with_kid("imitated"));

#[derive(Clone, Default)]
pub struct Imitation(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    answers: HashMap<String, (u16, String)>,
    requests: Vec<Sent>,
}

/// A request to the provider.
#[derive(Clone, Debug)]
pub struct Sent {
    pub url: String,
    pub method: String,
    pub headers: http::HeaderMap,
    pub body: String,
}

impl Sent {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    pub fn form(&self) -> HashMap<String, String> {
        let pairs = url::form_urlencoded::parse(self.body.as_bytes());
        pairs.into_owned().collect()
    }
}

impl Imitation {
    /// Creates a provider with these metadata, which have a `jwks_uri`.
    pub fn of(document_url: &str, document: &Value) -> Self {
        let provider = Self::default();
        let jwks_uri = document["jwks_uri"].as_str().unwrap();
        provider.answer(jwks_uri, json!({ "keys": [KEY.public_jwk()] }));
        provider.answer(document_url, document.clone());
        provider
    }

    /// Sets what the provider answers at an address, with status 200.
    #[allow(clippy::needless_pass_by_value)]
    pub fn answer(&self, url: &str, body: Value) {
        self.answer_with(url, 200, &body.to_string());
    }

    pub fn answer_with(&self, url: &str, status: u16, body: &str) {
        let mut state = self.0.lock().unwrap();
        state
            .answers
            .insert(url.to_owned(), (status, body.to_owned()));
    }

    pub fn requests(&self) -> Vec<Sent> {
        self.0.lock().unwrap().requests.clone()
    }

    /// Returns the only request to this address.
    pub fn request(&self, url: &str) -> Sent {
        let all = self.requests();
        let mut all = all.into_iter().filter(|sent| sent.url == url);
        let sent = all.next().unwrap_or_else(|| panic!("no request to {url}"));
        assert!(all.next().is_none(), "one request to {url}");
        sent
    }

    pub fn count(&self, url: &str) -> usize {
        let all = self.requests();
        all.iter().filter(|sent| sent.url == url).count()
    }

    fn respond(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let url = request.uri().to_string();
        let mut state = self.0.lock().unwrap();
        let answer = state.answers.get(&url).cloned();
        state.requests.push(Sent {
            url,
            method: request.method().to_string(),
            headers: request.headers().clone(),
            body: String::from_utf8(request.body().to_vec()).unwrap(),
        });
        let (status, body) = answer.unwrap_or((404, String::new()));
        Response::builder()
            .status(status)
            .header("content-type", "application/json")
            .body(Bytes::from(body))
            .unwrap()
    }

    /// Sends the requests of a provider to this imitation.
    pub fn connect(&self, provider: Provider, clock: &ManualClock) -> Provider {
        let imitation = self.clone();
        let channel = service_fn(move |request: Request<Bytes>| {
            let response = imitation.respond(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        provider
            .with_authorization_server(|server| {
                Ok(server.with_back_channel(channel).with_clock(clock.clone()))
            })
            .unwrap()
    }
}

/// Returns an ID token with these claims, and those that every one has.
pub fn id_token(nonce: &str, claims: &Value) -> String {
    let mut all = json!({ "iat": NOW, "exp": NOW + 3600, "nonce": nonce });
    for (name, value) in claims.as_object().unwrap() {
        match value {
            Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
            value => all[name] = value.clone(),
        }
    }
    let header = json!({ "alg": "RS256", "kid": "imitated", "typ": "JWT" }).to_string();
    KEY.sign(header.as_bytes(), all.to_string().as_bytes())
}

/// Returns a logout token with these claims (OpenID Connect Back-Channel Logout §2.4). Its `jti` is always the same.
pub fn logout_token(claims: &Value) -> String {
    let event = "http://schemas.openid.net/event/backchannel-logout";
    let mut all = claims.clone();
    for (name, value) in [
        ("iat", json!(NOW)),
        ("exp", json!(NOW + 60)),
        ("jti", json!("one")),
        ("events", json!({ event: {} })),
    ] {
        all[name] = value;
    }
    let header = json!({ "alg": "RS256", "kid": "imitated", "typ": "logout+jwt" }).to_string();
    KEY.sign(header.as_bytes(), all.to_string().as_bytes())
}

/// Sends a logout token to the application.
pub async fn report(app: &mut App, logout_token: &str) -> Answer {
    let ask = Ask::new("POST", "/auth/backchannel-logout")
        .with(&[("content-type", "application/x-www-form-urlencoded")])
        .body(&format!("logout_token={logout_token}"));
    app.send(ask).await
}

/// An application with one provider.
pub struct App {
    pub provider: Imitation,
    pub clock: ManualClock,
    pub router: Router,
    pub jar: Jar,
    /// That of the provider, if there are several.
    pub login_path: &'static str,
}

/// A login that waits for the callback.
pub struct Started {
    /// The authorization URL.
    pub location: String,
    pub state: String,
    pub nonce: String,
}

impl App {
    pub fn new(provider: &Imitation, preset: Provider) -> Self {
        Self::with(provider, preset, |login| login)
    }

    pub fn with(
        provider: &Imitation,
        preset: Provider,
        configure: impl FnOnce(LoginLayer) -> LoginLayer,
    ) -> Self {
        crate::support::logs::listen();
        let clock = ManualClock::new(NOW);
        let preset = provider.connect(preset, &clock);
        let key = CookieKey::from_bytes(&[7; 32]).unwrap();
        let login = configure(LoginLayer::for_provider(preset, CALLBACK, key).unwrap());
        let router = Router::new()
            .route("/me", get(me).layer(login.required()))
            .route(
                "/open",
                get(async || "open to all").layer(login.silent_login()),
            )
            .route("/userinfo", get(userinfo).layer(login.required()))
            .layer(login);
        Self {
            provider: provider.clone(),
            clock,
            router,
            jar: Jar::default(),
            login_path: "/auth/login",
        }
    }

    pub async fn send(&mut self, ask: Ask) -> Answer {
        let answer = send(&self.router, ask.jar(&self.jar)).await;
        self.jar.take(&answer);
        answer
    }

    pub async fn start(&mut self) -> Started {
        let answer = self.send(Ask::page(self.login_path)).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        Started {
            location: answer.location().to_owned(),
            state: answer.parameter("state").unwrap(),
            nonce: answer.parameter("nonce").unwrap_or_default(),
        }
    }

    /// Returns to the application with a code.
    pub async fn callback(&mut self, started: &Started) -> Answer {
        self.callback_with(started, "").await
    }

    /// The same, with further parameters: `&iss=...`.
    pub async fn callback_with(&mut self, started: &Started, parameters: &str) -> Answer {
        let state = &started.state;
        let query = format!("/auth/callback?code=the-code&state={state}{parameters}");
        self.send(Ask::page(&query)).await
    }

    /// Signs in with an ID token with these claims. Returns the answer of the callback.
    pub async fn sign_in(&mut self, token_endpoint: &str, claims: &Value) -> Answer {
        let started = self.start().await;
        self.grant(token_endpoint, &started, claims);
        self.callback(&started).await
    }

    /// Responds to the token request of a login with an ID token with these claims.
    pub fn grant(&self, token_endpoint: &str, started: &Started, claims: &Value) {
        let id_token = id_token(&started.nonce, claims);
        self.provider.answer(
            token_endpoint,
            json!({
                "access_token": "the-access-token", "token_type": "Bearer", "expires_in": 3600, "id_token": id_token,
            }),
        );
    }

    /// Returns what the application knows about the user.
    pub async fn me(&mut self) -> Value {
        let answer = self.send(Ask::page("/me")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    pub async fn is_signed_in(&mut self) -> bool {
        self.send(Ask::page("/me")).await.status == 200
    }
}

async fn me(session: Session) -> Json<Value> {
    let email = session.email();
    Json(json!({
        "provider": session.provider(),
        "issuer": session.issuer(),
        "subject": session.subject(),
        "source": format!("{:?}", session.subject_source()),
        "name": session.claims().get("name"),
        "user_name": session.claims().get("preferred_username"),
        "email": email.as_ref().map(|email| email.address()),
        "email_verified": email.as_ref().and_then(|email| email.verified()),
        "scopes": session.scopes().to_string(),
        "access_token": session.access_token().await.is_ok(),
        "app_data": session.app_data::<Value>().unwrap_or_default(),
    }))
}

async fn userinfo(session: Session) -> String {
    match session.userinfo().await {
        Ok(info) => info.subject().to_owned(),
        Err(error) => error.to_string(),
    }
}
