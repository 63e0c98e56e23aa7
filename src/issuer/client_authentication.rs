//! Client authentication: the credentials of a request (RFC 6749 §2.3).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::client::{Authentication, Client};
use super::client_assertion::{
    Assertion, AssertionSigner, AuthenticationContext, JWT_BEARER, JWT_SPIFFE,
};
use super::error::AuthenticationError;
use crate::clock::Clock;
use crate::protocol::form::{self, encode_component};
use crate::protocol::json::{Json, parse_object};
use crate::protocol::media_type::FORM;
use crate::protocol::{ClientSecret, OAuthErrorCode};

/// The form parameters of a request to the authorization server. They contain secrets.
pub(crate) type FormParameters<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// How a request was authenticated.
#[derive(Debug)]
pub(crate) struct SentCredentials {
    /// The value of the `Authorization` header. Otherwise the credentials are parameters.
    header: Option<HeaderValue>,
    /// The text that was read.
    text: Option<ClientSecret>,
    /// Whether the source may return another text.
    is_changeable: bool,
}

impl Client {
    /// Adds the client id and the credentials to a request: to `parameters`, or to the `Authorization` header. A request
    /// has credentials in one of the two (RFC 6749 §2.3), never in the URL.
    ///
    /// Call it for every request, also when a request is retried: an assertion is valid once (RFC 7523 §3).
    pub(crate) async fn authenticate<'a>(
        &'a self,
        context: &AuthenticationContext<'_>,
        parameters: &mut FormParameters<'a>,
    ) -> Result<SentCredentials, AuthenticationError> {
        let text = self.read_credential(&**context.clock).await?;
        self.authenticate_with(text, context, parameters).await
    }

    /// Authenticates a request again after `rejection` of its credentials. Returns `None` without a rejection, or if the
    /// credential is still the same or cannot be read.
    ///
    /// The first request used nothing up: the server authenticates the client before it looks at a code or a token
    /// (RFC 6749 §3.2.1).
    pub(crate) async fn authenticate_again<'a>(
        &'a self,
        rejection: Option<ClientRejection>,
        rejected: &SentCredentials,
        context: &AuthenticationContext<'_>,
        parameters: &mut FormParameters<'a>,
    ) -> Option<SentCredentials> {
        let ClientRejection = rejection?;
        let old = rejected.text.as_ref().filter(|_| rejected.is_changeable)?;
        let new = self.read_credential(&**context.clock).await.ok()??;
        if new == *old {
            return None;
        }
        let again = self.authenticate_with(Some(new), context, parameters);
        again.await.ok()
    }

    /// Returns an error if a secret, token or assertion cannot be read now.
    pub(crate) async fn check_available(
        &self,
        clock: &dyn Clock,
    ) -> Result<(), AuthenticationError> {
        self.read_credential(clock).await.map(|_| ())
    }

    /// Reads and checks the text of the credential, for the methods that have one.
    async fn read_credential(
        &self,
        clock: &dyn Clock,
    ) -> Result<Option<ClientSecret>, AuthenticationError> {
        let Some(source) = self.source() else {
            return Ok(None);
        };
        let name = self.credential_name();
        let text = source.read(clock, name).await?;
        self.check_credential(&text).map_err(|reason| {
            AuthenticationError::Configuration(format!("the {name} {source}: {reason}"))
        })?;
        Ok(Some(text))
    }

    async fn authenticate_with<'a>(
        &'a self,
        text: Option<ClientSecret>,
        context: &AuthenticationContext<'_>,
        parameters: &mut FormParameters<'a>,
    ) -> Result<SentCredentials, AuthenticationError> {
        let header = match (&self.authentication, &text) {
            // Without `client_id` in the body: the header has it, and servers reject a request that authenticates
            // twice (RFC 6749 §2.3).
            (Authentication::Basic(_), Some(secret)) => Some(self.basic(secret)),
            (Authentication::BearerToken(_), Some(token)) => Some(field("Bearer", token.expose())),
            (_, text) => {
                parameters.push(("client_id", Cow::Borrowed(&self.id)));
                self.add_credential(text.as_ref(), context, parameters)
                    .await?;
                None
            }
        };
        let is_fixed = self.source().is_none_or(|one| one.fixed().is_some());
        Ok(SentCredentials {
            header,
            text,
            is_changeable: !is_fixed,
        })
    }

    /// Adds the credential of a method that sends it in the body.
    async fn add_credential(
        &self,
        text: Option<&ClientSecret>,
        context: &AuthenticationContext<'_>,
        parameters: &mut FormParameters<'_>,
    ) -> Result<(), AuthenticationError> {
        let owned = |text: &ClientSecret| Cow::Owned(text.expose().to_owned());
        let (assertion_type, assertion) = match (&self.authentication, text) {
            (Authentication::Post(_), Some(secret)) => {
                parameters.push(("client_secret", owned(secret)));
                return Ok(());
            }
            (Authentication::SecretJwt(_), Some(secret)) => {
                let key = AssertionSigner::Secret(self.hmac_algorithm(), secret);
                (JWT_BEARER, self.assert(key, context).await?)
            }
            (Authentication::PrivateKeyJwt(key), _) => (
                JWT_BEARER,
                self.assert(AssertionSigner::Private(key), context).await?,
            ),
            (Authentication::FederatedAssertion(_), Some(assertion)) => match self.is_spiffe {
                true => (JWT_SPIFFE, owned(assertion)),
                false => (JWT_BEARER, owned(assertion)),
            },
            _ => return Ok(()),
        };
        parameters.push(("client_assertion_type", Cow::Borrowed(assertion_type)));
        parameters.push(("client_assertion", assertion));
        Ok(())
    }

    /// Returns a new client assertion.
    async fn assert(
        &self,
        key: AssertionSigner<'_>,
        context: &AuthenticationContext<'_>,
    ) -> Result<Cow<'static, str>, AuthenticationError> {
        let assertion = Assertion {
            client_id: &self.id,
            audience: self.assertion_audience.as_deref().unwrap_or(context.issuer),
            is_typed: self.has_typed_assertions,
        };
        assertion.sign(key, context).await.map(Cow::Owned)
    }

    /// Returns whether requests have the client id in the `Authorization` header and not in the body.
    pub(crate) fn has_id_in_header(&self) -> bool {
        matches!(
            self.authentication,
            Authentication::Basic(_) | Authentication::BearerToken(_)
        )
    }

    /// Returns the value of the `Authorization` header. Id and secret are form-encoded first (RFC 6749 §2.3.1), so
    /// that a colon in the id does not end it.
    fn basic(&self, secret: &ClientSecret) -> HeaderValue {
        let user_pass = Zeroizing::new(format!(
            "{}:{}",
            encode_component(&self.id),
            encode_component(secret.expose())
        ));
        field("Basic", &STANDARD.encode(user_pass.as_bytes()))
    }
}

