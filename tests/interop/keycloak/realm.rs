//! A realm of Keycloak with users and clients, and its administration.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tower::service_fn;
use tower_oauth::AuthorizationServer;
use url::form_urlencoded::Serializer;

use super::channel::{Channel, ID, http};
use super::definitions::{KeycloakClient, Keys, PASSWORD, User, clients};
use super::server::{ADMIN, keycloak};
use crate::provider::SECRET;

/// The audience of access tokens, and the client that introspects them.
pub const API: &str = "orders-api";

/// The origin of the application.
pub const APP: &str = "https://app.example.test";

/// A handle on a realm, with a proxy of its own.
pub struct Realm {
    name: String,
    pub keys: Keys,
    http: reqwest::Client,
    channel: Channel,
}

impl Realm {
    /// Returns the realm that tests with these keys share. Creates it if it does not exist.
    ///
    /// Tests that change settings of the realm or its keys create one of their own.
    pub async fn shared(keys: Keys) -> Self {
        static CREATED: [OnceCell<()>; 2] = [const { OnceCell::const_new() }; 2];
        let [rs256, es256] = &CREATED;
        let created = if keys == Keys::Rs256 { rs256 } else { es256 };
        let realm = Self::handle(keys, keys.algorithm());
        created.get_or_init(|| realm.create(clients())).await;
        realm
    }

    /// Creates a realm with one client. It takes some seconds.
    pub async fn separate(keys: Keys, name: &str, client: KeycloakClient) -> Self {
        let realm = Self::handle(keys, &format!("{name}-{}", keys.algorithm()));
        realm.create(vec![client]).await;
        realm
    }

