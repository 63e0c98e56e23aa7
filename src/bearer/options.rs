//! Settings of [`BearerLayer`] for resource metadata, certificates, token sources, gRPC and forwarding.

use std::sync::Arc;

use super::layer::BearerLayer;
use super::metadata::{LayerOrder, ResourceMetadata, resource_scopes};
use super::token_source::TokenSource;
use crate::ConfigError;
use crate::token::Mtls;

impl<C> BearerLayer<C> {
    /// Adds the URL of the resource metadata to every challenge, as `resource_metadata`
    /// ([RFC 9728 §5.1](https://www.rfc-editor.org/rfc/rfc9728#section-5.1)), so that clients can discover the
    /// authorization server.
    ///
    /// This layer does not serve the document, and rejects requests for it without a token. Serve it with a
    /// [`ResourceMetadataLayer`](crate::bearer::ResourceMetadataLayer) *outside* of this layer:
    ///
    /// ```
    /// # use tower_oauth::{AuthorizationServer, BearerLayer};
    /// # use tower_oauth::bearer::{ResourceMetadata, ResourceMetadataLayer};
    /// # let server = AuthorizationServer::new("https://id.example.com")?;
    /// let metadata = ResourceMetadata::new("https://api.example.com")?.add_authorization_server(&server);
    /// let bearer = BearerLayer::jwt(&server, "https://api.example.com")?.with_resource_metadata(&metadata)?;
    ///
    /// // On an axum router, the layer that is added last is the outermost.
    /// let app: axum::Router = axum::Router::new()
    ///     .layer(bearer.clone())
    ///     .layer(ResourceMetadataLayer::new(metadata.clone()));
    ///
    /// // In a ServiceBuilder, the first is the outermost.
    /// let layers = tower::ServiceBuilder::new()
    ///     .layer(ResourceMetadataLayer::new(metadata))
    ///     .layer(bearer);
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// If a plain request for the document reaches this layer without a token, the order is wrong or the layer is
    /// missing. The request is then rejected like any other, and the event `resource_metadata_behind_bearer_layer` is
    /// logged once.
    ///
    /// # Errors
    ///
    /// - [`ConfigError::Audience`] if the resource is not an accepted audience of this layer.
    /// - [`ConfigError::Setting`] if the document has no authorization server.
    ///
    /// A document that announces DPoP or mTLS and contradicts [`with_dpop`](Self::with_dpop) or
    /// [`with_mtls`](Self::with_mtls), which may follow, is an error of [`check`](Self::check).
    pub fn with_resource_metadata(
        mut self,
        metadata: &ResourceMetadata,
    ) -> Result<Self, ConfigError> {
        // RFC 8707 §2: a client requests a token for `resource`, and receives it with this value in `aud`.
        if !self
            .settings()
            .verifier
            .accepts_resource(metadata.resource())
        {
            return Err(ConfigError::Audience {
                value: metadata.resource().to_owned(),
                reason: "the resource must equal an audience of the layer byte for byte",
            });
        }
        if !metadata.has("authorization_servers") {
            return Err(ConfigError::Setting {
                setting: "resource metadata",
                value: metadata.resource().to_owned(),
                reason: "it must have at least one authorization server",
            });
        }
        self.change(|settings| {
            settings.metadata = Some(metadata.clone());
            settings.layer_order = Some(LayerOrder::new(metadata.path()));
            let challenge = Arc::make_mut(&mut settings.challenge);
            challenge.resource_metadata = Some(metadata.url().into());
        });
        Ok(self)
    }

    /// Sets the `scope` of 401 challenges: the scopes that a client should request
    /// ([RFC 6750 §3](https://www.rfc-editor.org/rfc/rfc6750#section-3)). By default it is left out.
    ///
    /// The layer does not check these scopes. To require scopes, use a [`ScopeLayer`](crate::ScopeLayer), whose 403
    /// challenges contain its own.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] if a value is not a scope, or is `offline_access`, which is not a scope of a resource.
    pub fn with_scope_hint(mut self, scopes: &str) -> Result<Self, ConfigError> {
        let hint = resource_scopes(scopes)?;
        self.change(|settings| Arc::make_mut(&mut settings.challenge).scope_hint = Some(hint));
        Ok(self)
    }