impl SentCredentials {
    /// Creates a form request with these credentials. Returns `None` if the endpoint is not a URL.
    pub(crate) fn form_request(
        &self,
        endpoint: &str,
        accept: &'static str,
        parameters: &FormParameters<'_>,
    ) -> Option<Request<Bytes>> {
        let form = HeaderValue::from_static(FORM);
        let mut request = Request::post(endpoint)
            .header(CONTENT_TYPE, form)
            .header(ACCEPT, HeaderValue::from_static(accept));
        if let Some(credentials) = &self.header {
            request = request.header(AUTHORIZATION, credentials.clone());
        }
        let pairs = parameters.iter().map(|(name, value)| (name, value));
        request.body(Bytes::from(form::encode(pairs))).ok()
    }

    /// Returns the response without the secrets of the request in its error and `error_description`, which are logged.
    pub(crate) fn without_echo(
        &self,
        response: Response<Bytes>,
        parameters: &FormParameters<'_>,
    ) -> Response<Bytes> {
        let sent = parameters.iter().filter(|(name, _)| SECRETS.contains(name));
        let secrets = sent.map(|(_, value)| &**value);
        let secrets = secrets.chain(self.text.as_ref().map(ClientSecret::expose));
        let secrets: Vec<&str> = secrets.filter(|secret| !secret.is_empty()).collect();
        match remove_echo(response.body(), &secrets) {
            Some(body) => response.map(|_| body),
            None => response,
        }
    }
}

/// The server rejected the credentials of the client, so it has not processed the request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientRejection;

/// How a response rejects the client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RejectionRule {
    /// With the error code `invalid_client` (RFC 6749 §5.2), for requests with a code or a token that may be used up.
    ErrorCode,
    /// With that code or any 401, for introspection, which uses nothing up (RFC 7662 §2.3).
    ErrorCodeOrStatus,
}

impl ClientRejection {
    /// Returns the rejection that a response reports. A server that fails while it processes the request may have used the
    /// code or the token.
    pub(crate) fn of(response: &Response<Bytes>, rule: RejectionRule) -> Option<Self> {
        let status = response.status();
        let is_rejection = match rule {
            RejectionRule::ErrorCodeOrStatus if status == StatusCode::UNAUTHORIZED => true,
            _ if !status.is_client_error() => false,
            _ => OAuthErrorCode::of_body(response.body()) == Some(OAuthErrorCode::InvalidClient),
        };
        is_rejection.then_some(Self)
    }
}

/// The parameters whose values are secrets.
const SECRETS: [&str; 6] = [
    "client_secret",
    "client_assertion",
    "code",
    "code_verifier",
    "refresh_token",
    "token",
];

