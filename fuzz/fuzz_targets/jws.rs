//! Tokens: a parsed token has a canonical encoding and the content that an independent JSON parser finds. A signature
//! verifies only for the tokens that the owner of the key has signed.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tower_oauth::fuzzing::{Keys, jws};

/// The key of RFC 8037 §A.2, and all texts that were signed with it.
static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    Keys::read(format!("{{\"keys\":[{key}]}}").as_bytes()).unwrap()
});
const SIGNED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fuzz_target!(|data: &[u8]| {
    let Ok(token) = std::str::from_utf8(data) else {
        return;
    };
    check(token);
    // Also as the text of a header, since few inputs are valid base64url by chance.
    let (header, rest) = token.split_once('\n').unwrap_or((token, "{}"));
    let [header, payload] = [header, rest].map(|part| URL_SAFE_NO_PAD.encode(part));
    check(&format!("{header}.{payload}.c2lnbmF0dXJl"));
});

fn check(token: &str) {
    let Some(read) = jws(token, &KEYS) else {
        assert_ne!(token, SIGNED);
        return;
    };
    assert_eq!(read.is_signed, token == SIGNED);
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let decoded = parts.iter().map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(&bytes), *part, "one spelling");
        assert!(!bytes.is_empty());
        bytes
    });
    let decoded: Vec<Vec<u8>> = decoded.collect();
    assert_eq!(read.payload, decoded[1]);

    let header: Value = serde_json::from_slice(&decoded[0]).unwrap();
    let header = header.as_object().unwrap();
    let algorithm = match header["alg"].as_str().unwrap() {
        "Ed25519" => "EdDSA",
        name => name,
    };
    assert_eq!(read.algorithm.name(), algorithm);
    assert_eq!(
        read.key_id.as_deref(),
        header.get("kid").map(|one| one.as_str().unwrap())
    );
    assert_eq!(
        read.media_type.as_deref(),
        header.get("typ").map(|one| one.as_str().unwrap())
    );
    for name in ["crit", "b64", "zip"] {
        assert!(!header.contains_key(name), "{name}");
    }
}
