//! The introspection request (RFC 7662 §2.1), with plain or signed responses (RFC 9701).

use std::borrow::Cow;

use bytes::Bytes;
use http::{Response, StatusCode};

use super::failure::IntrospectionFailure;
use super::response::{self, IntrospectionResponse};
use super::settings::Settings;
use crate::clock::unix_seconds;
use crate::crypto::same_media_type;
use crate::issuer::{
    AuthenticationContext, ClientRejection, FetchBudget, FormParameters, RejectionRule,
    SentCredentials, retry_after,
};
use crate::protocol::AccessToken;
use crate::protocol::endpoint::ServerEndpoint;
use crate::protocol::limits::MAX_RECEIVED_TOKEN;
use crate::protocol::media_type::has_media_type;
use crate::protocol::sanitize::{listed, log_safe};
use crate::protocol::shared_text::SharedText;
use crate::random::Random;
use crate::token::audience::Audience;
use crate::token::error::VerifyError;
use crate::token::expected_issuer::ExpectedIssuer;
use crate::token::jws::{self, MediaTypes, Rules};

const JSON_MEDIA_TYPE: &str = "application/json";
const SIGNED_MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// The maximum age of a signed response in seconds; the leeway is added.
const MAX_SIGNED_AGE: i64 = 60;

/// Introspects a token with one request.
pub(super) async fn introspect(
    settings: &Settings,
    token: &AccessToken,
) -> Result<IntrospectionResponse, IntrospectionFailure> {
    let metadata;
    let url = match &settings.endpoint {
        Some(url) => url,
        None => {
            metadata = settings.server.metadata().await;
            let metadata = metadata.as_deref();
            let metadata = metadata.map_err(IntrospectionFailure::no_metadata)?;
            let url = settings
                .client
                .endpoint(metadata, ServerEndpoint::Introspection);
            url.map_err(|error| IntrospectionFailure::Configuration(error.to_string()))?
        }
    };
    let response = send(settings, url, token).await?;
    let body = body(settings, &response)?;
    // A plain response to a request for a signed one would be a downgrade (RFC 9701 §5).
    let expected = response_media_type(settings);
    if !has_media_type(response.headers(), expected) {
        return Err(IntrospectionFailure::InvalidResponse(format!(
            "the response is not {expected}"
        )));
    }
    if settings.signed {
        let claims = verify_signed(settings, body).await?;
        Ok(response::read(claims.as_bytes(), settings.scopes.as_ref())?)
    } else {
        Ok(response::read(body, settings.scopes.as_ref())?)
    }
}

/// Sends the request, once more if the server rejected a credential that has changed since. The token is sent in the
/// body: a URL would end up in access logs.
async fn send(
    settings: &Settings,
    url: &str,
    token: &AccessToken,
) -> Result<Response<Bytes>, IntrospectionFailure> {
    let parameters: FormParameters<'_> = vec![
        ("token", Cow::Borrowed(token.expose())),
        ("token_type_hint", Cow::Borrowed("access_token")),
    ];
    let context = AuthenticationContext {
        issuer: settings.server.issuer(),
        clock: settings.server.clock(),
        random: Random::system(),
    };
    let mut authenticated = parameters.clone();
    let credentials = settings.client.authenticate(&context, &mut authenticated);
    let credentials = credentials.await?;
    let response = send_once(settings, url, authenticated, &credentials).await?;
    let mut authenticated = parameters;
    let client = &settings.client;
    let rejection = ClientRejection::of(&response, RejectionRule::ErrorCodeOrStatus);
    let again = client.authenticate_again(rejection, &credentials, &context, &mut authenticated);
    let Some(credentials) = again.await else {
        return Ok(response);
    };
    tracing::info!(
        name: "client_credential_replaced", target: "tower_oauth::bearer",
        issuer = settings.server.issuer(), client_id = client.id(), endpoint = url,
        "the authorization server rejected the client; sending the request once more with the changed credential"
    );
    send_once(settings, url, authenticated, &credentials).await
}

async fn send_once(
    settings: &Settings,
    url: &str,
    parameters: FormParameters<'_>,
    credentials: &SentCredentials,
) -> Result<Response<Bytes>, IntrospectionFailure> {
    let request = credentials.form_request(url, response_media_type(settings), &parameters);
    let request = request.ok_or_else(|| {
        IntrospectionFailure::Configuration(format!(
            "the introspection endpoint {} is not a URL",
            log_safe(url)
        ))
    })?;
    let response = settings.server.send(request).await;
    response.map_err(|error| IntrospectionFailure::no_response(url, &error))
}

