//! Logins that another party starts, usually the authorization server or a portal (OpenID Connect Core §4).

use std::time::Duration;

use http::StatusCode;
use http::header::HeaderMap;
use http_body::Body;

use super::form;
use super::form::{FormError, MAX_LOCATION, single};
use super::layer::LoginLayer;
use super::refusal::LoginRefusal;
use super::response::{self, LayerResponse};
use super::settings::Settings;
use crate::protocol::form::{encode_component, parse};
use crate::protocol::return_to::MAX_RETURN_TO;
use crate::protocol::sanitize::{listed, log_safe};
use crate::session::ProviderEntry;

impl LoginLayer {
    /// Accepts logins that another party starts, such as a portal of the authorization server
    /// ([OpenID Connect Core §4]). Off by default. Register the URL of the [login route](Self::login_path) as
    /// `initiate_login_uri`, for example `https://shop.example.com/auth/login`.
    ///
    /// The login route then also accepts a form (POST), and reads three parameters of the query or the form:
    ///
    /// | parameter | meaning |
    /// | --- | --- |
    /// | `iss` | must be an issuer of a provider of this layer, byte for byte (of several tenants: that of a permitted one); users sign in at the first one that has it; otherwise the response is 400. Without it, a GET is a link of the application, and a POST is rejected with 400 |
    /// | `login_hint` | is forwarded to the authorization server |
    /// | `target_link_uri` | the return target: a URL of this origin or a path of it. Anything else is logged and replaced by [the default](Self::with_default_return_to) |
    ///
    /// A user who is signed in keeps the session until the new login completes.
    ///
    /// # Security
    ///
    /// Every site can start logins, as with links to the login route: a user who is signed in at the authorization server
    /// may be signed in here without an action of the user. `login_hint` can suggest which of the users of that browser,
    /// never one who is not signed in there.
    ///
    /// [OpenID Connect Core §4]: https://openid.net/specs/openid-connect-core-1_0.html#ThirdPartyInitiatedLogin
    #[must_use]
    pub fn with_third_party_login(self) -> Self {
        self.with(|settings| settings.third_party_login = true)
    }
}

impl Settings {
    /// Returns the redirect to the login route with the form of a login that another party starts.
    ///
    /// Browsers send no `SameSite=Lax` cookie with a form of another site. A login that started here would not see the
    /// pending logins of the browser, and would take the place of one of them.
    pub(super) async fn receive_third_party_form<B: Body>(
        &self,
        provider: Option<&ProviderEntry>,
        headers: &HeaderMap,
        body: B,
    ) -> Result<LayerResponse, LoginRefusal> {
        let text = form::receive(self.flow().clock(), headers, body, FORM_TIMEOUT).await;
        let text = text.map_err(|error| {
            let refusal = match error {
                FormError::ContentType => OTHER_TYPE,
                FormError::TooLarge => TOO_LARGE,
                FormError::TooSlow(_) => TOO_SLOW,
                FormError::Incomplete | FormError::NotUtf8 => MALFORMED,
            };
            refusal.because(error.describe(headers))
        })?;
        let pairs = parse(&text).map_err(|error| MALFORMED.because(error.to_string()))?;
        let Some(provider) = self.third_party_provider(&pairs, provider)? else {
            return Err(MALFORMED.because("the form has no `iss`"));
        };
        // That of a tenant stays that of the tenant.
        let issuer = single(&pairs, ISS).and_then(|iss| provider.flow.issuer_of(iss));
        let issuer = encode_component(issuer.unwrap_or_default());
        let path = self.paths.login_of(&provider.name);
        let mut location = format!("{path}?{ISS}={issuer}");
        let hints = pairs.iter().filter(|(name, _)| name == LOGIN_HINT);
        let hints = hints.map(|(name, hint)| (name.as_str(), hint.as_str()));
        let target = self.third_party_target(&pairs);
        for (name, value) in hints.chain(target.map(|target| (TARGET_LINK_URI, target))) {
            location.extend(["&", name, "=", &encode_component(value)]);
        }
        if location.len() > MAX_LOCATION {
            return Err(TOO_LARGE.because(format!(
                "the URL with its parameters would have {} bytes, and at most {MAX_LOCATION} are possible",
                location.len()
            )));
        }
        Ok(response::redirect_to_server(&location))
    }

    /// Returns the provider of a login that another party starts: the request names its issuer. `provider` is the one that
    /// the path names.
    pub(super) fn third_party_provider<'a>(
        &'a self,
        pairs: &[(String, String)],
        provider: Option<&'a ProviderEntry>,
    ) -> Result<Option<&'a ProviderEntry>, LoginRefusal> {
        if !self.third_party_login || !pairs.iter().any(|(name, _)| name == ISS) {
            return Ok(None);
        }
        let Some(issuer) = single(pairs, ISS) else {
            return Err(MALFORMED.because("`iss` is repeated"));
        };
        let accepts = |one: &&ProviderEntry| provider.is_none_or(|named| named.name == one.name);
        let mut providers = self.manager.providers().all().filter(accepts);
        let found = providers.find(|one| one.flow.issuer_of(issuer).is_some());
        found.map(Some).ok_or_else(|| {
            let providers = self.manager.providers().all().filter(accepts);
            let expected = listed(providers.flat_map(|one| one.flow.issuers()));
            OTHER_ISSUER.because(format!(
                "`iss` is {}, expected the issuer of a provider of this layer, {expected}, byte for byte",
                log_safe(issuer)
            ))
        })
    }

    /// Returns the return target of a login that another party starts, as a path of this origin.
    pub(super) fn third_party_target<'a>(&self, pairs: &'a [(String, String)]) -> Option<&'a str> {
        let value = single(pairs, TARGET_LINK_URI).filter(|value| !value.is_empty())?;
        // What follows the origin must be a path: not `.evil.example`, `@evil.example` or `:8443`.
        let path = match value.strip_prefix(self.origin.as_str()) {
            Some("") => "/",
            Some(path) => path,
            None => value,
        };
        self.checked_target(path, MAX_RETURN_TO, FOREIGN_TARGET)
    }
}

const ISS: &str = "iss";
const LOGIN_HINT: &str = "login_hint";
const TARGET_LINK_URI: &str = "target_link_uri";

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
const OTHER_TYPE: LoginRefusal = LoginRefusal::new(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "third_party_login_content_type",
    INVALID_FORM,
);
const TOO_LARGE: LoginRefusal = LoginRefusal::new(
    StatusCode::PAYLOAD_TOO_LARGE,
    "third_party_login_too_large",
    INVALID_FORM,
);
const INVALID_FORM: &str =
    "We couldn't start your sign-in. The form that brought you here is invalid.";
const FOREIGN_TARGET: &str =
    "`target_link_uri` is not a URL of this origin, or it is a route of this layer";

/// Timeout for receiving the form.
const FORM_TIMEOUT: Duration = Duration::from_secs(5);
