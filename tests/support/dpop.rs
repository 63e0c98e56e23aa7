//! Shared by the DPoP tests: a client with a key, and responses in one line.

use axum::Router;
use axum::body::Body;
use http::Request;
use http::header::AUTHORIZATION;
use tower_oauth::bearer::Refusal;
use tower_oauth::testing::{DpopKey, DpopProof, TestServer, TokenMint};
use tower_oauth::token::{Dpop, VerifyErrorKind};
use tower_oauth::{Algorithm, BearerLayer};

use super::api::{AUDIENCE, Answer, ask, good, layer};

/// A client with a key.
#[derive(Clone)]
pub struct Client {
    pub server: TestServer,
    pub key: DpopKey,
}

impl Client {
    pub fn new(server: &TestServer) -> Self {
        Self::with_algorithm(server, Algorithm::Es256)
    }

    pub fn with_algorithm(server: &TestServer, algorithm: Algorithm) -> Self {
        Self {
            server: server.clone(),
            key: DpopKey::new(algorithm).with_clock(server.clock()),
        }
    }

    /// An access token that is bound to the key.
    pub fn mint(&self) -> TokenMint {
        good(&self.server).bound_to(&self.key)
    }

    pub fn token(&self) -> String {
        self.mint().sign()
    }

    /// Creates a valid proof for `GET` of this path with this token.
    pub fn proof(&self, path: &str, token: &str) -> DpopProof {
        let url = format!("{AUDIENCE}{path}");
        self.key.proof("GET", &url).with_access_token(token)
    }
}

/// Accepts proofs for this API, with the clock of the server.
pub fn dpop(server: &TestServer) -> Dpop {
    Dpop::new(AUDIENCE).unwrap().with_clock(server.clock())
}

pub fn dpop_layer(server: &TestServer) -> BearerLayer {
    layer(server).with_dpop(dpop(server))
}

pub fn request(path: &str, authorization: &str, proof: &str) -> Request<Body> {
    Request::get(path)
        .header(AUTHORIZATION, authorization)
        .header("dpop", proof)
        .body(Body::empty())
        .unwrap()
}

/// Requests `/` with the scheme `DPoP`.
pub async fn show(api: &Router, token: &str, proof: &str) -> Answer {
    ask(api, request("/", &format!("DPoP {token}"), proof)).await
}

impl Answer {
    /// Returns the status and each scheme with its error, if it has one: `401 Bearer DPoP=invalid_token`.
    pub fn said(&self) -> String {
        let mut said = self.status.as_u16().to_string();
        for challenge in self.challenges() {
            said.push(' ');
            said.push_str(&challenge.scheme);
            if let Some(error) = challenge.parameter("error") {
                said.push('=');
                said.push_str(error);
            }
        }
        said
    }

    pub fn kind(&self) -> Option<VerifyErrorKind> {
        match &self.refusal {
            Some(Refusal::Token(error)) => Some(error.kind()),
            _ => None,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.get_all(name).iter();
        let line = lines.next()?;
        assert!(lines.next().is_none(), "{name} is repeated");
        Some(line.to_str().unwrap())
    }
}
