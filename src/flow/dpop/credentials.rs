//! The header fields that authenticate a request to a resource server (RFC 6750 §2.1, RFC 9449 §7.1).

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Uri};

use crate::crypto::ProofKey;
use crate::flow::error::FlowError;
use crate::flow::settings::Flow;
use crate::flow::token_endpoint::scheme_for;
use crate::protocol::AccessToken;
use crate::protocol::credentials::is_token68;
use crate::protocol::dpop::PROOF_FIELD;

/// The `Authorization` field of a request, and its proof if the access token is bound to a key.
#[derive(Debug)]
pub(crate) struct ApiCredentials {
    authorization: HeaderValue,
    proof: Option<HeaderValue>,
}

/// Why an access token cannot be sent.
#[derive(Clone, Debug)]
pub(crate) enum CredentialsError {
    /// The token is not a b64token (RFC 6750 §2.1). A server may issue any printable token (RFC 6749 §A.12).
    Unusable,
    /// The proof could not be signed.
    NoProof(FlowError),
}

impl Flow {
    /// Returns the credentials of one request. A repeated request needs new ones (RFC 9449 §4.2).
    pub(crate) fn credentials(
        &self,
        token: &AccessToken,
        key: Option<&ProofKey>,
        method: &Method,
        uri: &Uri,
    ) -> Result<ApiCredentials, CredentialsError> {
        if !is_token68(token.expose().as_bytes()) {
            return Err(CredentialsError::Unusable);
        }
        let text = format!("{} {}", scheme_for(key).as_str(), token.expose());
        let mut authorization =
            HeaderValue::try_from(text).map_err(|_| CredentialsError::Unusable)?;
        authorization.set_sensitive(true);
        let proof = key.map(|key| self.resource_proof(key, method, uri, token));
        let proof = proof.transpose().map_err(CredentialsError::NoProof)?;
        Ok(ApiCredentials {
            authorization,
            proof,
        })
    }
}

impl ApiCredentials {
    /// Sets the fields, in place of those that the request has.
    pub(crate) fn apply(self, headers: &mut HeaderMap) {
        headers.insert(AUTHORIZATION, self.authorization);
        match self.proof {
            Some(proof) => headers.insert(PROOF_FIELD, proof),
            None => headers.remove(PROOF_FIELD),
        };
    }
}
