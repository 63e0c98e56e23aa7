//! Who this application is at the authorization server, and how it proves it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::config_error::ConfigError;
use crate::protocol::ClientSecret;
use crate::protocol::form::encode_word;

/// The client as it is registered at the authorization server (RFC 6749 §2).
///
/// ```
/// use tower_oauth::Client;
///
/// let shop = Client::confidential("shop", "a secret from the environment");
/// assert_eq!(shop.id(), "shop");
/// assert!(!format!("{shop:?}").contains("secret from"));
/// ```
///
/// Nothing is checked here; the layer that takes the client refuses an empty id or secret.
#[derive(Clone, Debug)]
pub struct Client {
    id: String,
    authentication: Authentication,
}

#[derive(Clone, Debug)]
enum Authentication {
    Basic(ClientSecret),
    Post(ClientSecret),
    None,
}

impl Client {
    /// A client with a secret, sent in the `Authorization` header: `client_secret_basic`
    /// (RFC 6749 §2.3.1), which is what a server expects unless it was told otherwise.
    pub fn confidential(id: impl Into<String>, secret: impl Into<ClientSecret>) -> Self {
        Self {
            id: id.into(),
            authentication: Authentication::Basic(secret.into()),
        }
    }

    /// A client with a secret, sent in the body of the request: `client_secret_post`. For clients
    /// that are registered so.
    pub fn confidential_post(id: impl Into<String>, secret: impl Into<ClientSecret>) -> Self {
        Self {
            id: id.into(),
            authentication: Authentication::Post(secret.into()),
        }
    }

    /// A client that cannot keep a secret and proves nothing but possession of the code verifier
    /// (RFC 6749 §2.1, RFC 7636): `none`.
    pub fn public(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            authentication: Authentication::None,
        }
    }

    /// `client_id`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Refuses what no server can have registered (RFC 6749 §A.1, §A.2).
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.id.is_empty() || self.id.chars().any(char::is_control) {
            return Err(ConfigError::Setting {
                setting: "client id",
                value: self.id.clone(),
                reason: "it is empty or holds a control character",
            });
        }
        match &self.authentication {
            Authentication::Basic(secret) | Authentication::Post(secret)
                if secret.expose().is_empty() || secret.expose().chars().any(char::is_control) =>
            {
                Err(ConfigError::Secret {
                    setting: "client secret",
                    reason: "it is empty or holds a control character, such as a line end",
                })
            }
            _ => Ok(()),
        }
    }

    /// Adds who we are to the form of a request, and the proof to the form or, returned here, to the
    /// `Authorization` header: one of the two (RFC 6749 §2.3), never the URL.
    pub(crate) fn authenticate<'a>(
        &'a self,
        parameters: &mut Vec<(&'static str, &'a str)>,
    ) -> Option<HeaderValue> {
        parameters.push(("client_id", &self.id));
        match &self.authentication {
            Authentication::Basic(secret) => Some(self.basic(secret)),
            Authentication::Post(secret) => {
                parameters.push(("client_secret", secret.expose()));
                None
            }
            Authentication::None => None,
        }
    }

    /// RFC 6749 §2.3.1 (`L72`): both halves are form-encoded before they are joined, so that a colon
    /// in the id does not end it.
    fn basic(&self, secret: &ClientSecret) -> HeaderValue {
        let pair = Zeroizing::new(format!(
            "{}:{}",
            encode_word(&self.id),
            encode_word(secret.expose())
        ));
        let credentials = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        // Base64 is made of characters that every header may hold.
        let mut value = HeaderValue::from_str(&credentials)
            .unwrap_or_else(|_| HeaderValue::from_static("Basic"));
        value.set_sensitive(true);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_proves_who_we_are_in_one_place() {
        let odd = " %&+£€:";
        for (client, header, body) in [
            (
                Client::confidential("a:b", odd),
                Some("a%3Ab:+%25%26%2B%C2%A3%E2%82%AC%3A"),
                &[("client_id", "a:b")][..],
            ),
            (
                Client::confidential_post("a:b", odd),
                None,
                &[("client_id", "a:b"), ("client_secret", odd)],
            ),
            (Client::public("a:b"), None, &[("client_id", "a:b")]),
        ] {
            let mut parameters = Vec::new();
            let value = client.authenticate(&mut parameters);
            assert_eq!(parameters, body, "{client:?}");
            assert!(value.as_ref().is_none_or(HeaderValue::is_sensitive));
            let decoded = value.map(|value| {
                let encoded = value
                    .to_str()
                    .unwrap()
                    .strip_prefix("Basic ")
                    .unwrap()
                    .to_owned();
                String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
            });
            assert_eq!(decoded.as_deref(), header, "{client:?}");
        }
    }

    #[test]
    fn what_cannot_be_registered_is_refused_and_the_secret_is_not_repeated() {
        assert!(Client::public("").check().is_err());
        assert!(Client::public("a\n").check().is_err());
        assert!(Client::confidential("a", "").check().is_err());
        let error = Client::confidential_post("a", "hush\n")
            .check()
            .unwrap_err();
        assert!(!error.to_string().contains("hush"));
        assert!(Client::confidential("a", "b £").check().is_ok());
    }
}
