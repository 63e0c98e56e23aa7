//! The result of authentication in the request extensions, for the layers, extractors and handlers inside of a
//! `BearerLayer`.

use std::any::type_name;
use std::sync::Arc;

use http::{Extensions, Request, Response};

use super::challenge::ChallengeParams;
use super::claims_type::ClaimsType;
use super::policy::Policy;
use super::refusal::Refusal;
use super::response::RequestHead;
use crate::protocol::credentials::{PresentedToken, Scheme};
use crate::telemetry::may_log;
use crate::token::{TokenInfo, VerifiedToken, VerifyErrorKind};

/// The result of the innermost `BearerLayer`. Inner layers and extractors need it to distinguish an anonymous request
/// from a missing layer.
#[derive(Clone, Debug)]
pub(crate) struct AuthState {
    pub(super) challenge: Arc<ChallengeParams>,
    /// `None` for an anonymous request.
    pub(super) token_info: Option<Arc<TokenInfo>>,
    /// The scheme that the caller used.
    scheme: Scheme,
    /// When the token was validated, in seconds since the Unix epoch.
    validated_at: i64,
    claims_type: &'static ClaimsType,
}

impl AuthState {
    /// Inserts a verified token into the request extensions, as the claims type of the layer.
    pub(super) fn insert_token(
        extensions: &mut Extensions,
        challenge: &Arc<ChallengeParams>,
        claims_type: &'static ClaimsType,
        token_info: Arc<TokenInfo>,
        presented: PresentedToken,
        validated_at: i64,
    ) -> Result<(), VerifyErrorKind> {
        let state = Self {
            challenge: Arc::clone(challenge),
            token_info: Some(Arc::clone(&token_info)),
            scheme: presented.scheme,
            validated_at,
            claims_type,
        };
        state.insert(extensions);
        (claims_type.insert)(extensions, token_info, presented, validated_at)
    }

    pub(super) fn insert_anonymous(
        extensions: &mut Extensions,
        challenge: &Arc<ChallengeParams>,
        claims_type: &'static ClaimsType,
    ) {
        let state = Self {
            challenge: Arc::clone(challenge),
            token_info: None,
            scheme: Scheme::Bearer,
            validated_at: 0,
            claims_type,
        };
        state.insert(extensions);
    }

    /// Inserts the state, and removes the token of an outer layer, which may have claims of another type: the innermost
    /// layer alone decides which token authenticates the request.
    fn insert(self, extensions: &mut Extensions) {
        if let Some(outer) = extensions.insert(self) {
            (outer.claims_type.remove)(extensions);
        }
    }

    /// Returns the state of a request. Without an outer layer the response is 500 with the message `no_layer`: such a
    /// request must never count as anonymous.
    pub(crate) fn of<'a>(
        extensions: &'a Extensions,
        no_layer: &'static str,
    ) -> Result<&'a Self, Refusal> {
        extensions.get().ok_or(Refusal::MissingLayer(no_layer))
    }

    /// Checks a policy. An anonymous request gets a challenge that does not reveal the requirement.
    pub(crate) fn require(&self, policy: &Policy, extensions: &Extensions) -> Result<(), Refusal> {
        let token_info = self.token_info.as_deref().ok_or(Refusal::NoCredentials)?;
        policy.check_token(token_info, self.validated_at, || {
            (self.claims_type.claims)(extensions)
        })
    }

    /// Returns the token of the request, or `None` for an anonymous request. If `C` is not the claims type of the layer,
    /// the response is 500 with the message `other_type`.
    pub(crate) fn token<'a, C: Send + Sync + 'static>(
        &self,
        extensions: &'a Extensions,
        other_type: &'static str,
    ) -> Result<Option<&'a VerifiedToken<C>>, Refusal> {
        if self.token_info.is_none() {
            return Ok(None);
        }
        let token = extensions.get();
        if token.is_none() && may_log("claims_type_mismatch", type_name::<C>()) {
            tracing::error!(
                name: "claims_type_mismatch",
                target: "tower_oauth::bearer",
                expected = type_name::<C>(),
                "{other_type}"
            );
        }
        token.map(Some).ok_or(Refusal::MissingLayer(other_type))
    }

    /// Returns the scheme whose challenge contains an error about the token.
    pub(crate) fn used_scheme(&self) -> Option<Scheme> {
        self.token_info.as_ref().map(|_| self.scheme)
    }
}

