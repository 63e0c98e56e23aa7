//! A store in Redis or Valkey.

mod address;
mod cluster;
mod commands;
mod error;
mod node;
mod servers;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use self::address::RedisUrl;
use self::commands::{KeyNames, Scripts};
use self::error::CommandError;
use self::servers::Servers;
use self::tls::Tls;
use super::{Expect, Key, Put, Record, Removed, Store, StoreError};
use crate::ConfigError;
use crate::clock::{SystemClock, within};
use bytes::Bytes;

const DEFAULT_PREFIX: &str = "tower-oauth";

const MAX_PREFIX: usize = 64;

/// Maximum duration of an operation, including the connection attempt.
const OPERATION_TIMEOUT: Duration = Duration::from_millis(1900);

/// A [`Store`] in Redis or Valkey, shared by all processes of the application. Requires Tokio.
///
/// | URL | server |
/// | --- | --- |
/// | `redis://[[user]:password@]host[:6379][/database]` | one server |
/// | `redis-cluster://[[user]:password@]host[:port],host[:port]` | a cluster, by some of its nodes |
/// | `rediss://…`, `rediss-cluster://…` | the same with TLS |
/// | `redis+unix:///path[?db=N]` | one server, by a Unix socket |
///
/// All schemes can use `valkey` instead of `redis` (`valkeys` instead of `rediss`). Percent-encode characters that
/// are not allowed in a URL, especially in the password.
///
/// # Connections
///
/// The store connects on the first operation. All operations of a process share one connection to each server. An
/// operation takes one round trip, and two if the server does not have the script yet, and at most 2 seconds. A
/// connection is replaced if it breaks, if a response takes more than 0.9 seconds, or if it was idle for 15 seconds;
/// the application need not be restarted after Redis was. A command whose response was lost is not retried, not even
/// in a cluster: the operation returns [`StoreError::Unavailable`].
///
/// Certificates are always verified, with the certificate authorities of the operating system or those of
/// [`with_ca_pem`](Self::with_ca_pem). TLS uses rustls with its own provider, that of the enabled cryptography
/// backend of this crate; the process default is neither used nor set.
///
/// The nodes of a cluster report the addresses of the other nodes, and the store authenticates to those as well. A
/// malicious node can therefore direct the password to another server; with TLS, only to one with a trusted
/// certificate.
///
/// ```
/// use tower_oauth::store::RedisStore;
///
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// let store = RedisStore::new("rediss-cluster://app:secret@10.0.0.1,10.0.0.2")?.with_prefix("shop")?;
/// assert!(RedisStore::new("http://10.0.0.1").is_err());
/// # Ok(())
/// # }
/// ```
///
/// # Redis configuration
///
/// - **Eviction.** `maxmemory-policy` must be `noeviction`, the default. Any other policy evicts live entries:
///   sessions end, and codes or proofs can be replayed. The store does not check this.
/// - **Memory.** At `maxmemory` the store returns [`StoreError::Full`] for new sessions and new DPoP proofs, and at
///   7/8 of it for new entries of callers without credentials (consumed states), so that these cannot use up the
///   capacity of sessions. Existing entries stay readable, replaceable and removable. Protected entries
///   ([`KeyClass::Protected`](super::KeyClass::Protected)) are written beyond `maxmemory`: about 200 bytes each, or 1
///   to 5 KiB for the record of a cookie session that was refreshed. Provide that much additional memory.
/// - **Clock.** Synchronize the clock of the server (NTP). Redis measures times to live by its wall clock: if the
///   clock is set forward, entries expire early; if it is set back, they live longer.
/// - **Persistence.** `save` and `appendonly` determine whether entries survive a restart. Without persistence, a
///   restart signs all users out and forgets consumed states, replayed proofs and ended sessions.
/// - **ACL.** The user needs the keys `prefix:*` and the commands `GET`, `SET`, `DEL`, `GETRANGE`, `TIME`, `EVAL` and
///   `EVALSHA`; in a cluster also `CLUSTER SLOTS` and `ASKING`. `ROLE` and `INFO` are optional; without `INFO` the
///   limit of 7/8 is not enforced.
/// - **Resharding.** While a slot migrates, operations with new keys in the slot return [`StoreError::Unavailable`];
///   existing entries are readable. Entries are distributed over 1024 slots, so a small slot migrates quickly.
///
/// # Failover
///
/// Redis replicates asynchronously. A promoted replica may lack the most recent writes: a new session is lost, an
/// ended session is valid again, and a DPoP proof can be replayed once. `min-replicas-to-write` and
/// `min-replicas-max-lag` limit the loss. If this is not acceptable, use a store without failover for these entries.
///
/// # Versions
///
/// A version is the maximum of the server time in microseconds, the last version of the same bucket plus one, and
/// the version of the replaced entry plus one. Keys are distributed over 1024 buckets; the last version of a bucket
/// is stored in the same slot under a separate key without a time to live. Versions therefore increase regardless of
/// the clock while that key exists. If the key is lost (by `FLUSHALL`, by a restart without persistence or by a
/// failover), the server time yields greater versions than before, unless the clock was set back by more than the
/// time since the loss. Versions fit into 53 bits, the precision of numbers in Redis scripts, until the year 2255.
#[derive(Clone)]
pub struct RedisStore {
    /// `None` with a connection of the application.
    address: Option<(RedisUrl, Tls)>,
    prefix: Arc<str>,
    scripts: Arc<Scripts>,
    servers: Arc<Servers>,
}

