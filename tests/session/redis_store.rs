//! The contract of a store with a real Redis. `tests/interop/run store` runs these.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tower_oauth::store::{Expect, Key, Put, RedisStore, Removed, Store, StoreError};
use tower_oauth::testing::store_suite::{self, StoreUnderTest, fresh_key};
use tower_oauth::token::{ProofError, VerifyErrorKind};

use crate::store_failures::log_of;
use crate::support::api::{api, layer, server};
use crate::support::dpop::{Client, dpop, show};
use crate::support::redis::{Proxy, Redis, cluster, cluster_url, free_port, join};

const LONG: Duration = Duration::from_secs(3600);

struct Shared(Arc<RedisStore>);

impl StoreUnderTest for Shared {
    type Store = RedisStore;

    fn store(&self) -> Arc<RedisStore> {
        Arc::clone(&self.0)
    }

    async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn short_ttl(&self) -> Duration {
        Duration::from_millis(250)
    }
}

async fn meets_the_contract(store: RedisStore) {
    store_suite::check_contract(&Shared(Arc::new(store))).await;
}

async fn put(store: &RedisStore, key: &Key, expect: Expect) -> Result<Put, StoreError> {
    store.put(key, Bytes::from_static(b"x"), LONG, expect).await
}

async fn stored(store: &RedisStore, key: &Key) -> u64 {
    match put(store, key, Expect::Anything).await {
        Ok(Put::Stored(version)) => version,
        other => panic!("{other:?}"),
    }
}

