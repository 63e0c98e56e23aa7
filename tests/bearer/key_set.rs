//! Parsing of key sets and their keys (RFC 7517, RFC 7518 §6).

use serde_json::{Value, json};
use tower_oauth::Algorithm;
use tower_oauth::issuer::KeySetHealth;
use tower_oauth::testing::{Endpoint, Fault, TestServer, TestSigningKey};
use tower_oauth::token::VerifyErrorKind as Why;

use crate::support::api::{Outcome, api, good, layer, layer_of, present, server, soon};
use crate::support::der::{decode, encode};
use crate::support::logs::Logs;

const UNKNOWN: Outcome = Outcome::InvalidToken(Why::UnknownKey);

fn serve(server: &TestServer, keys: &Value) {
    let text = keys.to_string();
    server.clear_faults(Endpoint::KeySet);
    server.fail(Endpoint::KeySet, Fault::body("application/json", text));
}

/// Returns the JWK of a key after a change.
fn changed(key: &TestSigningKey, change: impl FnOnce(&mut Value)) -> Value {
    let mut jwk = key.public_jwk();
    change(&mut jwk);
    jwk
}

fn without(key: &TestSigningKey, name: &str) -> Value {
    changed(key, |jwk| drop(jwk.as_object_mut().unwrap().remove(name)))
}

fn with(key: &TestSigningKey, name: &str, value: impl Into<Value>) -> Value {
    changed(key, |jwk| jwk[name] = value.into())
}

/// Flips a bit in the middle of a parameter.
fn with_flipped_bit(key: &TestSigningKey, name: &str) -> Value {
    changed(key, |jwk| {
        let mut number = decode(jwk[name].as_str().unwrap());
        let middle = number.len() / 2;
        number[middle] ^= 1;
        jwk[name] = encode(number).into();
    })
}

fn number(bytes: usize, last: u8) -> String {
    let mut number = vec![0xc5; bytes];
    *number.last_mut().unwrap() = last;
    encode(number)
}

/// Returns 65537^128, a modulus of 2049 bits with the fingerprint of the ROCA generator.
fn roca_modulus() -> Vec<u8> {
    let mut number = vec![0; 257];
    number[256] = 1;
    for _ in 0..128 {
        let mut carry = 0;
        for digit in number.iter_mut().rev() {
            carry += u32::from(*digit) * 65537;
            *digit = carry.to_be_bytes()[3];
            carry >>= 8;
        }
    }
    number
}

