//! The JOSE test vectors of Project Wycheproof against the path of a signed token: key set, key selection, JWS,
//! signature. Their payloads are not JWTs, so claims are not validated.
//!
//! `WYCHEPROOF_JOSE` is the path of the folder with the three files. Without it the test prints a line and passes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::key_set::KeySet;
use crate::crypto::Jws;

/// The ranges (first, last) of valid vectors that this crate rejects, and why. It accepts no invalid vector.
type Deviations = &'static [(u64, u64, &'static str)];

/// A secret that verifies can also sign, so HMAC algorithms are not supported.
const HMAC: &str = "HMAC";
/// A token without claims is malformed.
const EMPTY: &str = "empty payload";
/// The key is for another algorithm than that of the token: PS256 and PS384.
const OTHER_ALGORITHM: &str = "one key, one algorithm";
/// P-521 is not supported, and the `ES521` of the key is not registered.
const P521: &str = "P-521";
/// Encrypted tokens are not supported.
const JWE: &str = "JWE";

const SIGNATURES: Deviations = &[
    (1, 1, HMAC),
    (259, 259, EMPTY),
    (264, 264, EMPTY),
    (268, 268, EMPTY),
    (272, 272, EMPTY),
    (320, 320, EMPTY),
    (325, 325, EMPTY),
    (346, 346, OTHER_ALGORITHM),
    (347, 347, P521),
    (348, 348, HMAC),
    (350, 350, OTHER_ALGORITHM),
    (351, 351, P521),
    (352, 352, HMAC),
    (357, 359, HMAC),
    // Two of these contain an invalid character, which is rejected for every algorithm.
    (372, 373, HMAC),
    (376, 377, HMAC),
];
const KEYS: Deviations = &[(2, 2, HMAC), (13, 15, HMAC)];
const CRYPTO: Deviations = &[(1, 1, HMAC), (48, 48, HMAC), (50, 50, JWE), (67, 67, JWE)];

#[test]
fn wycheproof_vectors_have_the_expected_result_except_for_the_listed_deviations() {
    let Ok(folder) = std::env::var("WYCHEPROOF_JOSE") else {
        println!("not run: WYCHEPROOF_JOSE names no folder");
        return;
    };
    // The number of vectors, and how many of them are accepted.
    for (file, deviations, count, accepted) in [
        ("json_web_signature_test.json", SIGNATURES, 401, 26),
        ("json_web_key_test.json", KEYS, 26, 1),
        ("json_web_crypto_test.json", CRYPTO, 83, 2),
    ] {
        let text = fs::read_to_string(Path::new(&folder).join(file)).unwrap();
        let vectors: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            check(file, &vectors, deviations),
            (count, accepted),
            "{file}"
        );
    }
}

/// Checks each vector of a file. Returns their number and the number of those accepted.
fn check(file: &str, vectors: &Value, deviations: Deviations) -> (usize, usize) {
    let mut listed: BTreeMap<u64, &str> = BTreeMap::new();
    for (first, last, reason) in deviations {
        listed.extend((*first..=*last).map(|number| (number, *reason)));
    }
    let (mut count, mut accepted, mut wrong) = (0, 0, Vec::new());
    for group in vectors["testGroups"].as_array().unwrap() {
        // HMAC keys have no public part.
        let keys = group
            .get("public")
            .or_else(|| group.get("private"))
            .unwrap();
        for test in group["tests"].as_array().unwrap() {
            let (number, comment) = (test["tcId"].as_u64().unwrap(), &test["comment"]);
            let outcome = verify(keys, &token_of(test));
            count += 1;
            accepted += usize::from(outcome.is_ok());
            let as_expected = match (test["result"].as_str().unwrap(), &outcome) {
                ("valid", Ok(())) => listed.remove(&number).is_none(),
                ("valid", Err(_)) => listed.remove(&number).is_some(),
                ("invalid", outcome) => outcome.is_err(),
                (other, _) => panic!("{file} {number}: {other}"),
            };
            if !as_expected {
                wrong.push(format!("{file} {number} {comment}: {outcome:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(listed.is_empty(), "{file} has no valid vectors {listed:?}");
    (count, accepted)
}

/// Returns the token as it would be sent: compact serializations as text, others as JSON.
fn token_of(test: &Value) -> String {
    let token = test.get("jws").or_else(|| test.get("jwe")).unwrap();
    token
        .as_str()
        .map_or_else(|| token.to_string(), str::to_owned)
}

/// Verifies a token with the text of a key set.
fn verify(keys: &Value, token: &str) -> Result<(), String> {
    let document = match keys.get("keys") {
        Some(_) => keys.clone(),
        None => json!({ "keys": [keys] }),
    };
    let set = KeySet::parse(document.to_string().as_bytes())?;
    let jws = Jws::read(token).map_err(|error| error.to_string())?;
    match set.key(jws.key_id(), jws.algorithm()) {
        Some(Ok(keys))
            if keys
                .iter()
                .any(|key| key.public_key().is_some_and(|key| jws.verify(key))) =>
        {
            Ok(())
        }
        Some(Ok(_)) => Err("the signature is invalid".to_owned()),
        _ => Err("no key matches".to_owned()),
    }
}