#[allow(clippy::needless_pass_by_value)]
fn assert_unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(
        matches!(answer, Err(StoreError::Unavailable(_))),
        "{answer:?}"
    );
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn a_single_server_meets_the_store_contract() {
    let redis = Redis::start();
    meets_the_contract(RedisStore::new(&redis.url()).unwrap()).await;
    // A database with its own prefix is a separate store.
    let store = RedisStore::new(&format!("{}/3", redis.url())).unwrap();
    meets_the_contract(store.with_prefix("shop:a").unwrap()).await;
    let keys = redis.cli(&["-n", "3", "--scan", "--pattern", "shop:a:{*}:suite:*"]);
    assert!(keys.lines().count() > 5, "{keys}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn a_server_at_a_unix_socket_meets_the_store_contract() {
    let socket = std::env::temp_dir().join(format!("store-{}.sock", std::process::id()));
    let socket = socket.to_str().unwrap();
    let redis = Redis::start_with(&["--unixsocket", socket]);
    let store = RedisStore::new(&format!("redis+unix://{socket}?db=1")).unwrap();
    meets_the_contract(store).await;
    assert_ne!(redis.cli(&["-n", "1", "dbsize"]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn a_cluster_meets_the_store_contract() {
    let nodes = cluster();
    let store = RedisStore::new(&cluster_url(&nodes[..1])).unwrap();
    meets_the_contract(store.clone()).await;
    for _ in 0..300 {
        stored(&store, &fresh_key()).await;
    }
    for node in &nodes {
        let size: usize = node.cli(&["dbsize"]).parse().unwrap();
        assert!(size > 100, "every node has a share: {size}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn a_connection_of_the_application_meets_the_store_contract() {
    let redis = Redis::start();
    let client = redis::Client::open(redis.url()).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let store = RedisStore::from_connection(connection)
        .with_prefix("own")
        .unwrap();
    meets_the_contract(store.clone()).await;
    let keys = redis.cli(&["--scan", "--pattern", "own:{*}:suite:*"]);
    assert!(keys.lines().count() > 5, "{keys}");
    assert!(store.clone().with_ca_pem("").is_err());
    let key = fresh_key();
    let version = stored(&store, &key).await;
    drop(redis);
    assert_unavailable(store.get(&key).await);
    assert_unavailable(put(&store, &key, Expect::Version(version)).await);
}

/// A slot moves during use without an error.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn slots_may_move_from_node_to_node() {
    let nodes = cluster();
    let store = RedisStore::new(&cluster_url(&nodes)).unwrap();
    let key = fresh_key();
    let first = stored(&store, &key).await;
    let from = nodes
        .iter()
        .find(|node| node.cli(&["dbsize"]) != "0")
        .unwrap();
    let to = nodes.iter().find(|node| node.port != from.port).unwrap();
    let names = from.cli(&["keys", "*"]);
    let names: Vec<&str> = names.lines().collect();
    assert_eq!(names.len(), 2, "the entry and the counter: {names:?}");
    let slot = from.cli(&["cluster", "keyslot", names[0]]);
    let (from_id, to_id) = (from.cli(&["cluster", "myid"]), to.cli(&["cluster", "myid"]));
    to.cli(&["cluster", "setslot", &slot, "importing", &from_id]);
    from.cli(&["cluster", "setslot", &slot, "migrating", &to_id]);
    assert!(
        store.get(&key).await.unwrap().is_some(),
        "not on its way yet"
    );
    // The entries: one key of two, then both, then the slot itself.
    let port = to.port.to_string();
    for name in &names {
        let moved = from.cli(&["migrate", "127.0.0.1", &port, name, "0", "1000"]);
        assert_eq!(moved, "OK");
        assert!(store.get(&key).await.unwrap().is_some(), "while it moves");
        let from = Instant::now();
        let answer = put(&store, &key, Expect::Absent).await;
        match answer {
            // One of two keys has moved: neither node has both.
            Err(StoreError::Unavailable(_)) if name == &names[0] => {}
            Ok(Put::Conflict) if name == &names[1] => {}
            other => panic!("{other:?}"),
        }
        assert!(from.elapsed() < Duration::from_millis(2100));
    }
    let second = stored(&store, &key).await;
    for node in &nodes {
        node.cli(&["cluster", "setslot", &slot, "node", &to_id]);
    }
    let third = stored(&store, &key).await;
    assert!(first < second && second < third);
    assert_eq!(to.cli(&["dbsize"]), "2");
    assert_eq!(from.cli(&["dbsize"]), "0");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn each_operation_takes_one_round_trip() {
    let redis = Redis::start();
    let proxy = Proxy::before(&redis).await;
    let store = RedisStore::new(&proxy.url()).unwrap();
    let key = fresh_key();
    // The first operation of each kind loads the scripts.
    stored(&store, &key).await;
    store.remove(&key, Expect::Version(0)).await.unwrap();
    proxy.sent();
    for _ in 0..10 {
        store.get(&key).await.unwrap();
        assert_eq!(proxy.sent(), 1);
        let version = stored(&store, &key).await;
        assert_eq!(proxy.sent(), 1);
        assert_eq!(
            put(&store, &key, Expect::Absent).await.unwrap(),
            Put::Conflict
        );
        assert_eq!(proxy.sent(), 1);
        let removed = store.remove(&key, Expect::Version(version)).await.unwrap();
        assert_eq!((removed, proxy.sent()), (Removed::Removed, 1));
        let removed = store.remove(&key, Expect::Anything).await.unwrap();
        assert_eq!((removed, proxy.sent()), (Removed::Absent, 1));
    }
    // A server that has lost the scripts receives them again.
    redis.cli(&["script", "flush"]);
    stored(&store, &key).await;
    assert_eq!(proxy.sent(), 2);
    stored(&store, &key).await;
    assert_eq!(proxy.sent(), 1);
}

/// The command may have been executed: repeating it would execute it twice, and an error result would be
/// wrong.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_command_whose_response_was_lost_is_not_sent_again() {
    let redis = Redis::start();
    let proxy = Proxy::before(&redis).await;
    let store = RedisStore::new(&proxy.url()).unwrap();
    let (one, other) = (fresh_key(), fresh_key());
    stored(&store, &one).await;
    proxy.sent();
    proxy.drop_next_response();
    assert_unavailable(put(&store, &other, Expect::Absent).await);
    assert_eq!(proxy.sent(), 1);
    let answer = put(&store, &other, Expect::Absent).await.unwrap();
    assert_eq!(answer, Put::Conflict, "it was carried out");
}

/// Errors while the server is unavailable, and none once it is available again.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_was_unavailable_is_used_again() {
    let mut redis = Redis::start();
    let store = RedisStore::new(&redis.url()).unwrap();
    let key = fresh_key();
    let before = stored(&store, &key).await;
    for _ in 0..3 {
        redis.stop();
        for _ in 0..3 {
            let from = Instant::now();
            assert_unavailable(store.get(&key).await);
            assert_unavailable(put(&store, &key, Expect::Anything).await);
            assert_unavailable(store.remove(&key, Expect::Anything).await);
            assert!(from.elapsed() < Duration::from_secs(1), "a refusal is fast");
        }
        redis.start_again();
        tokio::time::sleep(Duration::from_millis(150)).await;
        assert_eq!(store.get(&key).await.unwrap(), None, "it kept nothing");
        assert!(stored(&store, &key).await > before);
    }
}

/// A server that accepts connections and never responds delays no request beyond the timeout.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_does_not_respond_is_unavailable_after_the_timeout() {
    let redis = Redis::start();
    let store = RedisStore::new(&redis.url()).unwrap();
    let key = fresh_key();
    stored(&store, &key).await;
    redis.freeze();
    for _ in 0..2 {
        let from = Instant::now();
        let asked: Vec<_> = (0..50)
            .map(|_| {
                let (store, key) = (store.clone(), key.clone());
                tokio::spawn(async move { store.get(&key).await })
            })
            .collect();
        for asked in asked {
            assert_unavailable(asked.await.unwrap());
        }
        assert!(
            from.elapsed() < Duration::from_millis(2500),
            "{:?}",
            from.elapsed()
        );
    }
    redis.thaw();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(store.get(&key).await.unwrap().is_some());
    // Abandoned connections are closed. One more is that of this client.
    let clients = redis.cli(&["info", "clients"]);
    let mut clients = clients
        .lines()
        .filter_map(|line| line.strip_prefix("connected_clients:"));
    assert_eq!(clients.next(), Some("2"));
}

/// One node does not respond: operations on other nodes are as fast as before.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_node_that_does_not_respond_delays_no_other_node() {
    let nodes = cluster();
    let store = RedisStore::new(&cluster_url(&nodes)).unwrap();
    let keys: Vec<Key> = (0..30).map(|_| fresh_key()).collect();
    for key in &keys {
        stored(&store, key).await;
    }
    nodes[0].freeze();
    let asked: Vec<_> = keys
        .iter()
        .map(|key| {
            let (store, key) = (store.clone(), key.clone());
            tokio::spawn(async move {
                let (mut slowest, mut good) = (Duration::ZERO, 0);
                for _ in 0..4 {
                    let from = Instant::now();
                    match store.get(&key).await {
                        Ok(Some(_)) => {
                            good += 1;
                            slowest = slowest.max(from.elapsed());
                        }
                        Err(StoreError::Unavailable(_)) => {
                            assert!(from.elapsed() < Duration::from_millis(2100));
                        }
                        other => panic!("{other:?}"),
                    }
                }
                (good, slowest)
            })
        })
        .collect();
    let mut good = 0;
    for asked in asked {
        let (found, slowest) = asked.await.unwrap();
        good += found;
        assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    }
    assert!(good > 40 && good < 120, "{good} of 120");
    nodes[0].thaw();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for key in &keys {
        assert!(store.get(key).await.unwrap().is_some());
    }
}

/// Two of three nodes work while the third is unavailable, and it is used again when it is back.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn an_unavailable_node_affects_its_own_slots_only() {
    let mut nodes = cluster();
    for node in &nodes {
        node.cli(&["config", "set", "cluster-require-full-coverage", "no"]);
    }
    let store = RedisStore::new(&cluster_url(&nodes)).unwrap();
    let keys: Vec<Key> = (0..60).map(|_| fresh_key()).collect();
    for key in &keys {
        stored(&store, key).await;
    }
    nodes[2].stop();
    let (mut found, mut unavailable) = (0, 0);
    for key in &keys {
        match store.get(key).await {
            Ok(Some(_)) => found += 1,
            Err(StoreError::Unavailable(_)) => unavailable += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(found > 20 && unavailable > 5, "{found} {unavailable}");
    // It kept the cluster configuration and no entries.
    nodes[2].start_again();
    let from = Instant::now();
    for key in &keys {
        while store.get(key).await.is_err() {
            assert!(from.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for key in &keys {
        stored(&store, key).await;
    }
}

/// New keys are rejected, and existing entries work as before.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_without_memory_is_full_and_evicts_nothing() {
    let redis = Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]);
    let store = RedisStore::new(&redis.url()).unwrap();
    let value = Bytes::from(vec![7; 10_000]);
    let mut keys = Vec::new();
    let rejected = loop {
        let key = fresh_key();
        match store.put(&key, value.clone(), LONG, Expect::Absent).await {
            Ok(Put::Stored(_)) => keys.push(key),
            other => break other,
        }
        assert!(keys.len() < 1000);
    };
    assert!(matches!(rejected, Err(StoreError::Full)), "{rejected:?}");
    assert!(keys.len() > 50, "{}", keys.len());
    for key in &keys {
        assert!(store.get(key).await.unwrap().is_some());
        let again = store.put(key, value.clone(), LONG, Expect::Absent).await;
        assert_eq!(again.unwrap(), Put::Conflict);
        let replaced = store.put(key, value.clone(), LONG, Expect::Anything).await;
        assert!(matches!(replaced, Ok(Put::Stored(_))), "{replaced:?}");
    }
    let still = store
        .put(&fresh_key(), value.clone(), LONG, Expect::Absent)
        .await;
    assert!(matches!(still, Err(StoreError::Full)), "{still:?}");
    for key in &keys[..20] {
        let removed = store.remove(key, Expect::Anything).await.unwrap();
        assert_eq!(removed, Removed::Removed);
    }
    let stored = store.put(&fresh_key(), value, LONG, Expect::Absent).await;
    assert!(matches!(stored, Ok(Put::Stored(_))), "{stored:?}");
}

/// The limits of a real server: `maxmemory` and `noeviction`.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_with_little_memory_keeps_the_capacity_of_each_class() {
    for suite in [0, 1] {
        let redis = Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]);
        let subject = Shared(Arc::new(RedisStore::new(&redis.url()).unwrap()));
        match suite {
            0 => store_suite::each_class_has_separate_capacity(&subject).await,
            _ => store_suite::a_full_store_accepts_replacements(&subject).await,
        }
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_cluster_with_little_memory_keeps_the_capacity_of_each_class() {
    let nodes = cluster();
    for node in &nodes {
        let used = node.cli(&["info", "memory"]);
        let used = used
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        let used: u64 = used.unwrap().trim().parse().unwrap();
        let most = (used + 1_500_000).to_string();
        node.cli(&["config", "set", "maxmemory", &most]);
    }
    let subject = Shared(Arc::new(RedisStore::new(&cluster_url(&nodes)).unwrap()));
    let store = subject.store();
    // Until each node is full: the key selects the node.
    let mut rejected = 0;
    let value = Bytes::from(vec![7; 10_000]);
    for n in 0.. {
        let key = Key::new("session", &n.to_string());
        match store.put(&key, value.clone(), LONG, Expect::Absent).await {
            Ok(Put::Stored(_)) => rejected = 0,
            Err(StoreError::Full) if rejected < 50 => rejected += 1,
            Err(StoreError::Full) => break,
            other => panic!("{other:?}"),
        }
    }
    for n in 0..100 {
        let id = n.to_string();
        for purpose in ["cookie", "lease", "logout", "ended-user", "ended-sid"] {
            stored(&store, &Key::new(purpose, &id)).await;
        }
        let state = put(&store, &Key::new("state", &id), Expect::Absent).await;
        assert!(matches!(state, Err(StoreError::Full)), "{state:?}");
    }
}

/// Without permission to read the used memory, claimed states may use all of it.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_redis_user_without_permission_for_info_is_supported() {
    let redis = Redis::start_with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]);
    redis.cli(&[
        "acl",
        "setuser",
        "app",
        "on",
        ">secret",
        "~tower-oauth:*",
        "+get",
        "+set",
        "+del",
        "+getrange",
        "+time",
        "+eval",
        "+evalsha",
        "+role",
    ]);
    let url = format!("redis://app:secret@127.0.0.1:{}", redis.port);
    let store = RedisStore::new(&url).unwrap();
    for purpose in ["state", "session", "lease"] {
        stored(&store, &Key::new(purpose, "a")).await;
    }
}

