//! The parameters of public keys, checked for type and size.

use super::{KeyKind, base64url, digest};
use crate::protocol::json::Object;

/// The parameters of a public key, of the right size for its type.
#[derive(Debug, PartialEq)]
pub(crate) enum KeyMaterial {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// The uncompressed point, SEC 1 §2.3.3.
    P256(Vec<u8>),
    /// The uncompressed point, SEC 1 §2.3.3.
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl KeyMaterial {
    pub(super) fn kind(&self) -> KeyKind {
        match self {
            Self::Rsa { .. } => KeyKind::Rsa,
            Self::P256(_) => KeyKind::P256,
            Self::P384(_) => KeyKind::P384,
            Self::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    /// Returns the key as a JWK with the required members only, in lexicographic order and without white space
    /// (RFC 7638 §3).
    pub(super) fn required_members(&self) -> String {
        let coordinates = |point: &[u8]| {
            let bytes = point.get(1..).unwrap_or_default();
            let (x, y) = bytes.split_at(bytes.len() / 2);
            (base64url::encode(x), base64url::encode(y))
        };
        match self {
            Self::Rsa { modulus, exponent } => {
                let (n, e) = (base64url::encode(modulus), base64url::encode(exponent));
                format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#)
            }
            Self::P256(point) => {
                let (x, y) = coordinates(point);
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::P384(point) => {
                let (x, y) = coordinates(point);
                format!(r#"{{"crv":"P-384","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Ed25519(key) => {
                let x = base64url::encode(key);
                format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
            }
        }
    }

    /// Returns the SHA-256 thumbprint (RFC 7638 §3).
    pub(super) fn thumbprint(&self) -> [u8; 32] {
        let mut thumbprint = [0; 32];
        thumbprint.copy_from_slice(&digest::sha256(self.required_members().as_bytes()));
        thumbprint
    }
}

pub(super) fn read_material(jwk: &Object<'_>) -> Result<KeyMaterial, &'static str> {
    let number = |name| {
        let text = jwk
            .string(name)
            .ok()
            .flatten()
            .ok_or("a parameter is missing")?;
        base64url::decode(text).ok_or("a parameter is not base64url")
    };
    let curve = jwk.text("crv").map_err(|_| "its crv is not a string")?;
    match (jwk.string("kty").ok().flatten(), curve) {
        (Some("RSA"), _) => read_rsa(&number("n")?, &number("e")?),
        (Some("EC"), Some("P-256")) => {
            Ok(KeyMaterial::P256(point(&number("x")?, &number("y")?, 32)?))
        }
        (Some("EC"), Some("P-384")) => {
            Ok(KeyMaterial::P384(point(&number("x")?, &number("y")?, 48)?))
        }
        (Some("OKP"), Some("Ed25519")) => {
            let key = number("x")?;
            if key.len() == 32 {
                Ok(KeyMaterial::Ed25519(key))
            } else {
                Err("its x has the wrong length")
            }
        }
        _ => Err("its kty or crv is not supported"),
    }
}

/// Checks an RSA key: an odd modulus of 2048 to 8192 bits and an odd exponent from 3 to 2^33. Smaller keys can be
/// forged (RFC 7518 §3.3); larger ones would make every verification expensive.
pub(super) fn read_rsa(modulus: &[u8], exponent: &[u8]) -> Result<KeyMaterial, &'static str> {
    let modulus = without_leading_zeros(modulus);
    let exponent = without_leading_zeros(exponent);
    let bits = modulus.first().map_or(0, |first| {
        modulus.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0)
    });
    if !(2048..=8192).contains(&bits) {
        return Err("its modulus does not have 2048 to 8192 bits");
    }
    if modulus.last().is_none_or(|last| last % 2 == 0) {
        return Err("its modulus is even");
    }
    let value = exponent
        .iter()
        .take(8)
        .fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    if exponent.len() > 5 || value < 3 || value % 2 == 0 || value > 1 << 33 {
        return Err("its exponent is even, 1 or too large");
    }
    if is_roca_vulnerable(modulus) {
        return Err("its modulus is vulnerable to ROCA (CVE-2017-15361)");
    }
    Ok(KeyMaterial::Rsa {
        modulus: modulus.to_vec(),
        exponent: exponent.to_vec(),
    })
}

fn without_leading_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Returns the uncompressed point. Coordinates have the full length of the field (RFC 7518 §6.2.1.2).
fn point(x: &[u8], y: &[u8], length: usize) -> Result<Vec<u8>, &'static str> {
    if x.len() != length || y.len() != length {
        return Err("a coordinate has the wrong length");
    }
    Ok([&[0x04], x, y].concat())
}

/// Returns whether this big-endian modulus has the fingerprint of the generator.
///
/// Its primes are powers of 65537 modulo the product of small primes, and so is the modulus. This holds for about one in
/// 2^27 other moduli. Such a modulus can be factored, so an attacker can sign with the key.
fn is_roca_vulnerable(modulus: &[u8]) -> bool {
    PRIMES
        .into_iter()
        .all(|prime| is_power_of_65537(remainder(modulus, prime), prime))
}

/// The odd primes that the generator uses for keys of every size.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

fn remainder(number: &[u8], prime: u32) -> u32 {
    number.iter().fold(0, |remainder, byte| {
        ((remainder << 8) | u32::from(*byte)) % prime
    })
}

fn is_power_of_65537(number: u32, prime: u32) -> bool {
    let mut power = 1;
    loop {
        if power == number {
            return true;
        }
        power = power * 65537 % prime;
        if power == 1 {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_moduli_of_the_generator_are_vulnerable() {
        // 65537 and its square are powers of 65537 modulo every prime.
        assert!(is_roca_vulnerable(&[1, 0, 1]));
        assert!(is_roca_vulnerable(&[1, 0, 2, 0, 1]));
        for other in [&[1, 0, 3][..], &[0xff; 256], &[1, 0, 2, 0, 3], &[]] {
            assert!(!is_roca_vulnerable(other), "{other:02x?}");
        }
    }
}
