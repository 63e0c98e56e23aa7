//! [`LoginRequest`]: what the application asks for in one login.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::config_error::ConfigError;
use crate::flow::{requested_claims, requested_details};
use crate::token::id_token::AcrValues;

/// The parameters of one login that the application starts.
///
/// A handler starts the login with [`LoginLayer::start`](super::LoginLayer::start), or has the user of a session
/// authenticate again with [`LoginLayer::step_up`](super::LoginLayer::step_up). A parameter that is set here takes the
/// place of the [one for all logins](super::LoginLayer::with_authorization_parameter). A step-up must also meet the
/// `acr_values` and the `max_age` of all logins.
///
/// The parameters reach the login route encrypted, in a URL that is valid for ten minutes. Users cannot change them.
/// Another site can obtain such a URL from the application and link to it, so a handler that needs a certain `acr` or
/// a recent authentication still checks the session, for example with a [`Policy`](crate::bearer::Policy).
///
/// ```
/// use std::time::Duration;
/// use tower_oauth::login::LoginRequest;
///
/// let request = LoginRequest::new()
///     .with_login_hint("alice@example.com")?
///     .with_max_age(Duration::from_secs(300))
///     .with_return_to("/settings/password");
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct LoginRequest {
    pub(super) login_hint: Option<String>,
    pub(super) prompt: Option<String>,
    pub(super) ui_locales: Option<String>,
    pub(super) acr_values: Option<String>,
    pub(super) max_age: Option<u32>,
    pub(super) claims: Option<String>,
    pub(super) authorization_details: Option<String>,
    pub(super) return_to: Option<String>,
}

impl LoginRequest {
    /// Creates a request without parameters.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets `login_hint`: the user who is expected to sign in ([OpenID Connect Core §3.1.2.1]). It is not checked:
    /// another user may sign in.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for an empty text, control characters, more than 512 bytes, or more than 1920 bytes of
    /// all parameters together. The same holds for the other texts.
    ///
    /// [OpenID Connect Core §3.1.2.1]: https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest
    pub fn with_login_hint(mut self, hint: &str) -> Result<Self, ConfigError> {
        self.login_hint = Some(checked("login hint", hint)?);
        self.within_limit()
    }

    /// Sets `prompt`, one or more of `login`, `consent`, `select_account` and others that the authorization server
    /// supports, separated by spaces; or `none`, which shows the user no page.
    ///
    /// It is not checked that the user was prompted. `with_max_age(Duration::ZERO)` is `login` with a check.
    ///
    /// Do not start a login with `none` whenever there is no session: a user who is not signed in at the authorization
    /// server would be redirected without end. [`silent_login`](super::LoginLayer::silent_login) redirects once.
    ///
    /// # Errors
    ///
    /// As [`with_login_hint`](Self::with_login_hint).
    pub fn with_prompt(mut self, prompt: &str) -> Result<Self, ConfigError> {
        self.prompt = Some(checked("prompt", prompt)?);
        self.within_limit()
    }

    /// Sets `ui_locales`: the preferred languages of the pages of the authorization server, separated by spaces.
    ///
    /// # Errors
    ///
    /// As [`with_login_hint`](Self::with_login_hint).
    pub fn with_ui_locales(mut self, locales: &str) -> Result<Self, ConfigError> {
        self.ui_locales = Some(checked("ui locales", locales)?);
        self.within_limit()
    }

    /// Sets `acr_values` in order of preference. The login fails unless the `acr` of the ID token is one of them.
    ///
    /// # Errors
    ///
    /// As [`with_login_hint`](Self::with_login_hint), and if there are no values or more than 8, or one has a space.
    pub fn with_acr_values<'a>(
        mut self,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        let values: Vec<&str> = values.into_iter().collect();
        let joined = values.join(" ");
        let is_list = values
            .iter()
            .all(|one| !one.is_empty() && !one.contains(' '));
        if !is_list || AcrValues::parse(&joined).is_none() {
            return Err(invalid(
                "acr values",
                &joined,
                "they must be 1 to 8 texts without spaces",
            ));
        }
        self.acr_values = Some(checked("acr values", &joined)?);
        self.within_limit()
    }

    /// Sets `max_age`, in whole seconds: the user must authenticate again if that was longer ago. The login fails unless
    /// the `auth_time` of the ID token fits. With zero, every user authenticates.
    pub fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(u32::try_from(max_age.as_secs()).unwrap_or(u32::MAX));
        self
    }

    /// Sets `claims`: claims that are requested by name ([OpenID Connect Core §5.5]), in addition to those of
    /// [`LoginLayer::with_requested_claims`](super::LoginLayer::with_requested_claims), which has the rules. If both
    /// request the same claim, the request made here is sent, and both are checked.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is such an object, of at most 1024 bytes, or for more than 1920 bytes of all
    /// parameters together.
    ///
    /// [OpenID Connect Core §5.5]: https://openid.net/specs/openid-connect-core-1_0.html#ClaimsParameter
    pub fn with_requested_claims(mut self, claims: Value) -> Result<Self, ConfigError> {
        let text = requested_claims(claims)?.to_json();
        self.claims = Some(within_json_limit("requested claims", text)?);
        self.within_limit()
    }

    /// Sets `authorization_details`: what the access token is to permit in detail ([RFC 9396]), in addition to those of
    /// [`LoginLayer::with_authorization_details`](super::LoginLayer::with_authorization_details).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is an array of objects, each with a string `type`, of at most 1024 bytes, or
    /// for more than 1920 bytes of all parameters together.
    ///
    /// [RFC 9396]: https://www.rfc-editor.org/rfc/rfc9396
    pub fn with_authorization_details(mut self, details: Value) -> Result<Self, ConfigError> {
        let text = requested_details(details)?.to_json();
        self.authorization_details = Some(within_json_limit("authorization details", text)?);
        self.within_limit()
    }

    /// Sets the path that the user returns to. Default: the page that was requested. The rules are those of
    /// [`LoginLayer::login_url`](super::LoginLayer::login_url).
    pub fn with_return_to(mut self, path: &str) -> Self {
        self.return_to = Some(path.to_owned());
        self
    }

    /// Checks the size of all parameters: they are part of a URL.
    fn within_limit(self) -> Result<Self, ConfigError> {
        let bytes = self
            .texts()
            .into_iter()
            .flatten()
            .map(str::len)
            .sum::<usize>();
        if bytes > MAX_TOTAL {
            let value = format!("{bytes} bytes");
            let reason = "all parameters together must be at most 1920 bytes";
            return Err(invalid("login request", &value, reason));
        }
        Ok(self)
    }

    /// Returns the parameters that are texts.
    pub(super) fn texts(&self) -> [Option<&str>; 6] {
        [
            self.login_hint.as_deref(),
            self.prompt.as_deref(),
            self.ui_locales.as_deref(),
            self.acr_values.as_deref(),
            self.claims.as_deref(),
            self.authorization_details.as_deref(),
        ]
    }
}

