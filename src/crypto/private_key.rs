//! Parsing of private keys: PKCS#8 in PEM (RFC 5958, RFC 7468) and JWK (RFC 7517).
//!
//! It parses only as much DER as determines the type of the key. The backend validates the parameters.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::pem::{Der, EC, ED25519, INTEGER, OBJECT_IDENTIFIER, P256, P384, RSA, SEQUENCE};
use super::{KeyKind, base64url};
use crate::protocol::json::Object;

/// A private key in the encoding that both backends accept.
pub(super) struct PrivateMaterial {
    pub(super) kind: KeyKind,
    /// PKCS#1 `RSAPrivateKey` for RSA, PKCS#8 without the public key for all others.
    pub(super) der: Zeroizing<Vec<u8>>,
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

const OCTET_STRING: u8 = 0x04;

impl PrivateMaterial {
    pub(super) fn from_pem(pem: &str) -> Result<Self, &'static str> {
        let inner = pem
            .trim()
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(END))
            .ok_or(
                "it is not a PKCS#8 key in PEM (BEGIN PRIVATE KEY); convert it with `openssl pkcs8 -topk8 -nocrypt`",
            )?;
        let text: Zeroizing<Vec<u8>> = Zeroizing::new(
            inner
                .bytes()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect(),
        );
        let der = Zeroizing::new(
            STANDARD
                .decode(&*text)
                .map_err(|_| "its content is not base64")?,
        );
        Self::from_pkcs8(&der)
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, &'static str> {
        let mut outer = Der(der);
        let mut info = Der(outer.element(SEQUENCE)?);
        outer.end()?;
        info.natural()?;
        let mut algorithm = Der(info.element(SEQUENCE)?);
        // Attributes and the public key may follow; neither is used.
        let key = info.element(OCTET_STRING)?;
        let unsupported = Err("its type or curve is not supported");
        let kind = match algorithm.element(OBJECT_IDENTIFIER)? {
            RSA => {
                return Ok(Self {
                    kind: KeyKind::Rsa,
                    der: Zeroizing::new(key.to_vec()),
                });
            }
            EC => match algorithm.element(OBJECT_IDENTIFIER)? {
                P256 => KeyKind::P256,
                P384 => KeyKind::P384,
                _ => return unsupported,
            },
            ED25519 => KeyKind::Ed25519,
            _ => return unsupported,
        };
        let mut key = Der(key);
        let private = if kind == KeyKind::Ed25519 {
            key.element(OCTET_STRING)?
        } else {
            let mut key = Der(key.element(SEQUENCE)?);
            key.natural()?;
            key.element(OCTET_STRING)?
        };
        Self::from_value(kind, private).ok_or("its private value has the wrong length")
    }

    /// Parses the private members of a JWK (RFC 7518 §6.2.2, §6.3.2, RFC 8037 §2).
    pub(super) fn from_jwk(jwk: &Object<'_>) -> Result<Self, &'static str> {
        let number = |name| {
            jwk.string(name)
                .ok()
                .flatten()
                .and_then(base64url::decode)
                .map(Zeroizing::new)
                .ok_or("a parameter is missing or not base64url")
        };
        let kind = match (
            jwk.string("kty").ok().flatten(),
            jwk.string("crv").ok().flatten(),
        ) {
            (Some("RSA"), _) => {
                let mut content = Zeroizing::new(Vec::with_capacity(4096));
                write_integer(&mut content, &[]);
                for name in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
                    write_integer(&mut content, &number(name)?);
                }
                let mut der = Zeroizing::new(Vec::with_capacity(content.len() + 4));
                write_header(&mut der, SEQUENCE, content.len());
                der.extend_from_slice(&content);
                return Ok(Self {
                    kind: KeyKind::Rsa,
                    der,
                });
            }
            (Some("EC"), Some("P-256")) => KeyKind::P256,
            (Some("EC"), Some("P-384")) => KeyKind::P384,
            (Some("OKP"), Some("Ed25519")) => KeyKind::Ed25519,
            _ => return Err("its kty or crv is not supported"),
        };
        Self::from_value(kind, &number("d")?).ok_or("its d has the wrong length")
    }

    /// Encodes the private value as PKCS#8 without the public key.
    pub(super) fn from_value(kind: KeyKind, private: &[u8]) -> Option<Self> {
        let (prefix, length): (&[u8], _) = match kind {
            KeyKind::P256 => (
                b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\
                \x48\xce\x3d\x03\x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20",
                32,
            ),
            KeyKind::P384 => (
                b"\x30\x4e\x02\x01\x00\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\
                \x04\x00\x22\x04\x37\x30\x35\x02\x01\x01\x04\x30",
                48,
            ),
            KeyKind::Ed25519 => (
                b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20",
                32,
            ),
            KeyKind::Rsa => return None,
        };
        (private.len() == length).then(|| Self {
            kind,
            der: Zeroizing::new([prefix, private].concat()),
        })
    }

    /// Returns modulus and exponent of an RSA key.
    pub(super) fn rsa_public(&self) -> Result<(&[u8], &[u8]), &'static str> {
        let mut key = Der(Der(&self.der).element(SEQUENCE)?);
        key.natural()?;
        Ok((key.natural()?, key.natural()?))
    }
}

/// Writes a non-negative integer, with a leading zero byte if its first bit is set.
fn write_integer(der: &mut Vec<u8>, number: &[u8]) {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = &number[zeros..];
    let padded = number.first().is_none_or(|first| *first >= 0x80);
    write_header(der, INTEGER, number.len() + usize::from(padded));
    if padded {
        der.push(0);
    }
    der.extend_from_slice(number);
}

fn write_header(der: &mut Vec<u8>, tag: u8, length: usize) {
    der.push(tag);
    match u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes() {
        [0, short @ 0..=0x7f] => der.push(short),
        [0, low] => der.extend_from_slice(&[0x81, low]),
        [high, low] => der.extend_from_slice(&[0x82, high, low]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = PrivateMaterial::from_pkcs8(&bytes);
            let mut head = vec![SEQUENCE, 0x82, 0, 100, INTEGER, 1, 0, SEQUENCE];
            head.extend(bytes);
            let _ = PrivateMaterial::from_pkcs8(&head);
        }

        #[test]
        fn integers_round_trip(number in prop::collection::vec(any::<u8>(), 1..400)) {
            let mut der = Vec::new();
            write_integer(&mut der, &number);
            let mut der = Der(&der);
            let read = der.natural().unwrap();
            let trimmed = |bytes: &[u8]| bytes.iter().copied().skip_while(|b| *b == 0).collect::<Vec<_>>();
            prop_assert!(der.end().is_ok());
            prop_assert_eq!(trimmed(read), trimmed(&number));
        }
    }
}
