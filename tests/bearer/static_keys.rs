//! Static keys (`StaticKeys`): accepted and rejected formats, and verification without a fetch.

use std::time::Duration;

use serde_json::json;
use tower_oauth::issuer::{KeySetHealth, StaticKeys};
use tower_oauth::testing::{TestServer, TestSigningKey};
use tower_oauth::token::VerifyErrorKind as Why;
use tower_oauth::{Algorithm, AuthorizationServer, BearerLayer, ConfigError, JwtVerifier};

use crate::support::api::{AUDIENCE, Outcome, api, good, layer_of, present, server};
use crate::support::der::{self, encode};

const ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Rs256,
    Algorithm::Ps256,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
    Algorithm::Rs512,
];

fn pem_of(key: &TestSigningKey) -> String {
    der::pem(&der::public_key(&key.public_jwk()))
}

fn given(server: &TestServer, keys: StaticKeys) -> AuthorizationServer {
    server.authorization_server().with_keys(keys)
}

#[tokio::test]
async fn static_keys_verify_without_a_fetch() {
    let server = server();
    let document = json!({ "keys": ALGORITHMS.map(|one| server.key(one).public_jwk()) });
    let from_jwks = StaticKeys::from_jwks(&document.to_string()).unwrap();
    let [first, others @ ..] = ALGORITHMS.map(|one| server.key(one));
    let first = StaticKeys::from_pem(first.kid(), first.algorithm(), &pem_of(&first)).unwrap();
    let from_pem = others.iter().fold(first, |keys, key| {
        keys.add_pem(key.kid(), key.algorithm(), &pem_of(key))
            .unwrap()
    });
    for keys in [from_jwks, from_pem] {
        let handle = given(&server, keys);
        assert_eq!(handle.health().keys, KeySetHealth::Static);
        assert!(handle.health().is_ready());
        handle.ready().await.unwrap();
        let verifier = JwtVerifier::new(&handle, AUDIENCE).unwrap();
        let verifier = verifier.with_algorithms(ALGORITHMS).unwrap();
        let api = api(BearerLayer::new(verifier));
        for algorithm in ALGORITHMS {
            let token = good(&server).with_algorithm(algorithm);
            assert_eq!(
                present(&api, &token.sign()).await.outcome(),
                Outcome::Accepted,
                "{algorithm}"
            );
            let forged = token.with_broken_signature().sign();
            assert_eq!(
                present(&api, &forged).await.outcome(),
                Outcome::InvalidToken(Why::Signature),
                "{algorithm}"
            );
        }
        // A missing key is not fetched: the token is rejected, and this is not an outage.
        let stranger = good(&server).with_key(&TestSigningKey::generate(Algorithm::Es256));
        for _ in 0..5 {
            assert_eq!(
                present(&api, &stranger.sign()).await.outcome(),
                Outcome::InvalidToken(Why::UnknownKey)
            );
        }
        server.clock().advance(Duration::from_secs(86_400));
        assert_eq!(handle.health().keys, KeySetHealth::Static);
        assert_eq!(
            present(&api, &good(&server).sign()).await.outcome(),
            Outcome::Accepted
        );
    }
    assert!(
        server.requests().is_empty(),
        "cached keys, and still a request"
    );
}

#[tokio::test]
async fn a_static_key_verifies_only_its_own_algorithm() {
    let server = server();
    let rsa = server.key(Algorithm::Rs256);
    let keys = StaticKeys::from_pem(rsa.kid(), Algorithm::Rs256, &pem_of(&rsa)).unwrap();
    let api = api(layer_of(&given(&server, keys)));
    let token = good(&server).with_key(&rsa);
    assert_eq!(
        present(&api, &token.sign()).await.outcome(),
        Outcome::Accepted
    );
    let ps256 = TestSigningKey::generate(Algorithm::Ps256).with_kid(rsa.kid());
    assert_eq!(
        present(&api, &good(&server).with_key(&ps256).sign())
            .await
            .outcome(),
        Outcome::InvalidToken(Why::UnfitKey)
    );
    let hmac = good(&server)
        .with_hmac(pem_of(&rsa))
        .with_header("kid", rsa.kid());
    assert_eq!(
        present(&api, &hmac.sign()).await.outcome(),
        Outcome::InvalidToken(Why::Algorithm)
    );
}