impl RedisStore {
    /// Creates a store at `url`, in one of the forms above, with the key prefix `tower-oauth`. Performs no I/O.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Secret`] if the URL is invalid. The error does not contain the URL, which may have a
    /// password.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let url = RedisUrl::parse(url).map_err(|reason| ConfigError::Secret {
            setting: "Redis URL",
            reason,
        })?;
        let tls = Tls::default();
        let servers = Servers::new(&url, &tls);
        Ok(Self::with_servers(servers, Some((url, tls))))
    }

    /// Creates a store with a connection of the application: with TLS settings of its own, through a proxy, to a
    /// cluster or by Sentinel. The key prefix is `tower-oauth`.
    ///
    /// `connection` is a connection of the `redis` crate, such as `redis::aio::MultiplexedConnection` or
    /// `redis::aio::ConnectionManager`. Each operation uses a clone of it and takes at most 2 seconds; reconnecting is
    /// up to the connection. It must execute commands at a primary, and a cluster client must route by the first key.
    ///
    /// # Commands that are sent twice
    ///
    /// The connection must send each command at most once. A client that sends a command again because the response
    /// was lost, as cluster clients do unless their retries are limited, breaks compare-and-swap: if the first command
    /// was executed, the second finds the entry that the first has written. [`put`](Store::put) with
    /// [`Expect::Absent`] or [`Expect::Version`] then returns [`Put::Conflict`] although the entry was stored, and
    /// [`remove`](Store::remove) returns [`Removed::Absent`] although it removed the entry. Nothing is accepted
    /// twice, but a login fails as already used, a DPoP proof is rejected as a replay, and the tokens of a refreshed
    /// session can be lost, which signs the user out. This is not checked.
    ///
    /// ```no_run
    /// use tower_oauth::store::RedisStore;
    ///
    /// # async fn connect() -> Result<RedisStore, redis::RedisError> {
    /// let client = redis::Client::open("redis://10.0.0.1")?;
    /// let connection = client.get_multiplexed_async_connection().await?;
    /// let store = RedisStore::from_connection(connection);
    /// # Ok(store)
    /// # }
    /// ```
    pub fn from_connection<C>(connection: C) -> Self
    where
        C: redis::aio::ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::with_servers(Servers::Application(Box::new(connection)), None)
    }

    fn with_servers(servers: Servers, address: Option<(RedisUrl, Tls)>) -> Self {
        Self {
            address,
            prefix: DEFAULT_PREFIX.into(),
            scripts: Arc::new(Scripts::new()),
            servers: Arc::new(servers),
        }
    }

    /// Sets the prefix of the keys in Redis, so that applications can share a server. Stores with different prefixes
    /// are independent.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Setting`] unless the prefix is 1 to 64 bytes of printable ASCII without spaces and
    /// braces.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        let plain = |one: u8| one.is_ascii_graphic() && one != b'{' && one != b'}';
        if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.bytes().all(plain) {
            return Err(ConfigError::Setting {
                setting: "Redis prefix",
                value: prefix.to_owned(),
                reason: "it must be 1 to 64 characters of printable ASCII without spaces and braces",
            });
        }
        self.prefix = prefix.into();
        Ok(self)
    }

    /// Sets the trusted certificate authorities, in PEM. They replace those of the operating system.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Secret`] if the URL does not use TLS, or if `pem` has no valid certificates.
    pub fn with_ca_pem(self, pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        self.with_tls("Redis CA", |tls| tls.with_authorities(pem.as_ref()))
    }

    /// Sets the client certificate, which Redis requires unless `tls-auth-clients` is `no` or `optional`: the
    /// certificate chain, starting with the client certificate, and its private key, both in PEM.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::Secret`] if the URL does not use TLS, if an argument is not valid PEM, or if the key does
    /// not match the certificate.
    pub fn with_client_certificate(
        self,
        chain_pem: impl AsRef<[u8]>,
        key_pem: impl AsRef<[u8]>,
    ) -> Result<Self, ConfigError> {
        let (chain, key) = (chain_pem.as_ref(), key_pem.as_ref());
        self.with_tls("Redis client certificate", |tls| {
            tls.with_certificate(chain, key)
        })
    }

    fn with_tls(
        mut self,
        setting: &'static str,
        change: impl FnOnce(Tls) -> Result<Tls, &'static str>,
    ) -> Result<Self, ConfigError> {
        let invalid = |reason| ConfigError::Secret { setting, reason };
        let (url, tls) = self.address.ok_or_else(|| {
            invalid("the connection was created by the application: configure TLS there")
        })?;
        if !url.tls {
            return Err(invalid(
                "the URL does not use TLS: its scheme must be rediss or rediss-cluster",
            ));
        }
        let tls = change(tls).map_err(invalid)?;
        self.servers = Arc::new(Servers::new(&url, &tls));
        self.address = Some((url, tls));
        Ok(self)
    }

    fn names(&self, key: &Key) -> KeyNames {
        KeyNames::new(&self.prefix, key)
    }
}

