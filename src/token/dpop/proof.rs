//! Validation of a proof (RFC 9449 §4.3), except for replay, nonce and the binding of the token.

use subtle::ConstantTimeEq as _;

use super::target::ProofTarget;
use crate::crypto::{Algorithm, EmbeddedKey, Jws, JwsError, base64url, digest};
use crate::protocol::AmbiguousPath;
use crate::protocol::claims::seconds;
use crate::protocol::json::{Json, Object, parse_object};

/// In bytes. A proof with the largest accepted key has 5 KiB.
const MAX_PROOF_LENGTH: usize = 8 * 1024;

/// In bytes.
const MAX_JWT_ID_LENGTH: usize = 256;

/// Why a DPoP proof was rejected. For logs; the response has a fixed sentence instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The request has no `DPoP` field.
    #[error("the proof is missing")]
    Missing,
    /// The request has several `DPoP` fields, or several proofs in one.
    #[error("there is more than one proof")]
    Repeated,
    /// The proof is not a JWS in compact serialization with strict JSON, or exceeds 8 KiB.
    #[error("the proof is malformed")]
    Malformed,
    /// `typ` is not `dpop+jwt`.
    #[error("typ is not dpop+jwt")]
    Type,
    /// `alg` is missing, unknown or not allowed.
    #[error("the algorithm is not allowed")]
    Algorithm,
    /// `jwk` is missing, contains a private key, or does not fit the algorithm.
    #[error("jwk is missing or unusable")]
    Key,
    /// The signature does not verify with the key in the header.
    #[error("the signature is invalid")]
    Signature,
    /// A claim is missing or has the wrong type.
    #[error("a claim is missing or has the wrong type")]
    Claims,
    /// `htm` is not the method of the request.
    #[error("htm does not match the method")]
    Method,
    /// `htu` is not the URL of the request. If this happens to every proof, check the configured base URL.
    #[error("htu does not match the URL")]
    Target,
    /// The path of the request has a dot segment, a backslash or a control character: the service may interpret it as
    /// another path than the one in `htu`.
    #[error("the path of the request is ambiguous: {0}")]
    AmbiguousTarget(AmbiguousPath),
    /// `iat` is too old or in the future, or `exp` or `nbf` excludes the current time.
    #[error("iat is not within the accepted window")]
    Time,
    /// `ath` is not the digest of this access token.
    #[error("ath does not match the access token")]
    Token,
    /// The proof was used before.
    #[error("the proof was used before")]
    Replayed,
}

/// The values that a proof must match.
pub(super) struct ProofExpectations<'a> {
    pub(super) algorithms: &'a [Algorithm],
    pub(super) method: &'a str,
    /// The URL of the request for each base URL of the server.
    pub(super) targets: &'a [ProofTarget],
    /// The access token of the request; `None` at the token endpoint, where a proof has no `ath`.
    pub(super) token: Option<&'a str>,
    /// In seconds since the Unix epoch.
    pub(super) now: i64,
    pub(super) max_age: i64,
    pub(super) leeway: i64,
    /// Whether a nonce decides whether the proof is recent, so that `iat` need not (RFC 9449 §4.3 (11)).
    pub(super) ignores_iat: bool,
    /// In seconds: how far `iat` may be in the future even then.
    pub(super) max_ahead: Option<i64>,
}

/// A proof that matches the request and the token. Its key, its nonce and replay are not checked yet.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) thumbprint: [u8; 32],
    pub(super) jwt_id: Box<str>,
    pub(super) nonce: Option<Box<str>>,
}

/// Validates a proof, in the order of cost and with the signature before the claims.
pub(super) fn check<'a>(
    compact: &str,
    expected: &ProofExpectations<'a>,
) -> Result<(Proof, &'a ProofTarget), ProofError> {
    if compact.len() > MAX_PROOF_LENGTH {
        return Err(ProofError::Malformed);
    }
    // RFC 9449 §4.3 (1): a list of proofs could be combined from several fields.
    if compact.contains(',') {
        return Err(ProofError::Repeated);
    }
    // RFC 9449 §4.3 (2): a single well-formed JWT.
    let (jws, key) = Jws::read_with(compact, |header, algorithm| {
        Ok(read_key(header, algorithm, expected.algorithms))
    })
    .map_err(|error| match error {
        JwsError::Malformed | JwsError::Extension => ProofError::Malformed,
        JwsError::Algorithm => ProofError::Algorithm,
    })?;
    // RFC 9449 §4.3 (4), §11.5: exactly this type, so that no other JWT of the same key is accepted as a proof.
    if jws.media_type() != Some("dpop+jwt") {
        return Err(ProofError::Type);
    }
    let key = key?;
    // RFC 9449 §4.3 (6): the signature proves possession of the private key.
    let prepared = key.prepare(jws.algorithm()).ok_or(ProofError::Key)?;
    if !jws.verify(&prepared) {
        return Err(ProofError::Signature);
    }
    let claims = parse_object(jws.payload()).map_err(|_| ProofError::Malformed)?;
    let claims = ProofClaims::read(&claims, expected)?;
    let proof = Proof {
        thumbprint: key.thumbprint(),
        jwt_id: claims.jwt_id.into(),
        nonce: claims.nonce.map(Box::from),
    };
    Ok((proof, claims.target))
}

