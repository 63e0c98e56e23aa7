//! Key sets: a selected key is in the document, is public, and is for the algorithm that it is selected for.
#![no_main]

mod unset;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_oauth::Algorithm;
use tower_oauth::fuzzing::Keys;

use unset::is_unset;

const ALL: [(Algorithm, &str); 9] = [
    (Algorithm::Rs256, "RSA"),
    (Algorithm::Rs384, "RSA"),
    (Algorithm::Rs512, "RSA"),
    (Algorithm::Ps256, "RSA"),
    (Algorithm::Ps384, "RSA"),
    (Algorithm::Ps512, "RSA"),
    (Algorithm::Es256, "P-256"),
    (Algorithm::Es384, "P-384"),
    (Algorithm::EdDsa, "Ed25519"),
];

fuzz_target!(|data: &[u8]| {
    let Some(keys) = Keys::read(data) else {
        assert_ne!(data, include_bytes!("../seeds/key_set/three"));
        return;
    };
    let document: Value = serde_json::from_slice(data).unwrap();
    let sent = document["keys"].as_array().unwrap();
    assert!((1..=sent.len().min(128)).contains(&keys.count()));

    let ids = sent.iter().map(|key| key["kid"].as_str());
    for id in ids.chain([None, Some("unheard of")]).take(20) {
        for (algorithm, kind) in ALL {
            if !keys.has(id, algorithm) {
                continue;
            }
            let fits = |key: &&Value| {
                let of_kind = match kind {
                    "RSA" => key["kty"] == "RSA",
                    curve => key["crv"] == curve,
                };
                let member = |name| key.get(name).filter(|one| !is_unset(one));
                let named = member("alg")
                    .and_then(Value::as_str)
                    .is_none_or(|name| name == algorithm.name() || name == "Ed25519");
                let private = ["d", "p", "q", "k"]
                    .iter()
                    .any(|name| member(name).is_some());
                (id.is_none() || key["kid"].as_str() == id) && of_kind && named && !private
            };
            assert!(sent.iter().any(|key| fits(&key)), "{id:?} {algorithm}");
        }
    }
});
