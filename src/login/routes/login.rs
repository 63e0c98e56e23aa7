//! `login`: redirects the browser to the authorization server.

use std::borrow::Cow;

use http::Version;
use http::header::{CONNECTION, HeaderMap};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use http_body::Body;

use crate::flow::{FlowErrorKind, LoginPurpose, StartRequest, has_expired};
use crate::login::cookies::SameSite;
use crate::login::jar::{Jar, NO_SILENT_LOGIN};
use crate::login::login_state::{LoginState, StateTarget};
use crate::login::navigation::{self, RequestKind};
use crate::login::refusal::LoginRefusal;
use crate::login::response::{self, LayerResponse};
use crate::login::sealed_request::{MAX_SEALED, OpenError, SealedRequest};
use crate::login::settings::{LOGIN_REQUEST, Settings};
use crate::login::transactions::LoginCookies;
use crate::login::{events, transactions};
use crate::protocol::requested_claims::RequestedClaims;
use crate::protocol::return_to::MAX_RETURN_TO;
use crate::protocol::{AuthorizationDetails, form};
use crate::record::{SessionId, SessionRef};

pub(super) async fn handle<B: Body>(settings: &Settings, parts: &Parts, body: B) -> LayerResponse {
    let headers = &parts.headers;
    let kind = navigation::request_kind(&parts.method, headers, &settings.origin);
    let is_third_party_form = settings.third_party_login && kind == RequestKind::Form;
    let asked = match is_third_party_form {
        true => settings.read_third_party_form(headers, body).await,
        false => parse_query(parts.uri.query().unwrap_or_default()),
    };
    let asked = asked.and_then(|pairs| AskedLogin::read(settings, headers, &pairs));
    let asked = match asked {
        Ok(asked) => asked,
        Err(refusal) => return reject(settings, parts, &refusal, None),
    };
    let target = asked.target.clone();
    let target = target.as_deref();
    // Only a navigation starts a login; no other request gets a transaction cookie.
    if kind != RequestKind::Navigation && !is_third_party_form {
        return settings.login_required(kind, headers, target);
    }
    let is_optional = asked.request.purpose == LoginPurpose::Optional;
    let jar = Jar::read(headers, &settings.cookies);
    if is_optional && !jar.has(NO_SILENT_LOGIN) {
        let continue_at = target.unwrap_or_else(|| settings.default_return_to());
        return settings.reject_with_link(headers, &NO_COOKIES, continue_at);
    }
    match start(settings, headers, &jar, asked).await {
        Ok(response) => response,
        Err(refusal) if is_optional => settings.continue_anonymously(&refusal, target),
        Err(refusal) => reject(settings, parts, &refusal, target),
    }
}

/// A login as a request asks for it.
struct AskedLogin {
    request: StartRequest,
    target: Option<String>,
    /// The session that the browser must have for the parameters of the application to apply.
    session: Option<SessionId>,
}

async fn start(
    settings: &Settings,
    headers: &HeaderMap,
    jar: &Jar<'_>,
    asked: AskedLogin,
) -> Result<LayerResponse, LoginRefusal> {
    let AskedLogin {
        mut request,
        target,
        session,
    } = asked;
    let (by_person, target) = (request.by_person, target.as_deref());
    // A Strict cookie is sent with this request, but not with the callback.
    if settings.same_site == SameSite::Strict || session.is_some() {
        let cookie = settings.session(headers, false).await;
        let cookie = cookie.map_err(|error| LoginRefusal::from(&error))?;
        request.replaces = cookie
            .session
            .map(|(loaded, _)| SessionRef::from(&**loaded.record()));
    }
    let has_session = request.replaces.is_some_and(|one| Some(one.id) == session);
    if session.is_some() && !has_session {
        request = as_of_a_link(request);
    }
    let checked = settings.check();
    checked.map_err(|error| LoginRefusal::from(&error))?;
    let time = settings.manager.time();
    let limit = settings.flow().login_time_limit();
    let expired = |started_at| has_expired(started_at, time.wall_for(started_at), limit);
    let chosen = transactions::choose_slot(&settings.cookies, jar, expired)?;
    let login = LoginState {
        slot: chosen.slot,
        started_at: time.wall(),
        target: StateTarget::new(target),
    };
    let state = login.seal(&settings.cookies)?;
    let started = settings.flow().start(&state, request).await;
    let started = started.map_err(|error| {
        let mut refusal = LoginRefusal::from(&error);
        if error.kind() == FlowErrorKind::Request {
            refusal.message = BAD_PARAMETER.into();
        }
        refusal
    })?;
    let started = LoginCookies {
        slot: chosen.slot,
        transaction: &started.transaction,
        long_target: target.filter(|_| login.target == StateTarget::InCookie),
        location: &started.location,
    };
    let set_cookies = transactions::set_cookies(&settings.cookies, jar, &started, limit)?;
    events::login_started(by_person, chosen.evicts);
    let mut response = response::redirect_to_server(started.location);
    response::add_cookies(response.headers_mut(), set_cookies);
    Ok(response)
}