#[tokio::test]
async fn an_unusable_key_is_ignored_and_does_not_affect_other_keys() {
    let neighbour = TestSigningKey::generate(Algorithm::Es256).with_kid("neighbour");
    let ec = TestSigningKey::generate(Algorithm::Es256);
    let p384 = TestSigningKey::generate(Algorithm::Es384);
    let rsa = TestSigningKey::generate(Algorithm::Rs256);
    let ed = TestSigningKey::generate(Algorithm::EdDsa);
    let short = |key: &TestSigningKey, name: &str| {
        changed(key, |jwk| {
            let number = decode(jwk[name].as_str().unwrap());
            jwk[name] = encode(&number[1..]).into();
        })
    };
    let long = |key: &TestSigningKey, name: &str| {
        changed(key, |jwk| {
            let number = decode(jwk[name].as_str().unwrap());
            jwk[name] = encode([&[0][..], &number].concat()).into();
        })
    };
    let cases: Vec<(&str, &TestSigningKey, Value)> = vec![
        ("a private EC key", &ec, with(&ec, "d", number(32, 1))),
        ("a private RSA key", &rsa, with(&rsa, "d", number(256, 1))),
        ("a prime alone", &rsa, with(&rsa, "p", number(128, 1))),
        (
            "an exponent of the other form",
            &rsa,
            with(&rsa, "qi", number(128, 1)),
        ),
        ("other primes", &rsa, with(&rsa, "oth", json!([{}]))),
        ("d is a number", &ec, with(&ec, "d", 1)),
        (
            "a symmetric key",
            &ec,
            json!({ "kty": "oct", "k": "c2VjcmV0", "kid": ec.kid(), "alg": "ES256" }),
        ),
        ("a symmetric member", &ec, with(&ec, "k", "c2VjcmV0")),
        ("use enc", &ec, with(&ec, "use", "enc")),
        ("use SIG", &ec, with(&ec, "use", "SIG")),
        ("use is a number", &ec, with(&ec, "use", 1)),
        (
            "key_ops for encryption",
            &ec,
            with(&ec, "key_ops", json!(["encrypt"])),
        ),
        (
            "key_ops for signing only",
            &ec,
            with(&ec, "key_ops", json!(["sign"])),
        ),
        (
            "key_ops repeats itself",
            &ec,
            with(&ec, "key_ops", json!(["verify", "verify"])),
        ),
        ("key_ops is a string", &ec, with(&ec, "key_ops", "verify")),
        (
            "key_ops without end",
            &ec,
            with(
                &ec,
                "key_ops",
                (0..500)
                    .map(|n| {
                        if n == 0 {
                            "verify".into()
                        } else {
                            format!("{n}")
                        }
                    })
                    .collect::<Vec<_>>(),
            ),
        ),
        ("1024 bits", &rsa, with(&rsa, "n", number(128, 1))),
        (
            "2047 bits",
            &rsa,
            changed(&rsa, |jwk| {
                let mut number = vec![0x45; 256];
                number[255] = 1;
                jwk["n"] = encode(number).into();
            }),
        ),
        (
            "1024 bits behind zeros",
            &rsa,
            with(&rsa, "n", encode([vec![0; 128], vec![0xc5; 128]].concat())),
        ),
        ("16 384 bits", &rsa, with(&rsa, "n", number(2048, 1))),
        ("n is zero", &rsa, with(&rsa, "n", "AA")),
        ("n is empty", &rsa, with(&rsa, "n", "")),
        ("n is even", &rsa, with(&rsa, "n", number(256, 2))),
        (
            "n of the ROCA generator",
            &rsa,
            with(&rsa, "n", encode(roca_modulus())),
        ),
        ("e is one", &rsa, with(&rsa, "e", "AQ")),
        ("e is zero", &rsa, with(&rsa, "e", "AA")),
        ("e is even", &rsa, with(&rsa, "e", encode([1, 0, 0]))),
        ("e is empty", &rsa, with(&rsa, "e", "")),
        (
            "e is larger than 2^33",
            &rsa,
            with(&rsa, "e", encode([2, 0, 0, 0, 1])),
        ),
        (
            "e of nine bytes, odd in the first eight",
            &rsa,
            with(&rsa, "e", encode([1, 0, 0, 0, 0, 0, 0, 1, 1])),
        ),
        (
            "e is the modulus",
            &rsa,
            changed(&rsa, |jwk| jwk["e"] = jwk["n"].clone()),
        ),
        ("x is off the curve", &ec, with_flipped_bit(&ec, "x")),
        ("y is off the curve", &p384, with_flipped_bit(&p384, "y")),
        ("x is short", &ec, short(&ec, "x")),
        ("y is long", &ec, long(&ec, "y")),
        (
            "the point cut at another place",
            &ec,
            changed(&ec, |jwk| {
                let [x, y] = ["x", "y"].map(|name| decode(jwk[name].as_str().unwrap()));
                jwk["x"] = encode(&x[..31]).into();
                jwk["y"] = encode([&x[31..], &y].concat()).into();
            }),
        ),
        (
            "the point at infinity",
            &ec,
            changed(&ec, |jwk| {
                (jwk["x"], jwk["y"]) = (encode([0; 32]).into(), encode([0; 32]).into())
            }),
        ),
        (
            "x and y are the field's order",
            &ec,
            changed(&ec, |jwk| {
                (jwk["x"], jwk["y"]) = (encode([0xff; 32]).into(), encode([0xff; 32]).into())
            }),
        ),
        ("P-256K", &ec, with(&ec, "crv", "P-256K")),
        ("secp256k1", &ec, with(&ec, "crv", "secp256k1")),
        ("the curve in lower case", &ec, with(&ec, "crv", "p-256")),
        ("a P-256 point called P-384", &ec, with(&ec, "crv", "P-384")),
        ("no y", &ec, without(&ec, "y")),
        (
            "y is padded",
            &ec,
            changed(&ec, |jwk| {
                jwk["y"] = format!("{}=", jwk["y"].as_str().unwrap()).into()
            }),
        ),
        ("y is a number", &ec, with(&ec, "y", 1)),
        ("an Edwards key of 31 bytes", &ed, short(&ed, "x")),
        ("X25519", &ed, with(&ed, "crv", "X25519")),
        ("an unknown kty", &ec, with(&ec, "kty", "AKP")),
        ("kty in lower case", &ec, with(&ec, "kty", "ec")),
        ("no kty", &ec, without(&ec, "kty")),
        ("no crv", &ec, without(&ec, "crv")),
        ("an unknown alg", &ec, with(&ec, "alg", "ES256K")),
        ("alg for encryption", &rsa, with(&rsa, "alg", "RSA-OAEP")),
        ("alg none", &ec, with(&ec, "alg", "none")),
        ("alg HS256", &ec, with(&ec, "alg", "HS256")),
        ("alg of another kind of key", &ec, with(&ec, "alg", "RS256")),
        ("alg of another curve", &ec, with(&ec, "alg", "ES384")),
        ("alg is a list", &ec, with(&ec, "alg", json!(["ES256"]))),
        ("kid is a number", &ec, with(&ec, "kid", 1)),
        ("no object", &ec, json!("key")),
        ("null", &ec, Value::Null),
        ("an empty object", &ec, json!({})),
    ];
    for (name, key, jwk) in cases {
        let server = server();
        serve(
            &server,
            &json!({ "keys": [jwk.clone(), neighbour.public_jwk()] }),
        );
        let api = api(layer(&server));
        let by = |key: &TestSigningKey| good(&server).with_key(key).sign();
        assert_eq!(
            present(&api, &by(&neighbour)).await.outcome(),
            Outcome::Accepted,
            "{name}"
        );
        assert_eq!(present(&api, &by(key)).await.outcome(), UNKNOWN, "{name}");
        // A set with only this key has no usable key.
        serve(&server, &json!({ "keys": [jwk] }));
        let handle = server.authorization_server();
        let refused = soon(handle.ready()).await.unwrap_err().to_string();
        assert!(refused.contains("no usable key"), "{name}: {refused}");
    }
}

