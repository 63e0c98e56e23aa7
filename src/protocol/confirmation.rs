//! The confirmation claim `cnf`: the key that a token is bound to (RFC 7800 §3.1, RFC 9449 §6, RFC 8705 §3.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{InvalidJson, Json};

/// The proof of possession that a token requires. If both members are set, both are required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Confirmation {
    /// `jkt`: the SHA-256 thumbprint of the key that signs DPoP proofs.
    pub(crate) jwk_thumbprint: Option<[u8; 32]>,
    /// `x5t#S256`: the SHA-256 digest of the client's certificate.
    pub(crate) certificate_thumbprint: Option<[u8; 32]>,
}

impl Confirmation {
    /// Reads the value of `cnf`.
    ///
    /// Fails if the object is empty, if it has an unknown member, or if a digest is not 32 bytes of canonical
    /// base64url. A confirmation method that this crate does not understand must not be ignored: the token
    /// would be accepted without the proof that its issuer requires.
    pub(crate) fn read(member: &Json<'_>) -> Result<Self, InvalidJson> {
        let object = member.as_object().ok_or(InvalidJson)?;
        let mut confirmation = Self {
            jwk_thumbprint: None,
            certificate_thumbprint: None,
        };
        for (name, value) in object.iter() {
            let member = match name {
                "jkt" => &mut confirmation.jwk_thumbprint,
                "x5t#S256" => &mut confirmation.certificate_thumbprint,
                _ => return Err(InvalidJson),
            };
            let digest = value.as_str().and_then(digest).ok_or(InvalidJson)?;
            *member = Some(digest);
        }
        if object.is_empty() {
            return Err(InvalidJson);
        }
        Ok(confirmation)
    }
}

/// Decodes 32 bytes from 43 characters. The decoder rejects padding and non-zero trailing bits.
fn digest(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::parse_object;

    fn read(text: &str) -> Result<Confirmation, InvalidJson> {
        let object = parse_object(text.as_bytes()).unwrap();
        Confirmation::read(object.member("cnf").unwrap())
    }

    #[test]
    fn only_complete_digests_of_known_members_are_accepted() {
        let digest = "A".repeat(43);
        let both = format!(r#"{{"cnf":{{"jkt":"{digest}","x5t#S256":"{digest}"}}}}"#);
        let read_both = read(&both).unwrap();
        assert_eq!(read_both.jwk_thumbprint, Some([0; 32]));
        assert_eq!(read_both.certificate_thumbprint, Some([0; 32]));
        for cnf in [
            "{}".to_owned(),
            "[]".to_owned(),
            r#""x""#.to_owned(),
            r#"{"kid":"a"}"#.to_owned(),
            format!(r#"{{"jkt":"{digest}","jwk":{{}}}}"#),
            format!(r#"{{"jkt":"{digest}="}}"#),
            format!(r#"{{"jkt":"{}"}}"#, "00".repeat(32)),
            format!(r#"{{"jkt":"{}B"}}"#, "A".repeat(42)),
            r#"{"jkt":7}"#.to_owned(),
        ] {
            assert_eq!(
                read(&format!(r#"{{"cnf":{cnf}}}"#)),
                Err(InvalidJson),
                "{cnf}"
            );
        }
    }
}
