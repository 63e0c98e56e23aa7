//! This crate, the check of the signature alone, and a layer that inserts one extension.

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

/// Inserts one `Arc` into the request extensions: the least work of a layer that passes data to a handler.
#[derive(Clone)]
struct OneExtension(Arc<Fixture>);

#[derive(Clone)]
struct InsertExtension<S>(S, Arc<Fixture>);

impl<S> Layer<S> for OneExtension {
    type Service = InsertExtension<S>;

    fn layer(&self, inner: S) -> InsertExtension<S> {
        InsertExtension(inner, Arc::clone(&self.0))
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for InsertExtension<S> {
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
