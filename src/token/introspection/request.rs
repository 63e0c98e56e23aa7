//! One question to the introspection endpoint, RFC 7662 §2.1.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};

use super::failure::Failure;
use super::response::{self, Answer};
use super::settings::Settings;
use super::signed;
use crate::clock::unix_seconds;
use crate::issuer::{FetchTrigger, Parameters, retry_after};
use crate::protocol::{AccessToken, form};
use crate::random::Random;

/// No server has more to say of a token (`I11`).
const MAX_ANSWER: usize = 256 * 1024;

const PLAIN: &str = "application/json";

pub(super) async fn ask(settings: &Settings, token: &AccessToken) -> Result<Answer, Failure> {
    let request = match &settings.endpoint {
        Some(url) => request(settings, url, token)?,
        None => {
            let metadata = settings.server.metadata().await;
            let metadata = metadata.map_err(|error| Failure::no_metadata(&error))?;
            let url = metadata.introspection_endpoint().ok_or_else(|| {
                Failure::Broken("the metadata names no introspection_endpoint".to_owned())
            })?;
            request(settings, url, token)?
        }
    };
    let response = settings.server.send(request).await?;
    let body = body(&response)?;
    // A plain answer where a signed one was asked for is a downgrade, whoever did it (`I12`).
    let wanted = accepted(settings);
    if !is_of_type(response.headers(), wanted) {
        return Err(Failure::Broken(format!("the answer is not {wanted}")));
    }
    if settings.signed {
        let inner = signed::open(settings, body).await?;
        Ok(response::read(inner.as_bytes(), settings.scopes.as_ref())?)
    } else {
        Ok(response::read(body, settings.scopes.as_ref())?)
    }
}

/// The token goes into the body, never into the URL, where logs would keep it.
fn request(settings: &Settings, url: &str, token: &AccessToken) -> Result<Request<Bytes>, Failure> {
    let mut parameters: Parameters<'_> = vec![
        ("token", Cow::Borrowed(token.expose())),
        ("token_type_hint", Cow::Borrowed("access_token")),
    ];
    let occasion = FetchTrigger {
        issuer: settings.server.issuer(),
        now: unix_seconds(&**settings.server.clock()),
        random: Random::system(),
    };
    let credentials = settings.client.authenticate(&occasion, &mut parameters)?;
    let mut request = Request::post(url)
        .header(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        )
        .header(ACCEPT, HeaderValue::from_static(accepted(settings)));
    if let Some(credentials) = credentials {
        request = request.header(AUTHORIZATION, credentials);
    }
    request
        .body(Bytes::from(form::encode(parameters)))
        .map_err(|_| Failure::Broken("the introspection endpoint is not a URL".to_owned()))
}

fn accepted(settings: &Settings) -> &'static str {
    if settings.signed {
        signed::MEDIA_TYPE
    } else {
        PLAIN
    }
}

fn body(response: &Response<Bytes>) -> Result<&Bytes, Failure> {
    let status = response.status();
    if status != StatusCode::OK {
        return Err(Failure::of_status(status, retry_after(response.headers())));
    }
    if response.body().len() > MAX_ANSWER {
        return Err(Failure::Broken(
            "the answer is longer than 256 KiB".to_owned(),
        ));
    }
    Ok(response.body())
}

fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    let (field, more) = (fields.next(), fields.next());
    more.is_none()
        && field
            .and_then(|field| field.to_str().ok())
            .is_some_and(|text| {
                let essence = text.split(';').next().unwrap_or_default().trim();
                essence.eq_ignore_ascii_case(wanted)
            })
}
