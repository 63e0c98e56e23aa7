//! What the authorization server says of a person when it is asked, OpenID Connect Core §5.3.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::email::Email;
use super::session::{Session, SessionError};
use crate::protocol::AccessToken;
use crate::protocol::json::parse_object;
use crate::token::signed_userinfo;

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
    fn read(text: &[u8], subject: &str) -> Result<Self, SessionError> {
        const NO_OBJECT: SessionError =
            SessionError::InvalidUserInfo("it is no strict JSON object");
        // `H95`: one JSON object, no member twice.
        let object = parse_object(text).map_err(|_| NO_OBJECT)?;
        // OpenID Connect Core §5.3.2 (`H94`): of this person, or all of it is worth nothing.
        match object.member("sub").map(|sub| sub.as_str()) {
            Some(Some(sub)) if sub == subject => {}
            Some(Some(_)) => return Err(SessionError::OtherSubject),
            _ => return Err(SessionError::InvalidUserInfo("it has no `sub`")),
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

impl Session {
    /// Asks the userinfo endpoint, once at each call: what is known of the person now, which may be
    /// more than the ID token said.
    ///
    /// # Errors
    ///
    /// [`SessionError`]; in particular where the answer speaks of somebody else, or where it is signed
    /// and its signature, issuer or audience is wrong. Encrypted answers are refused.
    pub async fn userinfo(&self) -> Result<UserInfo, SessionError> {
        let token = self.access_token().await?;
        let server = self.flow().server();
        let metadata = server.metadata().await?;
        let endpoint = metadata
            .userinfo_endpoint()
            .ok_or(SessionError::NoUserInfo)?;
        let answer = server.send(userinfo_request(endpoint, &token)?).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(SessionError::AccessTokenRefused),
            _ => return Err(SessionError::InvalidUserInfo("its status is not 200")),
        }
        // OpenID Connect Core §5.3.2: the content type decides.
        match media_type(&answer).as_str() {
            "application/json" => UserInfo::read(answer.body(), self.subject()),
            "application/jwt" => {
                let response = std::str::from_utf8(answer.body()).unwrap_or_default();
                let client_id = self.flow().client().id();
                let said = signed_userinfo::verify(server, response.trim_ascii(), client_id).await;
                UserInfo::read(said.map_err(SessionError::from)?.as_bytes(), self.subject())
            }
            _ => Err(SessionError::InvalidUserInfo(
                "its content type is not JSON",
            )),
        }
    }
}

/// OpenID Connect Core §5.3.1, RFC 6750 §2.1: GET, the token in the header and nowhere else.
fn userinfo_request(endpoint: &str, token: &AccessToken) -> Result<Request<Bytes>, SessionError> {
    let mut credentials = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
        .map_err(|_| SessionError::AccessTokenRefused)?;
    credentials.set_sensitive(true);
    Request::get(endpoint)
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .header(AUTHORIZATION, credentials)
        .body(Bytes::new())
        .map_err(|_| SessionError::NoUserInfo)
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
