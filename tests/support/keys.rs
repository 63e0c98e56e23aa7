//! A private key that several tests share.

use tower_oauth::SigningKey;

/// `openssl genpkey -algorithm ed25519`
pub const ED25519_PEM: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
-----END PRIVATE KEY-----";

/// Returns the key with an identifier.
pub fn ed25519() -> SigningKey {
    SigningKey::from_pem(ED25519_PEM)
        .unwrap()
        .with_key_id("2027-01")
}
