//! Requests to resource servers with the access token of a user.

use bytes::Bytes;
use http::{Request, Response};

use super::dpop::{CredentialsError, RejectedProof};
use super::settings::Flow;
use crate::crypto::ProofKey;
use crate::issuer::BackChannelError;
use crate::protocol::AccessToken;

/// Why a request with an access token has no response that says anything about the token.
#[derive(Clone, Debug)]
pub(super) enum ApiRequestError {
    /// Nothing was sent.
    Credentials(CredentialsError),
    /// The server rejected the proof.
    Proof(RejectedProof),
    BackChannel(BackChannelError),
}

impl Flow {
    /// Sends a request with an access token in `Authorization` only (RFC 6750 §2.1), and with a proof if the token is bound
    /// to this key (RFC 9449 §7.1). Repeats it once if the server requires a DPoP nonce.
    pub(super) async fn send_with_token(
        &self,
        request: &Request<Bytes>,
        token: &AccessToken,
        key: Option<&ProofKey>,
    ) -> Result<Response<Bytes>, ApiRequestError> {
        let send = async || {
            let mut request = request.clone();
            let uri = request.uri().clone();
            let credentials = self.credentials(token, key, request.method(), &uri);
            let credentials = credentials.map_err(ApiRequestError::Credentials)?;
            credentials.apply(request.headers_mut());
            let response = self.server.send(request).await;
            let response = response.map_err(ApiRequestError::BackChannel)?;
            let (status, headers) = (response.status(), response.headers());
            let rejected = key.and_then(|_| self.note_resource_response(&uri, status, headers));
            Ok((response, rejected))
        };
        let (response, rejected) = match send().await? {
            (_, Some(RejectedProof::NewNonce)) => send().await?,
            first => first,
        };
        match rejected {
            Some(rejected) => Err(ApiRequestError::Proof(rejected)),
            None => Ok(response),
        }
    }
}
