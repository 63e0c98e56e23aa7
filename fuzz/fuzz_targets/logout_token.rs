//! Logout tokens, header and payload by the fuzzer and the signature by the right key: what ends sessions
//! says so to any reader, is for this client and of this hour, and is good once.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_oauth::store::MemoryStore;

use shop::{ISSUER, Shop};
use still::{NOW, Still};

#[allow(dead_code)]
#[path = "support/shop.rs"]
mod shop;
#[path = "support/still.rs"]
mod still;

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

fuzz_target!(|data: &str| {
    // A memory of its own, or what was seen before would be refused.
    static SHOP: LazyLock<Shop> = LazyLock::new(|| {
        let store = MemoryStore::new().with_clock(Still).with_single_process();
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
    match SHOP.tell(&token) {
        200 => {
            check(header, payload);
            assert_eq!(SHOP.tell(&token), 400, "a logout token is good once");
        }
        // The memory is full by and by; nothing is judged then.
        503 => {}
        status => {
            assert_eq!(status, 400);
            let good = [
                include_str!("../seeds/logout_token/session"),
                include_str!("../seeds/logout_token/person"),
            ];
            let good = good.map(|good| good.replace("$EVENT", &format!(r#""{EVENT}":{{}}"#)));
            assert!(!good.contains(&data));
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
    let ours = match &claims["aud"] {
        Value::Array(all) => !all.is_empty() && all.iter().all(|one| one == "shop"),
        one => one == "shop",
    };
    assert!(ours, "{}", claims["aud"]);
    assert!(claims["events"][EVENT].is_object());
    assert!(claims.get("nonce").is_none());
    assert!(!claims["jti"].as_str().unwrap().is_empty());
    assert!(claims["sub"].is_string() || claims["sid"].is_string());
    let issued_at = claims["iat"].as_f64().unwrap();
    assert!(issued_at <= NOW as f64 + 31.0 && issued_at >= NOW as f64 - 631.0);
    let end = claims.get("exp").filter(|exp| !exp.is_null());
    assert!(end.is_none_or(|exp| exp.as_f64().unwrap().floor() + 30.0 > NOW as f64));
}
