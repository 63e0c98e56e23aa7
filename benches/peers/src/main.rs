//! Other crates, each with its fastest backend, as far as Cargo's feature unification allows in one program.

mod aliri;
mod axum_jwt_auth;
mod huskarl;
mod oauth_resource_server;
mod tower_oauth2;

use bench_support::{Fixture, Subject, by_hand, run};

const TOWER_OAUTH2: &str = "tower-oauth2-resource-server, aws-lc-rs";
const AXUM_JWT_AUTH: &str = "axum-jwt-auth, aws-lc-rs";

fn main() {
    // axum-jwt-auth enables RustCrypto; with both backends in the program one must be installed.
    jsonwebtoken10::crypto::aws_lc::DEFAULT_PROVIDER
        .install_default()
        .expect("no provider installed yet");
    run(build);
}

async fn build(fixture: Fixture) -> Vec<Subject> {
    let mut subjects = by_hand::subjects("aws-lc-rs", &fixture);
    subjects.extend(huskarl::subjects(&fixture).await);
    subjects.extend(oauth_resource_server::subjects(&fixture).await);
    subjects.extend(tower_oauth2::subjects(&fixture).await);
    subjects.extend(axum_jwt_auth::subjects(&fixture).await);
    // aliri needs OpenSSL for elliptic curves and does not support EdDSA.
    if fixture.algorithm == "RS256" || fixture.algorithm == "PS256" {
        subjects.extend(aliri::subjects(&fixture).await);
    }
    subjects
}