#[tokio::test]
async fn additional_members_of_a_key_are_accepted() {
    let rsa = TestSigningKey::generate(Algorithm::Rs256);
    let ec = TestSigningKey::generate(Algorithm::Es256);
    let ed = TestSigningKey::generate(Algorithm::EdDsa);
    for (name, key, jwk) in [
        ("as it is", &ec, ec.public_jwk()),
        ("no use", &ec, without(&ec, "use")),
        ("no alg", &ec, without(&ec, "alg")),
        ("key_ops", &ec, with(&ec, "key_ops", json!(["verify"]))),
        ("certificates", &ec, with(&ec, "x5c", json!(["MIIB"]))),
        (
            "unknown members",
            &ec,
            with(&ec, "nbf", json!({ "a": [null] })),
        ),
        ("alg of RFC 9864", &ed, with(&ed, "alg", "Ed25519")),
        (
            "a zero before the modulus",
            &rsa,
            changed(&rsa, |jwk| {
                let number = decode(jwk["n"].as_str().unwrap());
                jwk["n"] = encode([&[0][..], &number].concat()).into();
            }),
        ),
        (
            "a zero before the exponent",
            &rsa,
            with(&rsa, "e", encode([0, 1, 0, 1])),
        ),
    ] {
        let server = server();
        serve(&server, &json!({ "keys": [jwk], "cached_until": 1 }));
        let token = good(&server).with_key(key).sign();
        assert_eq!(
            present(&api(layer(&server)), &token).await.outcome(),
            Outcome::Accepted,
            "{name}"
        );
    }
}

#[tokio::test]
async fn two_keys_with_the_same_id_and_algorithm_are_ambiguous() {
    let (first, second) = (
        TestSigningKey::generate(Algorithm::Es256).with_kid("k"),
        TestSigningKey::generate(Algorithm::Es256).with_kid("k"),
    );
    let other = TestSigningKey::generate(Algorithm::EdDsa).with_kid("k");
    let server = server();
    serve(
        &server,
        &json!({ "keys": [first.public_jwk(), second.public_jwk(), other.public_jwk()] }),
    );
    let api = api(layer(&server));
    let ambiguous = Outcome::InvalidToken(Why::AmbiguousKey);
    for (name, key, expect) in [
        ("the first", &first, ambiguous),
        ("the second", &second, ambiguous),
        ("of another kind", &other, Outcome::Accepted),
    ] {
        let token = good(&server).with_key(key).sign();
        assert_eq!(present(&api, &token).await.outcome(), expect, "{name}");
    }
    assert_eq!(
        server.count(Endpoint::KeySet),
        1,
        "a newer set is not hoped for"
    );
}

