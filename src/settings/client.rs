//! [`ClientSettings`]: the client of a provider, and how it authenticates.

use std::path::PathBuf;

use serde::Deserialize;

use super::apply::set_flags;
use super::error::{At as _, combination};
use super::text::{SecretText, algorithm, signing_key, signing_key_file};
use crate::config_error::ConfigError;
use crate::crypto::SigningKey;
use crate::issuer::{Client, CredentialSource};

/// The registration of this application at an authorization server, and its credential.
///
/// | it has | it authenticates with |
/// | --- | --- |
/// | `secret` or `secret_file` | `client_secret_basic`, or another [`authentication`](Self::authentication) |
/// | `private_key` or `private_key_file` | `private_key_jwt` |
/// | `assertion_file` | an assertion of another system ([`Client::federated_assertion`]) |
/// | none, and `authentication = "tls"` | a certificate ([`Client::mutual_tls`]) |
/// | none, and `authentication = "none"` | nothing: a public client |
///
/// A secret or assertion in a file is read when it is used, so a replaced one needs no restart; whether the file exists is
/// checked by [`LoginLayer::ready`](crate::LoginLayer::ready). A private key is read once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ClientSettings {
    /// The client id.
    pub id: String,
    /// How the client authenticates. Default: see the table.
    pub authentication: Option<AuthenticationMethod>,
    /// The secret.
    pub secret: Option<SecretText>,
    /// A file with the secret; see [`CredentialSource::file`].
    pub secret_file: Option<PathBuf>,
    /// The private key: PEM, or a JWK as text.
    pub private_key: Option<SecretText>,
    /// A file with the private key: PEM, or a JWK.
    pub private_key_file: Option<PathBuf>,
    /// The key id (`kid`) of the private key. Default: that of the JWK.
    pub key_id: Option<String>,
    /// The algorithm of the private key, such as `PS256`. Default: see [`SigningKey`].
    pub key_algorithm: Option<String>,
    /// A file with an assertion that another system issues to this workload.
    pub assertion_file: Option<PathBuf>,
    /// See [`Client::with_assertion_audience`].
    pub assertion_audience: Option<String>,
    /// See [`Client::with_untyped_assertions`].
    #[serde(default)]
    pub untyped_assertions: bool,
    /// See [`Client::with_spiffe_assertions`].
    #[serde(default)]
    pub spiffe_assertions: bool,
    /// See [`Client::with_certificate_bound_tokens`].
    #[serde(default)]
    pub certificate_bound_tokens: bool,
    /// See [`Client::with_unlisted_method`].
    #[serde(default)]
    pub unlisted_method: bool,
}

/// How a client authenticates.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AuthenticationMethod {
    /// [`Client::confidential`].
    ClientSecretBasic,
    /// [`Client::confidential_post`].
    ClientSecretPost,
    /// [`Client::client_secret_jwt`].
    ClientSecretJwt,
    /// [`Client::private_key_jwt`].
    PrivateKeyJwt,
    /// [`Client::federated_assertion`].
    FederatedAssertion,
    /// [`Client::mutual_tls`].
    Tls,
    /// [`Client::public`].
    None,
}

impl ClientSettings {
    /// Creates the client.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Combination`] if there is no credential, more than one, or one of another kind than
    /// `authentication`; [`ConfigError::Key`], which names the setting, if a key cannot be read.
    pub fn build(&self) -> Result<Client, ConfigError> {
        use AuthenticationMethod as By;
        let id = self.id.as_str();
        let given = self.credential()?;
        let client = match (self.authentication, given) {
            (None | Some(By::ClientSecretBasic), Some(Credential::Secret(secret))) => {
                Client::confidential(id, secret)
            }
            (Some(By::ClientSecretPost), Some(Credential::Secret(secret))) => {
                Client::confidential_post(id, secret)
            }
            (Some(By::ClientSecretJwt), Some(Credential::Secret(secret))) => {
                Client::client_secret_jwt(id, secret)
            }
            (None | Some(By::PrivateKeyJwt), Some(Credential::Key(key))) => {
                Client::private_key_jwt(id, *key)
            }
            (None | Some(By::FederatedAssertion), Some(Credential::Assertion(assertion))) => {
                Client::federated_assertion(id, assertion)
            }
            (Some(By::Tls), None) => Client::mutual_tls(id),
            (Some(By::None), None) => Client::public(id),
            (None, None) => {
                return combination(
                    "set `secret_file`, `secret`, `private_key_file`, `private_key` or `assertion_file`, or `authentication` \
                     to \"none\" for a public client or \"tls\" for a certificate",
                );
            }
            (Some(_), _) => {
                return combination(
                    "`authentication` needs another credential: `secret_file` or `secret` for \"client_secret_basic\", \
                     \"client_secret_post\" and \"client_secret_jwt\", `private_key_file` or `private_key` for \
                     \"private_key_jwt\", `assertion_file` for \"federated_assertion\", and none for \"tls\" and \"none\"",
                );
            }
        };
        Ok(self.with_options(client))
    }

    fn with_options(&self, mut client: Client) -> Client {
        if let Some(audience) = &self.assertion_audience {
            client = client.with_assertion_audience(audience);
        }
        set_flags(
            client,
            [
                (self.untyped_assertions, Client::with_untyped_assertions),
                (self.spiffe_assertions, Client::with_spiffe_assertions),
                (
                    self.certificate_bound_tokens,
                    Client::with_certificate_bound_tokens,
                ),
                (self.unlisted_method, Client::with_unlisted_method),
            ],
        )
    }

    /// Returns the credential, of which there is at most one.
    pub(super) fn credential(&self) -> Result<Option<Credential>, ConfigError> {
        let given = [
            self.secret.is_some(),
            self.secret_file.is_some(),
            self.private_key.is_some(),
            self.private_key_file.is_some(),
            self.assertion_file.is_some(),
        ];
        if given.into_iter().filter(|is_set| *is_set).count() > 1 {
            return combination(
                "set only one of `secret`, `secret_file`, `private_key`, `private_key_file` and `assertion_file`",
            );
        }
        let key = match (&self.private_key, &self.private_key_file) {
            (Some(text), _) => Some(signing_key(text.expose()).at("private_key")?),
            (None, Some(path)) => Some(signing_key_file(path).at("private_key_file")?),
            (None, None) => None,
        };
        if key.is_none() && (self.key_id.is_some() || self.key_algorithm.is_some()) {
            return combination(
                "`key_id` and `key_algorithm` need `private_key_file` or `private_key`",
            );
        }
        let key = key.map(|key| self.with_key_options(key)).transpose()?;
        let secret = self.secret.as_ref().map(|text| text.expose().into());
        let secret = secret.or_else(|| self.secret_file.as_ref().map(CredentialSource::file));
        let assertion = self.assertion_file.as_ref().map(CredentialSource::file);
        let key = key.map(|key| Credential::Key(Box::new(key)));
        let other = secret.map(Credential::Secret);
        Ok(key
            .or(other)
            .or_else(|| assertion.map(Credential::Assertion)))
    }

    fn with_key_options(&self, mut key: SigningKey) -> Result<SigningKey, ConfigError> {
        if let Some(id) = &self.key_id {
            key = key.with_key_id(id);
        }
        match &self.key_algorithm {
            Some(name) => algorithm(name)
                .and_then(|algorithm| key.with_algorithm(algorithm))
                .at("key_algorithm"),
            None => Ok(key),
        }
    }
}

/// The credential of a client, of which there is at most one.
pub(super) enum Credential {
    Secret(CredentialSource),
    Key(Box<SigningKey>),
    Assertion(CredentialSource),
}
