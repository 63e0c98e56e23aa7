//! Metadata (OpenID Connect Discovery §3, RFC 8414 §2) and the key set.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::super::respond;
use super::super::server::TestServer;
use crate::crypto::DEFAULT_ALGORITHMS;

/// Returns the metadata document for both well-known paths.
pub(super) fn metadata(server: &TestServer) -> Response<Bytes> {
    let mut document = json!({
        "issuer": server.issuer(),
        "authorization_endpoint": server.url("/authorize"),
        "token_endpoint": server.url("/token"),
        "jwks_uri": server.url("/jwks"),
        "userinfo_endpoint": server.url("/userinfo"),
        "end_session_endpoint": server.url("/end-session"),
        "introspection_endpoint": server.url("/introspect"),
        "revocation_endpoint": server.url("/revoke"),
        "scopes_supported": scopes(server),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": server.shared.keys.algorithms(),
    });
    let rest = json!({
        "token_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth", "none"],
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": DEFAULT_ALGORITHMS.iter().map(|one| one.name()).collect::<Vec<_>>(),
        "prompt_values_supported": ["none", "login", "consent"],
        "authorization_response_iss_parameter_supported": true,
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "frontchannel_logout_supported": true,
        "frontchannel_logout_session_supported": true,
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        // The default is true (Discovery §3).
        "request_uri_parameter_supported": false,
    });
    if let (Value::Object(document), Value::Object(rest)) = (&mut document, rest) {
        document.extend(rest);
    }
    respond::json(StatusCode::OK, &document)
}

pub(super) fn key_set(server: &TestServer) -> Response<Bytes> {
    respond::json(StatusCode::OK, &server.shared.keys.key_set())
}

fn scopes(server: &TestServer) -> Vec<String> {
    let mut scopes = vec!["openid".to_owned()];
    for client in &server.state().clients {
        for scope in client.scopes.iter().filter(|scope| *scope != "openid") {
            if !scopes.iter().any(|known| known == scope) {
                scopes.push(scope.to_owned());
            }
        }
    }
    scopes
}
