//! An authorization server to try things with; an application of one's own has a real one instead.

use std::error::Error;
use std::time::Duration;

use tower_oauth::testing::{ServerHandle, ManualClock, TestClient, TestServer, TestUser};

use crate::settings::Settings;

/// Listens as long as what is returned lives. Its access tokens end after two minutes, so that one can watch them
/// being renewed at `/token`.
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
    let listening = server.listen(&settings.issuer_addr).await?;
    println!("Sign in as alice / wonderland at {}", settings.issuer());
    Ok(listening)
}
