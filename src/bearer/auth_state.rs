//! The result of authentication in the request extensions, for the layers, extractors and handlers inside of a
//! `BearerLayer`.

use std::any::{Any, type_name};
use std::fmt;
use std::sync::Arc;

use http::{Extensions, Request, Response};
use serde::de::DeserializeOwned;

use super::challenge::ChallengeParams;
use super::policy::Policy;
use super::refusal::Refusal;
use super::response::RequestHead;
use crate::protocol::Claims;
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
        let scheme = presented.scheme;
        clear_previous(extensions);
        (claims_type.insert)(extensions, &token_info, presented, validated_at)?;
        extensions.insert(Self {
            challenge: Arc::clone(challenge),
            token_info: Some(token_info),
            scheme,
            validated_at,
            claims_type,
        });
        Ok(())
    }

    pub(super) fn insert_anonymous(
        extensions: &mut Extensions,
        challenge: &Arc<ChallengeParams>,
        claims_type: &'static ClaimsType,
    ) {
        clear_previous(extensions);
        extensions.insert(Self {
            challenge: Arc::clone(challenge),
            token_info: None,
            scheme: Scheme::Bearer,
            validated_at: 0,
            claims_type,
        });
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

/// Removes the token of an outer layer, which may have claims of another type: the innermost layer alone decides
/// which token authenticates the request.
fn clear_previous(extensions: &mut Extensions) {
    if let Some(state) = extensions.get::<AuthState>() {
        let claims_type = state.claims_type;
        (claims_type.remove)(extensions);
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

/// What depends on the type of the claims in the `VerifiedToken` of a layer.
pub(super) struct ClaimsType {
    insert: InsertTokenFn,
    /// Returns the claims of the inserted token.
    claims: fn(&Extensions) -> Option<&dyn Any>,
    remove: fn(&mut Extensions),
}

type InsertTokenFn =
    fn(&mut Extensions, &Arc<TokenInfo>, PresentedToken, i64) -> Result<(), VerifyErrorKind>;

impl ClaimsType {
    /// The claims as they were verified.
    pub(super) const PLAIN: &'static Self = &Self {
        insert: |extensions, token_info, presented, now| {
            let claims = Arc::clone(&token_info.claims);
            let token_info = Arc::clone(token_info);
            extensions.insert(VerifiedToken::new(token_info, claims, presented, now));
            Ok(())
        },
        claims: claims_of::<Claims>,
        remove: remove::<Claims>,
    };

    /// The claims as a type of the application.
    pub(super) fn of<T: DeserializeOwned + Send + Sync + 'static>() -> &'static Self {
        const {
            &Self {
                insert: |extensions, token_info, presented, now| {
                    let claims = token_info
                        .cache
                        .converted(|| deserialize::<T>(&token_info.claims))?;
                    let token_info = Arc::clone(token_info);
                    extensions.insert(VerifiedToken::new(token_info, claims, presented, now));
                    Ok(())
                },
                claims: claims_of::<T>,
                remove: remove::<T>,
            }
        }
    }
}

fn claims_of<C: Send + Sync + 'static>(extensions: &Extensions) -> Option<&dyn Any> {
    let token = extensions.get::<VerifiedToken<C>>()?;
    Some(token.claims())
}

fn remove<C: Send + Sync + 'static>(extensions: &mut Extensions) {
    extensions.remove::<VerifiedToken<C>>();
}

fn deserialize<T: DeserializeOwned>(claims: &Claims) -> Result<T, VerifyErrorKind> {
    claims.deserialize().map_err(|error| {
        // The text of the error would contain personal data from the claim.
        let column = error.column();
        tracing::debug!(
            name: "claims_not_deserialized",
            target: "tower_oauth::bearer",
            column,
            "the claims cannot be deserialized as the application's type"
        );
        VerifyErrorKind::CustomClaims
    })
}

impl fmt::Debug for ClaimsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClaimsType")
    }
}
