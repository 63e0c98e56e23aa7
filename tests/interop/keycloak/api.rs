//! An API that accepts Keycloak's access tokens, with its roles as scopes.

use axum::body::Body;
use axum::routing::get;
use axum::{Json, Router};
use http::{Request, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_oauth::bearer::ClientCertificate;
use tower_oauth::token::{ScopeClaim, TokenProfile};
use tower_oauth::{AuthorizationServer, BearerLayer, JwtVerifier, ScopeLayer, VerifiedToken};

use super::realm::API;

/// The claim with the roles of a user.
pub fn roles() -> [ScopeClaim; 1] {
    [ScopeClaim::nested(["realm_access", "roles"])]
}

pub fn jwt(server: &AuthorizationServer, profile: TokenProfile) -> JwtVerifier {
    JwtVerifier::new(server, API)
        .unwrap()
        .with_profile(profile)
        .with_scopes_from(roles())
        .unwrap()
}

/// Creates the API with the usual configuration for Keycloak.
pub fn keycloak_api(server: &AuthorizationServer) -> Router {
    api(BearerLayer::new(jwt(server, TokenProfile::Keycloak)))
}

/// `/` requires a token, `/read` and `/write` a role.
pub fn api(layer: BearerLayer) -> Router {
    async fn caller(token: VerifiedToken) -> Json<Value> {
        Json(json!({
            "subject": token.subject(),
            "client": token.client_id(),
            "scopes": token.scopes().iter().collect::<Vec<_>>(),
            "is_bound": token.is_bound(),
        }))
    }
    let require = |role| ScopeLayer::all(role).unwrap();
    Router::new()
        .route("/", get(caller))
        .route("/read", get(caller).layer(require("orders:read")))
        .route("/write", get(caller).layer(require("orders:write")))
        .layer(layer)
}

/// The credentials of a call.
pub struct Call<'a> {
    pub scheme: &'a str,
    pub token: &'a str,
    pub proof: Option<String>,
    pub certificate: Option<&'a ClientCertificate>,
}

/// What the caller receives.
#[derive(Debug)]
pub struct ApiResponse {
    pub status: u16,
    pub challenge: String,
    pub body: Value,
}

impl<'a> Call<'a> {
    pub fn bearer(token: &'a str) -> Self {
        Self {
            scheme: "Bearer",
            token,
            proof: None,
            certificate: None,
        }
    }

    pub async fn get(self, api: &Router, path: &str) -> ApiResponse {
        let credentials = format!("{} {}", self.scheme, self.token);
        let mut request = Request::get(path).header(header::AUTHORIZATION, credentials);
        if let Some(proof) = self.proof {
            request = request.header("dpop", proof);
        }
        let mut request = request.body(Body::empty()).unwrap();
        if let Some(certificate) = self.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        let response = api.clone().oneshot(request).await.unwrap();
        let challenges = response.headers().get_all(header::WWW_AUTHENTICATE);
        let challenges = challenges.iter().map(|value| value.to_str().unwrap());
        let challenge = challenges.collect::<Vec<_>>().join(", ");
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        ApiResponse {
            status,
            challenge,
            body: serde_json::from_slice(&body).unwrap_or_default(),
        }
    }
}

/// Calls the API with a Bearer token.
pub async fn call(api: &Router, path: &str, token: &str) -> ApiResponse {
    Call::bearer(token).get(api, path).await
}

impl ApiResponse {
    #[track_caller]
    pub fn assert_accepted(&self, name: &str) {
        assert_eq!(self.status, 200, "{name}: {self:?}");
    }

    /// Asserts 401 with this error and a challenge that has this text.
    #[track_caller]
    pub fn assert_unauthorized(&self, error: &str, text: &str, name: &str) {
        assert_eq!(self.status, 401, "{name}: {self:?}");
        let error = format!("error=\"{error}\"");
        assert!(self.challenge.contains(&error), "{name}: {self:?}");
        assert!(self.challenge.contains(text), "{name}: {self:?}");
    }

    #[track_caller]
    pub fn assert_forbidden(&self, scope: &str, name: &str) {
        assert_eq!(self.status, 403, "{name}: {self:?}");
        let scope = format!("scope=\"{scope}\"");
        assert!(self.challenge.contains("error=\"insufficient_scope\""));
        assert!(self.challenge.contains(&scope), "{name}: {self:?}");
    }
}
