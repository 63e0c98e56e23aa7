//! A scripted authorization server: its responses can be replaced, and it records its requests.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tower_service::Service;

use crate::clock::{Clock, Sleep};
use crate::crypto::base64url;
use crate::flow::start::StartedLogin;
use crate::flow::{Flow, FlowError, StartRequest};
use crate::issuer::{AuthorizationServer, Client};
use crate::protocol::authorization_response::AuthorizationResponse;
use crate::protocol::form;
use crate::record::SessionRecord;

pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const REDIRECT_URI: &str = "https://shop.example.com/auth/callback";
pub(crate) const NOW: i64 = 1_800_000_000;

/// A clock that only advances explicitly. Its timers never elapse.
#[derive(Clone, Debug)]
pub(crate) struct StillClock(Arc<Mutex<i64>>);

impl StillClock {
    pub(crate) fn advance(&self, seconds: i64) {
        *self.0.lock().unwrap() += seconds;
    }
}

impl Clock for StillClock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(*self.0.lock().unwrap()).unwrap())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(u64::try_from(*self.0.lock().unwrap() - NOW + 1000).unwrap())
    }

    fn sleep(&self, _: Duration) -> Sleep {
        Box::pin(std::future::pending())
    }
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) clock: StillClock,
    key: Arc<Ed25519KeyPair>,
    state: Arc<Mutex<State>>,
}

struct State {
    metadata: Value,
    token: (u16, String),
    retry_after: Option<&'static str>,
    userinfo: (u16, &'static str, String),
    revocations: VecDeque<(u16, &'static str)>,
    requests: Vec<Request<Bytes>>,
}

impl Server {
    pub(crate) fn new() -> Self {
        let metadata = json!({
            "issuer": ISSUER,
            "authorization_endpoint": format!("{ISSUER}/authorize"),
            "token_endpoint": format!("{ISSUER}/token"),
            "jwks_uri": format!("{ISSUER}/keys"),
            "userinfo_endpoint": format!("{ISSUER}/userinfo"),
            "end_session_endpoint": format!("{ISSUER}/logout"),
            "code_challenge_methods_supported": ["S256"],
        });
        Self {
            clock: StillClock(Arc::new(Mutex::new(NOW))),
            key: Arc::new(Ed25519KeyPair::generate().unwrap()),
            state: Arc::new(Mutex::new(State {
                metadata,
                token: (500, String::new()),
                retry_after: None,
                userinfo: (500, "", String::new()),
                revocations: VecDeque::new(),
                requests: Vec::new(),
            })),
        }
    }

    /// Sets a member of the metadata. `null` removes it.
    pub(crate) fn set_metadata(&self, name: &str, value: Value) {
        let metadata = &mut self.state.lock().unwrap().metadata;
        match value {
            Value::Null => drop(metadata.as_object_mut().unwrap().remove(name)),
            value => metadata[name] = value,
        }
    }

    pub(crate) fn answer_token_request(&self, status: u16, body: &str) {
        self.state.lock().unwrap().token = (status, body.to_owned());
    }

    /// Sets `Retry-After` of all further responses.
    pub(super) fn set_retry_after(&self, field: &'static str) {
        self.state.lock().unwrap().retry_after = Some(field);
    }

    pub(super) fn token_response(&self) -> String {
        self.state.lock().unwrap().token.1.clone()
    }

    pub(crate) fn answer_userinfo(&self, status: u16, media_type: &'static str, body: &str) {
        self.state.lock().unwrap().userinfo = (status, media_type, body.to_owned());
    }

    /// Sets the responses to revocation requests. Further requests receive 200.
    pub(super) fn answer_revocations(&self, responses: &[(u16, &'static str)]) {
        self.state.lock().unwrap().revocations = responses.iter().copied().collect();
    }

    pub(crate) fn sign(&self, header: &Value, claims: &str) -> String {
        let encode = |text: &str| base64url::encode(text.as_bytes());
        let input = format!("{}.{}", encode(&header.to_string()), encode(claims));
        let signature = self.key.sign(input.as_bytes());
        format!("{input}.{}", base64url::encode(signature.as_ref()))
    }

    /// Returns the requests to this path so far.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request<Bytes>> {
        let state = self.state.lock().unwrap();
        state
            .requests
            .iter()
            .filter(|request| request.uri().path() == path)
            .cloned()
            .collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    pub(crate) fn authorization_server(&self) -> AuthorizationServer {
        AuthorizationServer::new(ISSUER)
            .unwrap()
            .with_back_channel(self.clone())
            .with_clock(self.clock.clone())
    }

    pub(crate) fn flow(&self) -> Flow {
        self.flow_of(Client::confidential("shop", "secret"))
    }

    pub(crate) fn flow_of(&self, client: Client) -> Flow {
        Flow::new(&self.authorization_server(), client, REDIRECT_URI).unwrap()
    }
}

impl Service<Request<Bytes>> for Server {
    type Response = Response<Bytes>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Bytes>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let mut state = self.state.lock().unwrap();
        let (status, media_type, body) = match request.uri().path() {
            "/.well-known/openid-configuration" => {
                (200, "application/json", state.metadata.to_string())
            }
            "/keys" => {
                let x = base64url::encode(self.key.public_key().as_ref());
                let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "1" });
                (
                    200,
                    "application/json",
                    json!({ "keys": [key] }).to_string(),
                )
            }
            "/token" => (state.token.0, "application/json", state.token.1.clone()),
            "/userinfo" => state.userinfo.clone(),
            "/revoke" => {
                let (status, body) = state.revocations.pop_front().unwrap_or((200, ""));
                (status, "application/json", body.to_owned())
            }
            _ => (404, "text/plain", String::new()),
        };
        state.requests.push(request);
        let mut response = Response::builder()
            .status(status)
            .header("content-type", media_type);
        if let Some(field) = state.retry_after {
            response = response.header("retry-after", field);
        }
        ready(Ok(response.body(Bytes::from(body)).unwrap()))
    }
}

/// A login in progress.
pub(crate) struct Login {
    pub(crate) server: Server,
    pub(crate) flow: Flow,
    pub(crate) started: StartedLogin,
}

impl Login {
    pub(crate) async fn start(server: &Server) -> Self {
        Self::start_with(
            server,
            StartRequest {
                return_to: "/".into(),
                ..Default::default()
            },
        )
        .await
    }