/// Returns an error response (RFC 6749 §5.2) without these secrets, or `None` if it has none of them.
fn remove_echo(body: &[u8], secrets: &[&str]) -> Option<Bytes> {
    let response = parse_object(body).ok()?;
    let text = |name| response.member(name).and_then(Json::as_str);
    // The codes of the specifications are no secrets, even if a secret is one of their words.
    let code = text("error").filter(|code| !code.is_empty())?;
    let is_known = !matches!(OAuthErrorCode::from_wire(code), OAuthErrorCode::Other(_));
    let echoes = |text: Option<&str>| {
        let text = text.unwrap_or_default();
        secrets.iter().any(|secret| text.contains(secret))
    };
    let mut names = Vec::new();
    names.extend(echoes(text("error_description")).then_some("error_description"));
    names.extend((!is_known && echoes(Some(code))).then_some("error"));
    if names.is_empty() {
        return None;
    }
    let mut members: Map<String, Value> = serde_json::from_slice(body).ok()?;
    for name in names {
        if let Some(Value::String(text)) = members.get_mut(name) {
            for secret in secrets {
                *text = text.replace(secret, "***");
            }
        }
    }
    Some(Bytes::from(Value::Object(members).to_string()))
}

/// Returns the value of a sensitive `Authorization` field. Base64 and tokens have only characters that it allows.
fn field(scheme: &'static str, credentials: &str) -> HeaderValue {
    let credentials = Zeroizing::new(format!("{scheme} {credentials}"));
    let value = HeaderValue::from_str(&credentials);
    let mut value = value.unwrap_or_else(|_| HeaderValue::from_static(scheme));
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::system_clock;
    use crate::random::Random;

    #[test]
    fn an_error_response_repeats_no_secret() {
        let secrets = ["shop-secret", "the code/1"];
        for (body, expected) in [
            (
                r#"{"error":"invalid_client","error_description":"bad shop-secret, shop-secret"}"#,
                Some(r#"{"error":"invalid_client","error_description":"bad ***, ***"}"#),
            ),
            (
                r#"{"error":"no shop-secret","error_description":"the\u0020code\/1"}"#,
                Some(r#"{"error":"no ***","error_description":"***"}"#),
            ),
            (
                r#"{"error":"invalid_client","error_description":"bad secret"}"#,
                None,
            ),
            // Tokens, and what is no error response.
            (r#"{"access_token":"shop-secret","error":""}"#, None),
            (r#"{"error_description":"shop-secret"}"#, None),
            ("<html>shop-secret", None),
        ] {
            let found = remove_echo(body.as_bytes(), &secrets);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{body}");
        }
        // A secret that is a word of a code.
        let body = r#"{"error":"invalid_client"}"#;
        assert_eq!(remove_echo(body.as_bytes(), &["client"]), None);
    }

    #[test]
    fn only_introspection_takes_each_401_for_a_rejection_of_the_client() {
        const REJECTED: &str = r#"{"error":"invalid_client"}"#;
        for (status, body, by_code, by_status) in [
            (401, REJECTED, true, true),
            (400, REJECTED, true, true),
            (401, "", false, true),
            (401, r#"{"error":"invalid_token"}"#, false, true),
            (401, r#"{"error":"invalid_grant"}"#, false, true),
            (400, r#"{"error":"invalid_grant"}"#, false, false),
            (400, "", false, false),
            (403, "", false, false),
            (500, REJECTED, false, false),
            (200, REJECTED, false, false),
        ] {
            let mut response = Response::new(Bytes::from_static(body.as_bytes()));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (rule, expected) in [
                (RejectionRule::ErrorCode, by_code),
                (RejectionRule::ErrorCodeOrStatus, by_status),
            ] {
                let rejection = ClientRejection::of(&response, rule);
                assert_eq!(rejection.is_some(), expected, "{status} {body} {rule:?}");
            }
        }
    }

    #[tokio::test]
    async fn each_method_sends_credentials_in_exactly_one_place() {
        let secret = " %&+£€:";
        for (client, header, body) in [
            (
                Client::confidential("a:b", secret),
                Some("a%3Ab:+%25%26%2B%C2%A3%E2%82%AC%3A"),
                &[][..],
            ),
            (
                Client::confidential_post("a:b", secret),
                None,
                &[("client_id", "a:b"), ("client_secret", secret)],
            ),
            (Client::public("a:b"), None, &[("client_id", "a:b")]),
            (Client::mutual_tls("a:b"), None, &[("client_id", "a:b")]),
        ] {
            let mut parameters = Vec::new();
            let context = AuthenticationContext {
                issuer: "https://id.example.test",
                clock: &system_clock(),
                random: Random::system(),
            };
            let value = client
                .authenticate(&context, &mut parameters)
                .await
                .unwrap()
                .header;
            let sent: Vec<_> = parameters
                .iter()
                .map(|(name, value)| (*name, &**value))
                .collect();
            assert_eq!(sent, body, "{client:?}");
            assert!(value.as_ref().is_none_or(HeaderValue::is_sensitive));
            let decoded = value.map(|value| {
                let encoded = value
                    .to_str()
                    .unwrap()
                    .strip_prefix("Basic ")
                    .unwrap()
                    .to_owned();
                String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
            });
            assert_eq!(decoded.as_deref(), header, "{client:?}");
        }
    }
}
