//! aliri_tower 0.6 with ring.

use aliri::{jwa, jwt};
use aliri_oauth2::Authority;
use aliri_oauth2::scope::BasicClaimsWithScope;
use aliri_tower::Oauth2Authorizer;
use axum::body::Body;
use bench_support::fixture::AUDIENCE;
use bench_support::{Fixture, Subject, both};

pub async fn subjects(fixture: &Fixture) -> Vec<Subject> {
    let algorithm = match fixture.algorithm.as_str() {
        "RS256" => jwa::Algorithm::RS256,
        _ => jwa::Algorithm::PS256,
    };
    let validator = jwt::CoreValidator::default()
        .add_approved_algorithm(algorithm)
        .add_allowed_audience(jwt::Audience::new(AUDIENCE.to_owned()))
        .require_issuer(jwt::Issuer::new(fixture.issuer.clone()))
        .check_expiration()
        .check_not_before();
    let authority = Authority::new_from_url(fixture.jwks_url(), validator)
        .await
        .expect("keys");
    let authorizer = Oauth2Authorizer::new()
        .with_claims::<BasicClaimsWithScope>()
        .with_terse_error_handler::<Body>();
    let mut subjects = Vec::new();
    both!(
        subjects,
        "aliri_tower",
        fixture,
        authorizer.jwt_layer::<Body>(authority.clone())
    );
    subjects
}
