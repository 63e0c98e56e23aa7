//! What a store holds: any bytes are a session of the one who has its ticket, or nobody's, and lists of any
//! kind cost no more work than they have entries.
//!
//! The first byte says what the rest is. `s`: the plain text of a session, sealed as it is in a store, with
//! its name put in. `r`: a session as raw bytes. Anything else: whatever stands under all other keys.
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

use shop::{ISSUER, SESSION, Shop, encode, seen};
use still::NOW;

#[allow(dead_code)]
#[path = "support/shop.rs"]
mod shop;
#[path = "support/still.rs"]
mod still;

const TICKET: [u8; 32] = [9; 32];
const GOOD: &[u8] = include_bytes!("../seeds/stored/session");

static SHOP: LazyLock<Shop> = LazyLock::new(|| Shop::new(|login| login.with_session_store(Held)));
static HELD: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static VERBS: AtomicUsize = AtomicUsize::new(0);

fuzz_target!(|data: &[u8]| {
    *HELD.lock().unwrap() = data.to_vec();
    VERBS.store(0, Relaxed);
    let cookie = format!("{SESSION}={}", encode(TICKET)).parse().unwrap();
    let page = SHOP.go("/", &[cookie]).unwrap();
    let who = seen(&page);
    match (&who, data.first()) {
        (Some(who), Some(b's')) => assert!(who["issuer"].is_string() && who["subject"].is_string()),
        // Whoever can write to the store and nothing else signs nobody in.
        (Some(_), _) => panic!("nobody sealed it"),
        (None, _) => assert_ne!(data, GOOD),
    }
    if !matches!(data.first(), Some(b's' | b'r')) {
        let claims = json!({
            "iss": ISSUER, "aud": "shop", "iat": NOW, "jti": "j", "sub": "alice", "sid": "s1",
            "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
        });
        let token = SHOP.sign(r#"{"alg":"EdDSA"}"#, &claims.to_string());
        let status = SHOP.tell(&token);
        assert!([200, 400, 503].contains(&status), "{status}");
    }
    let verbs = VERBS.load(Relaxed);
    assert!(verbs <= 500 + data.len() / 4, "{verbs} verbs");
});

struct Held;

impl Store for Held {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        VERBS.fetch_add(1, Relaxed);
        let held = HELD.lock().unwrap();
        let Some((what, rest)) = held.split_first() else {
            return Ok(None);
        };
        let (purpose, name) = key.as_str().split_once(':').unwrap();
        let value = match (purpose, what) {
            ("session", b's') => {
                let mut plain = rest.to_vec();
                // The name of the session stands behind the schema.
                if let Some(place) = plain.get_mut(1..33) {
                    place.copy_from_slice(&URL_SAFE_NO_PAD.decode(name).unwrap());
                }
                sealed_in_store(&SHOP.key, &TICKET, name, SHOP.layer(), &plain)
            }
            ("session", b'r') => rest.to_vec(),
            ("session", _) | (_, b's' | b'r') => return Ok(None),
            _ => rest.to_vec(),
        };
        Ok(Some(Record::new(value.into(), 1)))
    }

    async fn put(&self, _: &Key, _: Bytes, _: Duration, _: Expect) -> Result<Put, StoreError> {
        VERBS.fetch_add(1, Relaxed);
        Ok(Put::Stored(2))
    }

    async fn remove(&self, _: &Key, _: Expect) -> Result<Removed, StoreError> {
        VERBS.fetch_add(1, Relaxed);
        Ok(Removed::Removed)
    }
}
