//! Peers whose default backend is replaced in `bench-peers`, here with their default backend.

#[path = "../../peers/src/axum_jwt_auth.rs"]
mod axum_jwt_auth;
#[path = "../../peers/src/tower_oauth2.rs"]
mod tower_oauth2;

use bench_support::{Fixture, Subject, by_hand, run};

const TOWER_OAUTH2: &str = "tower-oauth2-resource-server, default";
const AXUM_JWT_AUTH: &str = "axum-jwt-auth, default";

fn main() {
    run(build);
}

async fn build(fixture: Fixture) -> Vec<Subject> {
    let mut subjects = by_hand::subjects("rust_crypto", &fixture);
    subjects.extend(tower_oauth2::subjects(&fixture).await);
    subjects.extend(axum_jwt_auth::subjects(&fixture).await);
    subjects
}
