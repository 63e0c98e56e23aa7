//! Encodes ECDSA signatures and public keys as DER.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => der.push(short),
        Ok(long) => der.extend([0x81, long]),
        Err(_) => {
            der.push(0x82);
            der.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        }
    }
    der.extend_from_slice(content);
    der
}

fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let mut content = number[zeros..].to_vec();
    if content.first().is_none_or(|first| *first >= 0x80) {
        content.insert(0, 0);
    }
    element(0x02, &content)
}

/// The form of an ECDSA signature in X.509 and TLS (RFC 3279 §2.2.3).
pub fn ecdsa_signature(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    element(0x30, &[integer(r), integer(s)].concat())
}

/// The SubjectPublicKeyInfo of an RSA key in a JWK (RFC 3279 §2.3.1).
pub fn rsa_public_key(jwk: &Value) -> Vec<u8> {
    let number = |name: &str| integer(&decode(jwk[name].as_str().unwrap()));
    let key = element(0x30, &[number("n"), number("e")].concat());
    let oid = [
        0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 0x05, 0,
    ];
    let bits = element(0x03, &[&[0][..], &key].concat());
    element(0x30, &[element(0x30, &oid), bits].concat())
}

/// The SubjectPublicKeyInfo of a JWK of any kind (RFC 5480 §2, RFC 8410 §4).
pub fn public_key(jwk: &Value) -> Vec<u8> {
    let number = |name: &str| decode(jwk[name].as_str().unwrap());
    let ec = [0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    let (algorithm, key) = match jwk["crv"].as_str() {
        None => return rsa_public_key(jwk),
        Some("Ed25519") => (vec![0x06, 3, 0x2b, 0x65, 0x70], number("x")),
        Some(curve) => {
            let curve: &[u8] = match curve {
                "P-256" => &[0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
                _ => &[0x06, 5, 0x2b, 0x81, 0x04, 0, 0x22],
            };
            let point = [&[4][..], &number("x"), &number("y")].concat();
            ([&ec[..], curve].concat(), point)
        }
    };
    let bits = element(0x03, &[&[0][..], &key].concat());
    element(0x30, &[element(0x30, &algorithm), bits].concat())
}

pub fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    )
}