    pub(crate) async fn start_with(server: &Server, request: StartRequest) -> Self {
        let flow = server.flow();
        let started = flow.start(request).await.unwrap();
        Self {
            server: server.clone(),
            flow,
            started,
        }
    }

    /// Returns the claims of a valid ID token for this login.
    pub(crate) fn claims(&self) -> Value {
        json!({
            "iss": ISSUER, "sub": "alice", "aud": "shop", "exp": NOW + 300, "iat": NOW,
            "nonce": self.started.transaction.nonce.expose(),
        })
    }

    /// Sets the token response to tokens with this ID token.
    pub(crate) fn grant(&self, id_token: &str) {
        let body = json!({
            "access_token": "the-access-token", "token_type": "Bearer", "expires_in": 600,
            "refresh_token": "the-refresh-token", "id_token": id_token,
        });
        self.server.answer_token_request(200, &body.to_string());
    }

    pub(crate) fn grant_claims(&self, claims: &Value) {
        let header = json!({ "alg": "EdDSA", "kid": "1" });
        self.grant(&self.server.sign(&header, &claims.to_string()));
    }

    pub(crate) async fn call_back(self) -> Result<SessionRecord, FlowError> {
        self.call_back_with(&[("code", "the-code")]).await
    }

    /// Handles a callback with the `state` of this login and these parameters.
    pub(crate) async fn call_back_with(
        self,
        parameters: &[(&str, &str)],
    ) -> Result<SessionRecord, FlowError> {
        let state = self.started.transaction.state.expose().to_owned();
        let mut pairs = vec![("state", &*state)];
        pairs.extend(parameters);
        let response = AuthorizationResponse::parse(&form::encode(pairs)).unwrap();
        let transaction = self.started.transaction;
        let grant = self.flow.accept(transaction, response).await?;
        let tokens = self
            .flow
            .redeem(&grant)
            .await
            .map_err(|failed| failed.error)?;
        self.flow.complete(grant, tokens).await
    }
}

/// Signs alice in.
pub(crate) async fn sign_in(server: &Server) -> (Flow, SessionRecord) {
    let login = Login::start(server).await;
    login.grant_claims(&login.claims());
    let flow = login.flow.clone();
    (flow, login.call_back().await.unwrap())
}

pub(crate) fn code_of<T>(result: Result<T, FlowError>) -> &'static str {
    result.map_or_else(|error| error.code(), |_| "ok")
}
