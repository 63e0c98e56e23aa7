//! Sessions at oidc-provider whose access tokens are bound to a key (RFC 9449), with and without nonces.

use tower_oauth::token::{Dpop, DpopNonceKey};
use tower_oauth::{Client, LoginLayer};

use super::{API, World};
use crate::provider::SECRET;

/// The URL of the API.
pub const API_URL: &str = "https://api.example/?page=2";

/// Accepts proofs for the API, which requires its nonces.
pub fn proofs_for_the_api() -> Dpop {
    let dpop = Dpop::new("https://api.example").unwrap();
    dpop.with_nonces(DpopNonceKey::generate().unwrap())
}

fn bound(login: LoginLayer) -> LoginLayer {
    let login = login
        .with_dpop()
        .with_scopes("openid profile offline_access");
    let login = login.unwrap();
    login
        .with_authorization_parameter("prompt", "consent")
        .unwrap()
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_bound_session_signs_in_reads_userinfo_refreshes_and_revokes() {
    for nonces in ["0", "1"] {
        for client in [
            Client::confidential("web-dpop", SECRET),
            Client::public("web-dpop-public"),
        ] {
            let name = format!("{} {nonces}", client.id());
            let world = World::with_settings(&[("DPOP_NONCE", nonces)], client, bound).await;
            let page = world.sign_in("/account").await;
            assert_eq!(page.text(), "alice is \"Alice Example\"", "{name}");
            // Only the first request has no nonce.
            let extra = u64::from(nonces == "1");
            let requests = world.provider.requests();
            assert_eq!(requests["/token"], 1 + extra, "{name}");
            let userinfo = requests["/me"];
            assert!((1..=1 + extra).contains(&userinfo), "{name}: {userinfo}");

            let token = world.open("/refreshed").await.text();
            assert!(world.provider.is_active(&token), "{name}: {token}");
            assert_eq!(world.provider.requests()["/token"], 2 + extra, "{name}");
            let page = world.open("/account").await;
            assert_eq!(page.text(), "alice is \"Alice Example\"", "{name}");

            let home = world.open("/").await;
            home.form("/auth/logout").unwrap().submit().await.unwrap();
            assert!(!world.provider.is_active(&token), "{name}");
        }
    }
}

#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn an_api_accepts_the_bound_token_of_a_session_with_proofs() {
    let client = Client::confidential("web-dpop", SECRET);
    let world = World::with_settings(&[("DPOP_NONCE", "1")], client, |login| {
        let login = login.with_dpop().with_scopes("openid api:read").unwrap();
        login.add_resource(API).unwrap()
    })
    .await;
    let page = world.sign_in("/notes").await;
    assert_eq!(page.text(), "notes of alice");
}

/// The provider requires proofs of this client.
#[tokio::test]
#[ignore = "needs oidc-provider: tests/interop/run"]
async fn a_login_without_proofs_is_refused() {
    let world = World::new(Client::confidential("web-dpop", SECRET), |login| login).await;
    let consent = world.ask_for_consent("/account").await;
    let page = consent.form("").unwrap().submit().await.unwrap();
    // `invalid_grant`, with "DPoP proof JWT not provided" in its description.
    assert_eq!(page.status(), 400, "{}", page.text());
    assert!(page.text().contains("code_refused"), "{}", page.text());
}
