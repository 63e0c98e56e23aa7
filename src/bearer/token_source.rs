//! [`TokenSource`]: where else a token may be, for those who ask for it.

use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use http::{Extensions, HeaderMap, HeaderValue};

use crate::ConfigError;
use crate::protocol::cookie::{CookiePair, Match, pairs};
use crate::protocol::credentials::InvalidCredentials;
use crate::protocol::field_name::{is_token_character, normalize_header_name, remove_spellings};
use crate::protocol::sanitize::log_safe;

/// A place beside `Authorization` where an access token may be. None is looked at unless it is named with
/// [`BearerLayer::add_token_source`](crate::BearerLayer::add_token_source).
///
/// A request that presents a token in two places gets 400, whatever the tokens are
/// ([RFC 6750 §2](https://www.rfc-editor.org/rfc/rfc6750#section-2)). What is found is judged like a token of
/// the header, as a bearer token. There is no source for the query: it is in logs and histories.
#[derive(Clone)]
pub struct TokenSource(Kind);

#[derive(Clone)]
enum Kind {
    Cookie(Arc<str>),
    Header(HeaderName),
    Custom(Arc<Custom>),
}

type Custom = dyn Fn(&HeaderMap, &Extensions) -> Option<HeaderValue> + Send + Sync;

impl TokenSource {
    /// A cookie of this name.
    ///
    /// # Cross-site request forgery
    ///
    /// A browser sends cookies by itself, also with requests that a page of someone else makes it send. So
    /// with this source **every state-changing route needs a defence against CSRF**: `SameSite=Strict` or
    /// `Lax` on the cookie, and a layer that checks `Sec-Fetch-Site` or `Origin`. The cookie itself must be
    /// `Secure`, `HttpOnly` and, best, named `__Host-…`; whoever sets it has to see to that. For people with a
    /// browser, [`LoginLayer`](crate::LoginLayer) does all of this.
    ///
    /// # Names that look alike
    ///
    /// The name is compared byte for byte. A cookie that is there twice gets 400: the second may be planted by a
    /// neighboring host. So does a cookie whose name differs only in case, or in spaces and tabs around it:
    /// browsers keep it apart from this one and let any host set it, and the next reader may take it for
    /// this one. [`without_forwarding`](crate::BearerLayer::without_forwarding) removes all of them.
    /// An empty value counts as no token.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for what is no cookie name.
    pub fn cookie(name: &str) -> Result<Self, ConfigError> {
        if name.is_empty() || !name.bytes().all(is_token_character) {
            return Err(ConfigError::Setting {
                setting: "cookie name",
                value: name.to_owned(),
                reason: "it must be a token of RFC 9110",
            });
        }
        Ok(Self(Kind::Cookie(name.into())))
    }

    /// Reads the bare token, without a scheme, from a header field of this name, such as one of a gateway's own.
    ///
    /// A field that is there twice, or is empty, gets 400. Pages of other origins cannot send such a field without
    /// a preflight request.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for what is not a field name, and for `authorization` and `cookie`, which are read in
    /// their own way.
    pub fn header(name: &str) -> Result<Self, ConfigError> {
        let refuse = |reason| ConfigError::Setting {
            setting: "header of a token",
            value: name.to_owned(),
            reason,
        };
        let field = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| refuse("it must be a field name of RFC 9110"))?;
        if [AUTHORIZATION, COOKIE].contains(&field) {
            return Err(refuse("it must not be `authorization` or `cookie`"));
        }
        Ok(Self(Kind::Header(field)))
    }

    /// Whatever this function finds, such as a header of a gateway's own. It returns the bare token,
    /// without a scheme; `None` where there is none, so that the request counts as one without
    /// credentials.
    ///
    /// It is given no URI, since a token does not belong there. What it looks at is not known, so responses get
    /// `Vary: *`; for the value of a field alone, use [`header`](Self::header).
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
                // A cookie that cannot be deleted is overwritten with nothing.
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

    /// The member of `Vary` that names this place.
    pub(super) fn vary(&self) -> HeaderValue {
        match &self.0 {
            Kind::Cookie(_) => HeaderValue::from_static("cookie"),
            Kind::Header(name) => name.clone().into(),
            Kind::Custom(_) => HeaderValue::from_static("*"),
        }
    }

    /// Removes the token from the request if its place is known, and whatever the next reader may take for it.
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

    /// Whether [`remove`](Self::remove) removes something from the field of this folded name.
    pub(super) fn is_in_field(&self, folded_name: &str) -> bool {
        match &self.0 {
            Kind::Cookie(_) => folded_name == COOKIE.as_str(),
            Kind::Header(name) => folded_name == normalize_header_name(name.as_str()),
            Kind::Custom(_) => false,
        }
    }
}

/// The name alone: what is in its place of a value may be a token.
fn log_conflict(cookie: &str, pair: CookiePair<'_>) {
    let found = log_safe(&String::from_utf8_lossy(pair.name().unwrap_or_default()));
    tracing::debug!(
        name: "cookie_name_conflict",
        target: "tower_oauth::bearer",
        cookie,
        found,
        "a cookie differs from that of the token only in case, or in white space around its name"
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
