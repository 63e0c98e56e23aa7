//! The confirmation claim `cnf`: the key that a token is bound to (RFC 7800 §3.1, RFC 9449 §6, RFC 8705 §3.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{InvalidJson, Json};

/// Confirmation methods that are specified and that this crate cannot check (RFC 7800 §3.2 to §3.5).
const UNCHECKED_METHODS: [&str; 4] = ["jwk", "jwe", "jku", "kid"];

/// The proof of possession that a token requires. At least one member is set; if both are, both are required.
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
    /// Fails if no member can be checked, if one is a specified method that this crate cannot check, or if a digest is
    /// not 32 bytes of canonical base64url. Otherwise the token would be accepted without a proof that its issuer
    /// requires. Members with unknown names are ignored beside one that is checked (RFC 7800 §3.1).
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
                _ if UNCHECKED_METHODS.contains(&name) => return Err(InvalidJson),
                _ => continue,
            };
            let digest = value.as_str().and_then(digest).ok_or(InvalidJson)?;
            *member = Some(digest);
        }
        let is_checked =
            confirmation.jwk_thumbprint.is_some() || confirmation.certificate_thumbprint.is_some();
        if is_checked {
            Ok(confirmation)
        } else {
            Err(InvalidJson)
        }
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
    fn a_method_that_cannot_be_checked_is_rejected_and_an_unknown_member_ignored_beside_one_that_is()
     {
        let digest = "A".repeat(43);
        let both = format!(r#"{{"cnf":{{"jkt":"{digest}","x5t#S256":"{digest}"}}}}"#);
        let read_both = read(&both).unwrap();
        assert_eq!(read_both.jwk_thumbprint, Some([0; 32]));
        assert_eq!(read_both.certificate_thumbprint, Some([0; 32]));
        for known in ["jkt", "x5t#S256"] {
            let cnf =
                format!(r#"{{"cnf":{{"kc-jkt-type":"DPoP","x5t":null,"{known}":"{digest}"}}}}"#);
            assert!(read(&cnf).is_ok(), "{cnf}");
        }
        for cnf in [
            "{}".to_owned(),
            "[]".to_owned(),
            r#""x""#.to_owned(),
            r#"{"kid":"a"}"#.to_owned(),
            r#"{"kc-jkt-type":"DPoP"}"#.to_owned(),
            format!(r#"{{"jkt":"{digest}","jwk":{{}}}}"#),
            format!(r#"{{"jkt":"{digest}","jwe":"a"}}"#),
            format!(r#"{{"x5t#S256":"{digest}","kid":null}}"#),
            format!(r#"{{"jku":"https://a.test/","x5t#S256":"{digest}"}}"#),
            format!(r#"{{"jkt":null,"x5t#S256":"{digest}"}}"#),
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
