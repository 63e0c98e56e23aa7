//! The key ring: where keys come from, and a rotation that signs nobody out.
#![allow(clippy::unwrap_used, missing_docs)]

mod login_support;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use http::StatusCode;
use login_support::*;
use tower_oauth::CookieKey;
use tower_oauth::store::MemoryStore;

/// Two keys as they are written down.
const OLD: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

const COOKIE: (&str, Option<MemoryStore>) = ("cookie", None);

/// Where sessions may be, over all deployments.
fn places() -> [(&'static str, Option<MemoryStore>); 3] {
    let store = || Some(MemoryStore::new().with_single_process());
    [
        ("cookie", None),
        ("shared memory", store()),
        ("store", store()),
    ]
}

/// A deployment of the shop with this ring.
fn deployed(shop: &Shop, ring: &str, (place, store): &(&str, Option<MemoryStore>)) -> Router {
    let login = login_with(&shop.server, CookieKey::from_text(ring).unwrap());
    app(&match (*place, store.clone()) {
        ("shared memory", Some(store)) => login.with_shared_store(store),
        ("store", Some(store)) => login.with_session_store(store),
        _ => login,
    })
}

fn shop(ring: &str, place: &(&str, Option<MemoryStore>)) -> Shop {
    let mut shop = Shop::new();
    shop.app = deployed(&shop, ring, place);
    shop
}

/// L41, H11: before, during and after. Whoever comes by once in the meantime stays signed in, and a login
/// that was on its way when the key changed is completed. In a store it is the record that is sealed
/// anew, and the ticket in the browser stays what it is.
#[tokio::test]
async fn a_rotation_signs_nobody_out() {
    for place in places() {
        let name = place.0;
        let in_store = name == "store";
        let mut shop = shop(OLD, &place);
        let mut alice = shop.signed_in().await;
        let first = alice.clone();
        let mut bob = Jar::default();
        let on_its_way = shop.start("/auth/login?return_to=/notes", &mut bob).await;
        let away = shop.signed_in().await;

        // The new key in front, the old one behind it.
        shop.app = deployed(&shop, &format!("{NEW},{OLD}"), &place);
        assert_eq!(shop.greeting(&alice).await, "hello alice", "{name}");
        let callback = shop.approve(on_its_way.location(), "bob").await;
        let answer = shop.send(Ask::page(&callback).jar(&bob)).await;
        assert_eq!(answer.location(), "/notes", "{name} {answer:?}");
        bob.take(&answer);
        assert_eq!(shop.greeting(&bob).await, "hello bob", "{name}");

        // The next write is with the new key, and it is the only one: the second request sets nothing.
        shop.clock().advance(Duration::from_secs(400));
        for writes in [true, false] {
            let answer = shop.send(Ask::page("/").jar(&alice)).await;
            let sets = usize::from(writes && !in_store);
            assert_eq!(answer.sets().len(), sets, "{name}");
            alice.take(&answer);
        }
        let same_cookie = alice.value(SESSION) == first.value(SESSION);
        assert_eq!(same_cookie, in_store, "{name}");

        // The old key is gone.
        shop.app = deployed(&shop, NEW, &place);
        assert_eq!(shop.greeting(&alice).await, "hello alice", "{name}");
        assert_eq!(shop.greeting(&bob).await, "hello bob", "{name}");
        // Who never came by in the meantime is nobody, and so is a copy of a cookie from before: no error, and a
        // sealed cookie goes (L39). A ticket stays: a replica that still has the old key can read its session.
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

/// While both are deployed side by side, each opens what the other seals: the new key is first added
/// behind the old one everywhere, and then put in front.
#[tokio::test]
async fn replicas_in_the_middle_of_a_rotation_understand_each_other() {
    for place in places() {
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

/// A folder that goes away with the test.
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

/// L41: keys out of a mounted file, and errors that repeat nothing of it.
#[tokio::test]
async fn a_ring_comes_out_of_a_file() {
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

/// A key without a command: made at the first start, the same at the next, nobody else's to read.
#[tokio::test]
async fn a_file_is_made_where_there_is_none_and_sessions_outlive_the_process() {
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
    // What stands there and is no key is neither used nor replaced.
    fs::write(&path, "a passphrase").unwrap();
    assert!(CookieKey::from_file_or_create(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "a passphrase");
    assert!(CookieKey::from_file_or_create(folder.0.join("no/such/folder")).is_err());
}

/// Processes that start at once agree on one key.
#[test]
fn a_file_that_many_make_at_once_holds_one_key() {
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

/// A key to print and to keep: whole, different each time.
#[test]
fn a_key_as_text_is_one_that_is_taken_back() {
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
    assert!(error.contains("generate_text"), "{error}");
}
