//! Changes of what a preset has created.

use tower_oauth::{AuthorizationServer, Client, Provider};

use crate::support::keys::ed25519;

#[test]
fn another_client_and_another_handle_of_the_same_server_can_be_set() {
    let google = || Provider::google("shop", "secret").unwrap();
    let with_key = google().with_client(Client::private_key_jwt("shop", ed25519()));
    assert!(with_key.is_ok());
    assert!(
        google()
            .with_client(Client::bearer_token("shop", "t"))
            .is_err()
    );
    for secret in ["", " ", "\n", "\u{2003}"] {
        let client = Client::confidential("shop", secret);
        assert!(google().with_client(client).is_err(), "{secret:?}");
        assert!(Provider::google("shop", secret).is_err(), "{secret:?}");
    }
    assert!(google().with_authorization_server(Ok).is_ok());
    let other = |_| AuthorizationServer::new("https://evil.example");
    assert!(google().with_authorization_server(other).is_err());
}

#[test]
fn a_domain_is_a_host_name_and_an_issuer_an_https_url() {
    for (domain, accepted) in [
        ("shop.eu.auth0.com", true),
        ("https://shop.eu.auth0.com", false),
        ("shop.eu.auth0.com/", false),
        ("shop.eu.auth0.com@evil.example", false),
        ("shop.eu.auth0.com:443", false),
        ("", false),
    ] {
        let auth0 = Provider::auth0(domain, "shop", "secret");
        assert_eq!(auth0.is_ok(), accepted, "{domain}");
        let issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_A";
        let cognito = Provider::cognito(issuer, domain, "shop", "secret");
        assert_eq!(cognito.is_ok(), accepted, "{domain}");
    }
    for (issuer, accepted) in [
        ("https://id.example.com/realms/shop", true),
        ("http://id.example.com/realms/shop", false),
        ("id.example.com", false),
    ] {
        for preset in [
            Provider::keycloak(issuer, "shop", "s"),
            Provider::okta(issuer, "shop", "s"),
            Provider::authentik(issuer, "shop", "s"),
            Provider::gitlab_at(issuer, "shop", "s"),
            Provider::zitadel(issuer, "4711", "shop", "s"),
            Provider::cognito(issuer, "shop.example.com", "shop", "s"),
        ] {
            assert_eq!(preset.is_ok(), accepted, "{issuer} {preset:?}");
        }
    }
    assert!(Provider::zitadel("https://id.example.com", "", "shop", "s").is_err());
}
