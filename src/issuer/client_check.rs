//! Checks of the id and the credential of a client: of fixed texts when a layer takes the client, of others when they are
//! read.

use super::client::{Authentication, Client};
use super::credential_source::CredentialSource;
use crate::config_error::ConfigError;
use crate::crypto::HmacAlgorithm;
use crate::protocol::ClientSecret;
use crate::protocol::credentials::is_token68;

impl Client {
    /// Returns whether both clients sign assertions with private keys, and one of them for an endpoint: if it is the same
    /// key, the server of the other one can publish that endpoint as its own and replay the assertion there (RFC 10070).
    pub(crate) fn may_send_endpoint_audience_beside(&self, other: &Self) -> bool {
        let both = [self, other];
        both.iter()
            .all(|client| matches!(client.authentication, Authentication::PrivateKeyJwt(_)))
            && both
                .iter()
                .any(|client| client.assertion_audience.is_some())
    }

    /// Rejects an id or credential that cannot be registered (RFC 6749 §A.1, §A.2).
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.id.is_empty() || self.id.chars().any(char::is_control) {
            return Err(ConfigError::Setting {
                setting: "client id",
                value: self.id.clone(),
                reason: "it must not be empty or contain control characters",
            });
        }
        if self
            .assertion_audience
            .as_ref()
            .is_some_and(String::is_empty)
        {
            return Err(ConfigError::Setting {
                setting: "assertion audience",
                value: String::new(),
                reason: "it must not be empty",
            });
        }
        self.check_settings()?;
        match self.source().and_then(CredentialSource::fixed) {
            Some(credential) => {
                self.check_credential(credential)
                    .map_err(|reason| ConfigError::Secret {
                        setting: self.credential_name(),
                        reason,
                    })
            }
            None => Ok(()),
        }
    }

    /// Rejects settings that have no effect with the authentication method: the operator expects one.
    fn check_settings(&self) -> Result<(), ConfigError> {
        let signs_assertions = matches!(
            self.authentication,
            Authentication::SecretJwt(_) | Authentication::PrivateKeyJwt(_)
        );
        let signs_with_secret = matches!(self.authentication, Authentication::SecretJwt(_));
        let is_federated = matches!(self.authentication, Authentication::FederatedAssertion(_));
        for (setting, is_unused, reason) in [
            (
                "Client::with_hmac_algorithm",
                self.hmac_algorithm.is_some() && !signs_with_secret,
                "it has an effect with `Client::client_secret_jwt` only",
            ),
            (
                "Client::with_assertion_audience",
                self.assertion_audience.is_some() && !signs_assertions,
                "it has an effect with `Client::private_key_jwt` and `Client::client_secret_jwt` only",
            ),
            (
                "Client::with_untyped_assertions",
                !self.has_typed_assertions && !signs_assertions,
                "it has an effect with `Client::private_key_jwt` and `Client::client_secret_jwt` only",
            ),
            (
                "Client::with_spiffe_assertions",
                self.is_spiffe && !is_federated,
                "it has an effect with `Client::federated_assertion` only",
            ),
        ] {
            if is_unused {
                return Err(ConfigError::Setting {
                    setting,
                    value: self.id.clone(),
                    reason,
                });
            }
        }
        Ok(())
    }

    /// Returns why a credential cannot be used.
    pub(super) fn check_credential(&self, credential: &ClientSecret) -> Result<(), &'static str> {
        let text = credential.expose();
        match &self.authentication {
            Authentication::Basic(_) | Authentication::Post(_) | Authentication::SecretJwt(_)
                if text.trim().is_empty() || text.chars().any(char::is_control) =>
            {
                Err(
                    "it must not be empty or blank, or contain control characters, such as a line break",
                )
            }
            Authentication::SecretJwt(_) if text.len() < self.hmac_algorithm().tag_length() => {
                Err(match self.hmac_algorithm() {
                    HmacAlgorithm::Hs256 => {
                        "it must have at least 32 bytes for HS256 (RFC 7518 §3.2)"
                    }
                    HmacAlgorithm::Hs384 => {
                        "it must have at least 48 bytes for HS384 (RFC 7518 §3.2)"
                    }
                    HmacAlgorithm::Hs512 => {
                        "it must have at least 64 bytes for HS512 (RFC 7518 §3.2)"
                    }
                })
            }
            Authentication::FederatedAssertion(_) if !is_compact_jws(text) => {
                Err("it must be a signed JWT in compact serialization")
            }
            Authentication::BearerToken(_) if !is_token68(text.as_bytes()) => {
                Err("it must consist of letters, digits and `-._~+/`, with `=` only at its end")
            }
            _ => Ok(()),
        }
    }

    /// Returns the algorithm of `client_secret_jwt`.
    pub(super) fn hmac_algorithm(&self) -> HmacAlgorithm {
        self.hmac_algorithm.unwrap_or(HmacAlgorithm::Hs256)
    }

    /// Returns the source of the credential, for the methods that have a text.
    pub(super) fn source(&self) -> Option<&CredentialSource> {
        match &self.authentication {
            Authentication::Basic(source)
            | Authentication::Post(source)
            | Authentication::SecretJwt(source)
            | Authentication::FederatedAssertion(source)
            | Authentication::BearerToken(source) => Some(source),
            Authentication::PrivateKeyJwt(_) | Authentication::MutualTls | Authentication::None => {
                None
            }
        }
    }

    /// Returns what the credential is, for messages.
    pub(super) fn credential_name(&self) -> &'static str {
        match &self.authentication {
            Authentication::BearerToken(_) => "bearer token",
            Authentication::FederatedAssertion(_) => "client assertion",
            _ => "client secret",
        }
    }
}

