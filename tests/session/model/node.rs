//! One process of the application: a login layer, its handler, and a runtime that ends with it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _};
use tower_oauth::protocol::AccessToken;
use tower_oauth::session::SessionError;
use tower_oauth::store::MemoryStore;
use tower_oauth::testing::ManualClock;
use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer, Session};

use super::gates::Gates;
use super::provider::{ISSUER, Provider};
use super::steps::Action;
use super::unreliable::{ContractViolation, Troubles, Unreliable};
use crate::support::modes::Mode;

type App = BoxCloneSyncService<Request<Full<Bytes>>, Response<Bytes>, Infallible>;

/// The state that all nodes share.
#[derive(Clone)]
pub struct Shared {
    pub mode: Mode,
    pub clock: ManualClock,
    pub gates: Gates,
    pub provider: Provider,
    pub entries: MemoryStore,
    pub contract_violation: Option<ContractViolation>,
}

pub struct Node {
    pub troubles: Arc<Troubles>,
    runtime: Runtime,
    app: App,
}

/// A response that may not be available yet.
#[derive(Clone, Debug, Default)]
pub struct Reply(Arc<Mutex<Option<Response<Bytes>>>>);

impl Reply {
    pub fn take(&self) -> Option<Response<Bytes>> {
        self.0.lock().unwrap().take()
    }
}

impl Node {
    pub fn new(shared: &Shared) -> Self {
        let troubles = Arc::new(Troubles::default());
        let channel = {
            let (provider, from) = (shared.provider.clone(), Arc::clone(&troubles));
            tower::service_fn(move |request| provider.clone().answer(Arc::clone(&from), request))
        };
        let server = AuthorizationServer::new(ISSUER).unwrap();
        let server = server
            .with_clock(shared.clock.clone())
            .with_back_channel(channel);
        let store = Unreliable {
            entries: shared.entries.clone(),
            gates: shared.gates.clone(),
            clock: shared.clock.clone(),
            troubles: Arc::clone(&troubles),
            contract_violation: shared.contract_violation,
        };
        let key = CookieKey::from_bytes(&[7; 32]).unwrap();
        let client = Client::confidential("shop", "secret");
        let login = LoginLayer::new(&server, client, CALLBACK, key).unwrap();
        let login = shared.mode.place_in(login, store);
        let gates = shared.gates.clone();
        let handler = tower::service_fn(move |request| handle(gates.clone(), request));
        Self {
            app: BoxCloneSyncService::new(login.layer(handler)),
            runtime: Builder::new_current_thread().build().unwrap(),
            troubles,
        }
    }

    pub fn ask(&self, request: Request<Full<Bytes>>) -> Reply {
        let (reply, app) = (Reply::default(), self.app.clone());
        let slot = reply.clone();
        self.runtime.spawn(async move {
            let Ok(answer) = app.oneshot(request).await;
            *slot.0.lock().unwrap() = Some(answer);
        });
        reply
    }

    /// Runs all tasks as far as they can.
    pub fn run(&self) {
        self.runtime.block_on(async {
            for _ in 0..YIELDS {
                tokio::task::yield_now().await;
            }
        });
    }

    /// Drops all of its tasks, whatever they were doing.
    pub fn kill(self) {
        self.troubles.die();
        drop(self.runtime);
    }
}

pub fn get(path: &str, headers: &[(&'static str, &str)]) -> Request<Full<Bytes>> {
    with(Request::get(path), headers, Bytes::new())
}

pub fn post(path: &str, headers: &[(&'static str, &str)], body: &str) -> Request<Full<Bytes>> {
    with(Request::post(path), headers, body.to_owned().into())
}

fn with(
    mut request: http::request::Builder,
    headers: &[(&'static str, &str)],
    body: Bytes,
) -> Request<Full<Bytes>> {
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body)).unwrap()
}

/// Returns the user and the access token of a session, or 204 without one.
async fn handle(
    gates: Gates,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, Infallible> {
    let session = request.extensions().get::<Session>().cloned();
    if request.headers().contains_key(SLOW) {
        gates.pass().await;
    }
    let Some(session) = session else {
        let mut anonymous = Response::new(Bytes::new());
        *anonymous.status_mut() = StatusCode::NO_CONTENT;
        return Ok(anonymous);
    };
    let token = match action(request.headers()) {
        Action::Page => Value::Null,
        Action::Token => to_json(session.access_token().await),
        Action::NewToken => match session.refresh().await {
            Ok(()) => to_json(session.access_token().await),
            Err(error) => to_json(Err(error)),
        },
    };
    let seen = json!({ "sid": session.claims().get("sid"), "token": token });
    Ok(Response::new(seen.to_string().into()))
}

fn to_json(token: Result<AccessToken, SessionError>) -> Value {
    match token {
        Ok(token) => json!({ "is": token.expose() }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

fn action(headers: &HeaderMap) -> Action {
    match headers.get(ACTION).map(|action| action.as_bytes()) {
        Some(b"token") => Action::Token,
        Some(b"new") => Action::NewToken,
        _ => Action::Page,
    }
}

pub const CALLBACK: &str = "https://shop.example.test/auth/callback";
pub const ACTION: &str = "x-action";
pub const SLOW: &str = "x-slow";

/// Polls of all ready tasks after which the rest wait for an event.
const YIELDS: usize = 24;
