//! [`BearerSettings`]: a bearer layer.

use std::time::Duration;

use serde::Deserialize;

use super::apply::{Switch, set, set_flags};
use super::client::ClientSettings;
use super::dpop::DpopSettings;
use super::error::{At as _, combination};
use super::server::{ChangeServer, ServerSettings};
use super::text::{algorithms, duration};
use crate::bearer::BearerLayer;
use crate::config_error::ConfigError;
use crate::issuer::AuthorizationServer;
use crate::token::{
    Audience, IntrospectionVerifier, JwtVerifier, ScopeClaim, TokenProfile, Verifier,
};

/// A [`BearerLayer`].
///
/// JWTs of the `issuers` are accepted, and opaque tokens if there is `introspection`; with both, the form of a token decides
/// ([`Verifier::jwt_or_opaque`]).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BearerSettings {
    /// The authorization servers whose JWTs are accepted.
    #[serde(default)]
    pub issuers: Vec<IssuerSettings>,
    /// The introspection of opaque tokens.
    pub introspection: Option<IntrospectionSettings>,
    /// [`with_realm`](BearerLayer::with_realm).
    pub realm: Option<String>,
    /// [`with_scope_hint`](BearerLayer::with_scope_hint): separated by spaces.
    pub scope_hint: Option<String>,
    /// [`optional`](BearerLayer::optional).
    #[serde(default)]
    pub optional: bool,
    /// [`with_private_responses`](BearerLayer::with_private_responses).
    #[serde(default)]
    pub private_responses: bool,
    /// [`without_forwarding`](BearerLayer::without_forwarding).
    #[serde(default)]
    pub without_forwarding: bool,
    /// [`with_token_cache`](BearerLayer::with_token_cache), in bytes; 0 is
    /// [`without_token_cache`](BearerLayer::without_token_cache).
    pub token_cache_bytes: Option<usize>,
    /// [`with_dpop`](BearerLayer::with_dpop).
    pub dpop: Option<DpopSettings>,
    /// [`with_fapi2_security_profile`](BearerLayer::with_fapi2_security_profile).
    #[serde(default)]
    pub fapi2_security_profile: bool,
}

/// An authorization server whose JWTs are accepted, a [`JwtVerifier`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct IssuerSettings {
    /// The issuer identifier; see [`AuthorizationServer::new`].
    pub issuer: String,
    /// Further settings of the authorization server.
    #[serde(default)]
    pub server: ServerSettings,
    /// The accepted values of `aud`; see [`Audience::AnyOf`]. This or `clients` is required.
    pub audience: Option<Vec<String>>,
    /// The accepted clients, for a server that sends no `aud`; see [`Audience::Clients`].
    pub clients: Option<Vec<String>>,
    /// [`with_profile`](JwtVerifier::with_profile): `"rfc9068"`, `"rfc9068_full"`, `"keycloak"`, `"entra"`, `"okta"`,
    /// `"auth0"`, `"cognito"` or `"generic"`.
    pub profile: Option<TokenProfile>,
    /// [`with_scopes_from`](JwtVerifier::with_scopes_from): names of claims.
    pub scopes_from: Option<Vec<String>>,
    /// [`with_algorithms`](JwtVerifier::with_algorithms).
    pub algorithms: Option<Vec<String>>,
    /// [`with_leeway`](JwtVerifier::with_leeway), such as `"30s"`.
    #[serde(default, deserialize_with = "duration")]
    pub leeway: Option<Duration>,
    /// [`with_max_age`](JwtVerifier::with_max_age), such as `"1h"`.
    #[serde(default, deserialize_with = "duration")]
    pub max_age: Option<Duration>,
}

/// The introspection of opaque tokens, an [`IntrospectionVerifier`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct IntrospectionSettings {
    /// The issuer identifier; see [`AuthorizationServer::new`].
    pub issuer: String,
    /// Further settings of the authorization server.
    #[serde(default)]
    pub server: ServerSettings,
    /// The client as which this API authenticates.
    pub client: ClientSettings,
    /// The accepted values of `aud`; see [`Audience::AnyOf`]. This or `clients` is required.
    pub audience: Option<Vec<String>>,
    /// The accepted clients, for a server that sends no `aud`; see [`Audience::Clients`].
    pub clients: Option<Vec<String>>,
    /// [`with_endpoint`](IntrospectionVerifier::with_endpoint).
    pub endpoint: Option<String>,
    /// [`with_signed_responses`](IntrospectionVerifier::with_signed_responses).
    #[serde(default)]
    pub signed_responses: bool,
    /// [`with_scopes_from`](IntrospectionVerifier::with_scopes_from): names of members.
    pub scopes_from: Option<Vec<String>>,
    /// [`with_cache_ttl`](IntrospectionVerifier::with_cache_ttl), such as `"30s"`.
    #[serde(default, deserialize_with = "duration")]
    pub cache_ttl: Option<Duration>,
    /// [`with_negative_cache_ttl`](IntrospectionVerifier::with_negative_cache_ttl), such as `"10s"`.
    #[serde(default, deserialize_with = "duration")]
    pub negative_cache_ttl: Option<Duration>,
    /// [`with_leeway`](IntrospectionVerifier::with_leeway), such as `"30s"`.
    #[serde(default, deserialize_with = "duration")]
    pub leeway: Option<Duration>,
    /// [`with_concurrency`](IntrospectionVerifier::with_concurrency).
    pub concurrency: Option<usize>,
}

impl BearerSettings {
    /// Creates the layer. Further methods of [`BearerLayer`] can be called on it, such as
    /// [`with_claims`](BearerLayer::with_claims) or [`with_mtls`](BearerLayer::with_mtls).
    ///
    /// # Errors
    ///
    /// As for [`LoginSettings::build`](super::LoginSettings::build).
    pub fn build(&self) -> Result<BearerLayer, ConfigError> {
        self.build_with(Ok)
    }

