//! HMAC-SHA-256 (RFC 2104) with the digest of the enabled backend.

use super::digest::sha256;
use zeroize::Zeroizing;

const BLOCK: usize = 64;

/// Returns the untruncated tag of 32 bytes.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = Zeroizing::new([0_u8; BLOCK]);
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&sha256(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let keyed = |pad: u8, message: &[u8]| {
        let mut input = Zeroizing::new(Vec::with_capacity(BLOCK + message.len()));
        input.extend(block.iter().map(|byte| byte ^ pad));
        input.extend_from_slice(message);
        sha256(&input)
    };
    keyed(0x5c, &keyed(0x36, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::base64url;

    #[test]
    fn tags_match_the_examples_of_rfc_4231() {
        let tag = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(
            base64url::encode(&tag),
            "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM"
        );
        // Case 6: a key longer than a block.
        let tag = hmac_sha256(
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
        );
        assert_eq!(
            base64url::encode(&tag),
            "YOQxWR7gtn8Niiaqy_W3f44LxiE3KMUUBUYEDw7jf1Q"
        );
    }
}
