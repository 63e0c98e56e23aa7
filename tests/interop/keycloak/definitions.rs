//! Clients, users and keys of a realm, in the format of Keycloak's import.

use serde_json::{Value, json};

use super::realm::{API, APP};
use crate::provider::SECRET;

/// Algorithms that ID tokens and access tokens are accepted in by default. Each is the name of a client.
pub const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

/// Returns the clients of the shared realms.
pub fn clients() -> Vec<KeycloakClient> {
    let client = KeycloakClient::new;
    let mut clients = vec![
        client("web"),
        client("other-audience").without_audience(),
        client("public").public(),
        client("light").attribute("client.use.lightweight.access.token.enabled", "true"),
        client("marked")
            .set("serviceAccountsEnabled", true)
            .attribute("access.token.header.type.rfc9068", "true"),
        client("nonce").mapper(
            "oidc-nonce-backwards-compatible-mapper",
            "nonce",
            &json!({}),
        ),
        client("short").attribute("access.token.lifespan", "3"),
        client("service").service(),
        client(API).service(),
        client("service-mtls").service().mutual_tls("owner"),
        client("web-mtls").mutual_tls("application"),
    ];
    clients.extend(ALGORITHMS.map(|algorithm| client(algorithm).signed_with(algorithm)));
    clients
}

/// A confidential client for logins, whose tokens have the audience [`API`].
#[derive(Clone)]
pub struct KeycloakClient(Value);

impl KeycloakClient {
    pub fn new(id: &str) -> Self {
        let client = json!({
            "clientId": id,
            "secret": SECRET,
            "redirectUris": [format!("{APP}/auth/callback")],
            // Lets tests request tokens without a browser.
            "directAccessGrantsEnabled": true,
            "fullScopeAllowed": true,
            "attributes": { "post.logout.redirect.uris": format!("{APP}/auth/logout") },
            "protocolMappers": [],
        });
        Self(client).audience(API)
    }

    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0[name] = value.into();
        self
    }

    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.0["attributes"][name] = value.into();
        self
    }

    /// Makes it a client of the client credentials grant.
    pub fn service(self) -> Self {
        self.set("standardFlowEnabled", false)
            .set("serviceAccountsEnabled", true)
    }

    pub fn public(self) -> Self {
        self.set("publicClient", true)
            .attribute("pkce.code.challenge.method", "S256")
    }

    /// Signs its ID tokens and access tokens with another algorithm than the realm's.
    pub fn signed_with(self, algorithm: &str) -> Self {
        self.attribute("id.token.signed.response.alg", algorithm)
            .attribute("access.token.signed.response.alg", algorithm)
    }

    /// Identifies itself by a certificate with this common name; its tokens are bound to the certificate.
    pub fn mutual_tls(self, name: &str) -> Self {
        self.set("clientAuthenticatorType", "client-x509")
            .attribute("x509.subjectdn", &format!("CN={name}"))
            .attribute("tls.client.certificate.bound.access.tokens", "true")
    }

    /// Adds an audience to its access tokens.
    pub fn audience(self, audience: &str) -> Self {
        let config = json!({
            "included.custom.audience": audience,
            "access.token.claim": "true",
            "introspection.token.claim": "true",
            "lightweight.claim": "true",
        });
        self.mapper("oidc-audience-mapper", audience, &config)
    }

    pub fn mapper(mut self, kind: &str, name: &str, config: &Value) -> Self {
        let mapper = json!({
            "name": name,
            "protocol": "openid-connect",
            "protocolMapper": kind,
            "config": config,
        });
        let mappers = self.0["protocolMappers"].as_array_mut().unwrap();
        mappers.push(mapper);
        self
    }

    pub fn without_audience(self) -> Self {
        self.set("protocolMappers", json!([]))
    }

    pub fn into_json(self) -> Value {
        self.0
    }
}

/// The password of all users.
pub const PASSWORD: &str = "wonderland";

/// A user with the last name Liddell.
#[derive(Clone)]
pub struct User(String);

impl User {
    pub fn new(name: &str) -> Self {
        Self(name.to_lowercase())
    }

    /// The user with the role `orders:read`.
    pub fn alice() -> Self {
        Self::new("alice")
    }

    pub fn bob() -> Self {
        Self::new("bob")
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    pub fn email(&self) -> String {
        format!("{}@example.com", self.0)
    }

    pub fn definition(&self, roles: &[&str]) -> Value {
        // Keycloak's login asks for a name and an e-mail address if they are missing.
        json!({
            "username": self.0,
            "enabled": true,
            "email": self.email(),
            "emailVerified": true,
            "firstName": self.0,
            "lastName": "Liddell",
            "credentials": [{ "type": "password", "value": PASSWORD, "temporary": false }],
            "realmRoles": roles,
        })
    }
}

/// The kind of keys that a realm signs with by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Keys {
    Rs256,
    Es256,
}

impl Keys {
    pub const BOTH: [Self; 2] = [Self::Rs256, Self::Es256];

    pub fn algorithm(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    /// Returns providers of the keys of a new realm.
    ///
    /// Keycloak would also create a missing key when the first token needs it; two requests at once then wait for each
    /// other. `HS512` is for refresh tokens, `AES` for cookies.
    pub fn providers(self) -> Vec<Value> {
        let others = ["PS256", "ES384", "EdDSA", "HS512", "AES"];
        let all = Self::BOTH.map(Self::algorithm).into_iter().chain(others);
        all.map(|algorithm| provider(algorithm, algorithm, 100))
            .collect()
    }

    /// Returns a provider of a new key. The key with the highest priority signs.
    pub fn provider(self, name: &str, priority: u32) -> Value {
        provider(self.algorithm(), name, priority)
    }
}

fn provider(algorithm: &str, name: &str, priority: u32) -> Value {
    let (id, mut config) = match algorithm {
        "ES256" => (
            "ecdsa-generated",
            json!({ "ecdsaEllipticCurveKey": ["P-256"] }),
        ),
        "ES384" => (
            "ecdsa-generated",
            json!({ "ecdsaEllipticCurveKey": ["P-384"] }),
        ),
        "EdDSA" => (
            "eddsa-generated",
            json!({ "eddsaEllipticCurveKey": ["Ed25519"] }),
        ),
        "HS512" => ("hmac-generated", json!({ "algorithm": ["HS512"] })),
        "AES" => ("aes-generated", json!({ "secretSize": ["16"] })),
        rsa => (
            "rsa-generated",
            json!({ "keySize": ["2048"], "algorithm": [rsa] }),
        ),
    };
    config["priority"] = json!([priority.to_string()]);
    json!({ "name": name, "providerId": id, "config": config })
}
