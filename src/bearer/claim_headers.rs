//! [`ClaimHeadersLayer`]: who calls, told in headers to a handler or upstream that reads nothing else.

use std::fmt::Write as _;
use std::task::{Context, Poll};

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::refusal::{ChallengeHints, Refusal};
use super::require::{ScopeFuture, find_judged, refuse_request};
use crate::ConfigError;
use crate::protocol::field_name::{
    announces_trailer, normalize_header_name, remove, remove_members,
};
use crate::token::TokenInfo;

/// Says in headers whose token was verified, to a service behind that cannot read a token.
///
/// With the prefix `x-auth-` they are `x-auth-iss`, `x-auth-sub`, `x-auth-client-id` and `x-auth-scope`,
/// each where the token has it. A user is known by issuer and subject together. Bytes that are not
/// visible ASCII, and `%`, are percent-encoded; scopes are separated by a space.
///
/// **Every header of that prefix that the caller sent is removed first**, also where it is written with
/// `_`, `.` or another sign in place of a `-`, since CGI and the like cannot tell these apart. What the
/// caller's `Connection` says of such headers goes, too: a proxy behind would take ours away for it. All that
/// is worth only as much as the way behind is closed: the service must be reachable through here alone.
///
/// # Trailers
///
/// This layer does not see trailers, the header fields that follow a body. If the inner service forwards or reads
/// trailers, add a [`StripTrailersLayer`](crate::bearer::StripTrailersLayer) outside of this layer. Without it, the layer
/// rejects only requests that announce such fields: if `Trailer` or `TE` names a header of the prefix, the response is
/// 400. `TE: trailers` is accepted, since it concerns the response, and gRPC clients send it.
///
/// It stands inside of [`BearerLayer`](crate::BearerLayer); without one around it every request gets 500.
/// Where an optional layer let an anonymous request through, no header is set.
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
///     .route("/legacy", get(async || "handed on"))
///     .layer(ClaimHeadersLayer::new("x-auth-")?)
///     .layer(BearerLayer::jwt(&server, "https://api.example.com")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClaimHeadersLayer {
    /// As [`normalize_header_name`] prints it.
    prefix: Box<str>,
    names: [HeaderName; 4],
}

impl ClaimHeadersLayer {
    /// Headers that begin with this prefix, such as `x-auth-`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] unless it is the beginning of a header's name and ends with a hyphen.
    pub fn new(prefix: &str) -> Result<Self, ConfigError> {
        let name = |last: &str| {
            let name = HeaderName::try_from(format!("{prefix}{last}"));
            let name = name
                .ok()
                .filter(|_| prefix.len() > 1 && prefix.ends_with('-'));
            name.ok_or_else(|| ConfigError::Setting {
                setting: "prefix",
                value: prefix.to_owned(),
                reason: "it must be the beginning of a header's name and end with a hyphen",
            })
        };
        Ok(Self {
            names: [
                name("iss")?,
                name("sub")?,
                name("client-id")?,
                name("scope")?,
            ],
            prefix: normalize_header_name(prefix).into(),
        })
    }

    /// `C14`: what the caller says of itself is no claim.
    ///
    /// RFC 9110 §7.6.1: what `Connection` names is taken off before a request is sent on. A caller who names
    /// ours there would come to the service behind as nobody.
    fn strip(&self, headers: &mut HeaderMap) {
        remove(headers, |_, name| self.is_ours(name));
        remove_members(headers, &CONNECTION, |name| self.is_ours(name));
    }

    fn is_ours(&self, folded_name: &str) -> bool {
        folded_name.starts_with(&*self.prefix)
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

/// Sets the header where there is anything to say.
fn insert<'a>(headers: &mut HeaderMap, name: &HeaderName, words: impl Iterator<Item = &'a str>) {
    let mut text = String::new();
    for (at, word) in words.enumerate() {
        if at > 0 {
            text.push(' ');
        }
        encode(word, &mut text);
    }
    if let Some(value) = HeaderValue::try_from(text)
        .ok()
        .filter(|value| !value.is_empty())
    {
        headers.insert(name, value);
    }
}

/// Two words never print alike, so that nobody can be taken for somebody else.
fn encode(word: &str, text: &mut String) {
    for byte in word.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
}

impl<S> Layer<S> for ClaimHeadersLayer {
    type Service = ForwardClaims<S>;

    fn layer(&self, inner: S) -> Self::Service {
        let layer = self.clone();
        ForwardClaims { inner, layer }
    }
}

const NO_LAYER: &str = "a ClaimHeadersLayer has no BearerLayer around it";

/// The service that [`ClaimHeadersLayer`] makes.
#[derive(Clone, Debug)]
pub struct ForwardClaims<S> {
    inner: S,
    layer: ClaimHeadersLayer,
}

impl<S, B, R> Service<Request<B>> for ForwardClaims<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ScopeFuture<S::Future, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        self.layer.strip(request.headers_mut());
        let judged = match find_judged(&request, NO_LAYER) {
            Ok(judged) => judged.clone(),
            Err(response) => return ScopeFuture::refused(*response),
        };
        if announces_trailer(request.headers(), |name| self.layer.is_ours(name)) {
            let (refusal, used) = (Refusal::ForbiddenTrailer, Some(judged.scheme));
            let protection = &judged.protection;
            let response = refuse_request(
                refusal,
                &request,
                protection,
                used,
                ChallengeHints::default(),
            );
            return ScopeFuture::refused(*response);
        }
        if let Some(token_info) = &judged.token_info {
            self.layer.add(request.headers_mut(), token_info);
        }
        ScopeFuture::admitted(self.inner.call(request))
    }
}
