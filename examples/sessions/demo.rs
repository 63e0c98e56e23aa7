//! A demo authorization server. In production, set `ISSUER` instead.

use std::error::Error;
use std::time::Duration;

use tower_oauth::testing::{ManualClock, ServerHandle, TestClient, TestServer, TestUser};

use crate::settings::Settings;

/// Serves until the returned handle is dropped. Access tokens are valid for two minutes, so that `/token` shows
/// a refresh.
pub(crate) async fn listen(settings: &Settings) -> Result<ServerHandle, Box<dyn Error>> {
    let base = &settings.base;
    let client = TestClient::confidential(&settings.client_id, &settings.client_secret)
        .add_redirect_uri(&format!("{base}/auth/callback"))?
        .add_post_logout_redirect_uri(&format!("{base}/auth/logout"))?
        .with_scopes("openid offline_access")?
        .with_access_token_lifetime(Duration::from_secs(120));
    let server = TestServer::new(&settings.issuer())?
        .with_clock(ManualClock::ticking())
        .add_client(client)
        .add_user(TestUser::new("alice", "wonderland"));
    let handle = server.listen(&settings.issuer_addr).await?;
    println!("Sign in as alice / wonderland at {}", settings.issuer());
    Ok(handle)
}
