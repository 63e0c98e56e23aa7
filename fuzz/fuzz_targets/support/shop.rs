//! A shop behind a login layer, and an authorization server whose answers the fuzzer writes.

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

use crate::still::Still;

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

/// What the token endpoint answers next, and what it was asked.
pub struct Server {
    pub status: u16,
    pub answer: Bytes,
    pub asked: Vec<HashMap<String, String>>,
}

/// A login on its way.
pub struct Started {
    pub state: String,
    pub nonce: String,
    pub cookie: String,
}

impl Shop {
    /// The layer as `configure` leaves it.
    pub fn new(configure: impl FnOnce(LoginLayer) -> LoginLayer) -> Self {
        let signer = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let jwk = json!({
            "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encode(signer.public_key().as_ref()),
        });
        let refused = r#"{"error":"invalid_grant"}"#;
        let state = Arc::new(Mutex::new(Server {
            status: 400,
            answer: refused.into(),
            asked: Vec::new(),
        }));
        let endpoint = {
            let (state, keys) = (Arc::clone(&state), json!({ "keys": [jwk] }).to_string());
            tower::service_fn(move |request: Request<Bytes>| {
                let answer = answer(&mut state.lock().unwrap(), &keys, &request);
                async move { Ok::<_, Infallible>(answer) }
            })
        };
        let server = AuthorizationServer::new(ISSUER).unwrap();
        let server = server.with_clock(Still).with_back_channel(endpoint);
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

    /// What its sealed records are bound to.
    pub fn layer(&self) -> fuzzing::Layer {
        fuzzing::Layer::new(ISSUER, "shop", CALLBACK).unwrap()
    }

    pub fn server(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server.lock().unwrap()
    }

    /// A person goes to `uri` with these `Cookie` fields; `None` where that is no URI.
    pub fn go(&self, uri: &str, cookies: &[HeaderValue]) -> Option<Response<Bytes>> {
        let mut request = Request::get(uri)
            .header("accept", "text/html")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document")
            .body(Full::default())
            .ok()?;
        for cookie in cookies {
            request.headers_mut().append(COOKIE, cookie.clone());
        }
        let answer = self.runtime.block_on(self.app.clone().oneshot(request));
        Some(answer.unwrap())
    }

    /// The authorization server tells of a sign-out.
    pub fn tell(&self, logout_token: &str) -> u16 {
        let request = Request::post("/auth/backchannel-logout")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(format!("logout_token={logout_token}")));
        let service = self.app.clone().oneshot(request.unwrap());
        self.runtime.block_on(service).unwrap().status().as_u16()
    }

    pub fn start(&self) -> Started {
        let answer = self.go("/auth/login", &[]).unwrap();
        let location = answer.headers()[LOCATION].to_str().unwrap();
        let url = url::Url::parse(location).unwrap();
        let value = |name: &str| {
            let (_, value) = url.query_pairs().find(|(other, _)| other == name).unwrap();
            value.into_owned()
        };
        let [(name, cookie)] = &set_cookies(answer.headers())[..] else {
            panic!("{answer:?}");
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

fn answer(server: &mut Server, keys: &str, request: &Request<Bytes>) -> Response<Bytes> {
    let json = Response::builder().header(CONTENT_TYPE, "application/json");
    let (status, body) = match request.uri().path() {
        "/token" => {
            let asked = url::form_urlencoded::parse(request.body());
            server.asked.push(asked.into_owned().collect());
            (server.status, server.answer.clone())
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

/// Who the request comes from, as the handler sees it; 204 for nobody.
async fn whoami(request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Infallible> {
    let Some(session) = request.extensions().get::<Session>() else {
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        return Ok(answer);
    };
    let access_token = session.access_token().await.ok();
    let seen = json!({
        "issuer": session.issuer(),
        "subject": session.subject(),
        "scopes": session.scopes().to_string(),
        "access_token": access_token.map(|token| token.expose().to_owned()),
    });
    Ok(Response::new(seen.to_string().into()))
}

/// What the handler saw, where it saw somebody.
pub fn seen(answer: &Response<Bytes>) -> Option<Value> {
    match answer.status() {
        StatusCode::OK => Some(serde_json::from_slice(answer.body()).unwrap()),
        StatusCode::NO_CONTENT => None,
        status => panic!("{status}"),
    }
}

/// Names and values of the cookies that are set, those included that are cleared.
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

/// OpenID Connect Core §3.1.3.6, for EdDSA with Ed25519.
pub fn half_digest(text: &str) -> String {
    encode(&digest(&SHA512, text.as_bytes()).as_ref()[..32])
}

/// The shop as it is without a store.
pub static PLAIN: LazyLock<Shop> = LazyLock::new(|| Shop::new(|login| login));
