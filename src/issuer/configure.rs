//! The settings of an [`AuthorizationServer`]. Each returns a handle with an empty cache.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tower_service::Service;

use super::discovery::log_malformed;
use super::server::AuthorizationServer;
use super::static_keys::StaticKeys;
use crate::ConfigError;
use crate::clock::Clock;
use crate::protocol::Metadata;

const MAX_OUTAGE_LIMIT: Duration = Duration::from_secs(24 * 3600);

impl AuthorizationServer {
    /// Sends all requests to the authorization server through `service`, such as a service mesh, retries or a recorder.
    /// For a proxy, a private CA and client certificates see `with_http_client` (feature `reqwest`).
    ///
    /// The limits still apply: a response must arrive within 5 seconds and have at most 1 MiB, and URLs must be https
    /// unless the issuer is on loopback. The service should not follow redirects.
    ///
    /// If nothing of a request was sent, return
    /// [`BackChannelError::NotSent`](super::BackChannelError::NotSent), or an error that has it as a source:
    /// introspection pauses only after this error, and a refresh token is then known to be unused. Close pooled
    /// connections that were idle for 15 seconds, and open new ones after a timeout.
    ///
    /// Call this and the other `with_` methods before creating layers: the returned handle has an empty cache.
    #[must_use]
    pub fn with_back_channel<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Bytes>, Response = Response<Bytes>> + Clone + Send + Sync + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
    {
        self.settings.channel = self.settings.channel.with_service(service);
        Self::from_settings(self.settings)
    }

    /// Declares that handles with the same identity have the same back channel.
    #[cfg(feature = "testing")]
    pub(crate) fn with_back_channel_identity(mut self, identity: &Arc<()>) -> Self {
        self.settings.channel = self.settings.channel.with_identity(Arc::clone(identity));
        Self::from_settings(self.settings)
    }

    /// Sends all requests to the authorization server with this client: for an egress proxy, a private CA, client
    /// certificates, or a host whose address differs from its name.
    ///
    /// Create it with `redirect(Policy::none())` and `no_proxy()`, as the default client is: a redirect, or a proxy from
    /// the environment, could receive the client secret. A response from another URL than the requested one is
    /// rejected. The limits of [`with_back_channel`](Self::with_back_channel) apply.
    ///
    /// An egress proxy, and a private CA:
    ///
    /// ```
    /// use reqwest::redirect::Policy;
    /// use tower_oauth::AuthorizationServer;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let ca_pem: &[u8] = b"";
    /// let mut client = reqwest::Client::builder()
    ///     .redirect(Policy::none())
    ///     .proxy(reqwest::Proxy::https("http://proxy.internal:3128")?);
    /// for certificate in reqwest::Certificate::from_pem_bundle(ca_pem)? {
    ///     client = client.add_root_certificate(certificate);
    /// }
    /// let server = AuthorizationServer::new("https://id.example.com")?
    ///     .with_http_client(client.build()?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Another host: requests to the public name go to an address inside of the network (docker compose), and the
    /// certificate is still that of the public name:
    ///
    /// ```
    /// use reqwest::redirect::Policy;
    /// use tower_oauth::AuthorizationServer;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = reqwest::Client::builder()
    ///     .redirect(Policy::none())
    ///     .no_proxy()
    ///     .resolve("id.example.com", "10.0.0.7:443".parse()?)
    ///     .build()?;
    /// let server = AuthorizationServer::new("https://id.example.com")?.with_http_client(client);
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "reqwest")]
    #[must_use]
    pub fn with_http_client(self, client: reqwest::Client) -> Self {
        self.with_back_channel(super::reqwest::service_of(client))
    }

    /// Sets the clock of the server and of the layers created from it.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self.settings.channel = self
            .settings
            .channel
            .with_clock(Arc::clone(&self.settings.clock));
        Self::from_settings(self.settings)
    }

    /// Sets the metadata instead of discovering it.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Issuer`] if the metadata is of another issuer, [`ConfigError::Url`] if an endpoint is not https
    /// (or http, for an issuer on loopback).
    pub fn with_metadata(mut self, metadata: Metadata) -> Result<Self, ConfigError> {
        if metadata.issuer() != self.settings.issuer {
            return Err(ConfigError::Issuer {
                value: metadata.issuer().to_owned(),
                reason: "the metadata is of another issuer",
            });
        }
        for (setting, url) in metadata.endpoints() {
            self.check_url(setting, url)?;
        }
        log_malformed(&metadata, None);
        self.settings.static_metadata = Some(metadata);
        Ok(Self::from_settings(self.settings))
    }

    /// Sets the address of the metadata, which is fetched there and nowhere else: for a server that has its document at
    /// another path, or under another name inside of the network.
    ///
    /// The metadata must still be of this issuer, byte for byte. Ignored if the metadata is
    /// [configured](Self::with_metadata).
    ///
    /// ```
    /// use tower_oauth::AuthorizationServer;
    ///
    /// let server = AuthorizationServer::new("https://id.example.com")?
    ///     .with_metadata_url("https://id.internal/.well-known/openid-configuration")?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless it is https (or http, if the issuer permits it), without a user name or a fragment.
    pub fn with_metadata_url(mut self, url: &str) -> Result<Self, ConfigError> {
        self.check_url("metadata URL", url)?;
        self.settings.metadata_url = Some(url.to_owned());
        Ok(Self::from_settings(self.settings))
    }

    /// Sets the revocation endpoint ([RFC 7009 §2](https://www.rfc-editor.org/rfc/rfc7009#section-2)), for a server
    /// whose metadata has none or a wrong one. Without it, the tokens of an ended session are not revoked.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] unless it is https (or http, if the issuer permits it), without a user name or a fragment.
    pub fn with_revocation_endpoint(mut self, url: &str) -> Result<Self, ConfigError> {
        self.check_url("revocation endpoint", url)?;
        self.settings.revocation_endpoint = Some(url.to_owned());
        Ok(Self::from_settings(self.settings))
    }

    /// Sets the signing keys instead of fetching the key set, which is then never fetched: not by a layer, not by
    /// [`ready`](Self::ready), not in the background.
    ///
    /// For tests, and for networks without access to the authorization server.
    #[must_use]
    pub fn with_keys(mut self, keys: StaticKeys) -> Self {
        self.settings.static_keys = Some(keys);
        Self::from_settings(self.settings)
    }

    /// Sets how long keys are used beyond their lifetime while the server is unreachable: 1 hour by default. With zero
    /// they are not. After that time requests are rejected with 503.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for more than 24 hours.
    pub fn with_outage_limit(mut self, limit: Duration) -> Result<Self, ConfigError> {
        if limit > MAX_OUTAGE_LIMIT {
            return Err(ConfigError::Setting {
                setting: "outage limit",
                value: format!("{limit:?}"),
                reason: "it must be at most 24 hours",
            });
        }
        self.settings.outage_limit = limit;
        Ok(Self::from_settings(self.settings))
    }

    fn check_url(&self, setting: &'static str, url: &str) -> Result<(), ConfigError> {
        match self.settings.channel.allows(url) {
            true => Ok(()),
            false => Err(ConfigError::Url {
                setting,
                value: url.to_owned(),
                reason: "it must be https (or http, if `AuthorizationServer::new_with_insecure_http` permits it), without a user \
                         name or a fragment",
            }),
        }
    }
}
