//! A subject of the measurement.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response, StatusCode};
use tokio::runtime::Runtime;
use tower::{Layer, Service, ServiceExt as _};

use crate::Fixture;

/// Performs the work a number of times.
type Work = Box<dyn Fn(&Runtime, usize)>;

pub struct Subject {
    pub name: String,
    pub(crate) work: Work,
    /// For subjects that can be served on a socket.
    pub(crate) router: Option<Router>,
}

impl Subject {
    /// Measures `axum::Router::oneshot` with the token; the response is 200.
    pub fn axum(name: &str, fixture: &Fixture, router: Router) -> Self {
        let (header, shared) = (bearer(fixture), router.clone());
        let work = Box::new(move |runtime: &Runtime, times| {
            runtime.block_on(async {
                for _ in 0..times {
                    let response = shared.clone().oneshot(request(&header)).await;
                    let Ok(response) = response;
                    assert_eq!(response.status(), StatusCode::OK);
                    black_box(response);
                }
            });
        });
        Self {
            name: format!("axum/{name}"),
            work,
            router: Some(router),
        }
    }

    /// Measures a service without a router.
    pub fn bare<S, R>(name: &str, fixture: &Fixture, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<R>> + Clone + 'static,
        S::Error: std::fmt::Debug,
    {
        let header = bearer(fixture);
        let work = Box::new(move |runtime: &Runtime, times| {
            runtime.block_on(async {
                for _ in 0..times {
                    let response = service.clone().oneshot(request(&header)).await;
                    let response = response.expect("a response");
                    assert_eq!(response.status(), StatusCode::OK);
                    black_box(response);
                }
            });
        });
        Self {
            name: format!("bare/{name}"),
            work,
            router: None,
        }
    }

    /// Measures a function, for example the check of a signature.
    pub fn function(name: &str, function: impl Fn() + 'static) -> Self {
        let work = Box::new(move |_: &Runtime, times| (0..times).for_each(|_| function()));
        Self {
            name: format!("function/{name}"),
            work,
            router: None,
        }
    }
}

/// Adds a layer twice: around an axum route and around a bare service.
#[macro_export]
macro_rules! both {
    ($subjects:ident, $name:expr, $fixture:expr, $layer:expr) => {{
        let router = $crate::subject::router().layer($layer);
        $subjects.push($crate::Subject::axum($name, $fixture, router));
        let service = $crate::subject::layered(&$layer, $crate::Inner);
        $subjects.push($crate::Subject::bare($name, $fixture, service));
    }};
}

pub fn layered<L: Layer<S>, S>(layer: &L, service: S) -> L::Service {
    layer.layer(service)
}

/// Returns a router with one route whose handler takes no arguments.
pub fn router() -> Router {
    Router::new().route("/", get(async || "ok"))
}

/// The inner service without a router.
#[derive(Clone, Debug)]
pub struct Inner;

impl<B> Service<Request<B>> for Inner {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        black_box(request);
        ready(Ok(Response::new(Body::empty())))
    }
}

fn bearer(fixture: &Fixture) -> HeaderValue {
    HeaderValue::from_str(&format!("Bearer {}", fixture.token)).expect("a header")
}

fn request(header: &HeaderValue) -> Request<Body> {
    let request = Request::get("/").header(AUTHORIZATION, header.clone());
    request.body(Body::empty()).expect("a request")
}
