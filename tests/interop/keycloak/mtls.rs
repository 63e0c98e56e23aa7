//! Certificate-bound tokens and clients that authenticate by certificate (RFC 8705), over TLS without a proxy.

use bytes::Bytes;
use http::{Request, header};
use tower::service_fn;
use tower_oauth::bearer::{ClientCertificate, Mtls};
use tower_oauth::token::{IntrospectionVerifier, TokenProfile};
use tower_oauth::{AuthorizationServer, BearerLayer, Client};

use super::api::{Call, api, jwt, keycloak_api};
use super::channel::{Channel, http};
use super::definitions::{Keys, User};
use super::realm::{API, Realm, member};
use super::server::keycloak;
use super::world::World;
use crate::provider::SECRET;
use crate::sessions::Mode;
use crate::tls::CertifiedKey;

/// Connects to Keycloak over TLS, with a client certificate if there is one.
fn connect(certificate: Option<&CertifiedKey>) -> Channel {
    let ca = reqwest::Certificate::from_pem(keycloak().ca().as_bytes()).unwrap();
    let mut client = http().tls_certs_only([ca]);
    if let Some(certificate) = certificate {
        let pem = format!("{}{}", certificate.certificate, certificate.key);
        client = client.identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    }
    Channel::direct(keycloak().https(), client.build().unwrap())
}

fn server(realm: &Realm, channel: Channel) -> AuthorizationServer {
    let channel = service_fn(move |request| channel.clone().send(request));
    AuthorizationServer::new(&realm.direct_issuer())
        .unwrap()
        .with_back_channel(channel)
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn bound_tokens_require_their_certificate() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let [owner, thief] = ["owner", "thief"].map(|name| keycloak().certify(name));
        let channel = connect(Some(&owner));
        let url = format!("{}/protocol/openid-connect/token", realm.direct_issuer());
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(
                "grant_type=client_credentials&client_id=service-mtls",
            ));
        let response = channel.clone().send(request.unwrap()).await.unwrap();
        let response = serde_json::from_slice(response.body()).unwrap();
        let token = member(&response, "access_token");

        let server = server(&realm, channel);
        let client = Client::confidential(API, SECRET);
        let introspection = IntrospectionVerifier::new(&server, client, API).unwrap();
        let apis = [
            BearerLayer::new(jwt(&server, TokenProfile::Keycloak)),
            BearerLayer::new(introspection),
        ]
        .map(|layer| api(layer.with_mtls(Mtls::from_tls())));
        let [owner, thief] = [owner, thief].map(|key| ClientCertificate::from_der(key.der()));
        for api in &apis {
            for (name, certificate, accepted) in [
                ("its certificate", Some(&owner), true),
                ("another one", Some(&thief), false),
                ("none", None, false),
            ] {
                let call = Call {
                    certificate,
                    ..Call::bearer(&token)
                };
                let response = call.get(api, "/").await;
                match accepted {
                    true => response.assert_accepted(name),
                    false => response.assert_unauthorized("invalid_token", "", name),
                }
            }
        }
        let call = Call {
            certificate: Some(&owner),
            ..Call::bearer(&token)
        };
        let response = call.get(&keycloak_api(&server), "/").await;
        response.assert_unauthorized("invalid_token", "", "a layer without mTLS");
    }
}

#[tokio::test]
#[ignore = "needs Keycloak: tests/interop/run"]
async fn a_client_with_a_certificate_signs_users_in_and_refreshes() {
    for keys in Keys::BOTH {
        let realm = Realm::shared(keys).await;
        let certificate = keycloak().certify("application");
        let server = server(&realm, connect(Some(&certificate)));
        let client = Client::mutual_tls("web-mtls");
        let world = World::with_server(realm, &server, client, Mode::Store, |login| login);
        // The browser has no certificate.
        let visitor = world.visitor_at(&keycloak().https(), connect(None));
        visitor.sign_in(&User::alice()).await;
        assert_eq!(visitor.open("/profile").await.text(), "alice Liddell");
        assert_eq!(visitor.open("/refresh").await.text(), "refreshed");
        assert_eq!(visitor.open("/profile").await.text(), "alice Liddell");
    }
}