#[test]
fn a_pem_that_is_not_exactly_one_public_key_is_rejected() {
    let keys = ALGORITHMS.map(TestSigningKey::generate);
    let [rsa, _, p256, p384, ed, _] = &keys;
    let good = |key: &TestSigningKey| der::public_key(&key.public_jwk());
    let read = |algorithm, pem: &str| StaticKeys::from_pem("k", algorithm, pem);
    for key in &keys {
        read(key.algorithm(), &pem_of(key)).unwrap();
        read(key.algorithm(), &format!("\r\n {}\n\n", pem_of(key))).unwrap();
    }
    let block = pem_of(p256);
    let change = |key: &TestSigningKey, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good(key);
        change(&mut bytes);
        der::pem(&bytes)
    };
    let small =
        json!({ "kty": "RSA", "n": encode([&[0x81][..], &[1; 127]].concat()), "e": "AQAB" });
    let even = json!({ "kty": "RSA", "n": encode([&[0x81][..], &[2; 255]].concat()), "e": "AQAB" });
    let mut off_curve = p256.public_jwk();
    off_curve["y"] = off_curve["x"].clone();
    let cases = [
        ("empty", Algorithm::Es256, String::new()),
        ("two blocks", Algorithm::Es256, format!("{block}{block}")),
        (
            "text before it",
            Algorithm::Es256,
            format!("a key\n{block}"),
        ),
        ("text behind it", Algorithm::Es256, format!("{block}a key")),
        (
            "a certificate",
            Algorithm::Es256,
            block.replace("PUBLIC KEY", "CERTIFICATE"),
        ),
        (
            "PKCS #1",
            Algorithm::Rs256,
            pem_of(rsa).replace("PUBLIC KEY", "RSA PUBLIC KEY"),
        ),
        (
            "a private key",
            Algorithm::Es256,
            block.replace("PUBLIC KEY", "PRIVATE KEY"),
        ),
        ("not base64", Algorithm::Es256, block.replacen('M', "*", 1)),
        ("RSA for ES256", Algorithm::Es256, pem_of(rsa)),
        ("P-256 for ES384", Algorithm::Es384, pem_of(p256)),
        ("P-384 for ES256", Algorithm::Es256, pem_of(p384)),
        ("Ed25519 for RS256", Algorithm::Rs256, pem_of(ed)),
        (
            "RSA of 1024 bits",
            Algorithm::Rs256,
            der::pem(&der::public_key(&small)),
        ),
        (
            "an even modulus",
            Algorithm::Rs256,
            der::pem(&der::public_key(&even)),
        ),
        (
            "a point off the curve",
            Algorithm::Es256,
            der::pem(&der::public_key(&off_curve)),
        ),
        (
            "a byte behind it",
            Algorithm::EdDsa,
            change(ed, &|key| key.push(0)),
        ),
        (
            "a byte too few",
            Algorithm::EdDsa,
            change(ed, &|key| {
                key.pop();
            }),
        ),
        (
            "a long form for a short length",
            Algorithm::EdDsa,
            change(ed, &|key| {
                key.insert(1, 0x81);
            }),
        ),
        (
            "unused bits",
            Algorithm::EdDsa,
            change(ed, &|key| key[11] = 1),
        ),
        (
            "parameters where there are none",
            Algorithm::EdDsa,
            change(ed, &|key| {
                key[1] += 2;
                key[3] += 2;
                key.splice(9..9, [5, 0]);
            }),
        ),
        ("X25519", Algorithm::EdDsa, change(ed, &|key| key[8] = 0x6e)),
        (
            "a compressed point",
            Algorithm::Es256,
            change(p256, &|key| key[26] = 0x02),
        ),
        (
            "another curve",
            Algorithm::Es256,
            change(p256, &|key| key[22] = 0x01),
        ),
        (
            "far too long",
            Algorithm::Es256,
            format!("{block}{}", "\n".repeat(9000)),
        ),
    ];
    for (name, algorithm, pem) in cases {
        let refused = read(algorithm, &pem);
        assert!(
            matches!(refused, Err(ConfigError::Secret { .. })),
            "{name}: {refused:?}"
        );
    }
    // No truncation and no changed byte causes a panic.
    for key in &keys {
        let whole = good(key);
        for at in 0..whole.len() {
            assert!(read(key.algorithm(), &der::pem(&whole[..at])).is_err());
            let mut bent = whole.clone();
            bent[at] ^= 0x80;
            let _ = read(key.algorithm(), &der::pem(&bent));
        }
    }
}

#[test]
fn a_static_key_set_is_parsed_like_a_fetched_one() {
    let key = TestSigningKey::generate(Algorithm::Es256);
    let odd = json!({ "kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB" });
    let mut private = key.public_jwk();
    private["d"] = "AAAA".into();
    let fine = json!({ "keys": [odd, key.public_jwk()] });
    assert_eq!(
        format!("{:?}", StaticKeys::from_jwks(&fine.to_string()).unwrap()),
        "StaticKeys { keys: 1, .. }"
    );
    for (name, document) in [
        ("not JSON", "keys".to_owned()),
        ("no keys", json!({ "keys": [] }).to_string()),
        ("no list", json!({ "keys": {} }).to_string()),
        ("none usable", json!({ "keys": [odd] }).to_string()),
        ("a private key", json!({ "keys": [private] }).to_string()),
        (
            "a name twice",
            format!(r#"{{"keys":[{}],"keys":[]}}"#, key.public_jwk()),
        ),
    ] {
        let refused = StaticKeys::from_jwks(&document).unwrap_err().to_string();
        assert!(!refused.contains("AAAA"), "{name}: {refused}");
    }
    let pem = pem_of(&key);
    let one = StaticKeys::from_pem("k", Algorithm::Es256, &pem).unwrap();
    assert!(one.clone().add_pem("k", Algorithm::Es256, &pem).is_err());
    assert!(one.add_pem("other", Algorithm::Es256, &pem).is_ok());
}