    /// Accepts certificate-bound access tokens ([RFC 8705](https://www.rfc-editor.org/rfc/rfc8705)); [`Mtls`] determines
    /// where the client certificate is read. By default they are rejected.
    #[must_use]
    pub fn with_mtls(mut self, mtls: Mtls) -> Self {
        self.change(|settings| settings.bindings.mtls = Some(mtls));
        self
    }

    /// Adds a source of tokens beside `Authorization`: a cookie, another header field, or a function. Query parameters
    /// are not supported; for forms, use a [`FormTokenLayer`](crate::bearer::FormTokenLayer).
    ///
    /// # Caches
    ///
    /// Shared caches do not store responses to requests with `Authorization`
    /// ([RFC 9111 §3.5](https://www.rfc-editor.org/rfc/rfc9111#section-3.5)), but do not recognize other credentials.
    /// The layer therefore adds `Cache-Control: private` to a response if the token came from a source. It removes
    /// `public`, `s-maxage` and targeted fields for CDNs ([RFC 9213](https://www.rfc-editor.org/rfc/rfc9213)), and keeps
    /// other directives, including `no-store` and `private`. It adds the sources to `Vary`, also of rejections and of
    /// responses to anonymous requests: `cookie`, the field of [`TokenSource::header`], or `*` for
    /// [`TokenSource::custom`]. [`without_cache_protection`](Self::without_cache_protection) disables this.
    #[must_use]
    pub fn add_token_source(mut self, source: TokenSource) -> Self {
        self.change(|settings| {
            let vary = settings.vary.iter().cloned().chain([source.vary()]);
            settings.vary = vary.collect();
            settings.token_sources.push(source);
        });
        self
    }

    /// Does not change `Cache-Control` and `Vary`, even if the token came from a [`TokenSource`]: for applications that
    /// no shared cache can be in front of, or whose handlers set both.
    #[must_use]
    pub fn without_cache_protection(mut self) -> Self {
        self.change(|settings| settings.protects_caches = false);
        self
    }

    /// Declares that this layer protects a gRPC service: a rejected gRPC call receives a Trailers-Only response with
    /// HTTP status 200, as the gRPC protocol requires
    /// ([PROTOCOL-HTTP2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)). The setting also applies to
    /// the scope layers and extractors inside of this layer.
    ///
    /// By default, a rejected call has the HTTP status of the rejection *and* `grpc-status`: clients read the latter, or
    /// derive the same code from the former. Do not set it on a layer that serves forward authentication (nginx
    /// `auth_request`, Traefik `forwardAuth`, Envoy `ext_authz`): such a proxy treats a 200 as permission, and the caller
    /// chooses the content type.
    #[must_use]
    pub fn with_grpc(mut self) -> Self {
        self.change(|settings| Arc::make_mut(&mut settings.challenge).trailers_only = true);
        self
    }

    /// Removes credentials from forwarded requests, including anonymous ones, so that the inner service cannot log or
    /// forward them: `Authorization` with any scheme, the `DPoP` proof, the cookie of a [`TokenSource::cookie`] and the
    /// field of a [`TokenSource::header`]. Custom sources and forms are not changed.
    ///
    /// The layer also removes what another component could read as the token: cookies with a similar name (see
    /// [`TokenSource::cookie`]), and fields whose name differs only in `_` or another character in place of `-`.
    ///
    /// Handlers can still read the token from the [`VerifiedToken`](crate::VerifiedToken).
    ///
    /// # Trailers
    ///
    /// This layer does not see trailers, the header fields after a body. If the inner service forwards or reads
    /// trailers, add a [`StripTrailersLayer`](crate::bearer::StripTrailersLayer) outside of this layer. Without it, the
    /// layer only rejects requests that announce such fields: if `Trailer` or `TE` names a removed field
    /// (`authorization`, `dpop`, the field of a source), the response is 400. `TE: trailers` is accepted.
    #[must_use]
    pub fn without_forwarding(mut self) -> Self {
        self.change(|settings| settings.strip = true);
        self
    }
}
