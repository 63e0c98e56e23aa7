//! `login`: sends the browser to the authorization server.

use http::request::Parts;

use crate::flow::{FlowErrorKind, SessionRef, StartRequest};
use crate::login::cookies::Jar;
use crate::login::navigation::{self, Kind};
use crate::login::refusal::Refusal;
use crate::login::response::{self, Answer};
use crate::login::settings::Settings;
use crate::login::transactions::{self, MAX_RETURN_TO};
use crate::login::{SameSite, events};
use crate::protocol::form;

pub(super) async fn answer(settings: &Settings, parts: &Parts) -> Answer {
    let request = match read(settings, parts) {
        Ok(request) => request,
        Err(refusal) => return settings.refuse(&parts.headers, &refusal, None),
    };
    // `L4`: a login is started by going to a page, and nothing else gets a cookie here.
    match navigation::kind(&parts.method, &parts.headers, &settings.origin) {
        Kind::Navigation => {}
        kind => return settings.ask_to_log_in(kind, &parts.headers, Some(&request.return_to)),
    }
    let return_to = request.return_to.clone();
    start(settings, parts, request)
        .await
        .unwrap_or_else(|refusal| settings.refuse(&parts.headers, &refusal, Some(&return_to)))
}

async fn start(
    settings: &Settings,
    parts: &Parts,
    mut request: StartRequest,
) -> Result<Answer, Refusal> {
    let by_person = request.by_person;
    let jar = Jar::read(&parts.headers, &settings.sealer.names);
    // A Strict cookie is here now and does not come along with the callback.
    if settings.same_site == SameSite::Strict {
        let visit = settings
            .visit(&jar)
            .await
            .map_err(|error| Refusal::from(&error))?;
        request.replaces = visit.session.map(|held| SessionRef::from(&**held.record()));
    }
    let started = settings.flow().start(request).await.map_err(|error| {
        let mut refusal = Refusal::from(&error);
        if error.kind() == FlowErrorKind::Request {
            refusal.message = BAD_PARAMETER.into();
        }
        refusal
    })?;
    let now = |started_at| settings.now_for(started_at);
    let admitted = transactions::admit(&settings.sealer, &jar, &started.transaction, now)?;
    events::started(by_person, admitted.evicted);
    let mut answer = response::redirect_to_server(&started.location);
    response::add_cookies(answer.headers_mut(), admitted.cookies);
    Ok(answer)
}

/// `L5`: of what the query asks for, only this reaches the authorization request.
fn read(settings: &Settings, parts: &Parts) -> Result<StartRequest, Refusal> {
    let query = parts.uri.query().unwrap_or_default();
    let pairs = form::parse(query)
        .map_err(|error| bad_parameter("malformed_query").because(error.to_string()))?;
    let one = |name: &str| {
        let mut values = pairs
            .iter()
            .filter(|(other, value)| other == name && !value.is_empty());
        match (values.next(), values.next()) {
            (Some((_, value)), None) if value.len() > MAX_PARAMETER => {
                Err(bad_parameter("parameter_too_long"))
            }
            (Some(_), Some(_)) => Err(bad_parameter("repeated_parameter")),
            (value, _) => Ok(value.map(|(_, value)| value.clone())),
        }
    };
    let max_age = one("max_age")?
        .map(|seconds| seconds.parse().map_err(|_| bad_parameter("max_age")))
        .transpose()?;
    Ok(StartRequest {
        return_to: return_to(settings, &pairs).to_owned(),
        by_person: navigation::by_person(&parts.headers),
        login_hint: one("login_hint")?,
        prompt: one("prompt")?,
        ui_locales: one("ui_locales")?,
        acr_values: one("acr_values")?,
        max_age,
        replaces: None,
    })
}

/// A target that is missing, there twice (`H40`), not acceptable or too long to keep is the default (`L33`).
fn return_to<'a>(settings: &'a Settings, pairs: &'a [(String, String)]) -> &'a str {
    settings
        .one_return_to(pairs)
        .filter(|target| target.len() <= MAX_RETURN_TO)
        .unwrap_or(&settings.default_return_to)
}

const fn bad_parameter(code: &'static str) -> Refusal {
    Refusal::stale(code, BAD_PARAMETER)
}

const BAD_PARAMETER: &str = "The link that led here is incomplete or wrong.";

/// A hint is an e-mail address, locales and classes are short words.
const MAX_PARAMETER: usize = 512;
