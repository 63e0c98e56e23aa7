//! A shop whose access tokens are bound to a key, and the proofs that it sends.

use axum::Router;
use axum::routing::get;
use http::HeaderMap;
use serde_json::Value;
use tower_oauth::testing::{DpopKey, Endpoint, TestClient, TestServer, TestUser};
use tower_oauth::{Algorithm, LoginLayer, Session};

use super::authorization_server::part;
use super::shop::{Answer, Ask, ISSUER, Jar, Shop, client, login};
use super::{logs, still_server};

/// The header and the claims of a proof, without a check of its signature.
#[derive(Clone, Debug)]
pub struct Proof {
    pub header: Value,
    pub claims: Value,
}

impl Proof {
    pub fn read(proof: &str) -> Self {
        Self {
            header: part(proof, 0),
            claims: part(proof, 1),
        }
    }

    /// Returns the one proof of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut fields = headers.get_all("dpop").iter();
        let field = fields.next().expect("a proof");
        assert!(fields.next().is_none(), "one proof");
        Self::read(field.to_str().unwrap())
    }

    pub fn claim(&self, name: &str) -> &str {
        self.claims[name].as_str().unwrap_or_default()
    }

    /// Returns the thumbprint of the key (RFC 7638).
    pub fn thumbprint(&self) -> String {
        let jwk = &self.header["jwk"];
        let text = format!(
            r#"{{"crv":{},"kty":{},"x":{},"y":{}}}"#,
            jwk["crv"], jwk["kty"], jwk["x"], jwk["y"]
        );
        hash(&text)
    }
}

/// Returns the SHA-256 digest in base64url, as `ath` has it.
pub fn hash(text: &str) -> String {
    let key = DpopKey::new(Algorithm::Es256);
    let proof = key.proof("GET", "").with_access_token(text);
    Proof::read(&proof.sign()).claim("ath").to_owned()
}

/// Returns the proofs of all requests to an endpoint.
pub fn proofs(server: &TestServer, endpoint: Endpoint) -> Vec<Proof> {
    let requests = server.requests().into_iter();
    requests
        .filter(|request| request.endpoint() == endpoint)
        .map(|request| Proof::of(request.headers()))
        .collect()
}

/// A server that issues bound tokens only.
pub fn dpop_server(change: impl FnOnce(TestClient) -> TestClient) -> TestServer {
    logs::listen();
    still_server(ISSUER)
        .unwrap()
        .add_client(change(client().with_required_dpop()))
        .add_user(TestUser::new("alice", "wonderland"))
        .add_user(TestUser::new("bob", "builder"))
}

/// A shop with a page that shows userinfo.
pub fn dpop_shop(server: &TestServer) -> Shop {
    shop_of(server, login(server).with_dpop())
}

pub fn shop_of(server: &TestServer, login: LoginLayer) -> Shop {
    let userinfo = async |session: Session| match session.userinfo().await {
        Ok(info) => format!("userinfo of {}", info.subject()),
        Err(error) => error.to_string(),
    };
    let home = async |session: Option<Session>| match session {
        Some(session) => format!("hello {}", session.subject()),
        None => "hello stranger".to_owned(),
    };
    let app = Router::new()
        .route("/", get(home))
        .route("/userinfo", get(userinfo))
        .layer(login);
    Shop {
        server: server.clone(),
        app,
    }
}

pub async fn userinfo(shop: &Shop, jar: &Jar) -> Answer {
    shop.send(Ask::page("/userinfo").jar(jar)).await
}
