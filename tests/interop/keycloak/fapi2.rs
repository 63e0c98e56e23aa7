//! The client profiles of Keycloak for FAPI 2.0, which it enforces for the clients of a realm.

use serde_json::json;
use tower_oauth::{Algorithm, Client, LoginLayer, SigningKey};

use super::definitions::{KeycloakClient, Keys, User};
use super::realm::Realm;
use super::world::World;
use crate::sessions::Mode;

/// `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`
const PEM: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgIv9Vuky7QdXjUI4Y
FC0dYZL9QeCaNuiPOgLuI+20P5KhRANCAARYXeZmqVRZElUhyt+K0ph2KCea/9Md
qGnGEcu+cjiATMQC6Y2jN1NvEy+I8espfMQeTXbjxOWltmkL1cbUgKLU
-----END PRIVATE KEY-----";

const CLIENT: &str = "fapi";

async fn signs_in(profile: &str, change: impl FnOnce(LoginLayer, SigningKey) -> LoginLayer) {
    let key = SigningKey::from_pem(PEM).unwrap().with_key_id("client");
    let keys = json!({ "keys": [key.public_jwk()] });
    let client = KeycloakClient::new(CLIENT)
        .set("clientAuthenticatorType", "client-jwt")
        .set("directAccessGrantsEnabled", false)
        .attribute("token.endpoint.auth.signing.alg", "ES256")
        .attribute("use.jwks.string", "true")
        .attribute("jwks.string", &keys.to_string())
        .attribute("pkce.code.challenge.method", "S256")
        .attribute("require.pushed.authorization.requests", "true")
        .attribute("dpop.bound.access.tokens", "true")
        .attribute("request.object.signature.alg", "ES256")
        .attribute("authorization.signed.response.alg", "PS256")
        .signed_with("PS256");
    let realm = Realm::separate(Keys::Es256, profile, client).await;
    realm.enforce(profile).await;
    let client = Client::private_key_jwt(CLIENT, key.clone());
    let world = World::with(realm, client, Mode::Store, |login| {
        let login = login.with_id_token_algorithms([Algorithm::Ps256]).unwrap();
        change(login, key)
    });
    world.login.ready().await.unwrap();
    let visitor = world.visitor();
    visitor.sign_in(&User::alice()).await;
    assert_eq!(visitor.token().await.split('.').count(), 3);
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn the_security_profile_with_dpop() {
    let profile = |login: LoginLayer, _| login.with_fapi2_security_profile().unwrap();
    signs_in("fapi-2-dpop-security-profile", profile).await;
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn message_signing_with_dpop() {
    let profile = |login: LoginLayer, key| login.with_fapi2_message_signing(key).unwrap();
    signs_in("fapi-2-dpop-message-signing", profile).await;
}
