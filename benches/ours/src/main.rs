//! This crate, what it cannot be faster than, and the floor that any layer stands on.

use std::sync::Arc;
use std::task::{Context, Poll};

use bench_support::fixture::AUDIENCE;
use bench_support::subject::router;
use bench_support::{Fixture, Inner, Subject, both, raw, run};
use http::Request;
use tower_layer::Layer;
use tower_oauth::{AuthorizationServer, BearerLayer};
use tower_service::Service;

fn main() {
    run(build);
}

async fn build(fixture: Fixture) -> Vec<Subject> {
    let server = AuthorizationServer::new(&fixture.issuer).expect("an issuer");
    server.ready().await.expect("keys");
    let warm = BearerLayer::jwt(&server, AUDIENCE).expect("a layer");
    let mut subjects = vec![
        Subject::axum("none", &fixture, router()),
        Subject::bare("none", &fixture, Inner),
    ];
    both!(
        subjects,
        "one extension",
        &fixture,
        OneExtension(Arc::new(fixture.clone()))
    );
    both!(subjects, "ours, warm", &fixture, warm.clone());
    let cold = warm.clone().without_token_cache();
    both!(subjects, "ours, cold", &fixture, cold.clone());
    let check = raw::check(&fixture);
    subjects.push(Subject::function("raw", move || assert!(check())));
    subjects
}

/// What no layer that tells a handler something can do without.
#[derive(Clone)]
struct OneExtension(Arc<Fixture>);

#[derive(Clone)]
struct Inserting<S>(S, Arc<Fixture>);

impl<S> Layer<S> for OneExtension {
    type Service = Inserting<S>;

    fn layer(&self, inner: S) -> Inserting<S> {
        Inserting(inner, Arc::clone(&self.0))
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for Inserting<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(Arc::clone(&self.1));
        self.0.call(request)
    }
}