/// Returns whether a text has three segments of base64url (RFC 7515 §7.1).
fn is_compact_jws(text: &str) -> bool {
    let is_segment = |segment: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !segment.is_empty() && segment.bytes().all(allowed)
    };
    text.split('.').count() == 3 && text.split('.').all(is_segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_ids_and_secrets_are_rejected_and_the_secret_is_not_in_the_error() {
        assert!(Client::public("").check().is_err());
        assert!(Client::public("a\n").check().is_err());
        assert!(Client::confidential("a", "").check().is_err());
        let error = Client::confidential_post("a", "hush\n").check();
        assert!(!error.unwrap_err().to_string().contains("hush"));
        assert!(Client::confidential("a", "b £").check().is_ok());
        for token in ["", "a b", "a=b", "a\n", "ä"] {
            assert!(Client::bearer_token("a", token).check().is_err(), "{token}");
        }
        assert!(Client::bearer_token("a", "a-._~+/1==").check().is_ok());
        for assertion in ["", "a", "a.b", "a.b.", "a.b.c.d", "a.b.c\n", "a.b.c="] {
            let client = Client::federated_assertion("a", assertion);
            assert!(client.check().is_err(), "{assertion}");
        }
        assert!(Client::federated_assertion("a", "a.b-_.c").check().is_ok());
        // What is read later is checked later.
        let absent = CredentialSource::file("/nonexistent/secret");
        assert!(Client::confidential("a", absent).check().is_ok());
    }

    #[test]
    fn a_setting_without_effect_is_rejected() {
        const TEXT: &str = "aaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbb.cccccccccccccccccc";
        let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let key = crate::crypto::SigningKey::from_pem(&pem).unwrap();
        type Change = fn(Client) -> Client;
        let settings: [(&str, Change, [bool; 4]); 4] = [
            (
                "with_hmac_algorithm",
                |client| client.with_hmac_algorithm(HmacAlgorithm::Hs256),
                [true, false, false, false],
            ),
            (
                "with_assertion_audience",
                |client| client.with_assertion_audience("https://id.example.com/token"),
                [true, true, false, false],
            ),
            (
                "with_untyped_assertions",
                Client::with_untyped_assertions,
                [true, true, false, false],
            ),
            (
                "with_spiffe_assertions",
                Client::with_spiffe_assertions,
                [false, false, true, false],
            ),
        ];
        for (name, set, expected) in settings {
            let signing = [
                Client::client_secret_jwt("a", TEXT),
                Client::private_key_jwt("a", key.clone()),
                Client::federated_assertion("a", TEXT),
            ];
            let others = [
                Client::confidential("a", TEXT),
                Client::confidential_post("a", TEXT),
                Client::bearer_token("a", TEXT),
                Client::mutual_tls("a"),
                Client::public("a"),
            ];
            for (at, client) in signing.into_iter().chain(others).enumerate() {
                assert!(client.check().is_ok(), "{client:?}");
                let checked = set(client.clone()).check();
                assert_eq!(checked.is_ok(), expected[at.min(3)], "{name} {client:?}");
                if let Err(error) = checked {
                    assert!(error.to_string().contains(name), "{error}");
                }
            }
        }
    }

    #[test]
    fn a_secret_that_signs_has_the_length_of_the_hash_in_bytes() {
        for (algorithm, length) in [
            (HmacAlgorithm::Hs256, 32),
            (HmacAlgorithm::Hs384, 48),
            (HmacAlgorithm::Hs512, 64),
        ] {
            for (secret, is_valid) in [
                ("s".repeat(length), true),
                ("s".repeat(length - 1), false),
                // Bytes count, not characters.
                ("é".repeat(length / 2), true),
            ] {
                let client = Client::client_secret_jwt("a", secret).with_hmac_algorithm(algorithm);
                assert_eq!(client.check().is_ok(), is_valid, "{algorithm:?}");
            }
        }
    }
}
