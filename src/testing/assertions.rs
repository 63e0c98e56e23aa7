//! What a test server requires of the assertions of a client (RFC 7523 §3, RFC 10070 §4).

use super::registry::TestClient;

impl TestClient {
    /// Sets the required `aud` of client assertions. Default: the issuer; some authorization servers
    /// require the URL of their token endpoint instead.
    pub fn with_assertion_audience(mut self, audience: &str) -> Self {
        self.assertion_audience = Some(audience.to_owned());
        self
    }

    /// Sets the required `typ` of client assertions to `JWT` or none, as for servers older than RFC 10070. Default:
    /// `client-authentication+jwt`.
    pub fn with_untyped_assertions(mut self) -> Self {
        self.has_untyped_assertions = true;
        self
    }

    /// Sets the only accepted `alg` of client assertions (`token_endpoint_auth_signing_alg`, OpenID Connect Registration
    /// §2), such as `ES256`. Default: any.
    pub fn with_assertion_algorithm(mut self, name: &str) -> Self {
        self.assertion_algorithm = Some(name.to_owned());
        self
    }

    /// Sets the required `client_assertion_type`. Default: that of RFC 7523 §2.2.
    pub fn with_assertion_type(mut self, urn: &str) -> Self {
        self.assertion_type = Some(urn.to_owned());
        self
    }
}