    fn handle(keys: Keys, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            keys,
            http: http().timeout(Duration::from_secs(60)).build().unwrap(),
            channel: Channel::proxy(keycloak().http()),
        }
    }

    async fn create(&self, clients: Vec<KeycloakClient>) {
        let clients = clients.into_iter().map(KeycloakClient::into_json);
        let definition = json!({
            "realm": self.name,
            "enabled": true,
            "defaultSignatureAlgorithm": self.keys.algorithm(),
            "accessTokenLifespan": 300,
            // Each refresh token is valid once.
            "revokeRefreshToken": true,
            "refreshTokenMaxReuse": 0,
            // Tests do not wait for a slow hash.
            "passwordPolicy": "hashAlgorithm(pbkdf2-sha256) and hashIterations(1000)",
            "roles": { "realm": [{ "name": "orders:read" }, { "name": "orders:write" }] },
            "users": [
                User::alice().definition(&["orders:read", "offline_access"]),
                User::bob().definition(&["offline_access"]),
            ],
            "clients": clients.collect::<Vec<_>>(),
            "components": {
                "org.keycloak.keys.KeyProvider": self.keys.providers(),
            },
        });
        self.send_admin(Method::POST, "", Some(definition)).await;
    }

    pub fn issuer(&self) -> String {
        format!("{ID}/realms/{}", self.name)
    }

    /// Returns the issuer without the proxy, over TLS.
    pub fn direct_issuer(&self) -> String {
        format!("{}/realms/{}", keycloak().https(), self.name)
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Creates a new view of the realm, without cached keys.
    pub fn server(&self) -> AuthorizationServer {
        let channel = self.channel();
        let channel = service_fn(move |request| channel.clone().send(request));
        AuthorizationServer::new(&self.issuer())
            .unwrap()
            .with_back_channel(channel)
    }

    pub fn endpoint(&self, name: &str) -> String {
        format!("{}/protocol/openid-connect/{name}", self.issuer())
    }

    /// Posts a form without the crate under test.
    pub async fn post(&self, endpoint: &str, form: &[(&str, &str)], dpop: Option<&str>) -> Value {
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::post(self.endpoint(endpoint))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(proof) = dpop {
            request = request.header("dpop", proof);
        }
        let request = request.body(Bytes::from(body)).unwrap();
        let response = self.channel().send(request).await.unwrap();
        serde_json::from_slice(response.body()).unwrap_or_else(|_| panic!("{response:?}"))
    }

    /// Requests a token with the client credentials grant.
    pub async fn client_credentials(&self, client: &str, dpop: Option<&str>) -> String {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("client_secret", SECRET),
        ];
        let response = self.post("token", &form, dpop).await;
        member(&response, "access_token")
    }

    /// Requests a token without the proxy, for which the realm has another issuer and the same keys.
    pub async fn token_of_another_issuer(&self, client: &str) -> String {
        let handle = Self {
            name: self.name.clone(),
            keys: self.keys,
            http: self.http.clone(),
            channel: Channel::direct(keycloak().http(), self.http.clone()),
        };
        handle.client_credentials(client, None).await
    }

    /// Requests the tokens of a user.
    pub async fn tokens(&self, client: &str, user: &User) -> Value {
        let form = [
            ("grant_type", "password"),
            ("scope", "openid"),
            ("client_id", client),
            ("client_secret", SECRET),
            ("username", user.name()),
            ("password", PASSWORD),
        ];
        self.post("token", &form, None).await
    }

    pub async fn access_token(&self, client: &str, user: &User) -> String {
        member(&self.tokens(client, user).await, "access_token")
    }

    /// Returns Keycloak's own introspection response for the client [`API`].
    pub async fn introspect(&self, token: &str) -> Value {
        let form = [
            ("client_id", API),
            ("client_secret", SECRET),
            ("token", token),
        ];
        self.post("token/introspect", &form, None).await
    }

    /// Enforces a client profile of Keycloak for all clients.
    pub async fn enforce(&self, profile: &str) {
        let policy = json!({
            "name": profile,
            "enabled": true,
            "conditions": [{ "condition": "any-client", "configuration": {} }],
            "profiles": [profile],
        });
        let policies = json!({ "policies": [policy] });
        self.admin(Method::PUT, "/client-policies/policies", Some(policies))
            .await;
    }

    /// Adds a client that only one test uses.
    pub async fn add_client(&self, client: KeycloakClient) {
        let client = client.into_json();
        self.admin(Method::POST, "/clients", Some(client)).await;
    }

    /// Adds a user that only one test uses.
    pub async fn add_user(&self, name: &str) -> User {
        let user = User::new(name);
        let definition = user.definition(&[]);
        self.admin(Method::POST, "/users", Some(definition)).await;
        user
    }

    pub async fn user_id(&self, user: &User) -> String {
        let path = format!("/users?username={}&exact=true", user.name());
        member(&self.get(&path).await[0], "id")
    }

    /// Gives the service account of a client a role of the realm.
    pub async fn grant_role(&self, client: &str, role: &str) {
        let client = self.get(&format!("/clients?clientId={client}")).await;
        let client = member(&client[0], "id");
        let path = format!("/clients/{client}/service-account-user");
        let account = member(&self.get(&path).await, "id");
        let role = self.get(&format!("/roles/{role}")).await;
        let path = format!("/users/{account}/role-mappings/realm");
        self.admin(Method::POST, &path, Some(json!([role]))).await;
    }

    /// Changes settings of the realm.
    pub async fn change(&self, settings: Value) {
        self.admin(Method::PUT, "", Some(settings)).await;
    }

    /// Changes settings of a client.
    pub async fn change_client(&self, id: &str, name: &str, value: impl Into<Value>) {
        let found = self.get(&format!("/clients?clientId={id}")).await;
        let mut client = found[0].clone();
        let path = format!("/clients/{}", member(&client, "id"));
        client[name] = value.into();
        self.admin(Method::PUT, &path, Some(client)).await;
    }

    pub async fn get(&self, path: &str) -> Value {
        self.admin(Method::GET, path, None).await
    }

    /// Calls the administration of this realm.
    pub async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let path = format!("/{}{path}", self.name);
        self.send_admin(method, &path, body).await
    }

    async fn send_admin(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let base = keycloak().http();
        let form = format!("grant_type=client_credentials&client_id={ADMIN}&client_secret={ADMIN}");
        let request = self
            .http
            .post(format!(
                "{base}/realms/master/protocol/openid-connect/token"
            ))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        let token = request.send().await.unwrap().text().await.unwrap();
        let token = member(&serde_json::from_str(&token).unwrap(), "access_token");

        let mut request = self
            .http
            .request(method, format!("{base}/admin/realms{path}"))
            .bearer_auth(token);
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        match status {
            StatusCode::OK => serde_json::from_str(&text).unwrap_or(Value::Null),
            _ => Value::Null,
        }
    }
}

/// Returns a string of a JSON object.
pub fn member(object: &Value, name: &str) -> String {
    object[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {object}"))
        .to_owned()
}
