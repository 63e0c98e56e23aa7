//! The fields and errors of DPoP as a client receives them (RFC 9449 §5, §7.1, §8, §9).

use http::{HeaderMap, HeaderName, StatusCode};

use super::oauth_error::OAuthErrorCode;
use super::received_challenge::ReceivedChallenge;

/// The request field with the proof (RFC 9449 §4.1).
pub(crate) const PROOF_FIELD: HeaderName = HeaderName::from_static("dpop");

/// The response field with a nonce (RFC 9449 §8.1).
pub(crate) const NONCE_FIELD: HeaderName = HeaderName::from_static("dpop-nonce");

/// The maximum length of a nonce, in bytes. It is sent with each proof.
const MAX_NONCE: usize = 1024;

/// Why a server rejected a request because of its proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProofRejection {
    /// `use_dpop_nonce`: the proof must have the nonce of the response (RFC 9449 §8, §9).
    NonceRequired,
    /// `invalid_dpop_proof` (RFC 9449 §5, §7.1).
    Invalid,
}

impl ProofRejection {
    /// Reads the error of a token response (RFC 9449 §5, §8).
    pub(crate) fn of_token_response(status: StatusCode, body: &[u8]) -> Option<Self> {
        if status != StatusCode::BAD_REQUEST && status != StatusCode::UNAUTHORIZED {
            return None;
        }
        Self::from_code(OAuthErrorCode::of_body(body)?.as_str())
    }

    /// Reads the challenge of a resource server: 401 with the scheme `DPoP` (RFC 9449 §7.1, §9).
    pub(crate) fn of_resource_response(status: StatusCode, headers: &HeaderMap) -> Option<Self> {
        if status != StatusCode::UNAUTHORIZED {
            return None;
        }
        let challenges = ReceivedChallenge::all(headers);
        let mut dpop = challenges.iter().filter(|one| one.has_scheme("DPoP"));
        dpop.find_map(|challenge| Self::from_code(challenge.parameter("error")?))
    }

    pub(crate) fn from_code(code: &str) -> Option<Self> {
        if code.eq_ignore_ascii_case("use_dpop_nonce") {
            Some(Self::NonceRequired)
        } else if code.eq_ignore_ascii_case("invalid_dpop_proof") {
            Some(Self::Invalid)
        } else {
            None
        }
    }
}

/// Returns the nonce of a response. Several fields, and a value with a character that RFC 9449 §8.1 does not allow, are
/// ignored.
pub(crate) fn nonce(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(&NONCE_FIELD).iter();
    let field = fields.next()?;
    if fields.next().is_some() {
        return None;
    }
    let nonce = field.to_str().ok()?;
    // NQCHAR (RFC 6749 §A).
    let is_allowed = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let is_nonce = !nonce.is_empty() && nonce.len() <= MAX_NONCE && nonce.bytes().all(is_allowed);
    is_nonce.then_some(nonce)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::WWW_AUTHENTICATE;

    use super::*;

    #[test]
    fn several_nonces_and_malformed_ones_are_ignored() {
        let long = "n".repeat(MAX_NONCE);
        let longer = "n".repeat(MAX_NONCE + 1);
        for (fields, expected) in [
            (&[][..], None),
            (&["eyJ7S_zG.eyJH0-Z"], Some("eyJ7S_zG.eyJH0-Z")),
            (&["!#[]~"], Some("!#[]~")),
            (&[&*long], Some(&*long)),
            (&[&*longer], None),
            (&["a", "a"], None),
            (&["a", "b"], None),
            (&[""], None),
            (&["a b"], None),
            (&["a\""], None),
            (&["a\\b"], None),
            (&["é"], None),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(
                    NONCE_FIELD,
                    HeaderValue::from_bytes(field.as_bytes()).unwrap(),
                );
            }
            assert_eq!(nonce(&headers), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_rejected_proof_is_recognized_by_status_scheme_and_error() {
        let nonce = Some(ProofRejection::NonceRequired);
        let invalid = Some(ProofRejection::Invalid);
        for (status, body, expected) in [
            (400, r#"{"error":"use_dpop_nonce"}"#, nonce),
            (401, r#"{"error":"USE_DPOP_NONCE"}"#, nonce),
            (400, r#"{"error":"Invalid_DPoP_Proof"}"#, invalid),
            (200, r#"{"error":"use_dpop_nonce"}"#, None),
            (500, r#"{"error":"use_dpop_nonce"}"#, None),
            (400, r#"{"error":"use_dpop_nonce2"}"#, None),
            (400, r#"{"error":["use_dpop_nonce"]}"#, None),
            (400, "use_dpop_nonce", None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            let found = ProofRejection::of_token_response(status, body.as_bytes());
            assert_eq!(found, expected, "{status} {body}");
        }
        for (status, challenge, expected) in [
            (401, r#"DPoP error="use_dpop_nonce""#, nonce),
            (401, r#"dpop algs="ES256", ERROR=Use_DPoP_Nonce"#, nonce),
            (
                401,
                r#"Bearer realm="a", DPoP error="use_dpop_nonce""#,
                nonce,
            ),
            (
                401,
                r#"DPoP realm="a", DPoP error="invalid_dpop_proof""#,
                invalid,
            ),
            (400, r#"DPoP error="use_dpop_nonce""#, None),
            (403, r#"DPoP error="use_dpop_nonce""#, None),
            (401, r#"Bearer error="use_dpop_nonce""#, None),
            (401, r#"DPoP error="invalid_token""#, None),
            (401, r#"DPoP error_description="use_dpop_nonce""#, None),
            (401, "DPoP", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            let status = StatusCode::from_u16(status).unwrap();
            let found = ProofRejection::of_resource_response(status, &headers);
            assert_eq!(found, expected, "{status} {challenge}");
        }
    }
}
