//! The store of an application on several machines: Redis or Valkey.

mod address;
mod cluster;
mod failure;
mod names;
mod node;
mod tls;
mod verbs;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Value};

use self::address::Target;
use self::cluster::Cluster;
use self::failure::Failure;
use self::names::Names;
use self::node::{Node, Options};
use self::tls::Tls;
use self::verbs::Scripts;
use super::{Expect, Key, Put, Record, Removed, Store, StoreError};
use crate::ConfigError;
use crate::clock::{SystemClock, within};

const DEFAULT_PREFIX: &str = "tower-oauth";

const MAX_PREFIX: usize = 64;

/// Nobody waits longer for one verb than this, connecting included.
const TIMEOUT: Duration = Duration::from_millis(1900);

/// Entries in Redis or Valkey, which every process of the application sees.
///
/// | URL | what it reaches |
/// | --- | --- |
/// | `redis://[[user]:password@]host[:6379][/database]` | one server |
/// | `redis-cluster://[[user]:password@]host[:port],host[:port]` | a cluster, of which some nodes are named |
/// | `rediss://…`, `rediss-cluster://…` | the same by TLS |
/// | `redis+unix:///path[?db=N]` | one server on this machine |
///
/// `valkey` may stand for `redis` in all of them (`valkeys` for `rediss`). What is not allowed in a URL, in
/// a password above all, is percent-encoded. Names and addresses are taken as they are; nothing is
/// connected before the first verb. Certificates are always verified, against the authorities of the machine
/// or those of [`with_ca_pem`](Self::with_ca_pem). TLS is rustls with a provider of its own (aws-lc-rs,
/// whatever backend this crate has); the default of the process is neither used nor set. The nodes of a
/// cluster say where the others are, and those are logged in to as well: a node that lies there gets the
/// password sent to a server of its choice, by TLS to one with a certificate that is trusted here.
///
/// Each verb is one command, so one round trip; the first of a kind that a server sees after its start
/// takes two. All verbs of a process share one connection to each server. A connection that breaks, or
/// that is silent for 0.9 seconds, is given up, and the next verb makes another: an application needs no
/// restart when Redis does. So is a connection that was idle for 15 seconds, which something on the way may
/// have dropped. No verb takes longer than 2 seconds. A command whose answer was lost is not
/// sent again, not in a cluster either; it is [`StoreError::Unavailable`]. It needs Tokio.
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
/// # What Redis must be told
///
/// - **`maxmemory-policy noeviction`**, its default. Any other evicts entries that live: sessions end, and
///   what must be used only once may be used twice. Whether this is set is not checked.
/// - **Room above `maxmemory`.** At `maxmemory` this store answers [`StoreError::Full`] to new sessions and
///   new DPoP proofs; at 7/8 of it, to new entries that callers without credentials create (claimed states), so that
///   they cannot use up the room of sessions. What is there can still be read, replaced and removed. Protected entries
///   ([`KeyClass::Protected`](super::KeyClass::Protected): sign-outs, leases, watermarks; some 200 bytes each, a record
///   of 1 to 5 KiB where a session in a cookie was refreshed) are written beyond `maxmemory`: leave the machine that
///   much memory more than `maxmemory` says.
/// - **Its clock** is to be kept by NTP. Times to live are counted by the wall clock of the server: one that
///   is turned forward ends entries early, one that is turned back keeps them longer.
/// - **Whether it keeps what it has over a restart** is up to its `save` and `appendonly`. Without, a
///   restart signs everybody out and forgets what was used or ended.
/// - A user restricted by ACL needs the keys `prefix:*` and the commands `GET`, `SET`, `DEL`, `GETRANGE`, `TIME`,
///   `EVAL`, `EVALSHA`; `ROLE` and `INFO` where it may (without `INFO` the limit of 7/8 is not kept); `CLUSTER SLOTS` and `ASKING` in a cluster.
/// - **While a cluster moves a slot**, new keys in it are [`StoreError::Unavailable`]; what is there can be
///   read. One slot moves in moments where it holds little: entries are spread over 1024 of them.
///
/// # What a fail-over may lose
///
/// Redis answers before its replicas have what was written. A replica that takes over may lack the last
/// moments: a session that began in them is gone, one that ended in them is there again, a proof of them
/// can be shown once more. `min-replicas-to-write` and `min-replicas-max-lag` bound how much that is. An
/// application that cannot have it keeps those apart in a store that does not fail over.
///
/// # Why a version is never given twice
///
/// A version is the greatest of three: the server's time in microseconds, one more than the last version of
/// the same bucket, one more than what it replaces. The bucket is one of 1024 that keys are spread over; its last
/// version is kept under a key of its own without a time to live, in the same slot. So versions grow while
/// that key is there, whatever the clock does; and where it is lost, by `FLUSHALL`, by a restart that kept
/// nothing, by a fail-over that left it behind, the time alone makes them greater than all that were
/// given before, unless the clock stands further back than the moment of the loss is ago. Versions fit in 53
/// bits until the year 2255, which is what scripts of Redis count in.
#[derive(Clone)]
pub struct RedisStore {
    target: Target,
    tls: Tls,
    prefix: Arc<str>,
    scripts: Arc<Scripts>,
    servers: Arc<Servers>,
}

