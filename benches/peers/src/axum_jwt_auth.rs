//! axum-jwt-auth 0.7, an extractor, with the jsonwebtoken 10 backend that this program installs.

use std::sync::Arc;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::get;
use axum_jwt_auth::{Claims, Decoder, RemoteJwksDecoder};
use bench_support::fixture::AUDIENCE;
use bench_support::{Fixture, Subject};
use jsonwebtoken10::{Algorithm, Validation};

use crate::AXUM_JWT_AUTH;

type AllClaims = bench_support::Claims;

#[derive(Clone, FromRef)]
struct State {
    decoder: Decoder<AllClaims>,
}

pub async fn subjects(fixture: &Fixture) -> Vec<Subject> {
    let algorithm: Algorithm = fixture.algorithm.parse().expect("an algorithm");
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[&fixture.issuer]);
    let decoder = RemoteJwksDecoder::builder()
        .jwks_url(fixture.jwks_url())
        .validation(validation);
    let decoder = Arc::new(decoder.build().expect("a decoder"));
    decoder.refresh().await.expect("keys");
    let handler = async |_: Claims<AllClaims>| "ok";
    let router = Router::new()
        .route("/", get(handler))
        .with_state(State { decoder });
    vec![Subject::axum(AXUM_JWT_AUTH, fixture, router)]
}
