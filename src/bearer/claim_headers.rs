//! [`ClaimHeadersLayer`]: passes claims to the inner service in header fields.

use std::fmt::Write as _;
use std::sync::Arc;

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tower_layer::Layer;

use super::auth_state::{AuthState, refuse};
use super::guard::{Guard, Requirement};
use super::refusal::Refusal;
use crate::ConfigError;
use crate::protocol::field_name::{
    announces_trailer, normalize_header_name, remove, remove_members,
};
use crate::token::TokenInfo;

/// Passes claims of the verified token to the inner service in header fields, for services that cannot read tokens.
///
/// With the prefix `x-auth-` the fields are `x-auth-iss`, `x-auth-sub`, `x-auth-client-id` and `x-auth-scope`, each only
/// if the token has the claim. Identify users by issuer and subject together. `%` and bytes that are not visible ASCII
/// are percent-encoded; scopes are separated by a space. Anonymous requests get no fields.
///
/// **The layer first removes every field with this prefix that the caller sent**, including names with `_`, `.` or
/// another character in place of `-`, because CGI and similar interfaces cannot distinguish them. It also removes such
/// names from `Connection`, because a proxy further in would otherwise remove the fields of this layer.
///
/// Add it inside of [`BearerLayer`](crate::BearerLayer); without one, the response to every request is 500.
///
/// # Deployment notes
///
/// The inner service can only trust these fields if it cannot be reached without passing this layer.
///
/// # Trailers
///
/// This layer does not see trailers, the header fields after a body. If the inner service forwards or reads trailers,
/// add a [`StripTrailersLayer`](crate::bearer::StripTrailersLayer) outside of this layer. Without it, the layer only
/// rejects requests that announce such fields: if `Trailer` or `TE` names a field with the prefix, the response is 400.
/// `TE: trailers` is accepted, because it concerns the response, and gRPC clients send it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use tower_oauth::bearer::ClaimHeadersLayer;
/// use tower_oauth::{AuthorizationServer, BearerLayer};
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let api: Router = Router::new()
///     .route("/legacy", get(async || "forwarded"))
///     .layer(ClaimHeadersLayer::new("x-auth-")?)
///     .layer(BearerLayer::jwt(&server, "https://api.example.com")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClaimHeadersLayer {
    fields: Arc<ClaimFields>,
}

#[derive(Debug)]
struct ClaimFields {
    /// Normalized by [`normalize_header_name`].
    prefix: Box<str>,
    names: [HeaderName; 4],
}

impl ClaimHeadersLayer {
    /// Creates a layer that adds fields whose names start with `prefix`, such as `x-auth-`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless the prefix can start a header name and ends with a hyphen.
    pub fn new(prefix: &str) -> Result<Self, ConfigError> {
        let name = |suffix: &str| {
            let name = HeaderName::try_from(format!("{prefix}{suffix}"));
            let name = name
                .ok()
                .filter(|_| prefix.len() > 1 && prefix.ends_with('-'));
            name.ok_or_else(|| ConfigError::Setting {
                setting: "prefix",
                value: prefix.to_owned(),
                reason: "it must be the start of a header name and end with a hyphen",
            })
        };
        let fields = ClaimFields {
            names: [
                name("iss")?,
                name("sub")?,
                name("client-id")?,
                name("scope")?,
            ],
            prefix: normalize_header_name(prefix).into(),
        };
        Ok(Self {
            fields: Arc::new(fields),
        })
    }
}

impl ClaimFields {
    /// Removes the fields that the caller sent, because they are not claims of a verified token.
    ///
    /// RFC 9110 §7.6.1: intermediaries remove the fields that `Connection` names before they forward a request. A
    /// caller could use it to appear as anonymous to the inner service.
    fn strip(&self, headers: &mut HeaderMap) {
        remove(headers, |_, name| self.has_prefix(name));
        remove_members(headers, &CONNECTION, |name| self.has_prefix(name));
    }

    fn has_prefix(&self, folded_name: &str) -> bool {
        folded_name.starts_with(&*self.prefix)
    }

    /// Adds the claims of the token.
    fn add_claims(&self, head: &mut Parts) -> Result<(), Refusal> {
        let state = AuthState::of(&head.extensions, NO_LAYER)?;
        if announces_trailer(&head.headers, |name| self.has_prefix(name)) {
            return Err(Refusal::ForbiddenTrailer);
        }
        if let Some(token_info) = &state.token_info {
            self.add(&mut head.headers, token_info);
        }
        Ok(())
    }

    fn add(&self, headers: &mut HeaderMap, token_info: &TokenInfo) {
        let claims = &token_info.claims;
        let [issuer, subject, client, scope] = &self.names;
        for (name, value) in [
            (issuer, claims.issuer()),
            (subject, claims.subject()),
            (client, claims.client_id()),
        ] {
            insert(headers, name, value.into_iter());
        }
        insert(headers, scope, token_info.scopes().iter());
    }
}

/// Sets the field unless there are no values.
fn insert<'a>(headers: &mut HeaderMap, name: &HeaderName, values: impl Iterator<Item = &'a str>) {
    let mut text = String::new();
    for (at, value) in values.enumerate() {
        if at > 0 {
            text.push(' ');
        }
        encode(value, &mut text);
    }
    if let Some(value) = HeaderValue::try_from(text)
        .ok()
        .filter(|value| !value.is_empty())
    {
        headers.insert(name, value);
    }
}

/// Encodes injectively, so that no subject can impersonate another one.
fn encode(value: &str, text: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

impl Requirement for ClaimFields {
    fn check(&self, head: &mut Parts) -> Result<(), Box<Response<()>>> {
        self.strip(&mut head.headers);
        self.add_claims(head)
            .map_err(|refusal| refuse(refusal, &*head))
    }
}

const NO_LAYER: &str = "ClaimHeadersLayer requires an outer BearerLayer";

impl<S> Layer<S> for ClaimHeadersLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let fields = Arc::clone(&self.fields);
        Guard::new(inner, fields)
    }
}
