//! [`TokenSource`]: places beside `Authorization` where a token may be.

use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::{Extensions, HeaderMap, HeaderValue};

use crate::ConfigError;
use crate::protocol::cookie::{CookiePair, Match, pairs};
use crate::protocol::credentials::InvalidCredentials;
use crate::protocol::field_name::{is_token_character, normalize_header_name, remove_spellings};
use crate::protocol::sanitize::log_safe;

/// A place beside `Authorization` where an access token may be. Sources are disabled unless added with
/// [`BearerLayer::add_token_source`](crate::BearerLayer::add_token_source).
///
/// A request with tokens in two places is rejected with 400, even if they are equal
/// ([RFC 6750 §2](https://www.rfc-editor.org/rfc/rfc6750#section-2)). A token from a source is validated as a bearer
/// token, like one from the header. There is no source for query parameters, because URLs appear in logs and in the
/// history of browsers.
#[derive(Clone)]
pub struct TokenSource(Kind);

#[derive(Clone)]
enum Kind {
    Cookie(Arc<str>),
    Header(HeaderName),
    Custom(Arc<FindTokenFn>),
}

type FindTokenFn = dyn Fn(&HeaderMap, &Extensions) -> Option<HeaderValue> + Send + Sync;

impl TokenSource {
    /// Creates a source that reads a cookie.
    ///
    /// # Cross-site request forgery
    ///
    /// Browsers send cookies automatically, including with requests that pages of other sites cause. With this source
    /// **every state-changing route needs CSRF protection**: `SameSite=Strict` or `Lax` on the cookie, and a layer that
    /// checks `Sec-Fetch-Site` or `Origin`. The application that sets the cookie must make it `Secure` and `HttpOnly`,
    /// and should use a `__Host-` name. For users with a browser, [`LoginLayer`](crate::LoginLayer) does all of this.
    ///
    /// # Similar names
    ///
    /// Names are compared byte for byte. A repeated cookie is rejected with 400, because a sibling host may have planted
    /// the second one. So is a cookie whose name differs only in case or in surrounding spaces and tabs: browsers treat
    /// it as another cookie that any host may set, and another component may confuse the two.
    /// [`without_forwarding`](crate::BearerLayer::without_forwarding) removes all of them. An empty value counts as no
    /// token.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if `name` is not a cookie name.
    pub fn cookie(name: &str) -> Result<Self, ConfigError> {
        if name.is_empty() || !name.bytes().all(is_token_character) {
            return Err(ConfigError::Setting {
                setting: "cookie name",
                value: name.to_owned(),
                reason: "it must be a token as defined in RFC 9110",
            });
        }
        Ok(Self(Kind::Cookie(name.into())))
    }

    /// Creates a source that reads the token, without a scheme, from a header field, such as one set by a gateway.
    ///
    /// A repeated or empty field is rejected with 400. Pages of other origins cannot send the field without a CORS
    /// preflight request.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if `name` is not a field name, or is `authorization` or `cookie`.
    pub fn header(name: &str) -> Result<Self, ConfigError> {
        let invalid = |reason| ConfigError::Setting {
            setting: "header of a token",
            value: name.to_owned(),
            reason,
        };
        let field = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid("it must be a field name as defined in RFC 9110"))?;
        if [AUTHORIZATION, COOKIE].contains(&field) {
            return Err(invalid("it must not be `authorization` or `cookie`"));
        }
        Ok(Self(Kind::Header(field)))
    }

    /// Creates a source that calls `find`, which returns the token without a scheme, or `None` if the request has no
    /// token in this place.
    ///
    /// `find` does not receive the URI, because tokens must not be sent there. The layer does not know which fields it
    /// reads, so responses get `Vary: *`; to read a single field, use [`header`](Self::header).
    pub fn custom(
        find: impl Fn(&HeaderMap, &Extensions) -> Option<HeaderValue> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Custom(Arc::new(find)))
    }

    pub(super) fn find(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Option<HeaderValue>, InvalidCredentials> {
        let name = match &self.0 {
            Kind::Cookie(name) => name,
            Kind::Header(name) => {
                let mut lines = headers.get_all(name).iter();
                let first = lines.next().cloned();
                let more = lines.next();
                return more.map_or(Ok(first), |_| Err(InvalidCredentials));
            }
            Kind::Custom(find) => return Ok(find(headers, extensions)),
        };
        let mut found = None;
        for pair in pairs(headers) {
            match pair.compare(name.as_bytes()) {
                Match::Conflict => {
                    log_conflict(name, pair);
                    return Err(InvalidCredentials);
                }
                // Some applications overwrite a cookie with an empty value to delete it.
                Match::Exact if !pair.value().is_empty() => {
                    if found.replace(pair.value()).is_some() {
                        return Err(InvalidCredentials);
                    }
                }
                Match::Exact | Match::NoValue | Match::Other => {}
            }
        }
        found
            .map(|value| HeaderValue::from_bytes(value).map_err(|_| InvalidCredentials))
            .transpose()
    }

    /// Returns the member of `Vary` for this source.
    pub(super) fn vary(&self) -> HeaderValue {
        match &self.0 {
            Kind::Cookie(_) => HeaderValue::from_static("cookie"),
            Kind::Header(name) => name.clone().into(),
            Kind::Custom(_) => HeaderValue::from_static("*"),
        }
    }

    /// Removes the token unless the source is custom, and what another component could read as the token.
    pub(super) fn remove(&self, headers: &mut HeaderMap) {
        let name = match &self.0 {
            Kind::Cookie(name) => name,
            Kind::Header(name) => {
                return remove_spellings(headers, &normalize_header_name(name.as_str()));
            }
            Kind::Custom(_) => return,
        };
        let is_other = |pair: &CookiePair<'_>| {
            !pair.text().is_empty() && pair.compare(name.as_bytes()) == Match::Other
        };
        let mut kept = Vec::new();
        for pair in pairs(headers).filter(is_other) {
            if !kept.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(pair.text());
        }
        headers.remove(COOKIE);
        if let Some(line) = HeaderValue::from_bytes(&kept)
            .ok()
            .filter(|line| !line.is_empty())
        {
            headers.insert(COOKIE, line);
        }
    }

    /// Returns whether [`remove`](Self::remove) changes the field with this normalized name.
    pub(super) fn is_in_field(&self, folded_name: &str) -> bool {
        match &self.0 {
            Kind::Cookie(_) => folded_name == COOKIE.as_str(),
            Kind::Header(name) => folded_name == normalize_header_name(name.as_str()),
            Kind::Custom(_) => false,
        }
    }
}

/// Logs only the name, because the value may be a token.
fn log_conflict(cookie: &str, pair: CookiePair<'_>) {
    let found = log_safe(&String::from_utf8_lossy(pair.name().unwrap_or_default()));
    tracing::debug!(
        name: "cookie_name_conflict",
        target: "tower_oauth::bearer",
        cookie,
        found,
        "the name of a cookie differs from that of the token only in case or white space"
    );
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Cookie(name) => f.debug_tuple("Cookie").field(name).finish(),
            Kind::Header(name) => f.debug_tuple("Header").field(name).finish(),
            Kind::Custom(_) => f.write_str("Custom"),
        }
    }
}
