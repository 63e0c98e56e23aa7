//! The settings of an [`IntrospectionVerifier`](super::IntrospectionVerifier), and the keys of the results that depend on
//! them.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::ConfigError;
use crate::crypto::{Algorithm, DEFAULT_ALGORITHMS, digest};
use crate::issuer::{AuthorizationServer, Client};
use crate::protocol::credentials::is_token68;
use crate::protocol::limits::MAX_PRESENTED_TOKEN;
use crate::token::audience::Audience;
use crate::token::error::VerifyErrorKind;
use crate::token::scope_mapping::ScopeMapping;

const DEFAULT_LEEWAY: i64 = 30;

/// A revoked token is accepted for at most this time.
const DEFAULT_CACHE_TTL: Duration = Duration::from_secs(60);
const DEFAULT_NEGATIVE_CACHE_TTL: Duration = Duration::from_secs(10);
const DEFAULT_CACHE_SIZE: u64 = 16 * 1024 * 1024;
const DEFAULT_CONCURRENCY: usize = 64;

/// The SHA-256 of a token and of everything that its result depends on.
pub(super) type CacheKey = [u8; 32];

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) server: AuthorizationServer,
    pub(super) client: Client,
    /// Shared with the tokens that were accepted.
    pub(super) audience: Arc<Audience>,
    /// Overrides the `introspection_endpoint` of the metadata.
    pub(super) endpoint: Option<String>,
    pub(super) signed: bool,
    pub(super) scopes: Option<ScopeMapping>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) leeway: i64,
    pub(super) cache_ttl: Duration,
    pub(super) negative_cache_ttl: Duration,
    /// In bytes.
    pub(super) cache_size: u64,
    pub(super) concurrency: usize,
    /// Whether the missing audience was logged: it is logged once per verifier.
    pub(super) audience_warning_logged: Arc<AtomicBool>,
    /// The same for scopes that are not read.
    pub(super) scope_warning_logged: Arc<AtomicBool>,
}

impl Settings {
    pub(super) fn new(
        server: &AuthorizationServer,
        client: Client,
        audience: Audience,
    ) -> Result<Self, ConfigError> {
        client.check()?;
        // RFC 7662 §2.1: the endpoint requires authorization, so that tokens cannot be guessed by scanning.
        if client.is_public() {
            return Err(ConfigError::Setting {
                setting: "client",
                value: client.id().to_owned(),
                reason: "introspection requires a client with a secret, a key or a certificate",
            });
        }
        Ok(Self {
            server: server.clone(),
            client,
            audience: Arc::new(audience.checked()?),
            endpoint: None,
            signed: false,
            scopes: None,
            algorithms: DEFAULT_ALGORITHMS.to_vec(),
            leeway: DEFAULT_LEEWAY,
            cache_ttl: DEFAULT_CACHE_TTL,
            negative_cache_ttl: DEFAULT_NEGATIVE_CACHE_TTL,
            cache_size: DEFAULT_CACHE_SIZE,
            concurrency: DEFAULT_CONCURRENCY,
            audience_warning_logged: Arc::default(),
            scope_warning_logged: Arc::default(),
        })
    }
    /// Returns the key of a token: a digest of endpoint, client, issuer and token.
    ///
    /// A result is valid only for the client and the endpoint it was requested with. Each part is preceded by its
    /// length, so that two contexts never have the same encoding.
    pub(super) fn cache_key(&self, token: &str) -> CacheKey {
        let endpoint = self.endpoint.as_deref().unwrap_or_default();
        let parts = [endpoint, self.client.id(), self.server.issuer(), token];
        let mut context = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.extend_from_slice(&length.to_be_bytes());
            context.extend_from_slice(part.as_bytes());
        }
        let mut key = [0; 32];
        key.copy_from_slice(&digest::sha256(&context));
        key
    }
}

/// Rejects a token that is not a `b64token` ([RFC 6750 §2.1]) or is too long, before any request is sent.
///
/// [RFC 6750 §2.1]: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
pub(super) fn check_syntax(token: &str) -> Result<(), VerifyErrorKind> {
    if token.len() > MAX_PRESENTED_TOKEN {
        return Err(VerifyErrorKind::TooLong);
    }
    if !is_token68(token.as_bytes()) {
        return Err(VerifyErrorKind::Malformed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_contexts_have_different_cache_keys() {
        let settings = |issuer: &str, client: &str| {
            let server = AuthorizationServer::new(issuer).unwrap();
            let client = Client::confidential(client, "secret");
            Settings::new(&server, client, "api".into()).unwrap()
        };
        let (a, b) = ("https://a.example.test", "https://b.example.test");
        let mut other_endpoint = settings(a, "api");
        other_endpoint.endpoint = Some("https://a.example.test/x".to_owned());
        let keys = [
            settings(a, "api").cache_key("token"),
            settings(a, "api").cache_key("toke"),
            settings(a, "api").cache_key("token="),
            settings(b, "api").cache_key("token"),
            settings(a, "ap").cache_key("token"),
            other_endpoint.cache_key("token"),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
        // The same context always has the same key.
        assert_eq!(keys[0], settings(a, "api").clone().cache_key("token"));
    }
}
