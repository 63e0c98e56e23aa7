//! Support for tonic services (feature `tonic`).
//!
//! [`BearerLayer`](crate::BearerLayer), [`ScopeLayer`] and [`MethodScopesLayer`](crate::bearer::MethodScopesLayer) can be
//! added to a tonic server like any layer: rejected gRPC and grpc-web calls get a gRPC status code, and the challenge in
//! the metadata. With [`BearerLayer::with_grpc`](crate::BearerLayer::with_grpc) the HTTP status of these responses is 200,
//! as the gRPC protocol requires.
//!
//! | inside of a method, to | use |
//! | --- | --- |
//! | read the token | [`token`], [`optional_token`] |
//! | require scopes that depend on the message | [`require`] |
//! | call other services with the same token | [`ForwardToken`] |
//!
//! # Example
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
//!
//! # Health probes
//!
//! A probe, for example that of Kubernetes, sends no token, and a layer of `Server::builder()` is around all services.
//! Add the layers to the other services with tonic's `named_layer` instead, so that none of them has to be
//! [`optional`](crate::BearerLayer::optional). A service that is added without them is open.
//!
//! ```
//! # use std::convert::Infallible;
//! # use std::task::{Context, Poll};
//! # use tonic::body::Body;
//! # #[derive(Clone)]
//! # struct OrdersServer;
//! # impl tonic::server::NamedService for OrdersServer {
//! #     const NAME: &'static str = "shop.Orders";
//! # }
//! # impl tower::Service<http::Request<Body>> for OrdersServer {
//! #     type Response = http::Response<Body>;
//! #     type Error = Infallible;
//! #     type Future = std::future::Ready<Result<Self::Response, Infallible>>;
//! #     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
//! #         Poll::Ready(Ok(()))
//! #     }
//! #     fn call(&mut self, _: http::Request<Body>) -> Self::Future {
//! #         std::future::ready(Ok(http::Response::default()))
//! #     }
//! # }
//! use tonic::service::LayerExt as _;
//! use tonic::transport::Server;
//! use tower_oauth::bearer::MethodScopesLayer;
//! use tower_oauth::{AuthorizationServer, BearerLayer, ScopeLayer};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = AuthorizationServer::new("https://id.example.com")?;
//! let bearer = BearerLayer::jwt(&server, "https://orders.example.com")?.with_grpc();
//! let methods = MethodScopesLayer::new().add("/shop.Orders/List", ScopeLayer::all("orders:read")?)?;
//! let (_, health) = tonic_health::server::health_reporter();
//!
//! let router = Server::builder()
//!     .add_service(health)
//!     .add_service(bearer.named_layer(methods.named_layer(OrdersServer)));
//! # drop(router);
//! # Ok(())
//! # }
//! ```

use std::fmt;

use http::Extensions;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::ScopeLayer;
use crate::bearer::{AuthState, Refusal, grpc_response};
use crate::token::{VerifiedToken, VerifyError};

/// Returns the verified token of a call. `C` is the claims type of the layer, by default [`Claims`](crate::Claims).
///
/// # Errors
///
/// A status to return from the method:
///
/// - `Unauthenticated` with the challenge if the call is anonymous, forwarded by an optional layer.
/// - `Internal` if there is no outer [`BearerLayer`](crate::BearerLayer), or if it has another claims type.
pub fn token<C>(request: &Request<impl Sized>) -> Result<&VerifiedToken<C>, Status>
where
    C: Send + Sync + 'static,
{
    optional_token(request)?.ok_or_else(|| refuse(request, &Refusal::NoCredentials))
}

/// Returns the verified token of a call, or `None` if the call is anonymous.
///
/// # Errors
///
/// `Internal`, as [`token`]. A call without an outer layer never counts as anonymous.
pub fn optional_token<C>(request: &Request<impl Sized>) -> Result<Option<&VerifiedToken<C>>, Status>
where
    C: Send + Sync + 'static,
{
    let extensions = request.extensions();
    AuthState::of(extensions, NO_LAYER)
        .and_then(|state| state.token(extensions, OTHER_TYPE))
        .map_err(|refusal| refuse(request, &refusal))
}

const NO_LAYER: &str = "the gRPC method requires an outer BearerLayer";
const OTHER_TYPE: &str = "the gRPC method and its BearerLayer have different claims types";

/// Requires scopes inside of a method, for scopes that depend on the message.
///
/// # Errors
///
/// A status to return from the method: `PermissionDenied` with the scopes in the challenge; `Unauthenticated` and
/// `Internal` as [`token`].
pub fn require(request: &Request<impl Sized>, scopes: &ScopeLayer) -> Result<(), Status> {
    let extensions = request.extensions();
    AuthState::of(extensions, NO_LAYER)
        .and_then(|state| state.require(&scopes.policy, extensions))
        .map_err(|refusal| refuse(request, &refusal))
}

/// Returns the status that the outer layers of this call would send for a refusal: code, message and challenge.
pub fn refuse(request: &Request<impl Sized>, refusal: &Refusal) -> Status {
    status(refusal, request.extensions())
}

/// The challenge has the default settings: realm `api`, scheme `Bearer`. Use [`refuse`] for those of the outer layer.
impl From<&Refusal> for Status {
    fn from(refusal: &Refusal) -> Self {
        status(refusal, &Extensions::new())
    }
}

/// Equivalent to the conversion of [`Refusal::Token`].
impl From<VerifyError> for Status {
    fn from(error: VerifyError) -> Self {
        Self::from(&Refusal::Token(error))
    }
}

fn status(refusal: &Refusal, extensions: &Extensions) -> Status {
    let mut headers = grpc_response(refusal.clone(), extensions)
        .into_parts()
        .0
        .headers;
    // tonic sets the content type of the method's response.
    headers.remove(http::header::CONTENT_TYPE);
    Status::from_header_map(&headers)
        .unwrap_or_else(|| Status::internal("the refusal has no gRPC status"))
}

/// An interceptor that calls other services with the access token of the current call.
///
/// Use it only if both services accept the same issuer and audience. A service must reject a token with another audience;
/// if it did not, it could use the token to impersonate the caller elsewhere.
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
    /// Creates an interceptor with the token of this call. `C` is the claims type of the layer.
    ///
    /// # Errors
    ///
    /// As [`token`]; `FailedPrecondition` if the token is bound to a key or a certificate of the caller (RFC 9449,
    /// RFC 8705), because this service has no proof of possession.
    pub fn of<C>(request: &Request<impl Sized>) -> Result<Self, Status>
    where
        C: Send + Sync + 'static,
    {
        let token = token::<C>(request)?;
        if token.is_bound() {
            return Err(Status::failed_precondition(
                "the access token is sender-constrained and cannot be forwarded",
            ));
        }
        let line = format!("Bearer {}", token.access_token());
        let mut line = MetadataValue::try_from(line)
            .map_err(|_| Status::internal("the access token is not a valid metadata value"))?;
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
