//! What the authorization server says of a person when it is asked, OpenID Connect Core §5.3.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::email::Email;
use super::settings::Flow;
use crate::issuer::{BackChannelError, Unavailable};
use crate::protocol::AccessToken;
use crate::protocol::json::parse_object;
use crate::token::{VerifyError, signed_userinfo};

/// Why there is nothing to know from the userinfo endpoint.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserInfoError {
    /// The metadata of the authorization server names no userinfo endpoint.
    #[error("the authorization server has no userinfo endpoint")]
    NoUserInfo,
    /// The authorization server does not take the access token any more.
    #[error("the access token was refused")]
    AccessTokenRefused,
    /// The userinfo endpoint answered something that cannot be used.
    #[error("the userinfo response cannot be used: {0}")]
    Invalid(&'static str),
    /// The userinfo response is signed, and its signature, issuer or audience is wrong.
    #[error("the signed userinfo response cannot be verified")]
    Unverified(#[source] VerifyError),
    /// The userinfo response speaks of somebody else (OpenID Connect Core §5.3.2).
    #[error("the userinfo response is of another subject")]
    OtherSubject,
    /// What is needed to ask is not known at the moment.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The request brought no answer.
    #[error(transparent)]
    BackChannel(#[from] BackChannelError),
}

impl From<VerifyError> for UserInfoError {
    fn from(error: VerifyError) -> Self {
        match error.unavailable() {
            Some(unavailable) => Self::Unavailable(unavailable.clone()),
            None => Self::Unverified(error),
        }
    }
}

/// The answer of the userinfo endpoint, of the very person whose session asked.
#[derive(Clone, PartialEq)]
pub struct UserInfo {
    members: Map<String, Value>,
    subject: String,
}

impl UserInfo {
    /// `sub`: the same as the session's.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// A member by name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// The e-mail address, and whether the issuer vouches for it.
    pub fn email(&self) -> Option<Email> {
        Email::read(|name| self.get(name).cloned())
    }

    /// All members as a type of one's own.
    ///
    /// # Errors
    ///
    /// What `serde_json` says where the type does not fit.
    pub fn deserialize<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        T::deserialize(&self.members)
    }

    /// Reads what was said of this subject (`L29`).
    fn read(text: &[u8], subject: &str) -> Result<Self, UserInfoError> {
        const NO_OBJECT: UserInfoError = UserInfoError::Invalid("it is no strict JSON object");
        // `H95`: one JSON object, no member twice.
        let object = parse_object(text).map_err(|_| NO_OBJECT)?;
        // OpenID Connect Core §5.3.2 (`H94`): of this person, or all of it is worth nothing.
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

/// Names whose it is.
impl std::fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserInfo")
            .field("subject", &self.subject)
            .finish_non_exhaustive()
    }
}

impl Flow {
    /// Asks the userinfo endpoint with this token, for what it says of this subject.
    pub(crate) async fn userinfo(
        &self,
        token: &AccessToken,
        subject: &str,
    ) -> Result<UserInfo, UserInfoError> {
        let metadata = self.server.metadata().await?;
        let endpoint = metadata
            .userinfo_endpoint()
            .ok_or(UserInfoError::NoUserInfo)?;
        let answer = self.server.send(userinfo_request(endpoint, token)?).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(UserInfoError::AccessTokenRefused),
            _ => return Err(UserInfoError::Invalid("its status is not 200")),
        }
        // OpenID Connect Core §5.3.2: the content type decides.
        match media_type(&answer).as_str() {
            "application/json" => UserInfo::read(answer.body(), subject),
            "application/jwt" => {
                let response = std::str::from_utf8(answer.body()).unwrap_or_default();
                let client_id = self.client.id();
                let said = signed_userinfo::verify(&self.server, response.trim_ascii(), client_id);
                let said = said.await.map_err(UserInfoError::from)?;
                UserInfo::read(said.as_bytes(), subject)
            }
            _ => Err(UserInfoError::Invalid("its content type is not JSON")),
        }
    }
}

/// OpenID Connect Core §5.3.1, RFC 6750 §2.1: GET, the token in the header and nowhere else.
fn userinfo_request(endpoint: &str, token: &AccessToken) -> Result<Request<Bytes>, UserInfoError> {
    let mut credentials = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| UserInfoError::AccessTokenRefused)?;
    credentials.set_sensitive(true);
    Request::get(endpoint)
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .header(AUTHORIZATION, credentials)
        .body(Bytes::new())
        .map_err(|_| UserInfoError::NoUserInfo)
}

/// The content type without its parameters, in lower case.
fn media_type(answer: &Response<Bytes>) -> String {
    let value = answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}
