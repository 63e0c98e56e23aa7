//! DPoP proofs at the token endpoint and at the userinfo endpoint (RFC 9449 §5, §7, §8, §9).

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Request, Response, StatusCode};

use super::super::respond::{empty, oauth_error, with_header};
use super::super::server::{ServerState, TestServer};
use crate::crypto::base64url;
use crate::protocol::dpop::{NONCE_FIELD, PROOF_FIELD};
use crate::token::{CheckedProof, Dpop, DpopNonceKey, VerifyErrorKind};

/// The keys of the nonces that proofs must have. Both endpoints have keys of their own, so that a nonce of one is not
/// accepted by the other.
#[derive(Debug)]
pub(in crate::testing) struct NonceKeys {
    token: DpopNonceKey,
    user_info: DpopNonceKey,
}

/// A request whose proof is valid, or that has none.
#[derive(Debug, Default)]
pub(super) struct Proven {
    /// The thumbprint of the key, if there is a proof.
    pub(super) thumbprint: Option<String>,
    /// The next nonce, if that of the proof expires soon.
    nonce: Option<HeaderValue>,
}

impl Proven {
    fn new(proof: CheckedProof) -> Self {
        Self {
            thumbprint: Some(base64url::encode(&proof.thumbprint)),
            nonce: proof.nonce,
        }
    }

    /// Adds the next nonce to a response (RFC 9449 §8.2).
    pub(super) fn with_nonce(self, response: Response<Bytes>) -> Response<Bytes> {
        with_nonce(response, self.nonce)
    }
}

/// Checks the proof of a token request, if it has one.
pub(super) fn of_token_request(
    server: &TestServer,
    state: &mut ServerState,
    request: &Request<Bytes>,
) -> Result<Proven, Box<Response<Bytes>>> {
    if !request.headers().contains_key(PROOF_FIELD) {
        return Ok(Proven::default());
    }
    let nonces = server.shared.nonces.get().map(|keys| &keys.token);
    check(server, state, request, None, nonces)
        .map(Proven::new)
        .map_err(|(kind, nonce)| {
            let description = format!("the DPoP proof is not accepted: {kind}");
            let response = oauth_error(StatusCode::BAD_REQUEST, code_of(kind), &description);
            Box::new(with_nonce(response, nonce))
        })
}

/// Checks the proof of a userinfo request with this access token.
pub(super) fn of_user_info(
    server: &TestServer,
    state: &mut ServerState,
    request: &Request<Bytes>,
    token: &str,
) -> Result<Proven, Box<Response<Bytes>>> {
    let nonces = server.shared.nonces.get().map(|keys| &keys.user_info);
    check(server, state, request, Some(token), nonces)
        .map(Proven::new)
        .map_err(|(kind, nonce)| {
            let challenge = format!("DPoP error=\"{}\"", code_of(kind));
            let response = with_header(
                empty(StatusCode::UNAUTHORIZED),
                WWW_AUTHENTICATE,
                &challenge,
            );
            Box::new(with_nonce(response, nonce))
        })
}

type RejectedCheck = (VerifyErrorKind, Option<HeaderValue>);

fn check(
    server: &TestServer,
    state: &mut ServerState,
    request: &Request<Bytes>,
    token: Option<&str>,
    nonces: Option<&DpopNonceKey>,
) -> Result<CheckedProof, RejectedCheck> {
    let Ok(dpop) = Dpop::new(&server.origin()) else {
        panic!("DPoP requires an https issuer, or http on loopback")
    };
    let dpop = dpop.with_clock(server.clock());
    let dpop = match nonces {
        Some(key) => dpop.with_nonces(key.clone()),
        None => dpop,
    };
    let (head, _) = request.clone().into_parts();
    let proof = dpop
        .check_proof(&head, token)
        .map_err(|kind| (kind, dpop.nonce_for(kind)))?;
    // RFC 9449 §11.1: a proof is used once.
    match state.proofs.insert(proof.replay_key.clone()) {
        true => Ok(proof),
        false => Err((
            VerifyErrorKind::DpopProof(crate::token::ProofError::Replayed),
            None,
        )),
    }
}

fn code_of(kind: VerifyErrorKind) -> &'static str {
    match kind {
        VerifyErrorKind::DpopNonce => "use_dpop_nonce",
        _ => "invalid_dpop_proof",
    }
}

fn with_nonce(mut response: Response<Bytes>, nonce: Option<HeaderValue>) -> Response<Bytes> {
    if let Some(nonce) = nonce {
        response.headers_mut().insert(NONCE_FIELD, nonce);
    }
    response
}

impl TestServer {
    /// Requires a nonce of the server in DPoP proofs (RFC 9449 §8): the token endpoint and the userinfo endpoint have
    /// nonces of their own. Both change every two minutes of the server's clock; the previous nonce is accepted, and the
    /// response to it has the next one.
    ///
    /// # Panics
    ///
    /// If the operating system's random number generator fails.
    #[must_use]
    pub fn with_dpop_nonces(self) -> Self {
        let (Ok(token), Ok(user_info)) = (DpopNonceKey::generate(), DpopNonceKey::generate())
        else {
            panic!("the operating system's random number generator failed")
        };
        let _is_set = self.shared.nonces.set(NonceKeys { token, user_info });
        self
    }
}
