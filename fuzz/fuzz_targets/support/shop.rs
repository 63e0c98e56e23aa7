//! A shop behind a login layer, and an authorization server whose responses come from the fuzzer.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, LazyLock, Mutex};

use aws_lc_rs::digest::{SHA512, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _};
use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer, Session, fuzzing};

use crate::fixed_clock::FixedClock;

pub const ISSUER: &str = "https://id.example.com";
pub const SESSION: &str = "__Host-Http-shop-session";
pub const PREFIX: &str = "__Host-Http-shop-";
const CALLBACK: &str = "https://shop.example.com/auth/callback";

type App = BoxCloneSyncService<Request<Full<Bytes>>, Response<Bytes>, Infallible>;

pub struct Shop {
    pub key: CookieKey,
    app: App,
    server: Arc<Mutex<Server>>,
    signer: Ed25519KeyPair,
    runtime: Runtime,
}

/// The next response of the token endpoint, and the requests that it received.
pub struct Server {
    pub status: u16,
    pub response: Bytes,
    pub requests: Vec<HashMap<String, String>>,
}

/// A login in progress.
pub struct Started {
    pub state: String,
    pub nonce: String,
    pub cookie: String,
}

impl Shop {
    /// Creates a shop with the layer that `configure` returns.
    pub fn new(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Self {
        let signer = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let jwk = json!({
            "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encode(signer.public_key().as_ref()),
        });
        let error_body = r#"{"error":"invalid_grant"}"#;
        let state = Arc::new(Mutex::new(Server {
            status: 400,
            response: error_body.into(),
            requests: Vec::new(),
        }));
        let endpoint = {
            let (state, keys) = (Arc::clone(&state), json!({ "keys": [jwk] }).to_string());
            tower::service_fn(move |request: Request<Bytes>| {
                let response = respond(&mut state.lock().unwrap(), &keys, &request);
                async move { Ok::<_, Infallible>(response) }
            })
        };
        let server = AuthorizationServer::new(ISSUER).unwrap();
        let server = server.with_clock(FixedClock).with_back_channel(endpoint);
        let key = CookieKey::from_bytes(&[7; 32]).unwrap();
        let client = Client::confidential("shop", "secret");
        let login = LoginLayer::new(&server, client, CALLBACK, key.clone()).unwrap();
        let service = configure(login).layer(tower::service_fn(whoami));
        Self {
            key,
            app: BoxCloneSyncService::new(service),
            server: state,
            signer,
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap(),
        }
    }

    /// Returns the identity of the layer, which encrypted records are bound to.
    pub fn layer(&self) -> fuzzing::Layer {
        fuzzing::Layer::new(ISSUER, "shop", CALLBACK).unwrap()
    }

    pub fn server(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    /// Navigates to `uri` with these `Cookie` fields. Returns `None` if it is not a URI.
    pub fn get(&self, uri: &str, cookies: &[HeaderValue]) -> Option<Response<Bytes>> {
        let mut request = Request::get(uri)
            .header("accept", "text/html")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .body(Full::default())
            .ok()?;
        for cookie in cookies {
            request.headers_mut().append(COOKIE, cookie.clone());
        }
        let response = self.runtime.block_on(self.app.clone().oneshot(request));
        Some(response.unwrap())
    }

    /// Sends a back-channel logout request.
    pub fn post_logout_token(&self, logout_token: &str) -> u16 {
        let request = Request::post("/auth/backchannel-logout")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(format!("logout_token={logout_token}")));
        let service = self.app.clone().oneshot(request.unwrap());
        self.runtime.block_on(service).unwrap().status().as_u16()
    }

    pub fn start(&self) -> Started {
        let response = self.get("/auth/login", &[]).unwrap();
        let location = response.headers()[LOCATION].to_str().unwrap();
        let url = url::Url::parse(location).unwrap();
        let value = |name: &str| {
            let (_, value) = url.query_pairs().find(|(other, _)| other == name).unwrap();
            value.into_owned()
        };
        let [(name, cookie)] = &set_cookies(response.headers())[..] else {
            panic!("{response:?}");
        };
        Started {
            state: value("state"),
            nonce: value("nonce"),
            cookie: format!("{name}={cookie}"),
        }
    }

    pub fn sign(&self, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", encode(header), encode(payload));
        let signature = encode(self.signer.sign(input.as_bytes()));
        format!("{input}.{signature}")
    }
}

fn respond(server: &mut Server, keys: &str, request: &Request<Bytes>) -> Response<Bytes> {
    let json = Response::builder().header(CONTENT_TYPE, "application/json");
    let (status, body) = match request.uri().path() {
        "/token" => {
            let form = url::form_urlencoded::parse(request.body());
            server.requests.push(form.into_owned().collect());
            (server.status, server.response.clone())
        }
        "/keys" => (200, Bytes::copy_from_slice(keys.as_bytes())),
        _ => {
            let metadata = json!({
                "issuer": ISSUER,
                "authorization_endpoint": format!("{ISSUER}/authorize"),
                "token_endpoint": format!("{ISSUER}/token"),
                "jwks_uri": format!("{ISSUER}/keys"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["EdDSA"],
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": true,
            });
            (200, metadata.to_string().into())
        }
    };
    json.status(status).body(body).unwrap()
}

/// Returns the user of the request, or 204 without a session.
async fn whoami(request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Infallible> {
    let Some(session) = request.extensions().get::<Session>() else {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(response);
    };
    let access_token = session.access_token().await.ok();
    let user = json!({
        "issuer": session.issuer(),
        "subject": session.subject(),
        "scopes": session.scopes().to_string(),
        "access_token": access_token.map(|token| token.expose().to_owned()),
    });
    Ok(Response::new(user.to_string().into()))
}

/// Returns the user that the handler has seen, if any.
pub fn user_of(response: &Response<Bytes>) -> Option<Value> {
    match response.status() {
        StatusCode::OK => Some(serde_json::from_slice(response.body()).unwrap()),
        StatusCode::NO_CONTENT => None,
        status => panic!("{status}"),
    }
}

/// Returns names and values of the cookies that are set or cleared.
pub fn set_cookies(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .get_all(SET_COOKIE)
        .iter()
        .map(|value| {
            let pair = value.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Computes `at_hash` (OpenID Connect Core §3.1.3.6) for EdDSA with Ed25519.
pub fn half_digest(text: &str) -> String {
    encode(&digest(&SHA512, text.as_bytes()).as_ref()[..32])
}

/// A shop without a store.
pub static PLAIN: LazyLock<Shop> = LazyLock::new(|| Shop::new(|login| login));
