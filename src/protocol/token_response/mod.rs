//! The token response (RFC 6749 §5): tokens or an error.

#[cfg(test)]
mod tests;

use super::authorization_details::{AuthorizationDetails, MEMBER as AUTHORIZATION_DETAILS};
use super::credentials::Scheme;
use super::json::{Json, Object, parse_object};
use super::limits::MAX_RECEIVED_TOKEN;
use super::oauth_error::OAuthErrorCode;
use super::sanitize::is_printable_ascii;
use super::scope::ScopeSet;
use super::secret::{AccessToken, IdToken, RefreshToken};

/// Maximum length of a token that is sent in requests. No server accepts a header field with a longer one.
const MAX_TOKEN: usize = 64 * 1024;

/// Ten years, in seconds. Longer lifetimes are reduced to it.
const MAX_LIFETIME: u64 = 10 * 366 * 24 * 60 * 60;

/// A successful token response (RFC 6749 §5.1).
///
/// A malformed optional member is not used and is listed in `ignored`: it must not cost the other tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenResponse<T = AccessToken> {
    pub(crate) access_token: T,
    /// The lifetime of the access token.
    pub(crate) expires_in: Lifetime,
    /// The granted scopes. `None` means the requested scopes (RFC 6749 §5.1), or at a refresh the previous ones (§6).
    pub(crate) scope: Option<ScopeSet>,
    pub(crate) refresh_token: Option<RefreshToken>,
    /// Lifetime in seconds from the time of the response; `None` if it is unknown or unlimited.
    pub(crate) refresh_expires_in: Option<u64>,
    pub(crate) id_token: Option<IdToken>,
    /// What was granted (RFC 9396 §7). `None` if the response does not say.
    pub(crate) authorization_details: Option<AuthorizationDetails>,
    /// The names of the malformed members that are not used.
    pub(crate) ignored: Vec<&'static str>,
}

/// The lifetime of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// In seconds from the time of the response.
    Seconds(u64),
    Absent,
    /// The response has one that cannot be read, so the token may expire soon.
    Malformed,
}

/// A response of the token endpoint without usable tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenResponseError {
    #[error("the token endpoint returned error {code}")]
    Refused {
        code: OAuthErrorCode,
        description: Option<String>,
    },
    #[error("the token endpoint returned status {0} without an error code")]
    Status(u16),
    #[error("the token response is not a strict JSON object")]
    NotJson,
    #[error("{0} of the token response is missing or malformed")]
    Member(&'static str),
    #[error("the token type is not {}", .0.as_str())]
    TokenType(Scheme),
}

impl TokenResponse {
    /// Parses the response to the token request of a login, whose token must be of this type.
    ///
    /// Does not check the content type: some servers label JSON as text, and a body that is not a JSON object is
    /// rejected.
    pub(crate) fn parse(
        status: u16,
        body: &[u8],
        scheme: Scheme,
    ) -> Result<Self, TokenResponseError> {
        let object = successful(status, body)?;
        let mut tokens = TokenResponse::read(&object, body);
        // RFC 6749 §7.1: a client must not use a token whose type it does not understand. RFC 9449 §5: nor one of
        // another type than the one it asked for.
        if !has_type(&object, scheme)? {
            return Err(TokenResponseError::TokenType(scheme));
        }
        if tokens.ignored.contains(&"id_token") {
            return Err(TokenResponseError::Member("id_token"));
        }
        // What was granted is unknown, so nothing may be derived from it.
        if tokens.ignored.contains(&"scope") {
            tokens.scope = Some(ScopeSet::default());
        }
        let access_token = tokens.access_token.take();
        let access_token = access_token.ok_or(TokenResponseError::Member("access_token"))?;
        Ok(tokens.with_access_token(access_token))
    }
}

impl TokenResponse<Option<AccessToken>> {
    /// Parses the response to a refresh request.
    ///
    /// The refresh token may be rotated, so the new one is returned even if the access token is missing or malformed,
    /// or its type is missing. A response with another token type gives nothing: it is not for this session (RFC 9449
    /// §5).
    pub(crate) fn parse_refresh(
        status: u16,
        body: &[u8],
        scheme: Scheme,
    ) -> Result<Self, TokenResponseError> {
        let object = successful(status, body)?;
        let mut tokens = Self::read(&object, body);
        if !has_type(&object, scheme)? {
            tokens.access_token = None;
            tokens.ignored.push("token_type");
        }
        if tokens.access_token.is_none() && tokens.refresh_token.is_none() {
            return Err(TokenResponseError::Member("access_token"));
        }
        Ok(tokens)
    }

