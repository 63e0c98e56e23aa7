//! Generates keys and one token per algorithm. The private keys are not saved.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use bench_support::Claims;
use bench_support::fixture::{ALGORITHMS, AUDIENCE};
use serde_json::json;
use tower_oauth::Algorithm;
use tower_oauth::testing::{TestServer, TestSigningKey};

/// The size of the token's claims, as JSON text.
const CLAIMS: usize = 425;
const DAYS_30: i64 = 30 * 86_400;

pub fn write(folder: &Path, issuer: &str) {
    fs::create_dir_all(folder).expect("a folder");
    let put = |name: &str, text: String| fs::write(folder.join(name), text).expect("to write");
    let server = TestServer::new(issuer).expect("an issuer");
    let mut keys = Vec::new();
    for name in ALGORITHMS {
        let algorithm = algorithm(name);
        let key = TestSigningKey::generate(algorithm).with_kid(format!("bench-{name}"));
        let mut jwk = key.public_jwk();
        jwk["alg"] = name.into();
        jwk["use"] = "sig".into();
        keys.push(jwk);
        let mint = server
            .access_token()
            .with_key(&key)
            .with_payload_bytes(payload(issuer, 0, now()));
        put(&format!("{name}.token"), mint.sign());
    }
    put("jwks.json", json!({ "keys": keys }).to_string());
    put("issuer", issuer.to_owned());
    put("now", now().to_string());
    let metadata = json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/jwks.json"),
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ALGORITHMS,
    });
    put("metadata.json", metadata.to_string());
}

/// Returns 13 claims in 425 bytes, with a different `jti` for each number.
pub fn payload(issuer: &str, number: usize, now: i64) -> String {
    let mut claims = Claims {
        iss: issuer.to_owned(),
        sub: "5f1c0a52-7d7b-4c8e-9d55-0c1f6a7e2b90".to_owned(),
        aud: AUDIENCE.to_owned(),
        exp: now + DAYS_30,
        nbf: now,
        iat: now,
        jti: format!("{number:032x}"),
        client_id: "shop-frontend".to_owned(),
        scope: "orders:read orders:write profile".to_owned(),
        sid: String::new(),
        email: "alice@example.test".to_owned(),
        preferred_username: "alice".to_owned(),
        roles: vec!["customer".to_owned(), "beta".to_owned()],
    };
    let text = serde_json::to_string(&claims).expect("JSON");
    claims.sid = "0".repeat(CLAIMS.checked_sub(text.len()).expect("a short issuer"));
    serde_json::to_string(&claims).expect("JSON")
}

pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_secs()).expect("a second that fits")
}

fn algorithm(name: &str) -> Algorithm {
    match name {
        "RS256" => Algorithm::Rs256,
        "PS256" => Algorithm::Ps256,
        "ES256" => Algorithm::Es256,
        "ES384" => Algorithm::Es384,
        "EdDSA" => Algorithm::EdDsa,
        other => panic!("{other} is not measured"),
    }
}
