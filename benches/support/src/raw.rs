//! The check of one signature with a parsed key: the lower bound for a verification.

use crate::Fixture;
use crate::fixture::decode;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
};

pub fn check(fixture: &Fixture) -> impl Fn() -> bool + use<> {
    let jwk = fixture.jwk();
    let number = |name: &str| decode(jwk[name].as_str().expect("a number of the key"));
    let point = || [vec![4], number("x"), number("y")].concat();
    let rsa = || RsaPublicKeyComponents {
        n: number("n"),
        e: number("e"),
    };
    let key = match fixture.algorithm.as_str() {
        "RS256" => rsa().to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256),
        "PS256" => rsa().to_parsed_public_key(&RSA_PSS_2048_8192_SHA256),
        "ES256" => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point()),
        "ES384" => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point()),
        "EdDSA" => ParsedPublicKey::new(&ED25519, number("x")),
        other => panic!("no check for {other}"),
    };
    let key = key.expect("a public key");
    let (input, signature) = fixture.signed();
    let input = input.to_owned();
    move || key.verify_sig(input.as_bytes(), &signature).is_ok()
}
