//! The settings of [`BearerLayer`] that concern what is around it: metadata, certificates, other places for
//! a token, and what goes further in.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::layer::{BearerLayer, Settings};
use super::metadata::{LayerOrder, ResourceMetadata, resource_scopes};
use super::token_source::TokenSource;
use crate::ConfigError;
use crate::protocol::field_name::announces_trailer;
use crate::token::{Dpop, Mtls};

impl<C> BearerLayer<C> {
    /// Names the address of this document in every challenge, as `resource_metadata`
    /// ([RFC 9728 §5.1](https://www.rfc-editor.org/rfc/rfc9728#section-5.1)), so that a client finds out by
    /// itself where to get a token. Call it last: the document is compared with the other settings.
    ///
    /// This layer does not serve the document and lets no request for it pass without a token. Serve it by a
    /// [`ResourceMetadataLayer`](crate::bearer::ResourceMetadataLayer) that stands *outside* of this layer:
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
    /// missing: the request is treated like any other, and one warning names the right order
    /// (`resource_metadata_behind_bearer_layer`).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] where the resource is not an audience of this layer's tokens;
    /// [`ConfigError::Setting`] where the document names no authorization server, or says of DPoP and
    /// certificates what this layer does not do.
    pub fn with_resource_metadata(
        mut self,
        metadata: &ResourceMetadata,
    ) -> Result<Self, ConfigError> {
        let settings = &self.settings;
        // A client asks for a token for `resource`, and that is what comes in `aud` (`P2`).
        if !settings.verifier.accepts_resource(metadata.resource()) {
            return Err(ConfigError::Audience {
                value: metadata.resource().to_owned(),
                reason: "the resource must be an audience of the layer, byte for byte",
            });
        }
        let refuse = |reason| ConfigError::Setting {
            setting: "resource metadata",
            value: metadata.resource().to_owned(),
            reason,
        };
        if !metadata.has("authorization_servers") {
            return Err(refuse("it must name an authorization server"));
        }
        if metadata.has("tls_client_certificate_bound_access_tokens")
            && settings.bindings.mtls.is_none()
        {
            return Err(refuse("the layer takes no certificate-bound tokens"));
        }
        let dpop = settings.bindings.dpop.as_ref();
        let taken = dpop.map(Dpop::algorithms).unwrap_or_default();
        let mut said = metadata.dpop_algorithms();
        if !said.all(|one| taken.split(' ').any(|taken| taken == one)) {
            return Err(refuse(
                "the layer takes no DPoP proofs by one of these algorithms",
            ));
        }
        let is_required = dpop.is_some_and(Dpop::is_required);
        if metadata.has("dpop_bound_access_tokens_required") && !is_required {
            return Err(refuse("the layer takes tokens that are not bound by DPoP"));
        }
        self.change(|settings| {
            settings.layer_order = Some(LayerOrder::new(metadata.path()));
            let protection = Arc::make_mut(&mut settings.protection);
            protection.resource_metadata = Some(metadata.url().into());
        });
        Ok(self)
    }

    /// The scopes that a caller without a good token had best ask for, as `scope` in the challenge of a 401.
    ///
    /// It demands nothing: that is what a [`ScopeLayer`](crate::ScopeLayer) is for, whose 403 names its own
    /// scopes.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] for what is no scope, and for `offline_access`, which is no scope of a resource.
    pub fn with_scope_hint(mut self, scopes: &str) -> Result<Self, ConfigError> {
        let hint = resource_scopes(scopes)?;
        self.change(|settings| Arc::make_mut(&mut settings.protection).scope_hint = Some(hint));
        Ok(self)
    }

    /// Takes tokens that are bound to a client certificate, and says where the certificate is found. Without
    /// it such tokens are refused.
    #[must_use]
    pub fn with_mtls(mut self, mtls: Mtls) -> Self {
        self.change(|settings| settings.bindings.mtls = Some(mtls));
        self
    }