/// Returns the media type that the response must have.
fn response_media_type(settings: &Settings) -> &'static str {
    if settings.signed {
        SIGNED_MEDIA_TYPE
    } else {
        JSON_MEDIA_TYPE
    }
}

fn body<'a>(
    settings: &Settings,
    response: &'a Response<Bytes>,
) -> Result<&'a Bytes, IntrospectionFailure> {
    let status = response.status();
    if status != StatusCode::OK {
        return Err(IntrospectionFailure::from_status(
            &settings.client,
            status,
            retry_after(response.headers()),
        ));
    }
    if response.body().len() > MAX_RECEIVED_TOKEN {
        return Err(IntrospectionFailure::InvalidResponse(
            "the response is longer than 256 KiB".to_owned(),
        ));
    }
    Ok(response.body())
}

/// Verifies a signed response (RFC 9701 §5) and returns the JSON text of its `token_introspection` claim. The other claims are about
/// the response, not the token.
///
/// The signature protects the response from modification between the authorization server and this process, and
/// its age limit from replay at a later time. The response does not name the token, so within that minute only TLS
/// protects it from being used for another token.
async fn verify_signed(settings: &Settings, body: &[u8]) -> Result<String, IntrospectionFailure> {
    let invalid = |reason: &str| {
        IntrospectionFailure::InvalidResponse(format!("the signed response: {reason}"))
    };
    let text = std::str::from_utf8(body).map_err(|_| invalid("it is not UTF-8"))?;
    let rules = Rules {
        max_length: MAX_RECEIVED_TOKEN,
        algorithms: settings.algorithms.clone(),
        media_types: MediaTypes::Checked(|sent| {
            sent.is_some_and(|sent| same_media_type(sent, "token-introspection+jwt"))
        }),
        leeway: settings.leeway,
        requires_expiry: false,
        accepts_repeats: false,
        issuer: ExpectedIssuer::Exact,
        fetch_budget: FetchBudget::BackChannel,
    };
    let signed = jws::verify(&settings.server, text, &rules, |_| true)
        .await
        .map_err(|error| to_failure(&error))?;
    if !is_for_us(settings, &signed.registered.audience) {
        let found = listed(signed.registered.audience.iter().map(|one| &**one));
        return Err(IntrospectionFailure::InvalidResponse(format!(
            "the signed response: its audience is another resource server: `aud` is {found}, expected the client {} \
             or the configured audience; to change: the audience of IntrospectionVerifier::new",
            settings.client.id(),
        )));
    }
    let issued_at = signed
        .registered
        .issued_at
        .ok_or_else(|| invalid("iat is missing"))?;
    let limit = issued_at.saturating_add(MAX_SIGNED_AGE + settings.leeway);
    if unix_seconds(&**settings.server.clock()) > limit {
        return Err(invalid("it is too old"));
    }
    // The payload was parsed as strict JSON before; this conversion keeps numbers unchanged.
    let payload: serde_json::Value =
        serde_json::from_str(&signed.payload).map_err(|_| invalid("it is not JSON"))?;
    match payload.get("token_introspection") {
        Some(claims) if claims.is_object() => Ok(claims.to_string()),
        _ => Err(invalid("token_introspection is missing")),
    }
}

/// Returns whether `aud` of a signed response is this resource server (RFC 9701 §5): the client that asked, or an
/// identifier that tokens for this API have. If the audience of tokens is unchecked, only the client identifies it.
fn is_for_us(settings: &Settings, audience: &[SharedText]) -> bool {
    let configured = match &*settings.audience {
        Audience::AnyOf(configured) => &configured[..],
        Audience::Clients(_) | Audience::Unchecked => &[],
    };
    let is_ours = |one: &str| one == settings.client.id() || configured.iter().any(|us| us == one);
    audience.iter().any(|one| is_ours(one))
}

/// Converts the error of the response's signature, which says nothing about the introspected token.
fn to_failure(error: &VerifyError) -> IntrospectionFailure {
    match error.unavailable() {
        Some(unavailable) => unavailable.clone().into(),
        None => IntrospectionFailure::InvalidResponse(format!("the signed response: {error}")),
    }
}
