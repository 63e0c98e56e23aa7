//! `session`: who is signed in, and how long still, for the scripts of the application. No token.

use bytes::Bytes;
use http::Method;
use http::request::Parts;
use serde_json::{Map, Value};

use crate::flow::SessionRecord;
use crate::login::cookies::Jar;
use crate::login::navigation::Kind;
use crate::login::refusal::Refusal;
use crate::login::response::{self, Answer};
use crate::login::settings::Settings;
use crate::protocol::form;

/// Looking does not keep the session awake (`L45`) unless the query says `extend=true`.
pub(super) async fn answer(settings: &Settings, parts: &Parts) -> Answer {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return response::method_not_allowed("GET, HEAD");
    }
    let jar = Jar::read(&parts.headers, &settings.sealer.names);
    let visit = match settings.visit(&jar).await {
        Ok(visit) => visit,
        Err(error) => return settings.refuse(&parts.headers, &Refusal::from(&error), None),
    };
    let mut cookies = visit.cookies;
    let mut answer = match visit.session {
        // RFC 10017 §6.1.2.1: where scripts must show themselves, those that ask who is there must, too.
        Some(_) if !settings.admits(&parts.method, &parts.headers) => {
            settings.refuse_foreign(&parts.headers)
        }
        Some(mut held) => {
            if wants_extension(parts) {
                held = settings.keeper.touch(held).await;
                cookies.extend(settings.renewed_cookies(&held, visit.names));
            }
            response::json(&view(settings, held.record()))
        }
        None => settings.ask_to_log_in(Kind::Program, &parts.headers, None),
    };
    if parts.method == Method::HEAD {
        *answer.body_mut() = Bytes::new();
    }
    response::add_cookies(answer.headers_mut(), cookies);
    answer
}

fn view(settings: &Settings, record: &SessionRecord) -> Value {
    let mut members = Map::new();
    members.insert("issuer".to_owned(), record.issuer().into());
    members.insert("subject".to_owned(), record.subject().into());
    for name in ["name", "preferred_username", "email"] {
        if let Some(value @ Value::String(_)) = record.claims().get(name) {
            members.insert(name.to_owned(), value);
        }
    }
    let absolute = settings.keeper.ends_at(record);
    members.insert("signed_in_at".to_owned(), record.created_at().into());
    members.insert(
        "expires_at".to_owned(),
        settings.keeper.expires_at(record).into(),
    );
    members.insert("ends_at".to_owned(), absolute.into());
    Value::Object(members)
}

fn wants_extension(parts: &Parts) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    form::parse(query).is_ok_and(|pairs| {
        pairs
            .iter()
            .any(|(name, value)| name == "extend" && value == "true")
    })
}