fn read_key(
    header: &Object<'_>,
    algorithm: Algorithm,
    allowed: &[Algorithm],
) -> Result<EmbeddedKey, ProofError> {
    // RFC 9449 §4.3 (5), §11.6: an allow-list of asymmetric algorithms.
    if !allowed.contains(&algorithm) {
        return Err(ProofError::Algorithm);
    }
    // RFC 9449 §4.3 (7): no private key.
    let jwk = header.member("jwk").and_then(Json::as_object);
    EmbeddedKey::read(jwk.ok_or(ProofError::Key)?, algorithm).map_err(|_| ProofError::Key)
}

/// The claims of a proof that are needed after all others were compared.
struct ProofClaims<'c, 'a> {
    jwt_id: &'c str,
    nonce: Option<&'c str>,
    target: &'a ProofTarget,
}

impl<'c, 'a> ProofClaims<'c, 'a> {
    fn read(claims: &'c Object<'_>, expected: &ProofExpectations<'a>) -> Result<Self, ProofError> {
        let text = |name| claims.string(name).map_err(|_| ProofError::Claims);
        let time = |name| seconds(claims.member(name), f64::floor).map_err(|_| ProofError::Claims);
        // RFC 9449 §4.3 (3): all required claims, each with the right type.
        let (Some(jwt_id), Some(method), Some(url), Some(issued_at)) =
            (text("jti")?, text("htm")?, text("htu")?, time("iat")?)
        else {
            return Err(ProofError::Claims);
        };
        let token = match expected.token {
            Some(token) => Some((token, text("ath")?.ok_or(ProofError::Claims)?)),
            None => None,
        };
        let nonce = text("nonce")?;
        if jwt_id.is_empty() || jwt_id.len() > MAX_JWT_ID_LENGTH {
            return Err(ProofError::Claims);
        }
        // RFC 9449 §4.3 (8): methods are case-sensitive (RFC 9110 §9.1).
        if method != expected.method {
            return Err(ProofError::Method);
        }
        // RFC 9449 §4.3 (9).
        let mut targets = expected.targets.iter();
        let target = targets
            .find(|one| one.matches(url))
            .ok_or(ProofError::Target)?;
        // RFC 9449 §4.3 (11): the creation time is within the accepted window.
        let age = expected.now.saturating_sub(issued_at);
        let is_recent = age <= expected.max_age && age >= -expected.leeway;
        let is_ahead = expected.max_ahead.is_some_and(|max| age < -max);
        if is_ahead || (!is_recent && !expected.ignores_iat) {
            return Err(ProofError::Time);
        }
        // RFC 7519 §4.1.4, §4.1.5: `exp` and `nbf` are optional, and checked if present.
        let has_expired =
            time("exp")?.is_some_and(|end| expected.now >= end.saturating_add(expected.leeway));
        let is_early =
            time("nbf")?.is_some_and(|begin| begin > expected.now.saturating_add(expected.leeway));
        if has_expired || is_early {
            return Err(ProofError::Time);
        }
        // RFC 9449 §4.3 (12a): the proof is for this access token.
        if let Some((token, hash)) = token {
            let digest = base64url::encode(&digest::sha256(token.as_bytes()));
            if !bool::from(digest.as_bytes().ct_eq(hash.as_bytes())) {
                return Err(ProofError::Token);
            }
        }
        Ok(Self {
            jwt_id,
            nonce,
            target,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::token::dpop::target::BaseUrl;

    /// The example of RFC 9449 §7.1 (with the wrapped lines joined).
    const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

    fn check_at(now: i64, method: &str, path: &str, proof: &str) -> Result<Proof, ProofError> {
        let target = BaseUrl::new("https://resource.example.org")
            .unwrap()
            .target(path)
            .unwrap();
        let expected = ProofExpectations {
            algorithms: &[Algorithm::Es256],
            method,
            targets: &[target],
            token: Some(TOKEN),
            now,
            max_age: 60,
            leeway: 10,
            ignores_iat: false,
            max_ahead: None,
        };
        check(proof, &expected).map(|(proof, _)| proof)
    }

    #[test]
    fn the_example_of_the_specification_is_valid_for_its_request_and_time_window() {
        let proof = check_at(1_562_262_618, "GET", "/protectedresource", PROOF).unwrap();
        assert_eq!(
            base64url::encode(&proof.thumbprint),
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
        );
        assert_eq!(&*proof.jwt_id, "e1j3V_bKic8-LAEB");
        assert_eq!(proof.nonce, None);
        for (now, method, path, expect) in [
            (1_562_262_678, "GET", "/protectedresource", None),
            (1_562_262_608, "GET", "/protectedresource", None),
            (
                1_562_262_679,
                "GET",
                "/protectedresource",
                Some(ProofError::Time),
            ),
            (
                1_562_262_607,
                "GET",
                "/protectedresource",
                Some(ProofError::Time),
            ),
            (
                1_562_262_618,
                "HEAD",
                "/protectedresource",
                Some(ProofError::Method),
            ),
            (
                1_562_262_618,
                "GET",
                "/protectedresource/",
                Some(ProofError::Target),
            ),
        ] {
            let error = check_at(now, method, path, PROOF).err();
            assert_eq!(error, expect, "{now} {method} {path}");
        }
    }

    proptest! {
        #[test]
        fn a_proof_with_one_byte_changed_is_rejected(at in 0..PROOF.len(), byte in "[ -~]") {
            let mut changed = PROOF.to_owned();
            changed.replace_range(at..=at, &byte);
            prop_assume!(changed != PROOF);
            prop_assert!(check_at(1_562_262_618, "GET", "/protectedresource", &changed).is_err());
        }

        #[test]
        fn arbitrary_text_is_rejected_as_a_proof(text in "\\PC{0,200}") {
            prop_assert!(check_at(0, "GET", "/", &text).is_err());
        }
    }
}
