//! HMAC with SHA-2 (RFC 2104) by the digest of the enabled backend, and the JWS algorithms that use it.

use super::digest::{sha256, sha384, sha512};
use zeroize::Zeroizing;

/// An algorithm that signs JWTs with a shared secret ([RFC 7518 §3.2]), for
/// [`Client::client_secret_jwt`](crate::Client::client_secret_jwt).
///
/// It signs assertions of this client only. No token is ever verified with such an algorithm: see
/// [`Algorithm`](crate::Algorithm).
///
/// [RFC 7518 §3.2]: https://www.rfc-editor.org/rfc/rfc7518#section-3.2
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HmacAlgorithm {
    /// HMAC with SHA-256. The secret has at least 32 bytes.
    #[default]
    Hs256,
    /// HMAC with SHA-384. The secret has at least 48 bytes.
    Hs384,
    /// HMAC with SHA-512. The secret has at least 64 bytes.
    Hs512,
}

impl HmacAlgorithm {
    /// Returns the registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// Returns the length of the tag, which is also the minimum length of the key, in bytes (RFC 7518 §3.2).
    pub(crate) fn tag_length(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }

    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Hs256 => sha256(data),
            Self::Hs384 => sha384(data),
            Self::Hs512 => sha512(data),
        }
    }

    /// The block length of the digest, in bytes (FIPS 180-4).
    fn block_length(self) -> usize {
        match self {
            Self::Hs256 => 64,
            Self::Hs384 | Self::Hs512 => 128,
        }
    }

    /// Returns the untruncated tag.
    pub(crate) fn tag(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let mut block = Zeroizing::new(vec![0_u8; self.block_length()]);
        if key.len() > block.len() {
            block[..self.tag_length()].copy_from_slice(&self.digest(key));
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let keyed = |pad: u8, message: &[u8]| {
            let mut input = Zeroizing::new(Vec::with_capacity(block.len() + message.len()));
            input.extend(block.iter().map(|byte| byte ^ pad));
            input.extend_from_slice(message);
            self.digest(&input)
        };
        keyed(0x5c, &keyed(0x36, message))
    }
}

/// Returns the untruncated tag of 32 bytes.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    HmacAlgorithm::Hs256.tag(key, message)
}

/// Returns the first `N` bytes of the digest of a text, at most 32.
pub(crate) fn sha256_start<const N: usize>(data: &[u8]) -> [u8; N] {
    const { assert!(N <= 32) }
    let mut start = [0; N];
    start.copy_from_slice(&sha256(data)[..N]);
    start
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::base64url;

    #[test]
    fn tags_match_the_examples_of_rfc_4231() {
        let (short, text) = (b"Jefe".to_vec(), "what do ya want for nothing?");
        let long = vec![0xaa; 131];
        let of_long = "Test Using Larger Than Block-Size Key - Hash Key First";
        for (algorithm, key, message, tag) in [
            (
                HmacAlgorithm::Hs256,
                &short,
                text,
                "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM",
            ),
            // Case 6: a key longer than a block.
            (
                HmacAlgorithm::Hs256,
                &long,
                of_long,
                "YOQxWR7gtn8Niiaqy_W3f44LxiE3KMUUBUYEDw7jf1Q",
            ),
            (
                HmacAlgorithm::Hs384,
                &short,
                text,
                "r0XS43ZIQDFhf3jStYprG5x-9GT1oBtH5C7Dc2MiRF6OIkDKXmnix4syOez6shZJ",
            ),
            (
                HmacAlgorithm::Hs384,
                &long,
                of_long,
                "Ts4IRIWBPpCI0sY6BBvFtE-e8QEqK1iPPNEfBQM6xMYMLvarQDD-gpYkjfFj9ElS",
            ),
            (
                HmacAlgorithm::Hs512,
                &short,
                text,
                "Fkt6e_z4GeLjlfvnO1bgo4e9ZCIugx_WECcM1-olBVSXWL91wFqZSm0DT2X48Ob9yuqxo01Ka0tjbgcKOLznNw",
            ),
            (
                HmacAlgorithm::Hs512,
                &long,
                of_long,
                "gLJCY8fBo-u3FJPB3XvotJtG0fQbSu7BEhsBN4P481JrVtA34F8lmL0P0iFdah5SleZPc_Y_CuyLkVqYXXhlmA",
            ),
        ] {
            let found = base64url::encode(&algorithm.tag(key, message.as_bytes()));
            assert_eq!(found, tag, "{}", algorithm.name());
        }
    }
}
