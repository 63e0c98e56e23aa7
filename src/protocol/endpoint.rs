//! The endpoints that a client authenticates at: their addresses and authentication methods in the metadata.

use super::json::{Json, Object};

pub(crate) const PUSHED_REQUEST_ENDPOINT: &str = "pushed_authorization_request_endpoint";

/// An endpoint that receives requests of a client directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerEndpoint {
    Token,
    Introspection,
    Revocation,
    UserInfo,
    PushedAuthorizationRequest,
}

impl ServerEndpoint {
    /// Returns the name of the member of the metadata.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Token => "token_endpoint",
            Self::Introspection => "introspection_endpoint",
            Self::Revocation => "revocation_endpoint",
            Self::UserInfo => "userinfo_endpoint",
            Self::PushedAuthorizationRequest => PUSHED_REQUEST_ENDPOINT,
        }
    }

    /// Returns the name of the list of authentication methods (RFC 8414 §2). At the userinfo endpoint only tokens
    /// authenticate. The endpoint of pushed authorization requests has those of the token endpoint (RFC 9126 §2).
    pub(crate) fn auth_methods_name(self) -> &'static str {
        match self {
            Self::Token | Self::UserInfo | Self::PushedAuthorizationRequest => {
                "token_endpoint_auth_methods_supported"
            }
            Self::Introspection => "introspection_endpoint_auth_methods_supported",
            Self::Revocation => "revocation_endpoint_auth_methods_supported",
        }
    }

    /// Returns the name of the list of the algorithms of client assertions (RFC 8414 §2).
    pub(crate) fn auth_algorithms_name(self) -> &'static str {
        match self {
            Self::Token | Self::UserInfo | Self::PushedAuthorizationRequest => {
                "token_endpoint_auth_signing_alg_values_supported"
            }
            Self::Introspection => "introspection_endpoint_auth_signing_alg_values_supported",
            Self::Revocation => "revocation_endpoint_auth_signing_alg_values_supported",
        }
    }
}

/// `mtls_endpoint_aliases`: the addresses for connections with a client certificate (RFC 8705 §5).
#[derive(Clone, Debug, Default)]
pub(super) struct MtlsAliases(Vec<(ServerEndpoint, String)>);

impl MtlsAliases {
    pub(super) fn read(metadata: &Object<'_>) -> Self {
        let aliases = metadata.member("mtls_endpoint_aliases");
        let Some(aliases) = aliases.and_then(Json::as_object) else {
            return Self::default();
        };
        let read = |endpoint: ServerEndpoint| {
            let url = aliases.text(endpoint.name()).ok()??;
            Some((endpoint, url.to_owned()))
        };
        let endpoints = [
            ServerEndpoint::Token,
            ServerEndpoint::Introspection,
            ServerEndpoint::Revocation,
            ServerEndpoint::UserInfo,
            ServerEndpoint::PushedAuthorizationRequest,
        ];
        Self(endpoints.into_iter().filter_map(read).collect())
    }

    pub(super) fn remove(&mut self, endpoint: ServerEndpoint) {
        self.0.retain(|(other, _)| *other != endpoint);
    }

    pub(super) fn get(&self, endpoint: ServerEndpoint) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| *other == endpoint);
        found.map(|(_, url)| url.as_str())
    }
}
