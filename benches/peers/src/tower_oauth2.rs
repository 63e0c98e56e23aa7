//! tower-oauth2-resource-server 0.12 with the backend that the features of this program select.

use bench_support::fixture::AUDIENCE;
use bench_support::{Fixture, Subject, both};
use tower_oauth2_resource_server::server::OAuth2ResourceServer;
use tower_oauth2_resource_server::tenant::TenantConfiguration;

use crate::TOWER_OAUTH2;

pub async fn subjects(fixture: &Fixture) -> Vec<Subject> {
    let tenant = TenantConfiguration::builder(fixture.issuer.clone()).audiences(&[AUDIENCE]);
    let tenant = tenant.build().await.expect("a tenant");
    let server = <OAuth2ResourceServer>::builder()
        .add_tenant(tenant)
        .build()
        .await;
    let server = server.expect("a resource server");
    // A background task fetches the keys.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let mut subjects = Vec::new();
    both!(subjects, TOWER_OAUTH2, fixture, server.into_layer());
    subjects
}