/// After the loss of all data, of the counter alone, and with a clock that was set back.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn versions_increase_after_any_loss() {
    let redis = Redis::start();
    let store = RedisStore::new(&redis.url()).unwrap();
    let key = fresh_key();
    let mut versions = vec![stored(&store, &key).await];
    redis.cli(&["flushall"]);
    versions.push(stored(&store, &key).await);
    let names = redis.cli(&["keys", "*:version"]);
    assert_eq!(names.lines().count(), 1, "{names}");
    redis.cli(&["del", &names]);
    versions.push(stored(&store, &key).await);
    // As if the clock had been an hour ahead so far.
    let ahead = format!("{:016}", versions[2] + 3_600_000_000);
    redis.cli(&["set", &names, &ahead]);
    for _ in 0..3 {
        store.remove(&key, Expect::Anything).await.unwrap();
        versions.push(stored(&store, &key).await);
    }
    assert_eq!(versions[5], versions[2] + 3_600_000_003);
    // The counter is lost and the entry exists: the next version is greater than that of the entry.
    redis.cli(&["del", &names]);
    versions.push(stored(&store, &key).await);
    assert!(
        versions.is_sorted_by(|one, next| one < next),
        "{versions:?}"
    );
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn the_redis_password_is_used_and_never_shown() {
    let redis = Redis::start_with(&["--requirepass", "h3cret:/?"]);
    let address = format!("127.0.0.1:{}", redis.port);
    let store = RedisStore::new(&format!("redis://:h3cret%3A%2F%3F@{address}")).unwrap();
    stored(&store, &fresh_key()).await;
    for wrong in ["redis://", "redis://:wr0ng@", "redis://wr0ng:wr0ng@"] {
        let store = RedisStore::new(&format!("{wrong}{address}")).unwrap();
        let error = store.get(&fresh_key()).await.unwrap_err();
        let shown = format!("{error} {error:?} {store:?}");
        assert!(!shown.contains("wr0ng"), "{shown}");
        assert!(matches!(error, StoreError::Unavailable(_)), "{shown}");
    }
    assert!(!format!("{store:?}").contains("cret"));
    let error = RedisStore::new("redis://:h3cret@").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("h3cret"));
}

