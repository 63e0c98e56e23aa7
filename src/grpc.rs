//! What tonic services need beside the layers (feature `tonic`).
//!
//! [`BearerLayer`](crate::BearerLayer), [`ScopeLayer`] and
//! [`MethodScopesLayer`](crate::bearer::MethodScopesLayer) stand around a tonic server as they are: gRPC and grpc-web callers
//! are refused with the status codes they know, the challenge in the metadata. With
//! [`BearerLayer::with_grpc`](crate::BearerLayer::with_grpc) the HTTP status of those responses is 200, as the protocol
//! says. Inside a method the token is
//! found with [`token`], demands that depend on the message are made with [`require`], and [`ForwardToken`] calls
//! further services with the token of the call at hand.
//!
//! ```
//! use tonic::{Request, Response, Status};
//! use tower_oauth::{Claims, grpc};
//!
//! async fn greet(request: Request<String>) -> Result<Response<String>, Status> {
//!     let token = grpc::token::<Claims>(&request)?;
//!     Ok(Response::new(format!("hello {:?}", token.subject())))
//! }
//! ```

use std::fmt;

use http::Extensions;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::ScopeLayer;
use crate::bearer::{AuthState, ChallengeHints, Refusal, WireFormat, refuse as answer};
use crate::protocol::ScopeSet;
use crate::token::{VerifiedToken, VerifyError};

/// The verified token of a call; `C` is the type that the layer reads the claims as,
/// [`Claims`](crate::Claims) unless it says otherwise.
///
/// # Errors
///
/// What the method answers: `Unauthenticated` with the challenge, where an optional layer let the call
/// through without credentials; `Internal` where no [`BearerLayer`](crate::BearerLayer) is around it, or one
/// with other claims.
pub fn token<C>(request: &Request<impl Sized>) -> Result<&VerifiedToken<C>, Status>
where
    C: Send + Sync + 'static,
{
    optional_token(request)?.ok_or_else(|| refuse(request, &Refusal::NoCredentials))
}

/// The verified token of a call, or `None` where an optional layer let it through without credentials.
///
/// # Errors
///
/// `Internal`, as [`token`]: a missing layer is never an anonymous call.
pub fn optional_token<C>(request: &Request<impl Sized>) -> Result<Option<&VerifiedToken<C>>, Status>
where
    C: Send + Sync + 'static,
{
    let extensions = request.extensions();
    let Some(judged) = extensions.get::<AuthState>() else {
        return Err(refuse(request, &Refusal::MissingLayer(NO_LAYER)));
    };
    match (extensions.get::<VerifiedToken<C>>(), &judged.token_info) {
        (Some(token), Some(_)) => Ok(Some(token)),
        (None, Some(_)) => Err(refuse(request, &Refusal::MissingLayer(OTHER_TYPE))),
        (_, None) => Ok(None),
    }
}

const NO_LAYER: &str = "a method asks for its token, but no BearerLayer is around it";
const OTHER_TYPE: &str = "a method asks for its token with other claims than its BearerLayer has";

/// Demands scopes inside a method, where they depend on the message.
///
/// # Errors
///
/// What the method answers: `PermissionDenied` with the scopes in the challenge; `Unauthenticated` and
/// `Internal` as [`token`].
pub fn require(request: &Request<impl Sized>, scopes: &ScopeLayer) -> Result<(), Status> {
    let Some(judged) = request.extensions().get::<AuthState>() else {
        return Err(refuse(request, &Refusal::MissingLayer(NO_LAYER)));
    };
    let Some(token_info) = &judged.token_info else {
        return Err(refuse(request, &Refusal::NoCredentials));
    };
    scopes
        .check(token_info, request.extensions())
        .map_err(|refusal| refuse(request, &refusal))
}

/// A refusal as the layers around this call would say it: code, message and challenge.
pub fn refuse(request: &Request<impl Sized>, refusal: &Refusal) -> Status {
    status(refusal, request.extensions())
}

/// The challenge is of a layer without settings: realm `api`, scheme Bearer. [`refuse`] has that of the
/// layer at hand.
impl From<&Refusal> for Status {
    fn from(refusal: &Refusal) -> Self {
        status(refusal, &Extensions::new())
    }
}

/// As for the [`Refusal`] that a layer makes of it.
impl From<VerifyError> for Status {
    fn from(error: VerifyError) -> Self {
        Self::from(&Refusal::Token(error))
    }
}

fn status(refusal: &Refusal, extensions: &Extensions) -> Status {
    let judged = extensions.get::<AuthState>();
    let protection = judged.map(|judged| judged.protection.clone());
    let used = judged
        .filter(|judged| judged.token_info.is_some())
        .map(|judged| judged.scheme);
    let scope = match refusal {
        Refusal::InsufficientScope { needed } => ScopeSet::parse(needed).ok(),
        _ => None,
    };
    let demand = ChallengeHints {
        scope: scope.as_ref(),
        ..ChallengeHints::default()
    };
    let speech = WireFormat::Grpc("application/grpc");
    let protection = protection.unwrap_or_default();
    let response = answer::<()>(refusal.clone(), &protection, used, demand, speech);
    let mut headers = response.headers().clone();
    // Of the answer that was made to be taken apart here; the method's own has one.
    headers.remove(http::header::CONTENT_TYPE);
    Status::from_header_map(&headers)
        .unwrap_or_else(|| Status::internal("a refusal without a code"))
}

/// An interceptor that calls further services with the token of the call at hand.
///
/// Only where the same authorization server and audience protect both: a service that is handed a token
/// for somebody else must refuse it, and could use it there if it did not.
///
/// ```
/// use tonic::{Request, Status};
/// use tower_oauth::{Claims, grpc::ForwardToken};
///
/// fn stock_for(request: &Request<()>) -> Result<ForwardToken, Status> {
///     // then: StockClient::with_interceptor(channel, ForwardToken::of::<Claims>(request)?)
///     ForwardToken::of::<Claims>(request)
/// }
/// ```
#[derive(Clone)]
pub struct ForwardToken(MetadataValue<Ascii>);

impl ForwardToken {
    /// Takes the token of this call; `C` is the type that the layer reads the claims as.
    ///
    /// # Errors
    ///
    /// As [`token`]; and `FailedPrecondition` where the token is bound to a key or a certificate of the
    /// caller (RFC 9449, RFC 8705), which nobody else can show.
    pub fn of<C>(request: &Request<impl Sized>) -> Result<Self, Status>
    where
        C: Send + Sync + 'static,
    {
        let token = token::<C>(request)?;
        if token.is_bound() {
            return Err(Status::failed_precondition(
                "the access token is bound to its caller and cannot be handed on",
            ));
        }
        let line = format!("Bearer {}", token.access_token());
        let mut line = MetadataValue::try_from(line)
            .map_err(|_| Status::internal("an access token that is no metadata"))?;
        line.set_sensitive(true);
        Ok(Self(line))
    }
}

impl Interceptor for ForwardToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

impl fmt::Debug for ForwardToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForwardToken(..)")
    }
}
