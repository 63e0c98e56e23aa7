//! Metadata (OpenID Connect Discovery §3, RFC 8414 §2) and the key set.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::super::fapi2;
use super::super::request_features::{Support, name_of};
use super::super::respond;
use super::super::server::TestServer;
use crate::crypto::{ALL_ALGORITHMS, DEFAULT_ALGORITHMS};

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
        "response_modes_supported": response_modes(server),
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": server.shared.keys.algorithms(),
    });
    let rest = json!({
        "token_endpoint_auth_methods_supported":
            [
                "client_secret_basic",
                "client_secret_post",
                "client_secret_jwt",
                "private_key_jwt",
                "spiffe_jwt",
                "tls_client_auth",
                "none",
            ],
        "token_endpoint_auth_signing_alg_values_supported": [
            "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
            "ES384", "EdDSA",
        ],
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": DEFAULT_ALGORITHMS.iter().map(|one| one.name()).collect::<Vec<_>>(),
        "prompt_values_supported": ["none", "login", "consent"],
        "authorization_response_iss_parameter_supported": true,
        "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true,
        "frontchannel_logout_supported": true,
        "frontchannel_logout_session_supported": true,
        "claims_parameter_supported": true,
        "request_parameter_supported": server.state().features.signed != Support::Off,
        // The default is true (Discovery §3).
        "request_uri_parameter_supported": false,
    });
    if let (Value::Object(document), Value::Object(rest)) = (&mut document, rest) {
        document.extend(rest);
        extend_by_features(server, document);
        if server.state().fapi2 {
            fapi2::restrict(document);
        }
    }
    if let Some(rules) = &server.state().detail_rules {
        document["authorization_details_types_supported"] = rules.types().into();
    }
    respond::json(StatusCode::OK, &document)
}

pub(super) fn key_set(server: &TestServer) -> Response<Bytes> {
    respond::json(StatusCode::OK, &server.shared.keys.key_set())
}

fn response_modes(server: &TestServer) -> Vec<&'static str> {
    let modes = &server.state().features.response_modes;
    let others = modes.iter().map(|mode| name_of(*mode));
    ["query"].into_iter().chain(others).collect()
}

/// Adds the members of extensions that are on.
fn extend_by_features(server: &TestServer, document: &mut Map<String, Value>) {
    let state = server.state();
    let (pushed, signed) = (state.features.pushed, state.features.signed);
    drop(state);
    let mut add = |name: &str, value: Value| document.insert(name.to_owned(), value);
    if pushed != Support::Off {
        add(
            "pushed_authorization_request_endpoint",
            server.url("/par").into(),
        );
        add(
            "require_pushed_authorization_requests",
            (pushed == Support::Required).into(),
        );
    }
    if signed != Support::Off {
        let names: Vec<_> = ALL_ALGORITHMS.iter().map(|one| one.name()).collect();
        add("request_object_signing_alg_values_supported", names.into());
        add(
            "require_signed_request_object",
            (signed == Support::Required).into(),
        );
    }
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