    fn read(object: &Object<'_>, body: &[u8]) -> Self {
        let mut ignored = Vec::new();
        let mut token = |name, limit| {
            let value = object.value(name)?;
            let token = value.as_str().filter(|one| is_token(one, limit));
            if token.is_none() {
                ignored.push(name);
            }
            token
        };
        let access_token = token("access_token", MAX_TOKEN).map(AccessToken::new);
        let refresh_token = token("refresh_token", MAX_TOKEN).map(RefreshToken::new);
        let id_token = token("id_token", MAX_RECEIVED_TOKEN).map(IdToken::new);
        let expires_in = match object.value("expires_in") {
            None => Lifetime::Absent,
            Some(value) => lifetime(value).map_or(Lifetime::Malformed, Lifetime::Seconds),
        };
        if expires_in == Lifetime::Malformed {
            ignored.push("expires_in");
        }
        let scope = object.value("scope").and_then(|value| {
            let scope = scope(value);
            if scope.is_none() {
                ignored.push("scope");
            }
            scope
        });
        let mut authorization_details = None;
        if object.value(AUTHORIZATION_DETAILS).is_some() {
            authorization_details = AuthorizationDetails::of_document(body).unwrap_or_else(|_| {
                ignored.push(AUTHORIZATION_DETAILS);
                Some(AuthorizationDetails::default())
            });
        }
        Self {
            access_token,
            expires_in,
            scope,
            refresh_token,
            refresh_expires_in: refresh_expires_in(object),
            id_token,
            authorization_details,
            ignored,
        }
    }

    fn with_access_token(self, access_token: AccessToken) -> TokenResponse {
        TokenResponse {
            access_token,
            expires_in: self.expires_in,
            scope: self.scope,
            refresh_token: self.refresh_token,
            refresh_expires_in: self.refresh_expires_in,
            id_token: self.id_token,
            authorization_details: self.authorization_details,
            ignored: self.ignored,
        }
    }
}

/// Returns the body of a successful response.
fn successful(status: u16, body: &[u8]) -> Result<Object<'_>, TokenResponseError> {
    let object = parse_object(body);
    // RFC 6749 §5.2. Checked for any status, since some servers return errors with status 200.
    if let Ok(object) = &object
        && let Some(error) = object.value("error")
    {
        return Err(TokenResponseError::Refused {
            code: OAuthErrorCode::from_wire(error.as_str().unwrap_or_default()),
            description: object
                .member("error_description")
                .and_then(Json::as_str)
                .map(str::to_owned),
        });
    }
    if status != 200 {
        return Err(TokenResponseError::Status(status));
    }
    object.map_err(|_| TokenResponseError::NotJson)
}

/// Returns whether `token_type` is that of the scheme, or `false` if it is absent. Any other type is an error.
fn has_type(object: &Object<'_>, scheme: Scheme) -> Result<bool, TokenResponseError> {
    let other = TokenResponseError::TokenType(scheme);
    match object.text("token_type") {
        Ok(None) => Ok(false),
        Ok(Some(name)) if name.eq_ignore_ascii_case(scheme.as_str()) => Ok(true),
        Ok(Some(_)) | Err(_) => Err(other),
    }
}

/// Returns whether a text can be a token: `VSCHAR` characters, which include the space (RFC 6749 §A.12, §A.17).
fn is_token(text: &str, limit: usize) -> bool {
    !text.is_empty() && text.len() <= limit && is_printable_ascii(text)
}

/// Reads a lifetime in seconds (RFC 6749 §5.1), which some servers send as a string. Returns `None` if it is malformed.
fn lifetime(value: &Json<'_>) -> Option<u64> {
    let seconds = match value {
        Json::Number(number) => *number,
        Json::String(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok()?
        }
        _ => return None,
    };
    if seconds < 0.0 {
        return None;
    }
    // Float casts saturate, so a large value does not wrap around.
    #[allow(clippy::as_conversions)]
    Some((seconds as u64).min(MAX_LIFETIME))
}

/// Reads the lifetime of the refresh token. Not specified: Keycloak sends `refresh_expires_in`, other servers
/// `refresh_token_expires_in`. An invalid value is ignored, since it is only a hint. Zero means unlimited
/// (Keycloak).
fn refresh_expires_in(object: &Object<'_>) -> Option<u64> {
    ["refresh_expires_in", "refresh_token_expires_in"]
        .into_iter()
        .find_map(|name| object.value(name).and_then(lifetime))
        .filter(|seconds| *seconds > 0)
}

/// Reads `scope` (RFC 6749 §3.3), which some servers send as an array. Returns `None` if it is malformed.
fn scope(value: &Json<'_>) -> Option<ScopeSet> {
    if let Some(list) = value.as_str() {
        return Some(ScopeSet::from_wire(list));
    }
    let values = value.as_texts()?;
    // A value with a space would be split into two when it is parsed again.
    let is_split = values.iter().any(|one| one.contains(' '));
    (!is_split).then(|| ScopeSet::from_values(values))
}
