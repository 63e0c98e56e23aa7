//! Userinfo requests (OpenID Connect Core §5.3).

use std::sync::Arc;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{HeaderValue, Request, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::api_request::ApiRequestError;
use super::dpop::{CredentialsError, RejectedProof};
use super::error::FlowError;
use super::identity::{Identity, IdentityError};
use super::settings::Flow;
use crate::issuer::{BackChannelError, FetchBudget, Unavailable};
use crate::protocol::endpoint::ServerEndpoint;
use crate::protocol::json::parse_object;
use crate::protocol::limits::MAX_RECEIVED_TOKEN;
use crate::protocol::media_type::has_media_type;
use crate::protocol::sanitize::{listed, log_safe};
use crate::record::{Email, SessionTokens};
use crate::token::expected_issuer::ExpectedIssuer;
use crate::token::id_token::is_id_token_type;
use crate::token::jws::{MediaTypes, Rules};
use crate::token::{Explanation, VerifyError, VerifyErrorKind};

/// Why a userinfo request failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserInfoError {
    /// The metadata of the authorization server has no userinfo endpoint.
    #[error("the authorization server has no userinfo endpoint")]
    NoUserInfo,
    /// The userinfo endpoint rejected the access token.
    #[error("the userinfo endpoint rejected the access token")]
    AccessTokenRejected,
    /// The access token has characters that `Authorization` cannot carry (RFC 6750 §2.1), so no request was sent.
    #[error("the access token cannot be sent: it is not a b64token (RFC 6750 §2.1)")]
    UnusableAccessToken,
    /// The userinfo endpoint rejected the DPoP proof of the request ([RFC 9449 §7.1]): the clock of this machine may be
    /// wrong.
    ///
    /// [RFC 9449 §7.1]: https://www.rfc-editor.org/rfc/rfc9449#section-7.1
    #[error(
        "the userinfo endpoint rejected the DPoP proof; check that the clock of this machine is right"
    )]
    ProofRejected,
    /// The userinfo endpoint required a DPoP nonce, and then rejected the one that it had sent, or sent none that can be
    /// used ([RFC 9449 §9]).
    ///
    /// [RFC 9449 §9]: https://www.rfc-editor.org/rfc/rfc9449#section-9
    #[error("the userinfo endpoint requires a DPoP nonce and {0}")]
    NonceRejected(&'static str),
    /// No DPoP proof could be created, for lack of randomness.
    #[error(transparent)]
    NoProof(FlowError),
    /// The userinfo response cannot be used.
    #[error("the userinfo response cannot be used: {0}")]
    Invalid(&'static str),
    /// The signature, issuer or audience of the signed userinfo response is invalid.
    #[error("the signed userinfo response is invalid")]
    Unverified(#[source] VerifyError),
    /// The userinfo response belongs to another subject (OpenID Connect Core §5.3.2).
    #[error("the userinfo response belongs to another subject")]
    OtherSubject,
    /// The [`IdentitySource`](crate::login::IdentitySource) of the provider failed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The metadata or the keys of the authorization server are not available.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The userinfo endpoint did not respond.
    #[error(transparent)]
    BackChannel(#[from] BackChannelError),
}

impl From<ApiRequestError> for UserInfoError {
    fn from(error: ApiRequestError) -> Self {
        match error {
            ApiRequestError::Credentials(CredentialsError::Unusable) => Self::UnusableAccessToken,
            ApiRequestError::Credentials(CredentialsError::NoProof(error)) => Self::NoProof(error),
            ApiRequestError::Proof(RejectedProof::NewNonce) => {
                Self::NonceRejected("rejected the one that it had sent")
            }
            ApiRequestError::Proof(RejectedProof::NoNonce) => {
                Self::NonceRejected("sent no valid `DPoP-Nonce`")
            }
            ApiRequestError::Proof(RejectedProof::Invalid) => Self::ProofRejected,
            ApiRequestError::BackChannel(error) => Self::BackChannel(error),
        }
    }
}

impl From<VerifyError> for UserInfoError {
    fn from(error: VerifyError) -> Self {
        match error.unavailable() {
            Some(unavailable) => Self::Unavailable(unavailable.clone()),
            None => Self::Unverified(error),
        }
    }
}

/// The claims of the user that [`Session::userinfo`](crate::Session::userinfo) returns.
#[derive(Clone, PartialEq)]
pub struct UserInfo {
    members: Map<String, Value>,
    subject: String,
}

impl UserInfo {
    /// Returns `sub`, which equals the subject of the session.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns a claim by name, or `None` if it is absent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// Returns the e-mail address, and whether the authorization server has verified it.
    pub fn email(&self) -> Option<Email> {
        Email::read(|name| self.get(name).cloned())
    }

    /// Deserializes all claims into a type of the application.
    ///
    /// # Errors
    ///
    /// Returns the error of `serde_json` if the claims do not match the type.
    pub fn deserialize<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        T::deserialize(&self.members)
    }

    /// Returns the claims of an identity, which must be that of `subject`.
    fn of(identity: &Identity, subject: &str) -> Result<Self, UserInfoError> {
        if identity.subject() != subject {
            return Err(UserInfoError::OtherSubject);
        }
        let mut members = identity.claims().clone();
        members.insert("sub".to_owned(), subject.into());
        Ok(Self {
            members,
            subject: subject.to_owned(),
        })
    }

    /// Parses a response, which must be about `subject`.
    fn read(text: &[u8], subject: &str) -> Result<Self, UserInfoError> {
        const NO_OBJECT: UserInfoError = UserInfoError::Invalid("it is not a strict JSON object");
        // Strict parsing rejects duplicate members, so that the checked `sub` is the one that is used.
        let object = parse_object(text).map_err(|_| NO_OBJECT)?;
        // OpenID Connect Core §5.3.2: a response about another subject must not be used.
        match object.member("sub").map(|sub| sub.as_str()) {
            Some(Some(sub)) if sub == subject => {}
            Some(Some(_)) => return Err(UserInfoError::OtherSubject),
            _ => return Err(UserInfoError::Invalid("it has no `sub`")),
        }
        let members = serde_json::from_slice(text).map_err(|_| NO_OBJECT)?;
        Ok(Self {
            members,
            subject: subject.to_owned(),
        })
    }
}

/// Shows the subject only.
impl std::fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserInfo")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl Flow {
    /// Sends a userinfo request with the access token and returns the response if it is about `subject`. Repeats the
    /// request once if the endpoint requires a DPoP nonce.
    pub(crate) async fn userinfo(
        &self,
        tokens: &SessionTokens,
        subject: &str,
    ) -> Result<UserInfo, UserInfoError> {
        if let Some(source) = &self.identity {
            let identity = self.identify(source, tokens).await?;
            return UserInfo::of(&identity, subject);
        }
        let metadata = self.server.metadata().await?;
        let endpoint = metadata
            .endpoint(ServerEndpoint::UserInfo, self.client.has_certificate())
            .ok_or(UserInfoError::NoUserInfo)?;
        // OpenID Connect Core §5.3.1.
        let request = Request::get(endpoint)
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .body(Bytes::new());
        let request = request.map_err(|_| UserInfoError::NoUserInfo)?;
        let (token, key) = (&tokens.access_token, tokens.proof_key.as_ref());
        let response = self.send_with_token(&request, token, key).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(UserInfoError::AccessTokenRejected),
            _ => return Err(UserInfoError::Invalid("its status is not 200")),
        }
        // OpenID Connect Core §5.3.2: the content type determines the format.
        let headers = response.headers();
        if has_media_type(headers, "application/json") {
            return UserInfo::read(response.body(), subject);
        }
        if !has_media_type(headers, "application/jwt") {
            return Err(UserInfoError::Invalid(
                "its content type is neither application/json nor application/jwt",
            ));
        }
        let token = std::str::from_utf8(response.body()).unwrap_or_default();
        let claims = self.verify_signed_userinfo(token.trim_ascii()).await?;
        UserInfo::read(claims.as_bytes(), subject)
    }

    /// Verifies a signed response for this client and returns its JSON text.
    ///
    /// OpenID Connect Core §5.3.2: the response must have `iss` and `aud`. `exp` is not required, since the response was
    /// just requested.
    async fn verify_signed_userinfo(&self, response: &str) -> Result<Arc<str>, VerifyError> {
        let rules = Rules {
            max_length: MAX_RECEIVED_TOKEN,
            algorithms: Vec::new(),
            media_types: MediaTypes::Checked(is_id_token_type),
            leeway: 0,
            requires_expiry: false,
            accepts_repeats: false,
            issuer: ExpectedIssuer::Exact,
            fetch_budget: FetchBudget::BackChannel,
        };
        let signed = self
            .id_tokens()
            .verify_with_permitted(&self.server, response, rules, |_| true)
            .await?;
        if signed.registered.has_audience(self.client.id()) {
            return Ok(signed.payload);
        }
        let found = listed(signed.registered.audience.iter().map(|one| &**one));
        let explanation = Explanation::new(
            format!("aud {found}"),
            log_safe(self.client.id()),
            "the client id of the Client",
        );
        Err(VerifyError::explained(
            VerifyErrorKind::Audience,
            explanation,
        ))
    }
}
