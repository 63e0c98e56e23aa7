//! Strict parsing of a public key in PEM: a `SubjectPublicKeyInfo` (RFC 7468 §13, RFC 5280 §4.1.2.7).
//!
//! It supports only the DER structures of the four key types. Encodings that are not canonical are rejected.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::key_material::{KeyMaterial, read_rsa};

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// More than an RSA key of 8192 bits requires.
const MAX_LENGTH: usize = 8 * 1024;

/// Object identifiers without tag and length (RFC 8017 §A.1, RFC 5480 §2.1.1, RFC 8410 §3).
pub(super) const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
pub(super) const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
pub(super) const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
pub(super) const P384: &[u8] = &[0x2b, 0x81, 0x04, 0, 0x22];
pub(super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

pub(super) const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

const MALFORMED: &str = "it is not a DER-encoded key";

/// Parses a PEM text with exactly one `PUBLIC KEY` block. The error says why it is rejected.
pub(crate) fn read_public_key(pem: &str) -> Result<KeyMaterial, &'static str> {
    if pem.len() > MAX_LENGTH {
        return Err("it is too long for a public key");
    }
    let inner = pem
        .trim()
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(END))
        .ok_or("it is not a single PEM block with the label PUBLIC KEY")?;
    let text: String = inner.split_ascii_whitespace().collect();
    let der = STANDARD
        .decode(text)
        .map_err(|_| "its content is not base64")?;
    read_info(&der)
}

/// Parses `SEQUENCE { SEQUENCE { algorithm, parameters }, BIT STRING }` without trailing data.
fn read_info(der: &[u8]) -> Result<KeyMaterial, &'static str> {
    let mut outer = Der(der);
    let mut info = Der(outer.element(SEQUENCE)?);
    outer.end()?;
    let mut algorithm = Der(info.element(SEQUENCE)?);
    // The number of unused bits in the last octet is zero for all of these keys.
    let key = info.element(BIT_STRING)?.strip_prefix(&[0]);
    let key = key.ok_or(MALFORMED)?;
    info.end()?;
    match algorithm.element(OBJECT_IDENTIFIER)? {
        RSA => {
            if !algorithm.element(NULL)?.is_empty() {
                return Err(MALFORMED);
            }
            algorithm.end()?;
            let mut outer = Der(key);
            let mut numbers = Der(outer.element(SEQUENCE)?);
            outer.end()?;
            let (modulus, exponent) = (numbers.natural()?, numbers.natural()?);
            numbers.end()?;
            read_rsa(modulus, exponent)
        }
        EC => {
            let curve = algorithm.element(OBJECT_IDENTIFIER)?;
            algorithm.end()?;
            let (length, material): (usize, fn(Vec<u8>) -> KeyMaterial) = match curve {
                P256 => (32, KeyMaterial::P256),
                P384 => (48, KeyMaterial::P384),
                _ => return Err("its curve is not supported"),
            };
            if key.len() != 1 + 2 * length || key.first() != Some(&0x04) {
                return Err("its point is not uncompressed, or has the wrong length");
            }
            Ok(material(key.to_vec()))
        }
        ED25519 => {
            // RFC 8410 §3: the parameters are absent.
            algorithm.end()?;
            if key.len() != 32 {
                return Err(MALFORMED);
            }
            Ok(KeyMaterial::Ed25519(key.to_vec()))
        }
        _ => Err("its type is not supported"),
    }
}

/// Returns whether the input is exactly one DER `SEQUENCE`, as every certificate is (RFC 5280 §4.1).
pub(crate) fn is_one_sequence(der: &[u8]) -> bool {
    let mut outer = Der(der);
    outer.element(SEQUENCE).is_ok() && outer.end().is_ok()
}

/// The unread rest of a DER encoding.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// Reads the content of the next element, which must have this tag.
    pub(super) fn element(&mut self, tag: u8) -> Result<&'a [u8], &'static str> {
        let rest = self.0.strip_prefix(&[tag]).ok_or(MALFORMED)?;
        // X.690 §10.1: a length has its shortest form.
        let (length, rest) = match *rest {
            [length @ 0..=0x7f, ref rest @ ..] => (usize::from(length), rest),
            [0x81, length @ 0x80..=0xff, ref rest @ ..] => (usize::from(length), rest),
            [0x82, high @ 1..=0xff, low, ref rest @ ..] => {
                (usize::from(u16::from_be_bytes([high, low])), rest)
            }
            _ => return Err(MALFORMED),
        };
        let (content, rest) = rest.split_at_checked(length).ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(content)
    }

    /// Reads a non-negative integer in its shortest form.
    pub(super) fn natural(&mut self) -> Result<&'a [u8], &'static str> {
        match self.element(INTEGER)? {
            [] | [0x80..=0xff, ..] | [0, 0..=0x7f, ..] => Err(MALFORMED),
            number => Ok(number),
        }
    }

    /// Rejects trailing data.
    pub(super) fn end(&self) -> Result<(), &'static str> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(MALFORMED)
        }
    }
}
