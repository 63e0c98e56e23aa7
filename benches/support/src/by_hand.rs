//! A hand-written check: `jsonwebtoken` in tower-http's `ValidateRequestHeaderLayer`.

use std::sync::Arc;

use axum::body::Body;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use tower_http::validate_request::{ValidateRequest, ValidateRequestHeaderLayer};

use crate::fixture::AUDIENCE;
use crate::{Claims, Fixture, Subject, both};

#[derive(Clone)]
pub struct ByHand(Arc<Checker>);

struct Checker {
    key: DecodingKey,
    validation: Validation,
}

impl ByHand {
    pub fn new(fixture: &Fixture) -> Self {
        let key: Jwk = serde_json::from_value(fixture.jwk()).expect("a key");
        let algorithm: Algorithm = fixture.algorithm.parse().expect("an algorithm");
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&fixture.issuer]);
        validation.set_audience(&[AUDIENCE]);
        validation.validate_nbf = true;
        let key = DecodingKey::from_jwk(&key).expect("a key");
        Self(Arc::new(Checker { key, validation }))
    }

    pub fn check(&self, token: &str) -> Option<Claims> {
        let token = decode::<Claims>(token, &self.0.key, &self.0.validation).ok()?;
        let is_access_token = token.header.typ.as_deref() == Some("at+jwt");
        is_access_token.then_some(token.claims)
    }
}

impl<B> ValidateRequest<B> for ByHand {
    type ResponseBody = Body;

    fn validate(&mut self, request: &mut Request<B>) -> Result<(), Response<Body>> {
        let header = request.headers().get(AUTHORIZATION);
        let token = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let Some(claims) = token.and_then(|token| self.check(token)) else {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            return Err(response);
        };
        request.extensions_mut().insert(Arc::new(claims));
        Ok(())
    }
}

/// The layer, and `jsonwebtoken::decode` alone.
pub fn subjects(backend: &str, fixture: &Fixture) -> Vec<Subject> {
    let by_hand = ByHand::new(fixture);
    let layer = ValidateRequestHeaderLayer::custom(by_hand.clone());
    let mut subjects = Vec::new();
    both!(
        subjects,
        &format!("by hand, {backend}"),
        fixture,
        layer.clone()
    );
    let token = fixture.token.clone();
    let decode = move || assert!(by_hand.check(&token).is_some());
    subjects.push(Subject::function(
        &format!("jsonwebtoken::decode, {backend}"),
        decode,
    ));
    subjects
}
