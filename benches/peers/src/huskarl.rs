//! huskarl-axum 0.1 with its default backend, RustCrypto.

use std::sync::Arc;

use bench_support::fixture::AUDIENCE;
use bench_support::{Fixture, Subject, both};
use huskarl_axum::layers::ValidatorLayer;
use huskarl_axum::resource_server::core::jwk::JwksSource;
use huskarl_axum::resource_server::core::server_metadata::AuthorizationServerMetadata;
use huskarl_axum::resource_server::validator::rfc9068::Rfc9068Validator;

pub async fn subjects(fixture: &Fixture) -> Vec<Subject> {
    let client = huskarl_reqwest::ReqwestClient::builder()
        .build()
        .await
        .expect("a client");
    let metadata = AuthorizationServerMetadata::oidc_fetch().http_client(&client);
    let metadata = metadata
        .issuer(fixture.issuer.clone())
        .call()
        .await
        .expect("metadata");
    let keys = JwksSource::builder().http_client(client).build();
    let validator: Rfc9068Validator = Rfc9068Validator::builder_from_metadata(&metadata)
        .audience(AUDIENCE)
        .jws_verifier_factory(Arc::new(keys))
        .build()
        .await
        .expect("a validator");
    let layer = ValidatorLayer::builder()
        .validator(validator)
        .build()
        .authenticated();
    let mut subjects = Vec::new();
    both!(subjects, "huskarl-axum", fixture, layer.clone());
    subjects
}
