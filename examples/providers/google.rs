//! An imitation of Google: an OpenID provider, such as the test server is.

use tower_oauth::testing::{ManualClock, TestClient, TestServer, TestUser};
use tower_oauth::{AuthorizationServer, Client, ConfigError, Provider};

const CLIENT: (&str, &str) = ("demo", "demo-secret");

/// The provider of the imitation; `Provider::google` is that of Google.
pub(crate) fn provider(issuer: &str) -> Result<Provider, ConfigError> {
    let client = Client::confidential_post(CLIENT.0, CLIENT.1);
    Provider::new("google", &AuthorizationServer::new(issuer)?, client)?
        .with_display_name("Google")
        .with_scopes("openid profile email")
}

/// Not for production.
pub(crate) fn imitation(issuer: &str, app: &str) -> Result<TestServer, ConfigError> {
    let client = TestClient::confidential(CLIENT.0, CLIENT.1)
        .add_redirect_uri(&format!("{app}/auth/callback"))?
        .without_consent();
    let alice = TestUser::new("alice", "wonderland")
        .with_subject("110169484474386276334")
        .with_claim("name", "Alice Liddell")
        .with_claim("email", "alice@example.com")
        .with_claim("email_verified", true);
    let server = TestServer::new(issuer)?.with_clock(ManualClock::ticking());
    Ok(server.add_client(client).add_user(alice))
}
