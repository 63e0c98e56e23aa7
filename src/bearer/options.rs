//! The settings of [`BearerLayer`] that concern what is around it: metadata, certificates, other places for
//! a token, and what goes further in.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, Request};

use super::layer::{BearerLayer, Settings};
use super::metadata::{ResourceMetadata, asks_for_document, resource_scopes};
use super::token_source::TokenSource;
use crate::ConfigError;
use crate::protocol::field_name::announces_trailer;
use crate::token::{Dpop, Mtls, original_uri};

impl<C> BearerLayer<C> {
    /// Names the address of this document in every challenge, as `resource_metadata`
    /// ([RFC 9728 §5.1](https://www.rfc-editor.org/rfc/rfc9728#section-5.1)), so that a client finds out by
    /// itself where to get a token. Serve it by a
    /// [`ResourceMetadataLayer`](crate::bearer::ResourceMetadataLayer).
    ///
    /// Call it last. `GET` and `HEAD` of the document's own address, without a query or a body beside it, pass
    /// this layer as anonymous, so that it is public also where its layer stands further in by mistake. Let
    /// nothing else answer there: a handler for all paths would be asked without a token.
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
        if !settings.verifier.serves(metadata.resource()) {
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
            settings.metadata_path = Some(metadata.path().into());
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

    /// Looks for a token in another place, too: a cookie, or what a function finds. The query is no such
    /// place, and a form is read by a [`FormTokenLayer`](crate::bearer::FormTokenLayer).
    #[must_use]
    pub fn add_token_source(mut self, source: TokenSource) -> Self {
        self.change(|settings| settings.sources.push(source));
        self
    }

    /// Takes the credentials out of the requests that are let through, so that nothing further in can log
    /// them or send them on: `Authorization` of whatever scheme, the `DPoP` proof, and the cookie of a
    /// [`TokenSource::cookie`]; also where a request passes as anonymous. A custom source and a form stay as
    /// they are.
    ///
    /// Of cookies, every one is removed that another reader may take for the token's; see [`TokenSource::cookie`].
    ///
    /// A handler still finds the token in its [`VerifiedToken`](crate::VerifiedToken).
    ///
    /// # Trailers
    ///
    /// This layer does not see trailers, the header fields that follow a body. If the inner service forwards or reads
    /// trailers, add a [`StripTrailersLayer`](crate::bearer::StripTrailersLayer) outside of this layer. Without it, the layer
    /// rejects only requests that announce such fields: if `Trailer` or `TE` names a removed field (`authorization`,
    /// `dpop`, `cookie` with a cookie source), the response is 400. `TE: trailers` is accepted.
    #[must_use]
    pub fn without_forwarding(mut self) -> Self {
        self.change(|settings| settings.strip = true);
        self
    }
}

impl<C> Settings<C> {
    /// RFC 9728 §3: who asks for the metadata has no token yet (`P5`).
    pub(super) fn is_open_to_all<B>(&self, request: &Request<B>) -> bool {
        self.metadata_path.as_deref().is_some_and(|address| {
            let (method, headers) = (request.method(), request.headers());
            // Where the router is nested, another path may look like the address.
            let uri = original_uri(request.uri(), request.extensions());
            asks_for_document(method, uri, headers, address)
                && address.contains('?') == uri.query().is_some()
                && !has_body(headers)
        })
    }

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
            let credentials = match name {
                "authorization" | "dpop" => true,
                "cookie" => self.sources.iter().any(TokenSource::is_cookie),
                _ => false,
            };
            self.strip && credentials || certificate.is_some_and(|mtls| mtls.strips(name))
        })
    }
}

/// What asks for a document has nothing else to say. A service that answers at every path would read it.
fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(CONTENT_LENGTH);
    length.is_some_and(|length| length != "0") || headers.contains_key(TRANSFER_ENCODING)
}