#[derive(Debug)]
enum Servers {
    One(Node),
    Many(Cluster),
}

impl RedisStore {
    /// Entries at this URL, of the forms above, under keys that begin with `tower-oauth`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] for any other URL. It is not repeated: there may be a password in it.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let target = Target::parse(url).map_err(|reason| ConfigError::Secret {
            setting: "Redis URL",
            reason,
        })?;
        let tls = Tls::default();
        Ok(Self {
            servers: Arc::new(Servers::new(&target, &tls)),
            target,
            tls,
            prefix: DEFAULT_PREFIX.into(),
            scripts: Arc::new(Scripts::new()),
        })
    }

    /// What the keys in Redis begin with, so that applications can share a server: printable ASCII without
    /// spaces and braces, 64 bytes at most. Another prefix is another store.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for anything else.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, ConfigError> {
        let plain = |one: u8| one.is_ascii_graphic() && one != b'{' && one != b'}';
        if prefix.is_empty() || prefix.len() > MAX_PREFIX || !prefix.bytes().all(plain) {
            return Err(ConfigError::Setting {
                setting: "Redis prefix",
                value: prefix.to_owned(),
                reason: "it must be 1 to 64 printable characters of ASCII without spaces and braces",
            });
        }
        self.prefix = prefix.into();
        Ok(self)
    }

    /// Trusts the servers that these authorities vouch for, in PEM, and no others.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] where the URL says nothing of TLS, or this is not PEM of certificates.
    pub fn with_ca_pem(self, pem: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        self.with_tls("Redis CA", |tls| tls.with_authorities(pem.as_ref()))
    }

    /// Shows the server a certificate, which Redis asks for unless `tls-auth-clients` says otherwise: the
    /// chain, ours first, and its key, both in PEM.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Secret`] where the URL says nothing of TLS, this is not PEM, or the key is another's.
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
        let changed = match self.target.tls {
            true => change(self.tls),
            false => Err("the URL has no TLS: rediss has"),
        };
        self.tls = changed.map_err(|reason| ConfigError::Secret { setting, reason })?;
        self.servers = Arc::new(Servers::new(&self.target, &self.tls));
        Ok(self)
    }

    fn names(&self, key: &Key) -> Names {
        Names::new(&self.prefix, key)
    }
}

impl Servers {
    fn new(target: &Target, tls: &Tls) -> Self {
        let options = Arc::new(Options::new(target, tls));
        match &target.addresses[..] {
            [address] if !target.cluster => Self::One(Node::new(address.clone(), options)),
            addresses => Self::Many(Cluster::new(addresses.to_vec(), options)),
        }
    }

    async fn ask(&self, slot: u16, command: &Cmd) -> Result<Value, Failure> {
        match self {
            Self::One(node) => node.ask(command).await,
            Self::Many(cluster) => cluster.ask(slot, command).await,
        }
    }
}

impl Store for RedisStore {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        let names = self.names(key);
        timely(verbs::get(&self.servers, &names)).await
    }

    async fn put(
        &self,
        key: &Key,
        value: Bytes,
        ttl: Duration,
        expect: Expect,
    ) -> Result<Put, StoreError> {
        let names = self.names(key);
        let put = verbs::put(&self.servers, &self.scripts, &names, &value, ttl, expect);
        timely(put).await
    }

    async fn remove(&self, key: &Key, expect: Expect) -> Result<Removed, StoreError> {
        let names = self.names(key);
        timely(verbs::remove(&self.servers, &self.scripts, &names, expect)).await
    }
}

async fn timely<T>(verb: impl Future<Output = Result<T, Failure>>) -> Result<T, StoreError> {
    let answer = within(&SystemClock, TIMEOUT, verb).await;
    Ok(answer.unwrap_or(Err(Failure::TimedOut))?)
}

/// Shows where the servers are, and nothing of who logs in there.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("addresses", &self.target.addresses)
            .field("cluster", &self.target.cluster)
            .field("tls", &self.target.tls)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
