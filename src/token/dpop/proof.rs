//! One proof, read and checked: everything that needs neither memory nor the token's binding
//! (RFC 9449 §4.3).

use subtle::ConstantTimeEq as _;

use super::target::Target;
use crate::crypto::{Algorithm, EmbeddedKey, Jws, JwsError, base64url, digest};
use crate::protocol::AmbiguousPath;
use crate::protocol::claims::seconds;
use crate::protocol::json::{Json, Object, parse_object};

/// A proof with the largest key that is taken has 5 KiB.
const MAX_PROOF_LENGTH: usize = 8 * 1024;

/// Whatever is longer is no identifier (`D18`).
const MAX_JWT_ID_LENGTH: usize = 256;

/// Why a proof of possession was not accepted: for the log, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// There is no `DPoP` field.
    #[error("there is none")]
    Missing,
    /// There are several `DPoP` fields, or several proofs in one.
    #[error("there is more than one")]
    Repeated,
    /// Not a JWS in compact serialization with strict JSON, or longer than a proof may be.
    #[error("it is malformed")]
    Malformed,
    /// `typ` is not `dpop+jwt`.
    #[error("it is a JWT of another type")]
    Type,
    /// `alg` is missing, unknown or not allowed here.
    #[error("its algorithm is not allowed")]
    Algorithm,
    /// `jwk` is missing, private, or no key for the algorithm.
    #[error("its key is not one that may be used")]
    Key,
    /// The signature is not one of the key in the header.
    #[error("its signature is wrong")]
    Signature,
    /// A claim is missing or has the wrong type.
    #[error("a claim is missing or of the wrong type")]
    Claims,
    /// `htm` is another method.
    #[error("it is for another method")]
    Method,
    /// `htu` is another URL. Where no proof fits, look at the base URL that was configured.
    #[error("it is for another URL")]
    Target,
    /// The target of the request has a dot segment, a backslash or a control character: the service may
    /// read it as another path than the one that `htu` names.
    #[error("the path of the request can be read as another one: {0}")]
    AmbiguousTarget(AmbiguousPath),
    /// `iat` is too long ago or in the future.
    #[error("its time is not within the window")]
    Time,
    /// `ath` is not the digest of this access token.
    #[error("it is for another access token")]
    Token,
    /// The proof was shown before.
    #[error("it was shown before")]
    Replayed,
}

/// What a proof has to fit.
pub(super) struct Expected<'a> {
    pub(super) algorithms: &'a [Algorithm],
    pub(super) method: &'a str,
    /// The request's URL by each name that the server has.
    pub(super) targets: &'a [Target],
    pub(super) token: &'a str,
    pub(super) now: i64,
    pub(super) max_age: i64,
    pub(super) leeway: i64,
}

/// A proof for the request and the token at hand. Whose it is, whether its nonce is one of ours and
/// whether it was shown before is not known yet.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) thumbprint: [u8; 32],
    pub(super) jwt_id: Box<str>,
    pub(super) nonce: Option<Box<str>>,
}

/// Checks in the order of their cost; the signature before all that it vouches for.
pub(super) fn check<'a>(
    compact: &str,
    expected: &Expected<'a>,
) -> Result<(Proof, &'a Target), ProofError> {
    if compact.len() > MAX_PROOF_LENGTH {
        return Err(ProofError::Malformed);
    }
    // A list of two would be read by somebody else as one of them (`D1`).
    if compact.contains(',') {
        return Err(ProofError::Repeated);
    }
    // RFC 9449 §4.3 (2): one JWT in compact serialization (`D2`).
    let (jws, key) = Jws::read_with(compact, |header, algorithm| {
        Ok(read_key(header, algorithm, expected.algorithms))
    })
    .map_err(|error| match error {
        JwsError::Malformed | JwsError::Extension => ProofError::Malformed,
        JwsError::Algorithm => ProofError::Algorithm,
    })?;
    // RFC 9449 §4.3 (4), §11.5: exactly this text, so that no other JWT of the same key is a proof (`D4`).
    if jws.media_type() != Some("dpop+jwt") {
        return Err(ProofError::Type);
    }
    let key = key?;
    // RFC 9449 §4.3 (6): whoever sent the key holds its private half (`D6`).
    let prepared = key.prepare(jws.algorithm()).ok_or(ProofError::Key)?;
    if !jws.verify(&prepared) {
        return Err(ProofError::Signature);
    }
    let claims = parse_object(jws.payload()).map_err(|_| ProofError::Malformed)?;
    let named = Named::read(&claims, expected)?;
    let proof = Proof {
        thumbprint: key.thumbprint(),
        jwt_id: named.jwt_id.into(),
        nonce: named.nonce.map(Box::from),
    };
    Ok((proof, named.target))
}

