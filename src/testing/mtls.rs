//! Access tokens bound to a client certificate.

use serde_json::json;

use super::mint::TokenMint;
use crate::crypto::base64url;
use crate::token::ClientCertificate;

impl TokenMint {
    /// Binds the token to this client certificate (DER): sets `cnf` with `x5t#S256` ([RFC 8705 §3.1]).
    ///
    /// [RFC 8705 §3.1]: https://www.rfc-editor.org/rfc/rfc8705#section-3.1
    pub fn bound_to_certificate(self, der: impl AsRef<[u8]>) -> Self {
        let certificate = ClientCertificate::from_der(der);
        let digest = base64url::encode(certificate.thumbprint());
        self.with_claim("cnf", json!({ "x5t#S256": digest }))
    }
}
