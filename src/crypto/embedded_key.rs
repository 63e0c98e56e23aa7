//! The public key in the header of a DPoP proof (`jwk`, RFC 9449 §4.2), and its thumbprint (RFC 7638).
//!
//! Such a key proves only that the sender has its private key. It is used for proofs of possession, never to verify a
//! token.

use super::jwk::{check_complete, check_public, check_purpose};
use super::key_material::{KeyMaterial, read_material};
use super::{Algorithm, PublicKey};
use crate::protocol::json::Object;

/// The parameters of a key from a header, not yet prepared for verification.
#[derive(Debug)]
pub(crate) struct EmbeddedKey(KeyMaterial);

impl EmbeddedKey {
    /// Parses a `jwk` header parameter: a public key of the type and curve of the algorithm, RSA of at least 2048 bits,
    /// whose `use`, `key_ops` and `alg` allow verification with the algorithm.
    pub(crate) fn read(jwk: &Object<'_>, algorithm: Algorithm) -> Result<Self, &'static str> {
        check_complete(jwk)?;
        check_public(jwk)?;
        check_purpose(jwk)?;
        match jwk.text("alg").map_err(|_| "its alg is not a string")? {
            Some(name) if Algorithm::from_name(name) != Some(algorithm) => {
                return Err("its alg is another algorithm");
            }
            _ => {}
        }
        let material = read_material(jwk)?;
        if material.kind() != algorithm.key_kind() {
            return Err("its type does not fit the algorithm");
        }
        Ok(Self(material))
    }

    /// Prepares the key. Returns `None` if its parameters are invalid, for example if the point is not on the curve.
    pub(crate) fn prepare(&self, algorithm: Algorithm) -> Option<PublicKey> {
        PublicKey::prepare(&self.0, algorithm)
    }

    /// Returns the SHA-256 thumbprint (RFC 7638 §3).
    pub(crate) fn thumbprint(&self) -> [u8; 32] {
        self.0.thumbprint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::base64url;
    use crate::protocol::json::parse_object;

    fn read(jwk: &str, algorithm: Algorithm) -> Result<String, &'static str> {
        let jwk = parse_object(jwk.as_bytes()).unwrap();
        EmbeddedKey::read(&jwk, algorithm).map(|key| base64url::encode(&key.thumbprint()))
    }

    #[test]
    fn thumbprints_match_the_examples_of_the_rfcs() {
        // RFC 7638 §3.1, RFC 9449 §4.1 and §6.1 (figures 2 and 6), RFC 8037 §A.3.
        let rsa = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        let p256 = r#"{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}"#;
        let ed25519 =
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        for (jwk, algorithm, thumbprint) in [
            (
                rsa,
                Algorithm::Rs256,
                "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
            ),
            (
                p256,
                Algorithm::Es256,
                "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
            ),
            (
                ed25519,
                Algorithm::EdDsa,
                "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            ),
        ] {
            assert_eq!(read(jwk, algorithm).as_deref(), Ok(thumbprint), "{jwk}");
        }
        // A key with `alg` is for that algorithm only.
        assert!(read(rsa, Algorithm::Ps256).is_err());
        assert!(read(p256, Algorithm::Es384).is_err());
    }

    #[test]
    fn leading_zeros_do_not_change_the_thumbprint() {
        // RFC 7638 §3.3: leading zero octets are not part of the number.
        let modulus = [0xc5; 256];
        let padded = [&[0][..], &modulus[..]].concat();
        let jwk = |modulus: &[u8], exponent: &str| {
            let n = base64url::encode(modulus);
            format!(r#"{{"kty":"RSA","n":"{n}","e":"{exponent}"}}"#)
        };
        let expected = read(&jwk(&modulus, "AQAB"), Algorithm::Rs256).unwrap();
        for jwk in [jwk(&padded, "AQAB"), jwk(&modulus, "AAEAAQ")] {
            assert_eq!(
                read(&jwk, Algorithm::Rs256).as_ref(),
                Ok(&expected),
                "{jwk}"
            );
        }
    }
}
