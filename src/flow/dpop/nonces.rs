//! The DPoP nonces that servers have sent (RFC 9449 §8, §9).

use http::{HeaderMap, Uri};
use url::Url;

use crate::expiring_map::ExpiringMap;
use crate::protocol::dpop;
use crate::sync::Mutex;

/// The maximum number of origins whose nonce is kept. Without its nonce, a request is sent twice.
const MAX_ORIGINS: usize = 256;

/// The newest nonce of the authorization server of a flow, and of each resource server.
///
/// A nonce is sent only to the server that it came from (RFC 9449 §9). The userinfo endpoint is a resource server, even
/// if its origin is that of the token endpoint.
#[derive(Debug)]
pub(in crate::flow) struct NonceCache {
    authorization_server: Mutex<Option<Box<str>>>,
    /// By origin; the nonce that was received first is removed first.
    resource_servers: Mutex<ExpiringMap<String, Box<str>, ()>>,
}

/// A server whose nonces are kept apart from those of other servers.
#[derive(Clone, Copy, Debug)]
pub(in crate::flow) enum NonceIssuer<'a> {
    /// The token endpoint of the flow.
    AuthorizationServer,
    /// The resource server at the origin of this URI.
    ResourceServer(&'a Uri),
}

impl NonceCache {
    /// Returns the nonce for the next proof for this server.
    pub(super) fn get(&self, issuer: NonceIssuer<'_>) -> Option<Box<str>> {
        match issuer {
            NonceIssuer::AuthorizationServer => self.authorization_server.lock().clone(),
            NonceIssuer::ResourceServer(uri) => {
                let nonces = self.resource_servers.lock();
                nonces.get(&origin(uri)?).cloned()
            }
        }
    }

    /// Keeps the nonce of a response of any status (RFC 9449 §8.2). Returns whether the response has one.
    pub(in crate::flow) fn learn(&self, issuer: NonceIssuer<'_>, headers: &HeaderMap) -> bool {
        let Some(nonce) = dpop::nonce(headers) else {
            return false;
        };
        match issuer {
            NonceIssuer::AuthorizationServer => {
                *self.authorization_server.lock() = Some(nonce.into());
            }
            NonceIssuer::ResourceServer(uri) => {
                let Some(origin) = origin(uri) else {
                    return false;
                };
                let mut nonces = self.resource_servers.lock();
                nonces.insert(origin, nonce.into(), ());
            }
        }
        true
    }
}

impl Default for NonceCache {
    fn default() -> Self {
        Self {
            authorization_server: Mutex::default(),
            resource_servers: Mutex::new(ExpiringMap::new(MAX_ORIGINS)),
        }
    }
}

/// Returns scheme, host and port. `None` for a URI without them.
fn origin(uri: &Uri) -> Option<String> {
    let origin = Url::parse(&uri.to_string()).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(nonce: &str) -> HeaderMap {
        HeaderMap::from_iter([(dpop::NONCE_FIELD, HeaderValue::try_from(nonce).unwrap())])
    }

    fn uri(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn nonces_of_servers_are_never_mixed() {
        let nonces = NonceCache::default();
        let issuers = [
            "https://id.example.com/userinfo",
            "https://api.example.com/a",
            "https://api.example.com:8443/a",
            "http://api.example.com/a",
        ]
        .map(uri);
        nonces.learn(NonceIssuer::AuthorizationServer, &with("as"));
        for (index, uri) in issuers.iter().enumerate() {
            assert_eq!(nonces.get(NonceIssuer::ResourceServer(uri)), None, "{uri}");
            let learned = nonces.learn(NonceIssuer::ResourceServer(uri), &with(&index.to_string()));
            assert!(learned);
        }
        let nonce = |issuer| nonces.get(issuer).map(String::from);
        assert_eq!(nonce(NonceIssuer::AuthorizationServer).unwrap(), "as");
        for (index, uri) in issuers.iter().enumerate() {
            let found = nonce(NonceIssuer::ResourceServer(uri)).unwrap();
            assert_eq!(found, index.to_string(), "{uri}");
        }
        // Another path, the default port, another case of the host.
        let same = uri("https://API.example.com:443/b?c");
        assert_eq!(nonce(NonceIssuer::ResourceServer(&same)).unwrap(), "1");
    }

    #[test]
    fn the_newest_nonce_counts_and_an_unusable_one_changes_nothing() {
        let nonces = NonceCache::default();
        let issuer = NonceIssuer::AuthorizationServer;
        for (headers, learned, expected) in [
            (with("a"), true, "a"),
            (with("b"), true, "b"),
            (HeaderMap::new(), false, "b"),
            (with("b c"), false, "b"),
        ] {
            assert_eq!(nonces.learn(issuer, &headers), learned);
            assert_eq!(nonces.get(issuer).as_deref(), Some(expected));
        }
        let relative = uri("/a");
        assert!(!nonces.learn(NonceIssuer::ResourceServer(&relative), &with("a")));
    }

    #[test]
    fn the_number_of_origins_is_bounded() {
        let nonces = NonceCache::default();
        for number in 0..=MAX_ORIGINS {
            let uri = uri(&format!("https://{number}.example.com/"));
            nonces.learn(NonceIssuer::ResourceServer(&uri), &with("n"));
        }
        assert_eq!(nonces.resource_servers.lock().len(), MAX_ORIGINS);
        let first = uri("https://0.example.com/");
        assert_eq!(nonces.get(NonceIssuer::ResourceServer(&first)), None);
    }
}
