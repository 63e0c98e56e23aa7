//! Signed userinfo responses (OpenID Connect Core §5.3.2).

use super::error::{VerifyError, VerifyErrorKind};
use super::id_token::{LEEWAY, is_id_token_type};
use super::jws::{self, Rules};
use crate::crypto::DEFAULT_ALGORITHMS;
use crate::issuer::{AuthorizationServer, FetchBudget};

/// Verifies a signed userinfo response of this server for this client and returns its JSON text.
///
/// OpenID Connect Core §5.3.2: the response must have `iss` and `aud`. `exp` is not required, since the response was
/// just requested.
pub(crate) async fn verify(
    server: &AuthorizationServer,
    response: &str,
    client_id: &str,
) -> Result<String, VerifyError> {
    let rules = Rules {
        algorithms: DEFAULT_ALGORITHMS.to_vec(),
        media_type: is_id_token_type,
        leeway: LEEWAY,
        requires_expiry: false,
        fetch_budget: FetchBudget::BackChannel,
    };
    let signed = jws::verify(server, response, &rules).await?;
    if !signed
        .registered
        .audience
        .iter()
        .any(|one| **one == *client_id)
    {
        return Err(VerifyErrorKind::Audience.into());
    }
    Ok(String::from(&*signed.payload))
}
