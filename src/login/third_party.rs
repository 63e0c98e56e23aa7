//! Logins that another party starts, usually the authorization server or a portal (OpenID Connect Core §4).

use std::time::Duration;

use http::StatusCode;
use http::header::HeaderMap;
use http_body::Body;

use super::events;
use super::form::{read_form, single};
use super::layer::LoginLayer;
use super::refusal::LoginRefusal;
use super::settings::Settings;
use crate::clock::within;
use crate::protocol::return_to::MAX_RETURN_TO;
use crate::protocol::sanitize::log_safe;

impl LoginLayer {
    /// Accepts logins that another party starts, such as a portal of the authorization server
    /// ([OpenID Connect Core §4]). Off by default. Register the URL of the [login route](Self::login_path) as
    /// `initiate_login_uri`, for example `https://shop.example.com/auth/login`.
    ///
    /// The login route then also accepts a form (POST), and reads three parameters of the query or the form:
    ///
    /// | parameter | meaning |
    /// | --- | --- |
    /// | `iss` | must be the issuer of this layer, byte for byte; otherwise the response is 400. Without it, a GET is a link of the application, and a POST is rejected with 400 |
    /// | `login_hint` | is forwarded to the authorization server |
    /// | `target_link_uri` | the return target: a URL of this origin or a path of it. Anything else is logged and replaced by [the default](Self::with_default_return_to) |
    ///
    /// A user who is signed in keeps the session until the new login completes.
    ///
    /// # Security
    ///
    /// Every site can start logins, as with links to the login route: a user who is signed in at the authorization server
    /// may be signed in here without an action of the user, never as a user of the other site's choice.
    ///
    /// [OpenID Connect Core §4]: https://openid.net/specs/openid-connect-core-1_0.html#ThirdPartyInitiatedLogin
    #[must_use]
    pub fn with_third_party_login(self) -> Self {
        self.with(|settings| settings.third_party_login = true)
    }
}

impl Settings {
    /// Reads the form of a login that another party starts.
    pub(super) async fn read_third_party_form<B: Body>(
        &self,
        headers: &HeaderMap,
        body: B,
    ) -> Result<Vec<(String, String)>, LoginRefusal> {
        let form = read_form(headers, body);
        let form = within(&**self.flow().clock(), FORM_TIMEOUT, form).await;
        let form = form.ok_or(TOO_SLOW)?;
        let form = form.ok_or_else(|| MALFORMED.because(NO_FORM))?;
        match single(&form, ISS) {
            Some(_) => Ok(form),
            None => Err(MALFORMED.because("the form has no `iss`, or more than one")),
        }
    }

    /// Returns whether another party starts the login: the request names an issuer, which must be that of this layer.
    pub(super) fn is_third_party_login(
        &self,
        pairs: &[(String, String)],
    ) -> Result<bool, LoginRefusal> {
        if !self.third_party_login || !pairs.iter().any(|(name, _)| name == ISS) {
            return Ok(false);
        }
        let expected = self.flow().server().issuer();
        match single(pairs, ISS) {
            None => Err(MALFORMED.because("`iss` is repeated")),
            Some(issuer) if issuer == expected => Ok(true),
            Some(other) => Err(OTHER_ISSUER.because(format!(
                "`iss` is {}, expected the issuer of this layer, {expected}, byte for byte",
                log_safe(other)
            ))),
        }
    }

    /// Returns the return target of a login that another party starts, as a path of this origin.
    pub(super) fn third_party_target<'a>(&self, pairs: &'a [(String, String)]) -> Option<&'a str> {
        let value = single(pairs, "target_link_uri").filter(|value| !value.is_empty())?;
        // What follows the origin must be a path: not `.evil.example`, `@evil.example` or `:8443`.
        let path = match value.strip_prefix(self.origin.as_str()) {
            Some("") => "/",
            Some(path) => path,
            None => value,
        };
        let target = self
            .return_to(path)
            .filter(|path| path.len() <= MAX_RETURN_TO);
        if target.is_none() {
            events::return_target_dropped(Some(value.len()), None, FOREIGN_TARGET);
        }
        target
    }
}

const ISS: &str = "iss";

const MALFORMED: LoginRefusal = LoginRefusal::new(
    StatusCode::BAD_REQUEST,
    "third_party_login_malformed",
    "We couldn't start your sign-in. The link that brought you here is incomplete or invalid.",
);
const OTHER_ISSUER: LoginRefusal = LoginRefusal::new(
    StatusCode::BAD_REQUEST,
    "third_party_login_issuer",
    "We couldn't start your sign-in. The link that brought you here is for another sign-in service.",
);
const TOO_SLOW: LoginRefusal = LoginRefusal::new(
    StatusCode::REQUEST_TIMEOUT,
    "third_party_login_too_slow",
    "We couldn't start your sign-in. Your request did not arrive in time.",
);
const NO_FORM: &str = "the request is not a complete URL-encoded form of at most 16 KiB";
const FOREIGN_TARGET: &str =
    "`target_link_uri` is not a URL of this origin, or it is a route of this layer";

/// Timeout for receiving the form.
const FORM_TIMEOUT: Duration = Duration::from_secs(5);
