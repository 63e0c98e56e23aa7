//! Shared by the tests of the resource server: an API behind the layers, and its responses.

use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use axum::routing::get;
use axum::{Json, Router};
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;
use tower_oauth::bearer::Refusal;
use tower_oauth::testing::{Endpoint, TestServer, TokenMint};
use tower_oauth::token::{JwtVerifier, VerifyErrorKind};
use tower_oauth::{Algorithm, AuthorizationServer, BearerLayer, ScopeLayer, VerifiedToken};

use super::challenge::{self, Challenge};
use super::logs;

pub const ISSUER: &str = "https://id.example.test";
pub const AUDIENCE: &str = "https://api.example.test";

/// Returns how often metadata and keys were fetched.
pub fn fetches(server: &TestServer) -> (usize, usize) {
    (
        server.count(Endpoint::Metadata),
        server.count(Endpoint::KeySet),
    )
}

/// An authorization server that signs with ES256, whose keys are the fastest to generate.
pub fn server() -> TestServer {
    logs::listen();
    super::still_server(ISSUER)
        .unwrap()
        .with_algorithm(Algorithm::Es256)
}

/// Mints a token that the API accepts, before changes.
pub fn good(server: &TestServer) -> TokenMint {
    server.access_token().with_audience(AUDIENCE)
}

pub fn verifier(server: &TestServer) -> JwtVerifier {
    verifier_of(&server.authorization_server())
}

pub fn verifier_of(server: &AuthorizationServer) -> JwtVerifier {
    JwtVerifier::new(server, AUDIENCE).unwrap()
}

pub fn layer(server: &TestServer) -> BearerLayer {
    layer_of(&server.authorization_server())
}

pub fn layer_of(server: &AuthorizationServer) -> BearerLayer {
    BearerLayer::jwt(server, AUDIENCE).unwrap()
}

/// `/` returns the subject, `/read` requires the scope `read`, `/maybe` takes `Option<VerifiedToken>`.
pub fn api(guard: impl Guard) -> Router {
    let whoami = async |token: VerifiedToken| {
        Json(json!({ "sub": token.subject(), "scope": token.scopes().to_string() }))
    };
    let maybe = async |token: Option<VerifiedToken>| {
        token.map_or_else(
            || "anonymous".to_owned(),
            |token| format!("{:?}", token.subject()),
        )
    };
    Router::new()
        .route("/", get(whoami).post(whoami))
        .route("/read", get(whoami).layer(ScopeLayer::all("read").unwrap()))
        .route("/maybe", get(maybe))
        .layer(guard.into_layer())
}

/// A layer that can protect an API, or a verifier for a default layer.
pub trait Guard {
    fn into_layer(self) -> BearerLayer;
}

impl Guard for BearerLayer {
    fn into_layer(self) -> BearerLayer {
        self
    }
}

impl Guard for JwtVerifier {
    fn into_layer(self) -> BearerLayer {
        BearerLayer::new(self)
    }
}

/// The result of a request, determined by status and challenge; for a rejected token also the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    /// 401 without an error code.
    NoCredentials,
    /// 400 `invalid_request`.
    InvalidRequest,
    /// 401 `invalid_token`.
    InvalidToken(VerifyErrorKind),
    /// 403 `insufficient_scope`.
    InsufficientScope,
    /// 503 with `Retry-After` and without a challenge.
    Unavailable,
    /// 500 without a challenge.
    Misconfigured,
}

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub refusal: Option<Refusal>,
    pub body: String,
}

impl Answer {
    /// Parses the challenges of all field lines with an independent parser.
    pub fn challenges(&self) -> Vec<Challenge> {
        challenge::parse(&self.headers).unwrap()
    }

    pub fn challenge(&self) -> Challenge {
        let [challenge] = self.challenges().try_into().expect("one challenge");
        challenge
    }

    pub fn outcome(&self) -> Outcome {
        let error = self
            .challenges()
            .first()
            .and_then(|one| one.parameter("error").map(str::to_owned));
        let kind = match &self.refusal {
            Some(Refusal::Token(error)) => Some(error.kind()),
            _ => None,
        };
        match (self.status.as_u16(), error.as_deref(), kind) {
            (200, None, None) => Outcome::Accepted,
            (400, Some("invalid_request"), None) => Outcome::InvalidRequest,
            (401, None, None) => {
                assert_eq!(self.challenge().scheme, "Bearer");
                Outcome::NoCredentials
            }
            (401, Some("invalid_token"), Some(kind)) => {
                self.check_description();
                Outcome::InvalidToken(kind)
            }
            (403, Some("insufficient_scope"), None) => Outcome::InsufficientScope,
            (503, None, _) => {
                assert!(self.challenges().is_empty(), "a 503 has a challenge");
                let wait = self.headers[RETRY_AFTER].to_str().unwrap().parse::<u32>();
                assert!((1..=60).contains(&wait.unwrap()));
                Outcome::Unavailable
            }
            (500, None, _) if self.challenges().is_empty() => Outcome::Misconfigured,
            _ => panic!("unexpected response: {self:?}"),
        }
    }

    /// Asserts that the description is one of the fixed texts.
    fn check_description(&self) {
        let challenge = self.challenge();
        let description = challenge
            .parameter("error_description")
            .expect("a description");
        assert!(
            DESCRIPTIONS.contains(&description),
            "{description:?} is not listed"
        );
    }
}

/// Every `error_description` of a rejected token.
pub const DESCRIPTIONS: &[&str] = &[
    "the access token has expired",
    "the access token is not valid yet",
    "the access token is for a different audience",
    "the access token was issued by a different issuer",
    "the signature of the access token cannot be verified",
    "the token is not an access token",
    "proof of possession is missing",
    "the access token is not sender-constrained",
    "the access token is malformed or unsupported",
    "the access token is not active",
];

pub async fn ask(api: &Router, request: Request<Body>) -> Answer {
    let response = soon(api.clone().oneshot(request)).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        refusal: parts.extensions.get::<Refusal>().cloned(),
        body: String::from_utf8(body.into()).unwrap(),
    }
}

/// Requests `path` with this token.
pub async fn present_at(api: &Router, path: &str, token: &str) -> Answer {
    let request = Request::get(path).header(AUTHORIZATION, format!("Bearer {token}"));
    ask(api, request.body(Body::empty()).unwrap()).await
}

/// Requests `/` with this token.
pub async fn present(api: &Router, token: &str) -> Answer {
    present_at(api, "/", token).await
}

/// Fails the test if the future does not complete, instead of waiting forever.
pub async fn soon<F: Future>(future: F) -> F::Output {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, future)
        .await
        .expect("the future did not complete")
}

/// Lets other tasks run until the condition is true.
pub async fn until(mut is_true: impl FnMut() -> bool) {
    soon(async {
        while !is_true() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Lets all other tasks run until they are pending.
pub async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// One row of a table.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub token: String,
    pub expect: Outcome,
}

pub fn case(name: &'static str, token: impl Into<String>, expect: Outcome) -> Case {
    Case {
        name,
        token: token.into(),
        expect,
    }
}

/// Presents every token, and reports all unexpected results.
pub async fn check(api: &Router, cases: &[Case]) {
    let mut wrong = Vec::new();
    for Case {
        name,
        token,
        expect,
    } in cases
    {
        let outcome = present(api, token).await.outcome();
        if outcome != *expect {
            wrong.push(format!("{name}: {outcome:?} instead of {expect:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