impl Store for RedisStore {
    fn address(&self) -> Option<String> {
        let url = self.address.as_ref().map(|(url, _)| url.to_string());
        Some(url.unwrap_or_else(|| "the connection of the application".to_owned()))
    }

    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let names = self.names(key);
        with_timeout(commands::get(&self.servers, &names)).await
    }

    async fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        let names = self.names(key);
        let put = commands::put(&self.servers, &self.scripts, &names, &value, ttl, expect);
        with_timeout(put).await
    }

    async fn remove(&self, key: &Key, expect: Expect) -> Result<Removed, StoreError> {
        let names = self.names(key);
        let remove = commands::remove(&self.servers, &self.scripts, &names, expect);
        with_timeout(remove).await
    }
}

async fn with_timeout<T>(
    operation: impl Future<Output = Result<T, CommandError>>,
) -> Result<T, StoreError> {
    let result = within(&SystemClock, OPERATION_TIMEOUT, operation).await;
    Ok(result.unwrap_or(Err(CommandError::TimedOut))?)
}

/// Shows the addresses of the servers, but no credentials.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RedisStore");
        if let Some((url, _)) = &self.address {
            shown
                .field("addresses", &url.addresses)
                .field("cluster", &url.cluster)
                .field("tls", &url.tls);
        }
        shown.field("prefix", &self.prefix).finish_non_exhaustive()
    }
}