    /// Creates the layer, with authorization servers that `change` changes; see
    /// [`LoginSettings::build_with`](super::LoginSettings::build_with).
    ///
    /// # Errors
    ///
    /// As for [`build`](Self::build), and those of `change`.
    pub fn build_with(
        &self,
        change: impl Fn(AuthorizationServer) -> Result<AuthorizationServer, ConfigError>,
    ) -> Result<BearerLayer, ConfigError> {
        let layer = BearerLayer::new(self.verifier(&change)?);
        let realm = self.realm.as_deref();
        let layer = set(layer, "realm", realm, BearerLayer::with_realm)?;
        let scopes = self.scope_hint.as_deref();
        let layer = set(layer, "scope_hint", scopes, BearerLayer::with_scope_hint)?;
        let mut layer = set(layer, "dpop", self.dpop.as_ref(), |layer, dpop| {
            Ok(layer.with_dpop(dpop.build()?))
        })?;
        if let Some(bytes) = self.token_cache_bytes {
            layer = layer.with_token_cache(bytes);
        }
        let flags: [(bool, Switch<BearerLayer>); 3] = [
            (self.optional, BearerLayer::optional),
            (self.private_responses, BearerLayer::with_private_responses),
            (self.without_forwarding, BearerLayer::without_forwarding),
        ];
        let layer = set_flags(layer, flags);
        match self.fapi2_security_profile {
            true => layer
                .with_fapi2_security_profile()
                .at("fapi2_security_profile"),
            false => Ok(layer),
        }
    }

    fn verifier(&self, server: &ChangeServer<'_>) -> Result<Verifier, ConfigError> {
        let mut issuers = Vec::new();
        for (at, issuer) in self.issuers.iter().enumerate() {
            issuers.push(issuer.build(server).at(&format!("issuers[{at}]"))?);
        }
        let opaque = self.introspection.as_ref();
        let opaque = opaque.map(|one| one.build(server).at("introspection"));
        let jwt = match issuers.len() {
            0 => None,
            1 => issuers.pop().map(Verifier::from),
            _ => Some(Verifier::issuers(issuers).at("issuers")?),
        };
        match (jwt, opaque.transpose()?) {
            (Some(jwt), Some(opaque)) => Ok(Verifier::jwt_or_opaque(jwt, opaque)),
            (Some(jwt), None) => Ok(jwt),
            (None, Some(opaque)) => Ok(opaque.into()),
            (None, None) => combination("set `issuers` or `introspection`"),
        }
    }
}

impl IssuerSettings {
    fn build(&self, server: &ChangeServer<'_>) -> Result<JwtVerifier, ConfigError> {
        let server = self.server.build_for_api(&self.issuer, server)?;
        let audience = audience(self.audience.as_ref(), self.clients.as_ref())?;
        let mut verifier = JwtVerifier::new(&server, audience).at("audience")?;
        if let Some(profile) = self.profile {
            verifier = verifier.with_profile(profile);
        }
        let claims = self.scopes_from.as_ref();
        let verifier = set(verifier, "scopes_from", claims, |verifier, claims| {
            verifier.with_scopes_from(claims.iter().map(|name| ScopeClaim::named(name)))
        })?;
        let names = self.algorithms.as_ref();
        let verifier = set(verifier, "algorithms", names, |verifier, names| {
            verifier.with_algorithms(algorithms(names)?)
        })?;
        let verifier = set(verifier, "leeway", self.leeway, JwtVerifier::with_leeway)?;
        set(verifier, "max_age", self.max_age, JwtVerifier::with_max_age)
    }
}

impl IntrospectionSettings {
    fn build(&self, server: &ChangeServer<'_>) -> Result<IntrospectionVerifier, ConfigError> {
        let server = self.server.build_for_api(&self.issuer, server)?;
        let audience = audience(self.audience.as_ref(), self.clients.as_ref())?;
        let client = self.client.build().at("client")?;
        use IntrospectionVerifier as V;
        let mut verifier = V::new(&server, client, audience)?;
        if self.signed_responses {
            verifier = verifier.with_signed_responses();
        }
        let url = self.endpoint.as_deref();
        let verifier = set(verifier, "endpoint", url, V::with_endpoint)?;
        let members = self.scopes_from.as_ref();
        let verifier = set(verifier, "scopes_from", members, |verifier, members| {
            verifier.with_scopes_from(members.iter().map(|name| ScopeClaim::named(name)))
        })?;
        let verifier = set(verifier, "cache_ttl", self.cache_ttl, V::with_cache_ttl)?;
        let ttl = self.negative_cache_ttl;
        let verifier = set(
            verifier,
            "negative_cache_ttl",
            ttl,
            V::with_negative_cache_ttl,
        )?;
        let verifier = set(verifier, "leeway", self.leeway, V::with_leeway)?;
        set(
            verifier,
            "concurrency",
            self.concurrency,
            V::with_concurrency,
        )
    }
}

/// There is no default: a token for another API must not be accepted here.
fn audience(
    audience: Option<&Vec<String>>,
    clients: Option<&Vec<String>>,
) -> Result<Audience, ConfigError> {
    match (audience, clients) {
        (Some(audience), None) => Ok(Audience::AnyOf(audience.clone())),
        (None, Some(clients)) => Ok(Audience::Clients(clients.clone())),
        (Some(_), Some(_)) => combination("set `audience` or `clients`, not both"),
        (None, None) => combination("set `audience`, or `clients` if tokens have no `aud`"),
    }
}