/// Each case is a key set, and the outcome of an RS256 token with and without `kid`.
#[tokio::test]
async fn a_key_that_occurs_twice_is_one_key() {
    use Outcome::{Accepted, InvalidToken};
    let accepted = [Accepted, Accepted];
    let unfit = [InvalidToken(Why::UnfitKey), UNKNOWN];
    let key = TestSigningKey::generate(Algorithm::Rs256).with_kid("k");
    let plain = || without(&key, "alg");
    let and = |name: &str, value: Value| {
        let mut jwk = plain();
        jwk[name] = value;
        jwk
    };
    let alg = |name: &str| and("alg", name.into());
    for (name, keys, expect) in [
        ("equal", vec![plain(), plain()], accepted),
        (
            "with and without a certificate",
            vec![plain(), and("x5c", json!(["MIIB"]))],
            accepted,
        ),
        (
            "with and without alg",
            vec![plain(), alg("RS256")],
            accepted,
        ),
        (
            "with and without kid",
            vec![plain(), and("kid", json!(null))],
            accepted,
        ),
        (
            "two identifiers",
            vec![plain(), and("kid", json!("other"))],
            accepted,
        ),
        ("two algorithms", vec![alg("PS256"), alg("RS256")], accepted),
        // The server states that the key is for PS256 only, so the entry without `alg` adds nothing.
        (
            "another algorithm",
            vec![plain(), alg("PS256"), plain()],
            unfit,
        ),
        (
            "for encryption too",
            vec![alg("PS256"), and("use", json!("enc"))],
            unfit,
        ),
    ] {
        let server = server();
        serve(&server, &json!({ "keys": keys }));
        let api = api(layer(&server));
        let token = good(&server).with_key(&key);
        let outcomes = [
            present(&api, &token.clone().sign()).await.outcome(),
            present(&api, &token.without_header("kid").sign())
                .await
                .outcome(),
        ];
        assert_eq!(outcomes, expect, "{name}");
    }
}

