//! The endpoints of the test server. Each handler maps a request and the server's state to a response.

mod authorization;
mod authorization_response;
mod client_assertion;
mod client_authentication;
mod discovery;
mod end_session;
mod introspection;
mod pages;
mod proof;
mod pushed_request;
mod request;
mod request_object;
mod revocation;
mod sign_in;
mod token;
mod tokens;
mod user_info;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use url::Url;

pub(super) use proof::NonceKeys;
pub(super) use request::ValidatedRequest;

use super::fault::Kind;
use super::request_log::Endpoint;
use super::respond::{empty, method_not_allowed};
use super::server::TestServer;

const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
const AUTHORIZATION_SERVER_METADATA: &str = "/.well-known/oauth-authorization-server";

/// Returns the endpoint of an issuer that a path belongs to.
pub(super) fn endpoint_at(issuer: &Url, path: &str) -> Endpoint {
    let base = issuer.path().trim_end_matches('/');
    // RFC 8414 §3.1: the issuer's path follows the well-known path.
    if path.strip_prefix(AUTHORIZATION_SERVER_METADATA) == Some(base) {
        return Endpoint::Metadata;
    }
    match path.strip_prefix(base) {
        Some(OPENID_CONFIGURATION) => Endpoint::Metadata,
        Some("/jwks") => Endpoint::KeySet,
        Some("/authorize") => Endpoint::Authorization,
        Some("/sign-in") => Endpoint::SignIn,
        Some("/consent") => Endpoint::Consent,
        Some("/token") => Endpoint::Token,
        Some("/userinfo") => Endpoint::UserInfo,
        Some("/end-session") => Endpoint::EndSession,
        Some("/introspect") => Endpoint::Introspection,
        Some("/revoke") => Endpoint::Revocation,
        Some("/par") => Endpoint::PushedAuthorizationRequest,
        _ => Endpoint::Unknown,
    }
}

pub(super) fn handle(
    server: &TestServer,
    endpoint: Endpoint,
    request: &Request<Bytes>,
    faults: &[Kind],
) -> Response<Bytes> {
    let get = request.method() == Method::GET;
    let post = request.method() == Method::POST;
    match endpoint {
        Endpoint::Metadata | Endpoint::KeySet if !get => method_not_allowed("GET"),
        Endpoint::SignIn
        | Endpoint::Token
        | Endpoint::Introspection
        | Endpoint::Revocation
        | Endpoint::PushedAuthorizationRequest
            if !post =>
        {
            method_not_allowed("POST")
        }
        _ if !get && !post => method_not_allowed("GET, POST"),
        Endpoint::Metadata => discovery::metadata(server),
        Endpoint::KeySet => discovery::key_set(server),
        Endpoint::Authorization => authorization::handle(server, request),
        Endpoint::SignIn => sign_in::sign_in(server, request),
        Endpoint::Consent => sign_in::consent(server, request),
        Endpoint::Token => token::handle(server, request, faults),
        Endpoint::UserInfo => user_info::handle(server, request),
        Endpoint::EndSession => end_session::handle(server, request),
        Endpoint::Introspection => introspection::handle(server, request, faults),
        Endpoint::Revocation => revocation::handle(server, request),
        Endpoint::PushedAuthorizationRequest => pushed_request::handle(server, request),
        Endpoint::Unknown => empty(StatusCode::NOT_FOUND),
    }
}

impl TestServer {
    /// Returns the URL of an endpoint.
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer().trim_end_matches('/'))
    }

    /// Returns the server's origin as browsers serialize it.
    fn origin(&self) -> String {
        self.shared.issuer.origin().ascii_serialization()
    }

    fn is_https(&self) -> bool {
        self.shared.issuer.scheme() == "https"
    }
}
