//! A scripted authorization server: its responses can be replaced, and it records its requests.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};
use tower_service::Service;

use crate::clock::tests::StillClock;
use crate::flow::start::StartedLogin;
use crate::flow::{Flow, FlowError, StartRequest};
use crate::issuer::{AuthorizationServer, Client};
use crate::protocol::authorization_response::AuthorizationResponse;
use crate::protocol::{self, form};
use crate::record::SessionRecord;
use crate::sync::Mutex;
pub(crate) use crate::token::id_token::tests::{ISSUER, NOW};
use crate::token::id_token::tests::{change, sign, signing_key};

pub(crate) const REDIRECT_URI: &str = "https://shop.example.com/auth/callback";

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) clock: StillClock,
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
            clock: StillClock::new(NOW),
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

    /// Sets members of the metadata. `null` removes one.
    pub(crate) fn set_metadata(&self, changes: &Value) {
        change(&mut self.state.lock().metadata, changes);
    }

    pub(crate) fn answer_token_request(&self, status: u16, body: &str) {
        self.state.lock().token = (status, body.to_owned());
    }

    /// Responds to token requests with an access token, a refresh token and these members. `null` removes one.
    pub(super) fn grant(&self, changes: &Value) {
        let mut members = json!({
            "access_token": "the-access-token", "token_type": "Bearer", "expires_in": 600,
            "refresh_token": "the-refresh-token",
        });
        change(&mut members, changes);
        self.answer_token_request(200, &members.to_string());
    }

    /// Sets `Retry-After` of all further responses.
    pub(super) fn set_retry_after(&self, field: &'static str) {
        self.state.lock().retry_after = Some(field);
    }

    pub(crate) fn answer_userinfo(&self, status: u16, media_type: &'static str, body: &str) {
        self.state.lock().userinfo = (status, media_type, body.to_owned());
    }

    /// Sets the responses to revocation requests. Further requests receive 200.
    pub(super) fn answer_revocations(&self, responses: &[(u16, &'static str)]) {
        self.state.lock().revocations = responses.iter().copied().collect();
    }

    /// Returns the requests to this path so far.
    pub(crate) fn requests(&self, path: &str) -> Vec<Request<Bytes>> {
        let state = self.state.lock();
        let requests = state.requests.iter();
        let matching = requests.filter(|request| request.uri().path() == path);
        matching.cloned().collect()
    }

    /// Returns the form parameters of the requests to this path so far.
    pub(super) fn forms(&self, path: &str) -> Vec<Vec<(String, String)>> {
        let requests = self.requests(path);
        let bodies = requests.iter().map(|request| request.body());
        bodies
            .map(|body| form::parse(std::str::from_utf8(body).unwrap()).unwrap())
            .collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.lock().requests.len()
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
        const JSON: &str = "application/json";
        let mut state = self.state.lock();
        let (status, media_type, body) = match request.uri().path() {
            "/.well-known/openid-configuration" => (200, JSON, state.metadata.to_string()),
            "/keys" => {
                let keys = json!({ "keys": [signing_key(1).public_jwk()] });
                (200, JSON, keys.to_string())
            }
            "/token" => (state.token.0, JSON, state.token.1.clone()),
            "/userinfo" => state.userinfo.clone(),
            "/revoke" => {
                let (status, body) = state.revocations.pop_front().unwrap_or((200, ""));
                (status, JSON, body.to_owned())
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
    pub(crate) state: protocol::State,
    pub(crate) started: StartedLogin,
}

impl Login {
    pub(crate) async fn start(server: &Server) -> Self {
        Self::start_with(server, server.flow(), StartRequest::default()).await
    }

    pub(crate) async fn start_with(server: &Server, flow: Flow, request: StartRequest) -> Self {
        let state = flow.new_state().unwrap();
        let started = flow.start(&state, request).await.unwrap();
        Self {
            server: server.clone(),
            flow,
            state,
            started,
        }
    }

    /// Returns an ID token for this login, with these changes to its claims.
    pub(super) fn id_token(&self, changes: &Value) -> String {
        let mut claims = json!({
            "iss": ISSUER, "sub": "alice", "aud": "shop", "exp": NOW + 300, "iat": NOW,
            "nonce": self.started.transaction.secret.nonce().expose(),
        });
        change(&mut claims, changes);
        sign(&claims.to_string())
    }

    /// Responds to the token request with an ID token, with these changes to its claims.
    pub(crate) fn grant(&self, changes: &Value) {
        let id_token = self.id_token(changes);
        self.server.grant(&json!({ "id_token": id_token }));
    }

    pub(crate) async fn call_back(self) -> Result<SessionRecord, FlowError> {
        self.call_back_with(&[("code", "the-code")]).await
    }

    /// Handles a callback with the `state` of this login and these parameters.
    pub(crate) async fn call_back_with(
        self,
        parameters: &[(&str, &str)],
    ) -> Result<SessionRecord, FlowError> {
        let state = self.state.expose().to_owned();
        let mut pairs = vec![("state", &*state)];
        pairs.extend(parameters);
        let response = AuthorizationResponse::parse(&form::encode(pairs)).unwrap();
        let transaction = self.started.transaction;
        let grant = self.flow.accept(transaction, response).await?;
        let tokens = self.flow.redeem(&grant).await;
        let tokens = tokens.map_err(|failed| failed.error)?;
        self.flow.complete(grant, tokens).await
    }
}

/// Signs alice in.
pub(crate) async fn sign_in(server: &Server) -> (Flow, SessionRecord) {
    sign_in_with(server, &json!({})).await
}

/// Signs alice in with a token response that has these members.
pub(super) async fn sign_in_with(server: &Server, members: &Value) -> (Flow, SessionRecord) {
    let login = Login::start(server).await;
    let mut members = members.clone();
    members["id_token"] = login.id_token(&json!({})).into();
    server.grant(&members);
    let flow = login.flow.clone();
    (flow, login.call_back().await.unwrap())
}

pub(crate) fn code_of<T>(result: Result<T, FlowError>) -> &'static str {
    result.map_or_else(|error| error.code(), |_| "ok")
}