/// Creates the response to a request that a layer, an extractor or a service inside of a `BearerLayer` rejects.
pub(crate) fn refuse<'a>(
    refusal: Refusal,
    request: impl Into<RequestHead<'a>>,
) -> Box<Response<()>> {
    let request = request.into();
    match request.extensions.get::<AuthState>() {
        Some(state) => state
            .challenge
            .refuse(refusal, state.used_scheme(), request),
        None => ChallengeParams::default().refuse(refusal, None, request),
    }
}

/// Creates the response that the outer layer of a gRPC call would send, without a call of the application's hook.
#[cfg(feature = "tonic")]
pub(crate) fn grpc_response(refusal: Refusal, extensions: &Extensions) -> Box<Response<()>> {
    let wire_format = super::response::WireFormat::Grpc("application/grpc");
    match extensions.get::<AuthState>() {
        Some(state) => state
            .challenge
            .respond(refusal, state.used_scheme(), wire_format),
        None => ChallengeParams::default().respond(refusal, None, wire_format),
    }
}

impl Refusal {
    /// Creates the response to a request that a service rejects itself, for example after
    /// [`Policy::check`](super::Policy::check): the response that the outer [`BearerLayer`](crate::BearerLayer) of this
    /// request would send, with status and challenges. The body is `R::default()`.
    ///
    /// The hook of [`on_refusal`](crate::BearerLayer::on_refusal) is called, and the refusal is logged, counted, and inserted
    /// into the extensions of the response, so that an outer [`RefusalBodyLayer`](super::RefusalBodyLayer) adds a body. If
    /// there is no outer layer, the challenge has the default settings: realm `api`, scheme `Bearer`. For a service that
    /// validates tokens itself there is [`BearerLayer::refuse`](crate::BearerLayer::refuse).
    ///
    /// ```
    /// use http::{Request, Response};
    /// use tower_oauth::VerifiedToken;
    /// use tower_oauth::bearer::{Policy, Refusal};
    ///
    /// fn delete(policy: &Policy, request: &Request<()>) -> Response<String> {
    ///     let Some(token) = request.extensions().get::<VerifiedToken>() else {
    ///         return Refusal::NoCredentials.respond_to(request);
    ///     };
    ///     match policy.check(token) {
    ///         Ok(()) => Response::new("deleted".into()),
    ///         Err(refusal) => refusal.respond_to(request),
    ///     }
    /// }
    /// ```
    pub fn respond_to<B, R: Default>(self, request: &Request<B>) -> Response<R> {
        refuse(self, request).map(|()| R::default())
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};

    use super::*;
    use crate::protocol::challenge::Realm;

    #[test]
    fn a_service_responds_like_the_layer_around_it() {
        let scope = || Refusal::InsufficientScope {
            required: "read".to_owned(),
        };
        let mut request = Request::new(());
        let alone: Response<String> = scope().respond_to(&request);
        let mut challenge = ChallengeParams::default();
        challenge.realm = Realm::new("orders").unwrap();
        let challenge = Arc::new(challenge);
        AuthState::insert_anonymous(request.extensions_mut(), &challenge, ClaimsType::PLAIN);
        let inside: Response<String> = scope().respond_to(&request);
        for (response, realm) in [(alone, "api"), (inside, "orders")] {
            assert_eq!(response.status(), StatusCode::FORBIDDEN);
            assert_eq!(
                response.headers()[WWW_AUTHENTICATE],
                format!(
                    "Bearer realm=\"{realm}\", error=\"insufficient_scope\", \
                     error_description=\"the access token lacks a required scope\", scope=\"read\""
                )
            );
            assert!(response.extensions().get::<Refusal>().is_some());
        }
    }

    #[test]
    fn values_of_the_application_cannot_break_the_header_fields() {
        let mut request = Request::post("/").body(()).unwrap();
        let grpc = http::HeaderValue::from_static("application/grpc");
        request.headers_mut().insert(CONTENT_TYPE, grpc);
        for refusal in [
            Refusal::Policy {
                description: "a\"b",
                required: None,
            },
            Refusal::Policy {
                description: "caf\u{e9}%",
                required: None,
            },
            Refusal::InsufficientScope {
                required: "a\", realm=\"b".to_owned(),
            },
            Refusal::MissingLayer("caf\u{e9}\n"),
        ] {
            let response: Response<()> = refusal.clone().respond_to(&request);
            let text = format!("{:?}", response.headers());
            assert!(
                !text.contains("a\\\"") && !text.contains("caf"),
                "{refusal:?}: {text}"
            );
        }
    }
}