/// Omits the hint, which often is an e-mail address, and what is requested.
impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginRequest")
            .field("prompt", &self.prompt)
            .field("ui_locales", &self.ui_locales)
            .field("acr_values", &self.acr_values)
            .field("max_age", &self.max_age)
            .field("return_to", &self.return_to)
            .finish_non_exhaustive()
    }
}

fn within_json_limit(setting: &'static str, text: String) -> Result<String, ConfigError> {
    match text.len() <= MAX_JSON {
        true => Ok(text),
        false => {
            let found = format!("{} bytes", text.len());
            Err(invalid(setting, &found, "it must have at most 1024 bytes"))
        }
    }
}

fn checked(setting: &'static str, value: &str) -> Result<String, ConfigError> {
    if value.is_empty() || value.len() > MAX_TEXT || value.chars().any(char::is_control) {
        return Err(invalid(
            setting,
            value,
            "it must be 1 to 512 bytes without control characters",
        ));
    }
    Ok(value.to_owned())
}

fn invalid(setting: &'static str, value: &str, reason: &'static str) -> ConfigError {
    ConfigError::Setting {
        setting,
        value: value.chars().take(MAX_IN_ERROR).collect(),
        reason,
    }
}

/// As of a parameter in a link to the login route.
const MAX_TEXT: usize = 512;
const MAX_JSON: usize = 1024;
const MAX_TOTAL: usize = 1920;
/// How many characters of a value an error has.
const MAX_IN_ERROR: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn malformed_and_oversized_parameters_are_rejected() {
        let (text, too_long) = ("a".repeat(MAX_TEXT), "a".repeat(MAX_TEXT + 1));
        let new = LoginRequest::new;
        let many = ["a"; 9];
        for (name, result, is_valid) in [
            ("a hint", new().with_login_hint(&text), true),
            ("a long hint", new().with_login_hint(&too_long), false),
            ("an empty hint", new().with_login_hint(""), false),
            ("a line break", new().with_login_hint("a\r\nb"), false),
            ("no acr", new().with_acr_values([]), false),
            ("an acr with a space", new().with_acr_values(["a b"]), false),
            (
                "eight acr",
                new().with_acr_values(many.into_iter().skip(1)),
                true,
            ),
            ("nine acr", new().with_acr_values(many), false),
            (
                "claims",
                new().with_requested_claims(json!({"id_token": {"email": null}})),
                true,
            ),
            (
                "claims in a list",
                new().with_requested_claims(json!([])),
                false,
            ),
            (
                "large claims",
                new().with_requested_claims(
                    json!({ "id_token": { "a": { "value": "a".repeat(MAX_JSON) } } }),
                ),
                false,
            ),
            (
                "details",
                new().with_authorization_details(json!([{"type": "payment"}])),
                true,
            ),
            (
                "details without a type",
                new().with_authorization_details(json!([{}])),
                false,
            ),
            (
                "no details",
                new().with_authorization_details(json!([])),
                false,
            ),
            (
                "an object",
                new().with_authorization_details(json!({"type": "payment"})),
                false,
            ),
        ] {
            assert_eq!(result.is_ok(), is_valid, "{name}: {result:?}");
        }
        let error = new().with_login_hint(&too_long).unwrap_err();
        assert!(!error.to_string().contains(&"a".repeat(MAX_IN_ERROR + 1)));
        let hint = new().with_login_hint("alice@example.com");
        assert!(!format!("{hint:?}").contains("alice"));
        let large = new()
            .with_login_hint(&text)
            .and_then(|request| request.with_prompt(&text))
            .and_then(|request| request.with_ui_locales(&text));
        assert!(large.clone().is_ok());
        assert!(
            large
                .and_then(|request| request.with_acr_values([&*text]))
                .is_err()
        );
    }
}