/// RFC 7517 §4: the members of a key are unique. Another key of the set is not affected.
#[tokio::test]
async fn a_key_with_a_duplicate_member_is_ignored() {
    let (good_key, other) = (
        TestSigningKey::generate(Algorithm::Es256),
        TestSigningKey::generate(Algorithm::Es256),
    );
    let server = server();
    let twice = other
        .public_jwk()
        .to_string()
        .replacen('{', r#"{"kty":"EC","#, 1);
    let text = format!(r#"{{"keys":[{twice},{}]}}"#, good_key.public_jwk());
    server.fail(Endpoint::KeySet, Fault::body("application/json", text));
    let api = api(layer(&server));
    for (key, expect) in [(&good_key, Outcome::Accepted), (&other, UNKNOWN)] {
        let token = good(&server).with_key(key).sign();
        assert_eq!(present(&api, &token).await.outcome(), expect);
    }
}

#[tokio::test]
async fn only_the_first_keys_of_a_huge_set_are_read() {
    let key = TestSigningKey::generate(Algorithm::Es256);
    let many: Vec<Value> = (0..3_000)
        .map(|number| with(&key, "kid", format!("{number}")))
        .collect();
    let server = server();
    serve(&server, &json!({ "keys": many }));
    let api = api(layer(&server));
    let logs = Logs::default();
    let recording = logs.record_only("key_set_truncated");
    let by = |kid: &str| good(&server).with_key(&key).with_header("kid", kid).sign();
    assert_eq!(present(&api, &by("0")).await.outcome(), Outcome::Accepted);
    assert_eq!(present(&api, &by("127")).await.outcome(), Outcome::Accepted);
    assert_eq!(present(&api, &by("128")).await.outcome(), UNKNOWN);
    drop(recording);
    let logged = logs.text();
    assert_eq!(logged.matches("key_set_truncated").count(), 1, "{logged}");
    assert!(logged.contains("used=128 ignored=2872"), "{logged}");
}

#[tokio::test]
async fn a_key_without_an_id_does_not_match_a_key_id() {
    let key = TestSigningKey::generate(Algorithm::Es256);
    let server = server();
    serve(&server, &json!({ "keys": [without(&key, "kid")] }));
    let api = api(layer(&server));
    assert_eq!(
        present(&api, &good(&server).with_key(&key).sign())
            .await
            .outcome(),
        UNKNOWN
    );
    assert_eq!(
        present(
            &api,
            &good(&server).with_key(&key).with_header("kid", "").sign()
        )
        .await
        .outcome(),
        UNKNOWN
    );
    assert_eq!(
        present(
            &api,
            &good(&server).with_key(&key).without_header("kid").sign()
        )
        .await
        .outcome(),
        Outcome::Accepted
    );
}

#[tokio::test]
async fn an_invalid_response_does_not_replace_the_key_set() {
    let server = server();
    let key = server.key(Algorithm::Es256).public_jwk();
    let body = |bytes: &str| vec![Fault::body("application/json", bytes.to_owned())];
    let whole = json!({ "keys": [key] }).to_string();
    let cases: Vec<(&str, Vec<Fault>)> = vec![
        ("no keys", body("{}")),
        ("keys is an object", body(r#"{"keys":{}}"#)),
        ("keys is null", body(r#"{"keys":null}"#)),
        ("keys is empty", body(r#"{"keys":[]}"#)),
        ("a list", body("[]")),
        (
            "keys twice",
            body(&format!(r#"{{"keys":[],"keys":[{key}]}}"#)),
        ),
        ("a key alone", body(&key.to_string())),
        (
            "HTML",
            vec![Fault::body(
                "text/html",
                "<html>down for maintenance</html>",
            )],
        ),
        ("nothing", body("")),
        ("truncated", body(&whole[..whole.len() - 2])),
        ("trailing text", body(&format!("{whole}x"))),
        (
            "too deep",
            body(&format!(
                r#"{{"keys":[{key}],"x":{}}}"#,
                "[".repeat(100_000)
            )),
        ),
        (
            "201",
            vec![
                Fault::status(201),
                Fault::body("application/json", whole.clone()),
            ],
        ),
        ("204", vec![Fault::status(204)]),
        (
            "206",
            vec![
                Fault::status(206),
                Fault::body("application/json", whole.clone()),
            ],
        ),
        ("304", vec![Fault::status(304)]),
        (
            "404",
            vec![
                Fault::status(404),
                Fault::body("application/json", whole.clone()),
            ],
        ),
        ("500", vec![Fault::status(500)]),
        ("a broken connection", vec![Fault::disconnect()]),
        (
            "10 MiB",
            vec![Fault::body("application/json", vec![b' '; 10 << 20])],
        ),
        (
            "a byte too much",
            vec![Fault::body(
                "application/json",
                [whole.as_bytes(), &vec![b' '; (1 << 20) + 1 - whole.len()]].concat(),
            )],
        ),
    ];
    for (name, faults) in cases {
        let handle = server.authorization_server();
        let api = api(layer_of(&handle));
        let token = good(&server).sign();
        assert_eq!(
            present(&api, &token).await.outcome(),
            Outcome::Accepted,
            "{name}"
        );
        for fault in faults {
            server.fail(Endpoint::KeySet, fault);
        }
        // An unknown key id causes another fetch.
        let unknown = good(&server).with_header("kid", "unknown").sign();
        assert_eq!(
            present(&api, &unknown).await.outcome(),
            Outcome::Unavailable,
            "{name}"
        );
        assert_eq!(handle.health().failures, 1, "{name}");
        assert!(
            matches!(handle.health().keys, KeySetHealth::Fresh { .. }),
            "{name}"
        );
        assert_eq!(
            present(&api, &token).await.outcome(),
            Outcome::Accepted,
            "{name}"
        );
        server.clear_faults(Endpoint::KeySet);
    }
    let full = [whole.as_bytes(), &vec![b' '; (1 << 20) - whole.len()]].concat();
    server.fail(Endpoint::KeySet, Fault::body("application/json", full));
    soon(server.authorization_server().ready()).await.unwrap();
}
