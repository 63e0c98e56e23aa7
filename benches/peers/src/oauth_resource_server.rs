//! oauth-resource-server 0.4 with its default backend, jsonwebtoken 9 on ring.

use std::sync::Arc;

use bench_support::fixture::AUDIENCE;
use bench_support::subject::{layered, router};
use bench_support::{Fixture, Inner, Subject};
use oauth_resource_server::axum::AuthLayer;
use oauth_resource_server::http_layer::HttpAuthLayer;
use oauth_resource_server::{KeyNaming, OAuthConfig, OAuthValidator, static_token_policy};

pub async fn subjects(fixture: &Fixture) -> Vec<Subject> {
    let config = OAuthConfig {
        enabled: true,
        issuer: fixture.issuer.clone(),
        audience: AUDIENCE.to_owned(),
        resource: AUDIENCE.to_owned(),
        algorithms: vec![fixture.algorithm.clone()],
        require_at_jwt: true,
        allow_insecure_http: true,
        ..OAuthConfig::default()
    };
    let config = config
        .resolve(KeyNaming::Dotted("oauth"))
        .expect("a configuration");
    let config = config.expect("enabled");
    let validator = Arc::new(OAuthValidator::new(&config).expect("a validator"));
    validator.refresh_now().await.expect("keys");
    let decision = || static_token_policy(None, Some(&config), false).expect("a decision");
    let axum = AuthLayer::from_decision(decision(), Some(Arc::clone(&validator)));
    let bare = HttpAuthLayer::from_decision(decision(), Some(validator));
    let name = "oauth-resource-server";
    vec![
        Subject::axum(name, fixture, router().layer(axum.expect("a layer"))),
        Subject::bare(name, fixture, layered(&bare.expect("a layer"), Inner)),
    ]
}
