//! A public key that comes with what it signed, and its thumbprint (RFC 7638).
//!
//! Such a key proves only that whoever sent it holds its private half. It is for proofs of possession; a
//! token does not bring its own key.

use super::jwk::{KeyMaterial, check_public, check_purpose, read_material};
use super::{Algorithm, PublicKey, base64url, digest};
use crate::protocol::json::Object;

/// The numbers of a key out of a header, not yet prepared for use.
#[derive(Debug)]
pub(crate) struct EmbeddedKey(KeyMaterial);

impl EmbeddedKey {
    /// Reads a `jwk` header parameter for a signature by this algorithm: a public key of the algorithm's
    /// kind and curve, RSA of 2048 bits at least, which does not say that it is for something else.
    pub(crate) fn read(jwk: &Object<'_>, algorithm: Algorithm) -> Result<Self, &'static str> {
        check_public(jwk)?;
        check_purpose(jwk)?;
        match jwk.string("alg").map_err(|_| "its alg is not a string")? {
            Some(name) if Algorithm::from_name(name) != Some(algorithm) => {
                return Err("its alg is another one");
            }
            _ => {}
        }
        let material = read_material(jwk)?;
        if material.kind() != algorithm.key_kind() {
            return Err("it is not of the kind that the algorithm needs");
        }
        Ok(Self(material))
    }

    /// `None` where the numbers are no key: a point off its curve, for instance.
    pub(crate) fn prepare(&self, algorithm: Algorithm) -> Option<PublicKey> {
        PublicKey::prepare(&self.0, algorithm)
    }

    /// The SHA-256 thumbprint: of the members that make the key and no others, in the order of their
    /// names, without white space (RFC 7638 §3).
    pub(crate) fn thumbprint(&self) -> [u8; 32] {
        let halves = |point: &[u8]| {
            let coordinates = point.get(1..).unwrap_or_default();
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            (base64url::encode(x), base64url::encode(y))
        };
        let text = match &self.0 {
            KeyMaterial::Rsa { modulus, exponent } => {
                let (n, e) = (base64url::encode(modulus), base64url::encode(exponent));
                format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)
            }
            KeyMaterial::P256(point) => {
                let (x, y) = halves(point);
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            KeyMaterial::P384(point) => {
                let (x, y) = halves(point);
                format!(r#"{{"crv":"P-384","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            KeyMaterial::Ed25519(key) => {
                let x = base64url::encode(key);
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
            }
        };
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(&digest::sha256(text.as_bytes()));
        thumbprint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::parse_object;

    fn read(jwk: &str, algorithm: Algorithm) -> Result<String, &'static str> {
        let jwk = parse_object(jwk.as_bytes()).unwrap();
        EmbeddedKey::read(&jwk, algorithm).map(|key| base64url::encode(&key.thumbprint()))
    }

    #[test]
    fn thumbprints_are_those_of_the_specifications() {
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
        // One key is for one algorithm, where it says so.
        assert!(read(rsa, Algorithm::Ps256).is_err());
        assert!(read(p256, Algorithm::Es384).is_err());
    }

    #[test]
    fn a_number_that_is_written_longer_has_the_same_thumbprint() {
        // RFC 7638 §3.3: a zero before a number is no part of it.
        let modulus = [0xc5; 256];
        let longer = [&[0][..], &modulus[..]].concat();
        let jwk = |modulus: &[u8], exponent: &str| {
            let n = base64url::encode(modulus);
            format!(r#"{{"kty":"RSA","n":"{n}","e":"{exponent}"}}"#)
        };
        let shortest = read(&jwk(&modulus, "AQAB"), Algorithm::Rs256).unwrap();
        for jwk in [jwk(&longer, "AQAB"), jwk(&modulus, "AAEAAQ")] {
            assert_eq!(
                read(&jwk, Algorithm::Rs256).as_ref(),
                Ok(&shortest),
                "{jwk}"
            );
        }
    }
}