    /// Looks for a token in another place, too: a cookie, another header field, or what a function finds. The query
    /// is no such place, and a form is read by a [`FormTokenLayer`](crate::bearer::FormTokenLayer).
    ///
    /// # Caches
    ///
    /// Shared caches keep no response to a request with `Authorization`
    /// ([RFC 9111 §3.5](https://www.rfc-editor.org/rfc/rfc9111#section-3.5)), but know nothing of other places. So a
    /// response to a request whose token came from a source gets `Cache-Control: private`: `public`, `s-maxage` and
    /// the fields that CDNs read instead ([RFC 9213](https://www.rfc-editor.org/rfc/rfc9213)) are removed,
    /// everything else stays, and `no-store` or `private` of the handler are left as they are. `Vary` names the
    /// sources: `cookie`, the field of [`TokenSource::header`], and `*` for [`TokenSource::custom`]. Refusals and
    /// responses to anonymous requests get `Vary` as well.
    /// [`without_cache_protection`](Self::without_cache_protection) switches this off.
    #[must_use]
    pub fn add_token_source(mut self, source: TokenSource) -> Self {
        self.change(|settings| {
            let vary = settings.vary.iter().cloned().chain([source.vary()]);
            settings.vary = vary.collect();
            settings.sources.push(source);
        });
        self
    }

    /// Leaves `Cache-Control` and `Vary` of responses as the handlers set them, also if the token came from a
    /// [`TokenSource`]: for applications without any cache in front, or whose handlers set both.
    #[must_use]
    pub fn without_cache_protection(mut self) -> Self {
        self.change(|settings| settings.protects_caches = false);
        self
    }

    /// Declares that this layer protects a gRPC service: a refused gRPC call is answered with HTTP status 200 and a
    /// Trailers-Only response, exactly as the gRPC protocol says
    /// ([PROTOCOL-HTTP2](https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md)). It applies to the scope
    /// layers and extractors further in as well.
    ///
    /// Without it, a refused call has the HTTP status of the refusal *and* `grpc-status`: clients take the latter, or
    /// derive the same code from the former. Do not set it on a layer that answers for others whether a request
    /// may pass (nginx `auth_request`, Traefik `forwardAuth`, Envoy `ext_authz`): to those a 200 is a yes, and
    /// the caller chooses the content type.
    #[must_use]
    pub fn with_grpc(mut self) -> Self {
        self.change(|settings| Arc::make_mut(&mut settings.protection).trailers_only = true);
        self
    }

    /// Takes the credentials out of the requests that are let through, so that nothing further in can log
    /// them or send them on: `Authorization` of whatever scheme, the `DPoP` proof, the cookie of a
    /// [`TokenSource::cookie`] and the field of a [`TokenSource::header`]; also where a request passes as anonymous. A custom source and a form stay as
    /// they are.
    ///
    /// Removed as well is what another reader may take for the token: cookies whose name looks like that of the source (see
    /// [`TokenSource::cookie`]), and fields whose name is that of the source with `_` or another sign for `-`.
    ///
    /// A handler still finds the token in its [`VerifiedToken`](crate::VerifiedToken).
    ///
    /// # Trailers
    ///
    /// This layer does not see trailers, the header fields that follow a body. If the inner service forwards or reads
    /// trailers, add a [`StripTrailersLayer`](crate::bearer::StripTrailersLayer) outside of this layer. Without it, the layer
    /// rejects only requests that announce such fields: if `Trailer` or `TE` names a removed field (`authorization`,
    /// `dpop`, the field of a source), the response is 400. `TE: trailers` is accepted.
    #[must_use]
    pub fn without_forwarding(mut self) -> Self {
        self.change(|settings| settings.strip = true);
        self
    }
}

impl<C> Settings<C> {
    /// `C14`. A certificate in a header is removed always: from a caller that is not the proxy it proves nothing.
    pub(super) fn strip_credentials(&self, headers: &mut HeaderMap) {
        if let Some(mtls) = &self.bindings.mtls {
            mtls.strip(headers);
        }
        if !self.strip {
            return;
        }
        headers.remove(AUTHORIZATION);
        headers.remove("dpop");
        for source in &self.sources {
            source.remove(headers);
        }
    }

    /// Whether the request announces a trailer that could take the place of a removed field.
    pub(super) fn has_forbidden_trailer(&self, headers: &HeaderMap) -> bool {
        announces_trailer(headers, |name| {
            let certificate = self.bindings.mtls.as_ref();
            let credentials = ["authorization", "dpop"].contains(&name)
                || self.sources.iter().any(|source| source.is_in_field(name));
            self.strip && credentials || certificate.is_some_and(|mtls| mtls.strips(name))
        })
    }
}
