//! The introspection request (RFC 7662 §2.1).

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};

use super::failure::IntrospectionFailure;
use super::response::{self, IntrospectionResponse};
use super::settings::Settings;
use super::signed;
use crate::clock::unix_seconds;
use crate::issuer::{AuthenticationContext, FormParameters, retry_after};
use crate::protocol::{AccessToken, form};
use crate::random::Random;

/// Bounds the memory that a response can occupy.
const MAX_RESPONSE_LENGTH: usize = 256 * 1024;

const JSON_MEDIA_TYPE: &str = "application/json";

/// Introspects a token with one request.
pub(super) async fn introspect(
    settings: &Settings,
    token: &AccessToken,
) -> Result<IntrospectionResponse, IntrospectionFailure> {
    let request = match &settings.endpoint {
        Some(url) => build(settings, url, token)?,
        None => {
            let metadata = settings.server.metadata().await;
            let metadata = metadata.map_err(|error| IntrospectionFailure::no_metadata(&error))?;
            let url = metadata.introspection_endpoint().ok_or_else(|| {
                IntrospectionFailure::InvalidResponse(
                    "the metadata has no introspection_endpoint".to_owned(),
                )
            })?;
            build(settings, url, token)?
        }
    };
    let response = settings.server.send(request).await?;
    let body = body(&response)?;
    // A plain response to a request for a signed one would be a downgrade (RFC 9701 §5).
    let expected = response_media_type(settings);
    if !has_media_type(response.headers(), expected) {
        return Err(IntrospectionFailure::InvalidResponse(format!(
            "the response is not {expected}"
        )));
    }
    if settings.signed {
        let claims = signed::verify(settings, body).await?;
        Ok(response::read(claims.as_bytes(), settings.scopes.as_ref())?)
    } else {
        Ok(response::read(body, settings.scopes.as_ref())?)
    }
}

/// Builds the request. The token is sent in the body: a URL would end up in access logs.
fn build(
    settings: &Settings,
    url: &str,
    token: &AccessToken,
) -> Result<Request<Bytes>, IntrospectionFailure> {
    let mut parameters: FormParameters<'_> = vec![
        ("token", Cow::Borrowed(token.expose())),
        ("token_type_hint", Cow::Borrowed("access_token")),
    ];
    let context = AuthenticationContext {
        issuer: settings.server.issuer(),
        now: unix_seconds(&**settings.server.clock()),
        random: Random::system(),
    };
    let credentials = settings.client.authenticate(&context, &mut parameters)?;
    let mut request = Request::post(url)
        .header(
            CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        )
        .header(
            ACCEPT,
            HeaderValue::from_static(response_media_type(settings)),
        );
    if let Some(credentials) = credentials {
        request = request.header(AUTHORIZATION, credentials);
    }
    request
        .body(Bytes::from(form::encode(parameters)))
        .map_err(|_| {
            IntrospectionFailure::InvalidResponse(
                "the introspection endpoint is not a URL".to_owned(),
            )
        })
}

/// Returns the media type that the response must have.
fn response_media_type(settings: &Settings) -> &'static str {
    if settings.signed {
        signed::MEDIA_TYPE
    } else {
        JSON_MEDIA_TYPE
    }
}

fn body(response: &Response<Bytes>) -> Result<&Bytes, IntrospectionFailure> {
    let status = response.status();
    if status != StatusCode::OK {
        return Err(IntrospectionFailure::from_status(
            status,
            retry_after(response.headers()),
        ));
    }
    if response.body().len() > MAX_RESPONSE_LENGTH {
        return Err(IntrospectionFailure::InvalidResponse(
            "the response is longer than 256 KiB".to_owned(),
        ));
    }
    Ok(response.body())
}

fn has_media_type(headers: &HeaderMap, expected: &str) -> bool {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    let (field, more) = (fields.next(), fields.next());
    more.is_none()
        && field
            .and_then(|field| field.to_str().ok())
            .is_some_and(|text| {
                let essence = text.split(';').next().unwrap_or_default().trim();
                essence.eq_ignore_ascii_case(expected)
            })
}
