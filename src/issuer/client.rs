//! Who this application is at the authorization server, and how it proves it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::client_assertion::{self, ASSERTION_TYPE, FetchTrigger};
use crate::config_error::ConfigError;
use crate::crypto::SigningKey;
use crate::protocol::ClientSecret;
use crate::protocol::form::encode_component;
use crate::random::RandomError;

/// The parameters of a request to the authorization server; they hold secrets.
pub(crate) type Parameters<'a> = Vec<(&'static str, Cow<'a, str>)>;

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
    assertion_audience: Option<String>,
    typed_assertion: bool,
}

#[derive(Clone, Debug)]
enum Authentication {
    Basic(ClientSecret),
    Post(ClientSecret),
    PrivateKeyJwt(SigningKey),
    MutualTls,
    None,
}

impl Client {
    /// A client with a secret, sent in the `Authorization` header: `client_secret_basic`
    /// (RFC 6749 §2.3.1), which is what a server expects unless it was told otherwise.
    pub fn confidential(id: impl Into<String>, secret: impl Into<ClientSecret>) -> Self {
        Self::new(id.into(), Authentication::Basic(secret.into()))
    }

    /// A client with a secret, sent in the body of the request: `client_secret_post`. For clients
    /// that are registered so.
    pub fn confidential_post(id: impl Into<String>, secret: impl Into<ClientSecret>) -> Self {
        Self::new(id.into(), Authentication::Post(secret.into()))
    }

    /// A client that cannot keep a secret and proves nothing but possession of the code verifier
    /// (RFC 6749 §2.1, RFC 7636): `none`.
    pub fn public(id: impl Into<String>) -> Self {
        Self::new(id.into(), Authentication::None)
    }

    /// A client that signs its way in: `private_key_jwt` ([RFC 7523 §2.2], OpenID Connect Core §9).
    ///
    /// Each request carries an assertion of its own, signed with this key: from and about the client, for
    /// the authorization server, good for 60 seconds and once. Nothing that could be used elsewhere
    /// leaves the process.
    ///
    /// ```
    /// use tower_oauth::{Client, SigningKey};
    ///
    /// # let pem = "-----BEGIN PRIVATE KEY-----
    /// # MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
    /// # -----END PRIVATE KEY-----";
    /// let key = SigningKey::from_pem(pem)?.with_key_id("2027-01");
    /// let client = Client::private_key_jwt("api", key);
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// [RFC 7523 §2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
    pub fn private_key_jwt(id: impl Into<String>, key: SigningKey) -> Self {
        Self::new(id.into(), Authentication::PrivateKeyJwt(key))
    }

    /// A client whose TLS certificate proves who it is: `tls_client_auth` or
    /// `self_signed_tls_client_auth` ([RFC 8705 §2]).
    ///
    /// Requests carry the client id alone. The certificate is shown by the connection, so hand in a back
    /// channel that has it:
    /// [`AuthorizationServer::with_back_channel`](super::AuthorizationServer::with_back_channel). Nothing
    /// here can check that it does; without it the server refuses the client.
    ///
    /// [RFC 8705 §2]: https://www.rfc-editor.org/rfc/rfc8705#section-2
    pub fn mutual_tls(id: impl Into<String>) -> Self {
        Self::new(id.into(), Authentication::MutualTls)
    }

    fn new(id: String, authentication: Authentication) -> Self {
        Self {
            id,
            authentication,
            assertion_audience: None,
            typed_assertion: false,
        }
    }

    /// Sets `aud` of the assertions of [`private_key_jwt`](Self::private_key_jwt), for a server that wants
    /// the URL of its token endpoint there. The issuer identifier unless said otherwise.
    ///
    /// A client that is registered under one key at several servers must not do that: one of them could
    /// name another's endpoint as its own and use the assertion there.
    #[must_use]
    pub fn with_assertion_audience(mut self, audience: impl Into<String>) -> Self {
        self.assertion_audience = Some(audience.into());
        self
    }

    /// Marks assertions by `typ: client-authentication+jwt`, as the successor of RFC 7523 in the making
    /// asks for. They say `JWT` otherwise, since many servers of today take nothing else.
    #[must_use]
    pub fn with_typed_assertions(mut self) -> Self {
        self.typed_assertion = true;
        self
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
            Authentication::PrivateKeyJwt(_)
                if self
                    .assertion_audience
                    .as_ref()
                    .is_some_and(String::is_empty) =>
            {
                Err(ConfigError::Setting {
                    setting: "assertion audience",
                    value: String::new(),
                    reason: "it is empty",
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether it can prove who it is at all.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self.authentication, Authentication::None)
    }

    /// Adds who we are to the form of a request, and the proof to the form or, returned here, to the
    /// `Authorization` header: one of the two (RFC 6749 §2.3), never the URL.
    ///
    /// Call it anew for every request, a repeated one as well: an assertion is good once (RFC 7523 §3).
    pub(crate) fn authenticate<'a>(
        &'a self,
        occasion: &FetchTrigger<'_>,
        parameters: &mut Parameters<'a>,
    ) -> Result<Option<HeaderValue>, RandomError> {
        parameters.push(("client_id", Cow::Borrowed(&self.id)));
        match &self.authentication {
            Authentication::Basic(secret) => return Ok(Some(self.basic(secret))),
            Authentication::Post(secret) => {
                parameters.push(("client_secret", Cow::Borrowed(secret.expose())));
            }
            Authentication::PrivateKeyJwt(key) => {
                let audience = self.assertion_audience.as_deref();
                let assertion = client_assertion::make(
                    &self.id,
                    key,
                    audience.unwrap_or(occasion.issuer),
                    self.typed_assertion,
                    occasion,
                )?;
                parameters.push(("client_assertion_type", Cow::Borrowed(ASSERTION_TYPE)));
                parameters.push(("client_assertion", Cow::Owned(assertion)));
            }
            Authentication::MutualTls | Authentication::None => {}
        }
        Ok(None)
    }

    /// RFC 6749 §2.3.1 (`L72`): both halves are form-encoded before they are joined, so that a colon
    /// in the id does not end it.
    fn basic(&self, secret: &ClientSecret) -> HeaderValue {
        let pair = Zeroizing::new(format!(
            "{}:{}",
            encode_component(&self.id),
            encode_component(secret.expose())
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
    use crate::random::Random;

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
            (Client::mutual_tls("a:b"), None, &[("client_id", "a:b")]),
        ] {
            let mut parameters = Vec::new();
            let occasion = FetchTrigger {
                issuer: "https://id.example.test",
                now: 0,
                random: Random::system(),
            };
            let value = client.authenticate(&occasion, &mut parameters).unwrap();
            let sent: Vec<_> = parameters
                .iter()
                .map(|(name, value)| (*name, &**value))
                .collect();
            assert_eq!(sent, body, "{client:?}");
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
