//! Payloads: each claim has the value that an independent JSON parser finds, and is within its range. A claim that is null,
//! empty or an empty list is absent, and an empty identifier is an error.
#![no_main]

mod unset;

use std::time::UNIX_EPOCH;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

use unset::is_unset;

fuzz_target!(|data: &[u8]| {
    let Some(claims) = tower_oauth::fuzzing::claims(data) else {
        assert_ne!(data, include_bytes!("../seeds/claims/all"));
        return;
    };
    let expected: Value = serde_json::from_slice(data).unwrap();
    let expected = expected.as_object().unwrap();
    for name in ["iss", "sub", "client_id", "jti"] {
        assert_ne!(expected.get(name), Some(&Value::from("")), "{name}");
    }
    let member = |name: &str| expected.get(name).filter(|one| !is_unset(one));
    let text = |name: &str| member(name).map(|one| one.as_str().unwrap());
    assert_eq!(claims.issuer(), text("iss"));
    assert_eq!(claims.subject(), text("sub"));
    assert_eq!(claims.client_id(), text("client_id"));

    let seconds = |name: &str| member(name).map(|one| one.as_f64().unwrap());
    for (read, sent) in [
        (claims.expires_at(), seconds("exp")),
        (claims.issued_at(), seconds("iat")),
    ] {
        assert_eq!(read.is_some(), sent.is_some());
        if let (Some(read), Some(sent)) = (read, sent) {
            let read = read.duration_since(UNIX_EPOCH).unwrap().as_secs();
            assert!(read <= 253_402_300_799, "{read}");
            assert!((read as f64 - sent).abs() <= 1.0, "{read} {sent}");
        }
    }
    let audience: Vec<&str> = match member("aud") {
        None => vec![],
        Some(Value::String(one)) => vec![one],
        Some(many) => many
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect(),
    };
    assert!(claims.audience().eq(audience));

    // Both parsers preserve the whole text.
    let again: serde_json::Map<String, Value> = claims.deserialize().unwrap();
    assert_eq!(&again, expected);
    let _ = format!("{claims:?}");
});
