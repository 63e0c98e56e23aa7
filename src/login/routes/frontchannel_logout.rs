//! `frontchannel-logout`: a page of the authorization server loads this in a frame when somebody signs out
//! there, OpenID Connect Front-Channel Logout §2 (`L67`).
//!
//! It is a GET from elsewhere, so it ends only what names itself: the session of this very browser, told by
//! `iss` and `sid` together. Browsers that keep cookies from frames make it do nothing; the back channel is
//! the one to rely on.

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};

use crate::login::cookies::Jar;
use crate::login::events;
use crate::login::refusal::Refusal;
use crate::login::response::{self, Answer};
use crate::login::settings::Settings;
use crate::protocol::form;
use crate::session::{EndReason, OpenedSession, PresentedSessions, SignOut};
use crate::store::StoreError;

pub(super) async fn answer(settings: &Settings, parts: &Parts) -> Answer {
    if parts.method != Method::GET {
        return response::method_not_allowed("GET");
    }
    let pairs = form::parse(parts.uri.query().unwrap_or_default()).unwrap_or_default();
    // `H104`: one without the other says nothing of whose session is meant.
    let (Some(issuer), Some(sid)) = (one(&pairs, "iss"), one(&pairs, "sid")) else {
        return page(settings, StatusCode::BAD_REQUEST);
    };
    match end(settings, parts, issuer, sid).await {
        Ok(cookies) => {
            let mut answer = page(settings, StatusCode::OK);
            response::add_cookies(answer.headers_mut(), cookies);
            answer
        }
        Err(error) => settings.refuse(&parts.headers, &Refusal::from(&error), None),
    }
}

/// Ends the session of this browser if it is the one that is named; what clears its cookies.
async fn end(
    settings: &Settings,
    parts: &Parts,
    issuer: &str,
    sid: &str,
) -> Result<Vec<HeaderValue>, StoreError> {
    let jar = Jar::read(&parts.headers, &settings.sealer.names);
    let found = settings.found(&jar);
    let mut ended = false;
    // Each by itself: a session that was planted beside it must not keep the one that is named.
    for shown in found
        .presented
        .into_iter()
        .flat_map(PresentedSessions::into_iter)
    {
        let one = PresentedSessions::from(shown.clone());
        let OpenedSession::Session(held) = settings.keeper.open_presented(one).await? else {
            continue;
        };
        let record = held.record();
        if record.issuer() != issuer || record.sid() != Some(sid) {
            continue;
        }
        match settings
            .keeper
            .sign_out(shown, EndReason::FrontChannel)
            .await
        {
            SignOut::Failed(error) => return Err(error),
            SignOut::Ended(_) | SignOut::EndedLocally(_) | SignOut::AlreadyEnded => ended = true,
        }
    }
    if !ended {
        return Ok(Vec::new());
    }
    events::signed_out_in_a_frame();
    Ok(jar
        .names()
        .filter_map(|name| settings.clear(name))
        .collect())
}

/// A parameter that is there once and says something.
fn one<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut values = pairs.iter().filter(|(other, _)| other == name);
    match (values.next(), values.next()) {
        (Some((_, value)), None) if !value.is_empty() => Some(value),
        _ => None,
    }
}

/// Nothing to see, and only for frames of the authorization server (§2). Whether somebody was signed out
/// it does not say.
fn page(settings: &Settings, status: StatusCode) -> Answer {
    let issuer = settings.flow().server().issuer();
    let origin = url::Url::parse(issuer).map(|url| url.origin().ascii_serialization());
    let policy = format!(
        "default-src 'none'; frame-ancestors {}",
        origin.as_deref().unwrap_or("'none'")
    );
    let mut answer = response::html(status, PAGE.to_owned(), &policy);
    response::allow_embedding(answer.headers_mut());
    answer
}

const PAGE: &str = "<!doctype html><html lang=\"en\"><title>Sign out</title></html>";
