//! A test server that is as strict as the FAPI 2.0 Security Profile requires.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::parameters::RequestParameters;
use super::registry::{ClientAuthentication, TestClient};
use super::respond::oauth_error;
use super::server::TestServer;
use crate::crypto::{Algorithm, FAPI2_ALGORITHMS};

impl TestServer {
    /// Makes the server as strict as the [FAPI 2.0 Security Profile] requires, §5.3.2:
    ///
    /// - authorization requests must be pushed, with a `nonce` of at most 64 characters;
    /// - clients authenticate with `private_key_jwt`, signed with PS256, ES256 or EdDSA, or with mutual TLS;
    /// - token requests of the former need a DPoP proof. This server receives no certificate, so tokens of the latter are
    ///   bound to a key if the request has a proof, and otherwise not bound;
    /// - tokens are signed with PS256 unless [another algorithm](Self::with_algorithm) is set later.
    ///
    /// For Message Signing add [`with_signed_requests`](Self::with_signed_requests) and
    /// [`with_response_modes`](Self::with_response_modes).
    ///
    /// [FAPI 2.0 Security Profile]: https://openid.net/specs/fapi-security-profile-2_0-final.html
    #[must_use]
    pub fn with_fapi2(self) -> Self {
        self.state().fapi2 = true;
        self.with_algorithm(Algorithm::Ps256)
            .with_required_pushed_requests()
    }
}

/// Replaces the members of the metadata that the profile restricts.
pub(super) fn restrict(document: &mut Map<String, Value>) {
    let algorithms: Vec<_> = FAPI2_ALGORITHMS.iter().map(|one| one.name()).collect();
    let members = json!({
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "tls_client_auth"],
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "dpop_signing_alg_values_supported": algorithms,
        "tls_client_certificate_bound_access_tokens": true,
        "authorization_signing_alg_values_supported": algorithms,
    });
    if let Value::Object(members) = members {
        document.extend(members);
    }
}

/// Rejects a client that the profile excludes.
pub(super) fn check_client(client: &TestClient) -> Result<(), Box<Response<Bytes>>> {
    use ClientAuthentication::{MutualTls, PrivateKeyJwt};
    if matches!(client.authentication, PrivateKeyJwt | MutualTls) {
        return Ok(());
    }
    let description = "the FAPI 2.0 Security Profile requires private_key_jwt or mutual TLS";
    let error = oauth_error(StatusCode::UNAUTHORIZED, "invalid_client", description);
    Err(Box::new(error))
}

/// Returns whether token requests of this client need a DPoP proof: without a certificate, nothing else binds its tokens.
pub(super) fn requires_proof(client: &TestClient) -> bool {
    client.authentication == ClientAuthentication::PrivateKeyJwt
}

/// Returns why the parameters of an authorization request are rejected.
pub(super) fn check_request(parameters: &RequestParameters) -> Option<&'static str> {
    let nonce = parameters.value("nonce").unwrap_or_default();
    if nonce.len() > MAX_NONCE {
        return Some("nonce is longer than 64 characters");
    }
    let redirect_uri = parameters.value("redirect_uri").unwrap_or_default();
    (!redirect_uri.starts_with("https://")).then_some("redirect_uri is not https")
}

const MAX_NONCE: usize = 64;