/// Returns the request of an ordinary login: the session has ended or was replaced since the request was sealed, or it was
/// sealed for another user, who can link to its URL. What only the application may set is left out.
fn as_of_a_link(request: StartRequest) -> StartRequest {
    StartRequest {
        purpose: LoginPurpose::SignIn,
        by_application: false,
        page: None,
        login_hint: None,
        prompt: None,
        authorization_details: None,
        requested_claims: None,
        ..request
    }
}

/// Rejects a request. The rest of a form that did not arrive in time would be read as the next request on the
/// connection.
fn reject(
    settings: &Settings,
    parts: &Parts,
    refusal: &LoginRefusal,
    target: Option<&str>,
) -> LayerResponse {
    let mut response = settings.reject_login(&parts.headers, refusal, target);
    if refusal.status == StatusCode::REQUEST_TIMEOUT && parts.version < Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
    }
    response
}

fn parse_query(query: &str) -> Result<Vec<(String, String)>, LoginRefusal> {
    form::parse(query).map_err(|error| bad_parameter("malformed_query").because(error.to_string()))
}

impl AskedLogin {
    /// Reads the parameters that are forwarded to the authorization request, and the return target; all
    /// others are ignored.
    fn read(
        settings: &Settings,
        headers: &HeaderMap,
        pairs: &[(String, String)],
    ) -> Result<Self, LoginRefusal> {
        let by_person = navigation::is_user_activated(headers);
        let is_third_party = settings.is_third_party_login(pairs)?;
        let target = match is_third_party {
            true => settings.third_party_target(pairs),
            false => settings.requested_target(pairs, MAX_RETURN_TO),
        };
        let target = target.map(str::to_owned);
        if let Some(sealed) = single(pairs, LOGIN_REQUEST, MAX_SEALED)? {
            let now = settings.manager.time().wall();
            let opened = SealedRequest::open(&settings.cookies, sealed, now);
            let SealedRequest {
                request,
                purpose,
                session,
                page,
            } = opened.map_err(unusable)?;
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
            return Ok(Self {
                request,
                target,
                session,
            });
        }
        let text = |name| single(pairs, name, MAX_PARAMETER).map(|value| value.map(str::to_owned));
        let max_age = text("max_age")?
            .map(|seconds| seconds.parse().map_err(|_| bad_parameter("max_age")))
            .transpose()?;
        let request = StartRequest {
            by_person,
            login_hint: text("login_hint")?,
            prompt: text("prompt")?,
            ui_locales: text("ui_locales")?,
            acr_values: text("acr_values")?,
            max_age,
            ..StartRequest::default()
        };
        Ok(Self {
            request,
            target,
            session: None,
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
        (Some((_, value)), None) if value.len() > max => Err(bad_parameter("parameter_too_long")),
        (Some(_), Some(_)) => Err(bad_parameter("repeated_parameter")),
        (value, _) => Ok(value.map(|(_, value)| value.as_str())),
    }
}

/// Parses JSON that was checked before it was sealed.
fn parsed<T>(
    text: Option<&str>,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, LoginRefusal> {
    let parsed = text.map(|text| parse(text).ok_or_else(|| unusable(OpenError::Unreadable)));
    parsed.transpose()
}

fn unusable(error: OpenError) -> LoginRefusal {
    match error {
        OpenError::Unreadable => bad_parameter("login_request_unreadable").because(UNREADABLE),
        OpenError::Expired => LoginRefusal {
            message: Cow::Borrowed(EXPIRED),
            ..bad_parameter("login_request_expired")
        },
    }
}

const fn bad_parameter(code: &'static str) -> LoginRefusal {
    LoginRefusal::stale(code, BAD_PARAMETER)
}

const BAD_PARAMETER: &str =
    "The link that brought you here is incomplete or invalid. Please sign in again.";
const EXPIRED: &str = "The link that brought you here has expired. Please sign in again.";
const UNREADABLE: &str = "the parameter `login_request` was not created by this layer, or with a key that is not configured: \
                          every process needs the same cookie key, or the previous one with `CookieKey::add_previous`";

/// The response to a browser that does not keep the mark of a silent login.
const NO_COOKIES: LoginRefusal = LoginRefusal::new(
    StatusCode::BAD_REQUEST,
    "cookies_not_accepted",
    "Your browser does not accept cookies from this site, so you can't be signed in. You can continue without signing in.",
);

/// Limit on the length of a parameter: hints, locales and context classes are short.
const MAX_PARAMETER: usize = 512;
