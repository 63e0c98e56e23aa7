//! Store content: any bytes give the session of the browser with its secret, or none, and the work for an index is
//! proportional to its entries.
//!
//! The first byte selects the kind of input. `s`: the plaintext of a session, encrypted as in a store, with its name
//! inserted. `r`: a session as raw bytes. Anything else: the value of all other keys.
#![no_main]

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tower_oauth::fuzzing::sealed_in_store;
use tower_oauth::store::{Expect, Key, Put, Record, Removed, Store, StoreError};

use fixed_clock::NOW;
use shop::{ISSUER, SESSION, Shop, encode, user_of};

#[path = "support/fixed_clock.rs"]
mod fixed_clock;
#[allow(dead_code)]
#[path = "support/shop.rs"]
mod shop;

const SECRET: [u8; 32] = [9; 32];

/// The seeds that are sessions.
const SIGNED_IN: [&[u8]; 2] = [
    include_bytes!("../seeds/stored/session"),
    include_bytes!("../seeds/stored/extreme_times"),
];

static SHOP: LazyLock<Shop> =
    LazyLock::new(|| Shop::new(|login| login.with_session_store(FixedContent)));
static CONTENT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static OPERATIONS: AtomicUsize = AtomicUsize::new(0);

fuzz_target!(|data: &[u8]| {
    *CONTENT.lock().unwrap() = data.to_vec();
    OPERATIONS.store(0, Relaxed);
    let cookie = format!("{SESSION}={}", encode(SECRET)).parse().unwrap();
    let page = SHOP.get("/", &[cookie]).unwrap();
    let user = user_of(&page);
    match (&user, data.first()) {
        (Some(user), Some(b's')) => {
            assert!(user["issuer"].is_string() && user["subject"].is_string())
        }
        // Write access to the store alone does not sign a user in.
        (Some(_), _) => panic!("it was not encrypted"),
        (None, _) => assert!(!SIGNED_IN.contains(&data)),
    }
    if !matches!(data.first(), Some(b's' | b'r')) {
        let claims = json!({
            "iss": ISSUER, "aud": "shop", "iat": NOW, "jti": "j", "sub": "alice", "sid": "s1",
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        let token = SHOP.sign(r#"{"alg":"EdDSA"}"#, &claims.to_string());
        let status = SHOP.post_logout_token(&token);
        assert!([200, 400, 503].contains(&status), "{status}");
    }
    let operations = OPERATIONS.load(Relaxed);
    assert!(
        operations <= 500 + data.len() / 4,
        "{operations} operations"
    );
});

struct FixedContent;

impl Store for FixedContent {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        OPERATIONS.fetch_add(1, Relaxed);
        let content = CONTENT.lock().unwrap();
        let Some((kind, rest)) = content.split_first() else {
            return Ok(None);
        };
        let (purpose, name) = key.as_str().split_once(':').unwrap();
        let value = match (purpose, kind) {
            ("session", b's') => {
                let mut plain = rest.to_vec();
                // The name of the session follows the schema version.
                if let Some(place) = plain.get_mut(1..33) {
                    place.copy_from_slice(&URL_SAFE_NO_PAD.decode(name).unwrap());
                }
                sealed_in_store(&SHOP.key, &SECRET, name, SHOP.layer(), &plain)
            }
            ("session", b'r') => rest.to_vec(),
            ("session", _) | (_, b's' | b'r') => return Ok(None),
            _ => rest.to_vec(),
        };
        Ok(Some(Record::new(value.into(), 1)))
    }

    async fn put(&self, _: &Key, _: Bytes, _: Duration, _: Expect) -> Result<Put, StoreError> {
        OPERATIONS.fetch_add(1, Relaxed);
        Ok(Put::Stored(2))
    }

    async fn remove(&self, _: &Key, _: Expect) -> Result<Removed, StoreError> {
        OPERATIONS.fetch_add(1, Relaxed);
        Ok(Removed::Removed)
    }
}
