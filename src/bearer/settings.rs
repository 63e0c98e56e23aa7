//! The settings of a [`BearerLayer`](super::BearerLayer), shared with its services, and what they change in a request and
//! its response.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::challenge::ChallengeParams;
use super::claims_type::ClaimsType;
use super::metadata::{LayerOrder, ResourceMetadata};
use super::rejection_log::RejectionLog;
use super::token_source::TokenSource;
use crate::clock::SharedClock;
use crate::protocol::cache;
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
    /// Whether the FAPI 2.0 Security Profile applies.
    pub(super) fapi2: bool,
    /// Why no request can be accepted with these settings.
    pub(super) contradiction: Option<Contradiction>,
    pub(super) rejections: Arc<RejectionLog>,
}

/// Two settings that exclude each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contradiction {
    pub(super) setting: &'static str,
    /// Whether the resource metadata is one of them.
    pub(super) is_of_metadata: bool,
    /// The sentence for operators, with the setting to change.
    pub(super) reason: &'static str,
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
            fapi2: false,
            contradiction: None,
            rejections: Arc::default(),
        }
    }

    /// Compares what the metadata announces with what the layer accepts. Called after each change, because the settings
    /// may be made in any order.
    pub(super) fn find_contradiction(&self) -> Option<Contradiction> {
        let of = |setting, is_of_metadata| {
            move |reason| Contradiction {
                setting,
                is_of_metadata,
                reason,
            }
        };
        let profile = self.find_fapi2_contradiction();
        let profile = profile.map(of("FAPI 2.0 Security Profile", false));
        profile.or_else(|| {
            self.find_metadata_contradiction()
                .map(of("resource metadata", true))
        })
    }

    fn find_metadata_contradiction(&self) -> Option<&'static str> {
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
        let is_required = self.bindings.requires_dpop();
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

    /// Returns whether any field is removed before the request reaches the inner service. Most layers remove none.
    pub(super) fn removes_fields(&self) -> bool {
        self.strip || self.bindings.mtls.is_some()
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

/// What is changed in the response of the inner service.
#[derive(Debug, Default)]
pub(super) struct ResponseHeaders {
    private: bool,
    /// A new nonce for DPoP proofs (RFC 9449 §8.2). Boxed, because most responses have none.
    pub(super) nonce: Option<Box<HeaderValue>>,
    /// Whether the token came from another place than `Authorization`, so that shared caches do not know that the
    /// response belongs to one caller (RFC 9111 §3.5).
    is_elsewhere: bool,
    /// The members of `Vary` for the token sources.
    vary: Option<Arc<[HeaderValue]>>,
}

pub(super) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

impl ResponseHeaders {
    pub(super) fn of_token(settings: &Settings, is_elsewhere: bool) -> Self {
        let is_elsewhere = is_elsewhere && settings.protects_caches;
        Self {
            private: settings.private,
            nonce: None,
            is_elsewhere,
            vary: is_elsewhere.then(|| Arc::clone(&settings.vary)),
        }
    }

    pub(super) fn of_anonymous(settings: &Settings) -> Self {
        Self {
            vary: settings.vary().cloned(),
            ..Self::default()
        }
    }

    pub(super) fn apply(&mut self, headers: &mut HeaderMap) {
        if let Some(vary) = self.vary.take() {
            vary.iter()
                .for_each(|member| cache::vary_by(headers, member));
        }
        if self.is_elsewhere && cache::make_private(headers) {
            tracing::debug!(
                name: "response_made_private",
                target: "tower_oauth::bearer",
                "removed cache permissions from a response to a token outside of Authorization"
            );
        }
        // RFC 9449 §8.2: a response has at most one nonce, and a cache must not reuse it for another caller.
        if let Some(nonce) = self.nonce.take() {
            headers.insert(DPOP_NONCE, *nonce);
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            cache::remove_targeted(headers);
        } else if self.private && !headers.contains_key(CACHE_CONTROL) {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private"));
        }
    }
}