/// The log tells what to repair, and where.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn failures_are_logged_by_category_with_the_address() {
    let (locked, replica, frozen) = (
        Redis::start_with(&["--requirepass", "h3cret"]),
        Redis::start(),
        Redis::start(),
    );
    replica.cli(&["replicaof", "127.0.0.1", &locked.port.to_string()]);
    frozen.freeze();
    let closed = free_port();
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain_port = plain.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        stream.write_all(b"-ERR not TLS\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    for (scheme, credentials, port, reason) in [
        ("redis", "", closed, "refused"),
        ("redis", ":wr0ng@", locked.port, "authentication"),
        ("redis", "", locked.port, "authentication"),
        ("redis", "", replica.port, "read_only"),
        ("rediss", "", plain_port, "tls"),
        ("redis", "", frozen.port, "timed_out"),
    ] {
        let store = RedisStore::new(&format!("{scheme}://{credentials}127.0.0.1:{port}")).unwrap();
        let log = log_of(store).await;
        assert!(log.contains(&format!("reason=\"{reason}\"")), "{log}");
        let address = format!("store=\"{scheme}://127.0.0.1:{port}\"");
        assert!(log.contains(&address), "{log}");
        assert!(!log.contains("wr0ng") && !log.contains("h3cret"), "{log}");
        println!("{log}");
    }
    frozen.thaw();
}

