//! Users of a realm, in the format of Keycloak's import.

use serde_json::{Value, json};

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
