//! What a client states about itself in its metadata (RFC 7591 §2): how it authenticates, and with which key.

use serde_json::Value;

use super::client::{Authentication, Client};

/// How a client authenticates at the token endpoint, for its metadata.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RegisteredAuthentication {
    /// The name of the method. `None` for mutual TLS, of which there are two.
    pub(crate) method: Option<&'static str>,
    /// The algorithm of assertions.
    pub(crate) algorithm: Option<&'static str>,
    /// Whether the method needs a secret that both sides know.
    pub(crate) is_symmetric: bool,
    pub(crate) key: AssertionPublicKey,
}

/// The public key of the assertions of a client.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AssertionPublicKey {
    /// The client signs none.
    None,
    Known(Value),
    /// The signer does not return it.
    Unknown {
        key_id: Option<String>,
    },
}

impl Client {
    pub(crate) fn registered_authentication(&self) -> RegisteredAuthentication {
        let method = match &self.authentication {
            Authentication::None => Some("none"),
            _ => self.method_name(),
        };
        let algorithm = match &self.authentication {
            Authentication::SecretJwt(_) => Some(self.hmac_algorithm().name()),
            Authentication::PrivateKeyJwt(key) => Some(key.algorithm().name()),
            _ => None,
        };
        RegisteredAuthentication {
            method,
            algorithm,
            is_symmetric: method.is_some_and(|name| name.starts_with("client_secret_")),
            key: self.assertion_public_key(),
        }
    }

    fn assertion_public_key(&self) -> AssertionPublicKey {
        let Authentication::PrivateKeyJwt(key) = &self.authentication else {
            return AssertionPublicKey::None;
        };
        match key.public_jwk() {
            Some(jwk) => AssertionPublicKey::Known(jwk),
            None => AssertionPublicKey::Unknown {
                key_id: key.key_id().map(str::to_owned),
            },
        }
    }
}
