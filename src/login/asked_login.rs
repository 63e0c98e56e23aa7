//! A login as a request to the login route asks for it: with parameters of a link, or with sealed ones.

use http::header::HeaderMap;

use super::navigation;
use super::refusal::LoginRefusal;
use super::sealed_request::{LIFETIME, MAX_SEALED, OpenedRequest, SealedRequest};
use super::settings::{LOGIN_REQUEST, Settings};
use crate::flow::{LoginPurpose, StartRequest};
use crate::protocol::requested_claims::RequestedClaims;
use crate::protocol::return_to::MAX_RETURN_TO;
use crate::protocol::sanitize::log_safe;
use crate::protocol::{AuthorizationDetails, form};
use crate::record::SessionId;
use crate::session::ProviderEntry;

/// A login as a request asks for it.
pub(super) struct AskedLogin<'a> {
    /// `None` if the user has to choose one.
    pub(super) provider: Option<&'a ProviderEntry>,
    pub(super) request: StartRequest,
    pub(super) target: Option<String>,
    /// The session that the browser must have for the parameters of the application to apply.
    pub(super) session: Option<SessionId>,
    /// Why it does not start: it is a silent login that was sealed too long ago.
    pub(super) expired: Option<LoginRefusal>,
}

impl<'a> AskedLogin<'a> {
    /// Reads the parameters that are forwarded to the authorization request, and the return target; all
    /// others are ignored.
    pub(super) fn read(
        settings: &'a Settings,
        provider: Option<&'a ProviderEntry>,
        headers: &HeaderMap,
        query: &str,
    ) -> Result<Self, LoginRefusal> {
        let pairs = form::parse(query);
        let pairs =
            pairs.map_err(|error| bad_parameter("malformed_query").because(error.to_string()))?;
        let by_person = navigation::is_user_activated(headers);
        let third_party = settings.third_party_provider(&pairs, provider)?;
        let target = match third_party {
            Some(_) => settings.third_party_target(&pairs),
            None => settings.requested_target(&pairs, MAX_RETURN_TO),
        };
        let providers = settings.manager.providers();
        let only = Some(providers.first()).filter(|_| !providers.are_several());
        let provider = provider.or(third_party).or(only);
        let target = target.map(str::to_owned);
        if let Some(sealed) = single(&pairs, LOGIN_REQUEST, MAX_SEALED)? {
            return Self::unseal(settings, provider, by_person, sealed, target);
        }
        let text = |name| single(&pairs, name, MAX_PARAMETER).map(|value| value.map(str::to_owned));
        let request = StartRequest {
            by_person,
            login_hint: text("login_hint")?,
            prompt: text("prompt")?,
            ui_locales: text("ui_locales")?,
            acr_values: text("acr_values")?,
            max_age: single(&pairs, "max_age", MAX_PARAMETER)?
                .map(seconds)
                .transpose()?,
            ..StartRequest::default()
        };
        Ok(Self {
            provider,
            request,
            target,
            session: None,
            expired: None,
        })
    }

    fn unseal(
        settings: &'a Settings,
        provider: Option<&'a ProviderEntry>,
        by_person: bool,
        sealed: &str,
        target: Option<String>,
    ) -> Result<Self, LoginRefusal> {
        let time = settings.manager.time();
        let opened = SealedRequest::open(&settings.cookies, sealed, |at| time.wall_for(at));
        let OpenedRequest { request, expired } = opened.ok_or_else(unreadable)?;
        let SealedRequest {
            request,
            purpose,
            session,
            page,
        } = request;
        let expired = expired.map(|sealed_at| {
            let age = time.wall_for(sealed_at).saturating_sub(sealed_at);
            EXPIRED.because(format!(
                "`login_request` was created {age} seconds ago, and is valid for {LIFETIME:?}"
            ))
        });
        let expired = match expired {
            Some(refusal) if purpose != LoginPurpose::Optional => return Err(refusal),
            expired => expired,
        };
        // Checked again: the configuration may have changed since it was sealed.
        let sealed_target = request.return_to.as_deref();
        let sealed_target = sealed_target.and_then(|target| settings.return_to(target));
        let target = match purpose {
            LoginPurpose::Optional => sealed_target.map(str::to_owned),
            LoginPurpose::SignIn | LoginPurpose::StepUp => target,
        };
        let request = StartRequest {
            by_person,
            purpose,
            by_application: true,
            page,
            login_hint: request.login_hint,
            prompt: request.prompt,
            ui_locales: request.ui_locales,
            acr_values: request.acr_values,
            max_age: request.max_age,
            requested_claims: parsed(request.claims.as_deref(), RequestedClaims::from_json)?,
            authorization_details: parsed(
                request.authorization_details.as_deref(),
                AuthorizationDetails::from_json,
            )?,
            replaces: None,
        };
        let silent = Some(settings.manager.providers().first());
        let silent = silent.filter(|_| purpose == LoginPurpose::Optional);
        Ok(Self {
            provider: provider.or(silent),
            request,
            target,
            session,
            expired,
        })
    }
}

/// Returns the value of a parameter, unless it is missing or empty.
fn single<'a>(
    pairs: &'a [(String, String)],
    name: &str,
    max: usize,
) -> Result<Option<&'a str>, LoginRefusal> {
    let mut values = pairs
        .iter()
        .filter(|(other, value)| other == name && !value.is_empty());
    match (values.next(), values.next()) {
        (Some((_, value)), None) if value.len() > max => {
            let bytes = value.len();
            Err(bad_parameter("parameter_too_long").because(format!(
                "`{name}` has {bytes} bytes, at most {max} are read"
            )))
        }
        (Some(_), Some(_)) => Err(bad_parameter("repeated_parameter")
            .because(format!("`{name}` must not occur more than once"))),
        (value, _) => Ok(value.map(|(_, value)| value.as_str())),
    }
}

fn seconds(max_age: &str) -> Result<u32, LoginRefusal> {
    max_age.parse().map_err(|_| {
        let found = log_safe(max_age);
        bad_parameter("max_age").because(format!(
            "`max_age` is {found}, and must be a number of seconds below 2^32"
        ))
    })
}

/// Parses JSON that was checked before it was sealed.
fn parsed<T>(
    text: Option<&str>,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, LoginRefusal> {
    let parsed = text.map(|text| parse(text).ok_or_else(unreadable));
    parsed.transpose()
}

fn unreadable() -> LoginRefusal {
    bad_parameter("login_request_unreadable").because(UNREADABLE)
}

const fn bad_parameter(code: &'static str) -> LoginRefusal {
    LoginRefusal::stale(code, BAD_PARAMETER)
}

pub(super) const UNCONFIRMABLE: &str = "This page requires a more recent or a stronger sign-in than this sign-in service can \
                             confirm. Please sign in another way.";
pub(super) const BAD_PARAMETER: &str =
    "The link that brought you here is incomplete or invalid. Please sign in again.";
const EXPIRED: LoginRefusal = LoginRefusal::stale(
    "login_request_expired",
    "The link that brought you here has expired. Please sign in again.",
);
const UNREADABLE: &str = "the parameter `login_request` was not created by this layer, or with a key that is not configured: \
                          every process needs the same cookie key, or the previous one with `CookieKey::add_previous`";

/// Limit on the length of a parameter: hints, locales and context classes are short.
const MAX_PARAMETER: usize = 512;