/// A replica may be stale: it could return an ended session.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_replica_is_not_read() {
    let (first, second) = (Redis::start(), Redis::start());
    let store = RedisStore::new(&second.url()).unwrap();
    let key = fresh_key();
    stored(&store, &key).await;
    second.cli(&["replicaof", "127.0.0.1", &first.port.to_string()]);
    assert_unavailable(put(&store, &key, Expect::Anything).await);
    assert_unavailable(store.get(&key).await);
    second.cli(&["replicaof", "no", "one"]);
    tokio::time::sleep(Duration::from_millis(150)).await;
    stored(&store, &key).await;
}

/// Another value under a key of the store is not read as an entry.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_foreign_value_is_not_read_as_an_entry() {
    let redis = Redis::start();
    let store = RedisStore::new(&redis.url()).unwrap();
    let key = fresh_key();
    stored(&store, &key).await;
    let name = redis.cli(&["keys", "*:suite:*"]);
    for foreign in [
        &["set", &name, "short"][..],
        &["set", &name, "long enough, not ours"],
    ] {
        redis.cli(foreign);
        assert_unavailable(store.get(&key).await);
    }
    redis.cli(&["del", &name]);
    redis.cli(&["lpush", &name, "a list"]);
    assert_unavailable(store.get(&key).await);
    assert_unavailable(put(&store, &key, Expect::Absent).await);
}

struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Two authorities. The server and a client have certificates of the first.
    fn make(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        let this = Self { folder };
        let ours = authority("ours");
        this.write("ca.pem", &ours.pem());
        this.write("other.pem", &authority("another").pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().unwrap();
            let mut params = named(name);
            let address = std::net::Ipv4Addr::LOCALHOST.into();
            params.subject_alt_names = vec![SanType::IpAddress(address)];
            let certificate = params.signed_by(&key, &ours).unwrap();
            this.write(&format!("{name}.pem"), &certificate.pem());
            this.write(&format!("{name}.key"), &key.serialize_pem());
        }
        this
    }

    fn write(&self, name: &str, pem: &str) {
        fs::write(self.path(name), pem).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn serve(&self, clients: &str, more: &[&str]) -> Redis {
        let (server, key) = (self.path("server.pem"), self.path("server.key"));
        Redis::start_tls(&self.path("ca.pem"), &server, &key, clients, more)
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn a_server_with_tls_meets_the_store_contract_and_other_certificates_are_rejected() {
    let certificates = Certificates::make("redis-tls");
    let redis = certificates.serve("no", &[]);
    let url = format!("rediss://127.0.0.1:{}", redis.port);
    let store = RedisStore::new(&url).unwrap();
    // The system's authorities did not issue this certificate.
    assert_unavailable(store.get(&fresh_key()).await);
    let other = store.clone().with_ca_pem(certificates.read("other.pem"));
    assert_unavailable(other.unwrap().get(&fresh_key()).await);
    let store = store.with_ca_pem(certificates.read("ca.pem")).unwrap();
    meets_the_contract(store.clone()).await;
    let by_name = RedisStore::new(&format!("rediss://localhost:{}", redis.port)).unwrap();
    let by_name = by_name.with_ca_pem(certificates.read("ca.pem")).unwrap();
    assert_unavailable(by_name.get(&fresh_key()).await);
    let plain = RedisStore::new(&format!("redis://127.0.0.1:{}", redis.port)).unwrap();
    assert_unavailable(plain.get(&fresh_key()).await);

    // A server that requires client certificates.
    let redis = certificates.serve("yes", &[]);
    let url = format!("valkeys://127.0.0.1:{}", redis.port);
    let store = RedisStore::new(&url).unwrap();
    let store = store.with_ca_pem(certificates.read("ca.pem")).unwrap();
    assert_unavailable(store.get(&fresh_key()).await);
    let (chain, key) = (
        certificates.read("client.pem"),
        certificates.read("client.key"),
    );
    let store = store.with_client_certificate(&chain, &key).unwrap();
    stored(&store, &fresh_key()).await;
    // The application can still choose the process-wide provider.
    assert!(tokio_rustls::rustls::crypto::CryptoProvider::get_default().is_none());
    let mismatch = store.with_client_certificate(&chain, certificates.read("server.key"));
    assert!(mismatch.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn a_cluster_with_tls_meets_the_store_contract() {
    let certificates = Certificates::make("redis-cluster-tls");
    let nodes: Vec<Redis> = (0..3)
        .map(|_| {
            let bus = free_port().to_string();
            let more = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            certificates.serve("yes", &[&more[..], &["--tls-cluster", "yes"]].concat())
        })
        .collect();
    join(&nodes);
    let url = cluster_url(&nodes).replace("redis-cluster", "rediss-cluster");
    let store = RedisStore::new(&url).unwrap();
    let (chain, key) = (
        certificates.read("client.pem"),
        certificates.read("client.key"),
    );
    let store = store.with_ca_pem(certificates.read("ca.pem")).unwrap();
    meets_the_contract(store.with_client_certificate(chain, key).unwrap()).await;
}

/// A replica is promoted after its node died: it is found without a restart, and versions increase.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_replica_that_is_promoted_in_a_cluster_is_found() {
    let mut nodes = cluster();
    let store = RedisStore::new(&cluster_url(&nodes)).unwrap();
    let bus = free_port().to_string();
    let replica = Redis::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus]);
    let (first, id) = (&nodes[0], nodes[0].cli(&["cluster", "myid"]));
    let bus = first.cli(&["config", "get", "cluster-port"]);
    let bus = bus.lines().last().unwrap();
    replica.cli(&["cluster", "meet", "127.0.0.1", &first.port.to_string(), bus]);
    let from = Instant::now();
    let patiently = async |done: &dyn Fn() -> bool| {
        while !done() {
            assert!(from.elapsed() < Duration::from_secs(20));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    patiently(&|| replica.cli(&["cluster", "replicate", &id]) == "OK").await;
    let keys: Vec<Key> = (0..30).map(|_| fresh_key()).collect();
    let mut versions = Vec::new();
    for key in &keys {
        versions.push(stored(&store, key).await);
    }
    patiently(&|| replica.cli(&["dbsize"]) == first.cli(&["dbsize"])).await;
    nodes[0].stop();
    patiently(&|| replica.cli(&["cluster", "failover", "takeover"]) == "OK").await;
    for (key, version) in keys.iter().zip(versions) {
        // Until the other nodes have learned of it.
        while store.get(key).await.is_err() {
            assert!(from.elapsed() < Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(store.get(key).await.unwrap().unwrap().version(), version);
        assert!(stored(&store, key).await > version);
    }
}

/// Two processes with one Redis: a DPoP proof that one of them accepted is rejected by the other (RFC 9449
/// §11.1).
#[tokio::test]
#[ignore = "needs redis-server"]
async fn processes_that_share_redis_share_used_dpop_proofs() {
    let mut redis = Redis::start();
    let server = server();
    let process = || {
        let store = RedisStore::new(&redis.url()).unwrap();
        api(layer(&server).with_dpop(dpop(&server).with_store(store)))
    };
    let (here, there) = (process(), process());
    let client = Client::new(&server);
    let token = client.token();
    for _ in 0..5 {
        let proof = client.proof("/", &token).sign();
        assert_eq!(show(&here, &token, &proof).await.said(), "200");
        let again = show(&there, &token, &proof).await;
        let replayed = VerifyErrorKind::DpopProof(ProofError::Replayed);
        assert_eq!(again.kind(), Some(replayed));
    }
    // Used proofs cannot be looked up, so none is accepted.
    redis.stop();
    let proof = client.proof("/", &token).sign();
    let answer = show(&there, &token, &proof).await;
    assert_eq!(answer.kind(), Some(VerifyErrorKind::StoreUnavailable));
    redis.start_again();
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(show(&there, &token, &proof).await.said(), "200");
}

/// Requires no server: invalid settings are rejected by the method that receives them.
#[test]
fn invalid_settings_are_rejected_immediately() {
    for url in [
        "",
        "http://h",
        "redis://",
        "redis://:secret@",
        "rediss://h/#insecure",
    ] {
        let error = RedisStore::new(url).unwrap_err().to_string();
        assert!(
            error.starts_with("Redis URL: ") && !error.contains("secret"),
            "{error}"
        );
    }
    let store = || RedisStore::new("redis://h").unwrap();
    for prefix in ["", "a b", "a{b", "a}b", "é", &"x".repeat(65)] {
        assert!(store().with_prefix(prefix).is_err(), "{prefix}");
    }
    assert!(store().with_prefix(&"x".repeat(64)).is_ok());
    assert!(store().with_ca_pem("").is_err(), "no TLS");
    let by_tls = || RedisStore::new("rediss://h").unwrap();
    assert!(by_tls().with_ca_pem("").is_err(), "no certificate");
    assert!(by_tls().with_client_certificate("", "").is_err());
    assert!(store().is_shared());
}

/// Store operations are part of the futures of requests, which must not each have the size of a TLS
/// handshake.
#[test]
fn the_futures_of_store_operations_are_small() {
    let (store, key) = (RedisStore::new("rediss-cluster://h").unwrap(), fresh_key());
    for (operation, size) in [
        ("get", size_of_val(&store.get(&key))),
        ("put", size_of_val(&put(&store, &key, Expect::Absent))),
        ("remove", size_of_val(&store.remove(&key, Expect::Absent))),
    ] {
        assert!(size < 8192, "{operation}: {size}");
    }
}

/// A refused connection is reported immediately.
#[tokio::test]
async fn a_refused_connection_is_unavailable_immediately() {
    let port = free_port();
    for url in [
        format!("redis://127.0.0.1:{port}"),
        format!("rediss://127.0.0.1:{port}"),
        format!("redis-cluster://127.0.0.1:{port},127.0.0.1:{port}"),
        "redis+unix:///no/such/socket".to_owned(),
    ] {
        let store = RedisStore::new(&url).unwrap();
        let key = fresh_key();
        assert_unavailable(store.get(&key).await);
        assert_unavailable(put(&store, &key, Expect::Absent).await);
        assert_unavailable(store.remove(&key, Expect::Anything).await);
    }
}

/// Keys and values with all special bytes, and prefixes of each other.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn redis_keys_are_distinct_and_values_can_be_any_bytes() {
    let redis = Redis::start();
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let store = |prefix: &str| RedisStore::new(&url).unwrap().with_prefix(prefix).unwrap();
    let stores = [
        "a",
        "a:",
        "a:a",
        "*",
        "a:session:x",
        "?",
        "\\",
        "'\"",
        "a:version",
    ]
    .map(store);
    let ids = [
        "",
        ":",
        "x",
        "x:",
        ":x",
        "{x}",
        "}{",
        "\0",
        "\r\n",
        "x\r\nDEL x",
        "*",
        "é",
        "'..'",
        "]]",
        "version",
        "0000000000000001",
    ];
    let value: Bytes = (0..=255_u8).chain(*b"\r\n$-1\r\n").collect();
    for (number, store) in stores.iter().enumerate() {
        for id in ids {
            for purpose in ["session", "version", ""] {
                let key = Key::new(purpose, id);
                let value: Bytes = [&value[..], &[u8::try_from(number).unwrap()]]
                    .concat()
                    .into();
                let put = store.put(&key, value.clone(), MINUTE, Expect::Absent).await;
                assert!(
                    matches!(put, Ok(Put::Stored(_))),
                    "{number} {purpose} {id:?}"
                );
                let found = store.get(&key).await.unwrap().unwrap();
                assert_eq!(found.into_value(), value, "{number} {purpose} {id:?}");
            }
        }
    }
    for bad in ["", "{", "}", "a b", "a\n", "é", &"a".repeat(65)] {
        assert!(
            RedisStore::new(&url).unwrap().with_prefix(bad).is_err(),
            "{bad:?}"
        );
    }
}

/// A server that sends invalid responses: an error within two seconds, and no panic.
#[tokio::test]
async fn a_server_that_does_not_speak_redis_is_unavailable_in_time() {
    const SAID: [&[u8]; 18] = [
        b"",
        b"garbage\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$9223372036854775807\r\n",
        b"$-2\r\n",
        b"$4294967296\r\nx",
        b"*2147483647\r\n",
        b"*9223372036854775807\r\n",
        b"*-5\r\n",
        b">3\r\n+message\r\n+x\r\n+y\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"-MOVED 1 127.0.0.1:1\r\n",
        b"-ASK 1 evil.example:6379\r\n",
        b"-MOVED\r\n",
        b"-NOSCRIPT x\r\n",
        b"-WRONGPASS hunter2\r\n",
        b":18446744073709551616\r\n",
        b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n$3\r\nabc\r\n",
    ];
    let deep: &'static [u8] = b"*1\r\n".repeat(100_000).leak();
    let flood: &'static [u8] = b"+OK\r\n".repeat(100_000).leak();
    let asks = SAID
        .into_iter()
        .chain([deep, flood])
        .map(|said| async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(async move {
                        let mut heard = [0; 4096];
                        while stream.read(&mut heard).await.is_ok_and(|length| length > 0) {
                            let _ = stream.write_all(said).await;
                        }
                    });
                }
            });
            for scheme in ["redis", "redis-cluster"] {
                let url = format!("{scheme}://app:hunter2@127.0.0.1:{port}");
                let store = RedisStore::new(&url).unwrap();
                assert!(!format!("{store:?}").contains("hunter2"));
                let key = Key::new("session", "x");
                let shown = String::from_utf8_lossy(&said[..said.len().min(40)]);
                let begun = Instant::now();
                let got = store.get(&key).await.unwrap_err();
                let put = store
                    .put(&key, Bytes::new(), MINUTE, Expect::Anything)
                    .await;
                let put = put.unwrap_err();
                let took = begun.elapsed();
                assert!(took < Duration::from_secs(5), "{scheme} {shown:?} {took:?}");
                for error in [got, put] {
                    let text = format!("{error:?} {error}");
                    assert!(!text.contains("hunter2"), "{shown:?}: {text}");
                    assert!(!text.contains("evil"), "{shown:?}: {text}");
                }
            }
        });
    let tasks: Vec<_> = asks.map(tokio::spawn).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Errors and `Debug` of URLs, valid or not, do not contain the password.
#[test]
fn no_error_contains_the_password_of_a_url() {
    for url in [
        "redis://:hunter2@",
        "redis://app:hunter2@host:x",
        "redis://app:hunter2/@host",
        "redis://app:hunter2?@host",
        "redis://app:hunter2#@host",
        "redis://hunter2@host",
        "hunter2://:hunter2@host",
        "redis://app:hunter2%@host",
        "redis://app:hunter2@host/hunter2",
        "redis-cluster://:hunter2@a,b/7",
        "redis://app:hunter2@hunter2:0",
        "redis+unix://:hunter2@/x",
        "redis://app:hunter2@[host",
    ] {
        let error = RedisStore::new(url).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("hunter2"), "{url}: {shown}");
    }
    let store = RedisStore::new("rediss://app:hunter2@host/1").unwrap();
    let error = store.clone().with_ca_pem("hunter2").unwrap_err();
    let shown = format!("{store:?} {error} {error:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("app"),
        "{shown}"
    );
}

/// Without a cluster, a server cannot redirect the client.
#[tokio::test]
async fn a_single_server_cannot_redirect_the_password() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = elsewhere.local_addr().unwrap().port();
    let redis = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "redis://:hunter2@127.0.0.1:{}",
        redis.local_addr().unwrap().port()
    );
    let moved = format!("-MOVED 1 127.0.0.1:{port}\r\n");
    tokio::spawn(async move {
        let (mut stream, _) = redis.accept().await.unwrap();
        let mut heard = [0; 4096];
        // Authentication succeeds, `ROLE` is not permitted, and then all keys have moved.
        let mut said = 0;
        while stream.read(&mut heard).await.is_ok_and(|length| length > 0) {
            said += 1;
            let word = if said == 1 { "+OK\r\n" } else { moved.as_str() };
            stream.write_all(word.as_bytes()).await.unwrap();
        }
    });
    let store = RedisStore::new(&url).unwrap();
    store.get(&Key::new("session", "x")).await.unwrap_err();
    let visit = tokio::time::timeout(Duration::from_millis(200), elsewhere.accept()).await;
    assert!(visit.is_err());
}
