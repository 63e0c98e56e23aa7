//! The settings of a [`BearerLayer`](super::BearerLayer), shared with its services.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use super::auth_state::ClaimsType;
use super::challenge::ChallengeParams;
use super::metadata::{LayerOrder, ResourceMetadata};
use super::token_source::TokenSource;
use crate::clock::SharedClock;
use crate::protocol::field_name::announces_trailer;
use crate::token::{Bindings, Dpop, Verifier};

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) verifier: Verifier,
    /// The clock of the verifier.
    pub(super) clock: SharedClock,
    pub(super) bindings: Bindings,
    pub(super) challenge: Arc<ChallengeParams>,
    pub(super) optional: bool,
    pub(super) private: bool,
    /// Sources of tokens beside `Authorization`.
    pub(super) token_sources: Vec<TokenSource>,
    /// Whether credentials are removed before the request reaches the inner service.
    pub(super) strip: bool,
    /// The members of `Vary` for the sources.
    pub(super) vary: Arc<[HeaderValue]>,
    /// Whether responses to tokens of the sources are kept out of shared caches.
    pub(super) protects_caches: bool,
    pub(super) metadata: Option<ResourceMetadata>,
    pub(super) layer_order: Option<LayerOrder>,
    pub(super) claims_type: &'static ClaimsType,
    /// Why no request can be accepted with these settings.
    pub(super) contradiction: Option<&'static str>,
}

impl Settings {
    pub(super) fn new(verifier: Verifier) -> Self {
        Self {
            clock: Arc::clone(verifier.clock()),
            verifier,
            bindings: Bindings::default(),
            challenge: Arc::default(),
            optional: false,
            private: false,
            token_sources: Vec::new(),
            strip: false,
            vary: Arc::new([]),
            protects_caches: true,
            metadata: None,
            layer_order: None,
            claims_type: ClaimsType::PLAIN,
            contradiction: None,
        }
    }

    /// Compares what the metadata announces with what the layer accepts. Called after each change, because the settings
    /// may be made in any order.
    pub(super) fn find_contradiction(&self) -> Option<&'static str> {
        let metadata = self.metadata.as_ref()?;
        let announces_mtls = metadata.has("tls_client_certificate_bound_access_tokens");
        if announces_mtls && self.bindings.mtls.is_none() {
            return Some(
                "the resource metadata announces certificate-bound tokens, but the layer does not accept them: call \
                 `BearerLayer::with_mtls`",
            );
        }
        let dpop = self.bindings.dpop.as_ref();
        let accepted = dpop.map(Dpop::algorithms).unwrap_or_default();
        let mut announced = metadata.dpop_algorithms();
        if !announced.all(|one| accepted.split(' ').any(|accepted| accepted == one)) {
            return Some(
                "the resource metadata announces a DPoP algorithm that the layer does not accept: call \
                 `BearerLayer::with_dpop` with the same algorithms",
            );
        }
        let is_required = dpop.is_some_and(Dpop::is_required);
        if metadata.has("dpop_bound_access_tokens_required") && !is_required {
            return Some(
                "the resource metadata announces that DPoP is required, but the layer also accepts other tokens: call \
                 `BearerLayer::with_dpop` with `Dpop::required`",
            );
        }
        None
    }

    /// Returns the members of `Vary` for the token sources, if there are any.
    pub(super) fn vary(&self) -> Option<&Arc<[HeaderValue]>> {
        (self.protects_caches && !self.vary.is_empty()).then_some(&self.vary)
    }

    /// Removes the credentials. A certificate header is always removed: unless the proxy set it, it proves nothing.
    pub(super) fn strip_credentials(&self, headers: &mut HeaderMap) {
        if let Some(mtls) = &self.bindings.mtls {
            mtls.strip(headers);
        }
        if !self.strip {
            return;
        }
        headers.remove(AUTHORIZATION);
        headers.remove("dpop");
        for source in &self.token_sources {
            source.remove(headers);
        }
    }

    /// Returns whether the request announces a trailer that could replace a removed field.
    pub(super) fn has_forbidden_trailer(&self, headers: &HeaderMap) -> bool {
        let certificate = self.bindings.mtls.as_ref();
        // Most layers remove nothing, and every request passes here.
        if !self.strip && certificate.is_none() {
            return false;
        }
        announces_trailer(headers, |name| {
            let credentials = ["authorization", "dpop"].contains(&name)
                || self
                    .token_sources
                    .iter()
                    .any(|source| source.is_in_field(name));
            self.strip && credentials || certificate.is_some_and(|mtls| mtls.strips(name))
        })
    }
}
