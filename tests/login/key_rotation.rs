//! Cookie keys: where they come from, and a rotation that ends no session.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use http::StatusCode;
use tower_oauth::CookieKey;
use tower_oauth::store::MemoryStore;

use crate::support::shop::*;

/// Two keys in their text form.
const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

const COOKIE: (&str, Option<MemoryStore>) = ("cookie", None);

/// All session backends, over all deployments.
fn backends() -> [(&'static str, Option<MemoryStore>); 3] {
    let store = || Some(MemoryStore::new().with_single_process());
    [
        ("cookie", None),
        ("shared store", store()),
        ("store", store()),
    ]
}

/// Deploys the shop with these keys.
fn deployed(shop: &Shop, ring: &str, (place, store): &(&str, Option<MemoryStore>)) -> Router {
    let login = login_with(&shop.server, CookieKey::from_text(ring).unwrap());
    app(&match (*place, store.clone()) {
        ("shared store", Some(store)) => login.with_shared_store(store),
        ("store", Some(store)) => login.with_session_store(store),
        _ => login,
    })
}

fn shop(ring: &str, place: &(&str, Option<MemoryStore>)) -> Shop {
    let mut shop = Shop::new();
    shop.app = deployed(&shop, ring, place);
    shop
}

/// Before, during and after a rotation. A browser that sends a request in the meantime stays signed in, and a
/// login in progress is completed. In a store the record is encrypted again, and the secret in the browser
/// stays the same.
#[tokio::test]
async fn a_key_rotation_ends_no_session() {
    for place in backends() {
        let name = place.0;
        let in_store = name == "store";
        let mut shop = shop(OLD, &place);
        let mut alice = shop.signed_in().await;
        let first = alice.clone();
        let mut bob = Jar::default();
        let on_its_way = shop.start("/auth/login?return_to=/notes", &mut bob).await;
        let away = shop.signed_in().await;

        // The new key first, the old one second.
        shop.app = deployed(&shop, &format!("{NEW},{OLD}"), &place);
        assert_eq!(shop.greeting(&alice).await, "hello alice", "{name}");
        let callback = shop.approve(on_its_way.location(), "bob").await;
        let answer = shop.send(Ask::page(&callback).jar(&bob)).await;
        assert_eq!(answer.location(), "/notes", "{name} {answer:?}");
        bob.take(&answer);
        assert_eq!(shop.greeting(&bob).await, "hello bob", "{name}");

        // The next write uses the new key and is the only one: the second request sets no cookie.
        shop.clock().advance(Duration::from_secs(400));
        for writes in [true, false] {
            let answer = shop.send(Ask::page("/").jar(&alice)).await;
            let sets = usize::from(writes && !in_store);
            assert_eq!(answer.sets().len(), sets, "{name}");
            alice.take(&answer);
        }
        let same_cookie = alice.value(SESSION) == first.value(SESSION);
        assert_eq!(same_cookie, in_store, "{name}");

        // Without the old key.
        shop.app = deployed(&shop, NEW, &place);
        assert_eq!(shop.greeting(&alice).await, "hello alice", "{name}");
        assert_eq!(shop.greeting(&bob).await, "hello bob", "{name}");
        // A browser without a request in the meantime is anonymous, and so is an old copy of a cookie: no
        // error, and an encrypted cookie is cleared. A session secret is kept, since a replica with the old
        // key can read its session.
        let mut strangers = vec![&away];
        if !in_store {
            strangers.push(&first);
        }
        for jar in strangers {
            let answer = shop.send(Ask::page("/").jar(jar)).await;
            assert_eq!(answer.status, StatusCode::OK, "{name}");
            assert_eq!(answer.text(), "hello stranger", "{name}");
            let cleared: &[&str] = if in_store { &[] } else { &[SESSION] };
            assert_eq!(answer.clears(), cleared, "{name}");
        }
    }
}

/// While both are deployed, each accepts the sessions of the other: the new key is added last everywhere, and
/// then moved to the front.
#[tokio::test]
async fn replicas_during_a_rotation_accept_sessions_of_each_other() {
    for place in backends() {
        let shop = shop(OLD, &place);
        let rings = [[OLD, NEW], [NEW, OLD]];
        let [before, after] = rings.map(|ring| deployed(&shop, &ring.join(","), &place));
        let mut jar = shop.signed_in().await;
        for round in 0..6 {
            for replica in [&before, &after] {
                shop.clock().advance(Duration::from_secs(400));
                let answer = send(replica, Ask::page("/").jar(&jar)).await;
                assert_eq!(answer.text(), "hello alice", "{} {round}", place.0);
                jar.take(&answer);
            }
        }
    }
}

/// A temporary folder.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("tower-oauth-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Keys from a mounted file. Errors do not show its content.
#[tokio::test]
async fn cookie_keys_are_read_from_a_file() {
    let folder = Folder::new("ring");
    let path = folder.0.join("cookie.key");
    assert!(CookieKey::from_file(&path).is_err());
    for (name, content, keys) in [
        ("one", format!("{NEW}\n"), 1),
        ("commas", format!("{NEW}, {OLD}\n"), 2),
        ("lines", format!("{NEW}\n{OLD}"), 2),
        (
            "lines of another system",
            format!("{NEW}\r\n\r\n{OLD}\r\n"),
            2,
        ),
    ] {
        fs::write(&path, &content).unwrap();
        let ring = CookieKey::from_file(&path).unwrap();
        let mut shop = shop(NEW, &COOKIE);
        let of_new = shop.signed_in().await;
        shop.app = deployed(&shop, OLD, &COOKIE);
        let of_old = shop.signed_in().await;
        shop.app = app(&login_with(&shop.server, ring));
        assert_eq!(shop.greeting(&of_new).await, "hello alice", "{name}");
        let expected = if keys == 2 {
            "hello alice"
        } else {
            "hello stranger"
        };
        assert_eq!(shop.greeting(&of_old).await, expected, "{name}");
    }
    let secret = "correct horse battery staple";
    for (name, content) in [
        ("empty", Vec::new()),
        ("blank", b" \n\n".to_vec()),
        ("a passphrase", secret.as_bytes().to_vec()),
        (
            "a key and a passphrase",
            format!("{NEW}\n{secret}").into_bytes(),
        ),
        ("a gap", format!("{NEW},,{OLD}").into_bytes()),
        ("raw bytes", vec![0xff; 32]),
        ("endless", NEW.as_bytes().repeat(2000)),
    ] {
        fs::write(&path, content).unwrap();
        let error = CookieKey::from_file(&path).unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(said.contains("cookie key"), "{name}: {said}");
        assert!(
            !said.contains("horse") && !said.contains(&NEW[..8]),
            "{name}: {said}"
        );
        assert!(!said.contains("cookie.key"), "{name}: {said}");
    }
    assert!(CookieKey::from_file(&folder.0).is_err());
}

/// A key file that is created at the first start, is read at the next, and is readable by its owner only.
#[tokio::test]
async fn a_missing_key_file_is_created_and_sessions_survive_a_restart() {
    let folder = Folder::new("made");
    let path = folder.0.join("cookie.key");
    let mut shop = Shop::new();
    let start = |shop: &Shop| {
        let key = CookieKey::from_file_or_create(&path).unwrap();
        app(&login_with(&shop.server, key))
    };
    shop.app = start(&shop);
    let jar = shop.signed_in().await;
    let content = fs::read_to_string(&path).unwrap();
    shop.app = start(&shop);
    assert_eq!(shop.greeting(&jar).await, "hello alice");
    assert_eq!(fs::read_to_string(&path).unwrap(), content);
    let names: Vec<_> = fs::read_dir(&folder.0).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // A file that has no key is neither used nor replaced.
    fs::write(&path, "a passphrase").unwrap();
    assert!(CookieKey::from_file_or_create(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "a passphrase");
    assert!(CookieKey::from_file_or_create(folder.0.join("no/such/folder")).is_err());
}

/// Processes that start concurrently agree on one key.
#[test]
fn a_key_file_that_is_created_concurrently_has_one_key() {
    let folder = Folder::new("race");
    for round in 0..20 {
        let path = folder.0.join(format!("{round}.key"));
        let contents: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        CookieKey::from_file_or_create(&path).unwrap();
                        fs::read_to_string(&path).unwrap()
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert!(
            contents.iter().all(|content| *content == contents[0]),
            "{round}"
        );
    }
}

/// Generated keys are complete and differ each time.
#[test]
fn a_generated_key_text_can_be_parsed() {
    let texts: Vec<String> = (0..8)
        .map(|_| CookieKey::generate_text().unwrap())
        .collect();
    for (at, text) in texts.iter().enumerate() {
        assert!(CookieKey::from_text(text).is_ok(), "{text}");
        assert_eq!(text.len(), 44, "{text}");
        assert!(!texts[..at].contains(text));
    }
    let error = CookieKey::from_env("TOWER_OAUTH_NO_SUCH_KEY")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("generate_text") && error.contains("TOWER_OAUTH_NO_SUCH_KEY"),
        "{error}"
    );
    // The key instead of the name of its variable.
    let error = CookieKey::from_env(&texts[0]).unwrap_err().to_string();
    assert!(!error.contains(&texts[0]), "{error}");
}