fn read_key(
    header: &Object<'_>,
    algorithm: Algorithm,
    allowed: &[Algorithm],
) -> Result<EmbeddedKey, ProofError> {
    // RFC 9449 §4.3 (5), §11.6 (`D5`).
    if !allowed.contains(&algorithm) {
        return Err(ProofError::Algorithm);
    }
    // RFC 9449 §4.3 (7): a public key and nothing of its private half (`D7`).
    let jwk = header.member("jwk").and_then(Json::as_object);
    EmbeddedKey::read(jwk.ok_or(ProofError::Key)?, algorithm).map_err(|_| ProofError::Key)
}

/// What is left of the claims when all that can be compared was.
struct Named<'c, 'a> {
    jwt_id: &'c str,
    nonce: Option<&'c str>,
    target: &'a Target,
}

impl<'c, 'a> Named<'c, 'a> {
    fn read(claims: &'c Object<'_>, expected: &Expected<'a>) -> Result<Self, ProofError> {
        let text = |name| claims.string(name).map_err(|_| ProofError::Claims);
        let time = |name| seconds(claims.member(name), f64::floor).map_err(|_| ProofError::Claims);
        // RFC 9449 §4.3 (3): all of them, and each of its type (`D3`).
        let (Some(jwt_id), Some(method), Some(url), Some(issued_at), Some(token)) = (
            text("jti")?,
            text("htm")?,
            text("htu")?,
            time("iat")?,
            text("ath")?,
        ) else {
            return Err(ProofError::Claims);
        };
        let nonce = text("nonce")?;
        if jwt_id.is_empty() || jwt_id.len() > MAX_JWT_ID_LENGTH {
            return Err(ProofError::Claims);
        }
        // RFC 9449 §4.3 (8): methods are case-sensitive (`D8`).
        if method != expected.method {
            return Err(ProofError::Method);
        }
        // RFC 9449 §4.3 (9) (`D9`).
        let mut targets = expected.targets.iter();
        let target = targets
            .find(|one| one.is_named_by(url))
            .ok_or(ProofError::Target)?;
        // RFC 9449 §4.3 (11): made a moment ago (`D11`).
        let age = expected.now.saturating_sub(issued_at);
        if age > expected.max_age || age < -expected.leeway {
            return Err(ProofError::Time);
        }
        // RFC 7519 §4.1.4, §4.1.5: nobody has to say more about time; where it is said, it holds.
        let ends =
            time("exp")?.is_some_and(|end| expected.now >= end.saturating_add(expected.leeway));
        let begins =
            time("nbf")?.is_some_and(|begin| begin > expected.now.saturating_add(expected.leeway));
        if ends || begins {
            return Err(ProofError::Time);
        }
        // RFC 9449 §4.3 (12a): for the token beside it and no other (`D12`).
        let digest = base64url::encode(&digest::sha256(expected.token.as_bytes()));
        if !bool::from(digest.as_bytes().ct_eq(token.as_bytes())) {
            return Err(ProofError::Token);
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
    use crate::token::dpop::target::Base;

    /// RFC 9449 §7.1, the request of figure 12 (the wrapped lines joined).
    const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
    const PROOF: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";

    fn check_at(now: i64, method: &str, path: &str, proof: &str) -> Result<Proof, ProofError> {
        let target = Base::new("https://resource.example.org")
            .unwrap()
            .target(path)
            .unwrap();
        let expected = Expected {
            algorithms: &[Algorithm::Es256],
            method,
            targets: &[target],
            token: TOKEN,
            now,
            max_age: 60,
            leeway: 10,
        };
        check(proof, &expected).map(|(proof, _)| proof)
    }

    #[test]
    fn the_proof_of_the_specification_is_good_for_its_request_and_minute() {
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
        fn a_proof_with_anything_changed_is_none(at in 0..PROOF.len(), byte in "[ -~]") {
            let mut changed = PROOF.to_owned();
            changed.replace_range(at..=at, &byte);
            prop_assume!(changed != PROOF);
            prop_assert!(check_at(1_562_262_618, "GET", "/protectedresource", &changed).is_err());
        }

        #[test]
        fn any_text_is_a_proof_or_none(text in "\\PC{0,200}") {
            prop_assert!(check_at(0, "GET", "/", &text).is_err());
        }
    }
}
