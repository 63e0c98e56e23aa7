//! Logout tokens with header and payload of the fuzzer and a signature of the right key. A token that ends sessions is a
//! recent logout token for this client by an independent parser too, and is accepted once.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_oauth::store::MemoryStore;

use fixed_clock::{FixedClock, NOW};
use shop::{ISSUER, Shop};

#[path = "support/fixed_clock.rs"]
mod fixed_clock;
#[allow(dead_code)]
#[path = "support/shop.rs"]
mod shop;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fuzz_target!(|data: &str| {
    // A store for replay detection, which starts empty.
    static SHOP: LazyLock<Shop> = LazyLock::new(|| {
        let store = MemoryStore::new()
            .with_clock(FixedClock)
            .with_single_process();
        Shop::new(|login| login.with_shared_store(store))
    });
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let data = data.replace("$EVENT", &format!(r#""{EVENT}":{{}}"#));
    let text = data.replace("$JTI", &format!("j{count}"));
    let (header, payload) = text
        .split_once('\n')
        .unwrap_or((r#"{"alg":"EdDSA"}"#, &text));
    let token = SHOP.sign(header, payload);
    match SHOP.post_logout_token(&token) {
        200 => {
            check(header, payload);
            assert_eq!(
                SHOP.post_logout_token(&token),
                400,
                "a logout token is accepted once"
            );
        }
        // The store fills up. Then no token is accepted.
        503 => {}
        status => {
            assert_eq!(status, 400);
            let valid = [
                include_str!("../seeds/logout_token/session"),
                include_str!("../seeds/logout_token/person"),
            ];
            let valid = valid.map(|text| text.replace("$EVENT", &format!(r#""{EVENT}":{{}}"#)));
            assert!(!valid.contains(&data));
        }
    }
});

fn check(header: &str, payload: &str) {
    let header: Value = serde_json::from_str(header).unwrap();
    assert!(["EdDSA", "Ed25519"].contains(&header["alg"].as_str().unwrap()));
    assert!(header.get("crit").is_none());
    if let Some(typ) = header.get("typ").filter(|typ| !typ.is_null()) {
        let typ = typ.as_str().unwrap().to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        assert!(["logout+jwt", "jwt"].contains(&typ), "{typ}");
    }
    let claims: Value = serde_json::from_str(payload).unwrap();
    assert_eq!(claims["iss"], ISSUER);
    let is_for_client = match &claims["aud"] {
        Value::Array(all) => !all.is_empty() && all.iter().all(|one| one == "shop"),
        one => one == "shop",
    };
    assert!(is_for_client, "{}", claims["aud"]);
    assert!(claims["events"][EVENT].is_object());
    assert!(claims.get("nonce").is_none());
    assert!(!claims["jti"].as_str().unwrap().is_empty());
    assert!(claims["sub"].is_string() || claims["sid"].is_string());
    let issued_at = claims["iat"].as_f64().unwrap();
    assert!(issued_at <= NOW as f64 + 31.0 && issued_at >= NOW as f64 - 631.0);
    let end = claims.get("exp").filter(|exp| !exp.is_null());
    assert!(end.is_none_or(|exp| exp.as_f64().unwrap().floor() + 30.0 > NOW as f64));
}
