//! Each profile with tokens that are bound to a key or a certificate, and with those of grants without a login.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};
use tower_oauth::BearerLayer;
use tower_oauth::token::{Audience, ClientCertificate, JwtVerifier, Mtls, TokenProfile};

use super::{api, token, vendor, with};
use crate::support::api::{AUDIENCE, ISSUER, Outcome, ask, present};
use crate::support::dpop::{self, Client};

/// The claims of a user's token, changes for the token that a client obtains for itself, and whether that token can be
/// told apart.
fn vendors() -> Vec<(TokenProfile, &'static str, Value, Value, bool)> {
    let of = |own: Value| {
        let mut claims = json!({ "aud": AUDIENCE, "sub": "alice" });
        claims
            .as_object_mut()
            .unwrap()
            .extend(own.as_object().unwrap().clone());
        claims
    };
    let rfc9068 = of(json!({ "client_id": "c", "jti": "j", "scope": "orders.read" }));
    let keycloak = of(json!({ "typ": "Bearer", "azp": "c", "scope": "email" }));
    let cognito = json!({ "sub": "alice", "client_id": "c", "token_use": "access" });
    let as_subject = json!({ "sub": "c" });
    let service_account = json!({ "sub": "f81d4fae" });
    vec![
        (
            TokenProfile::Rfc9068,
            "at+jwt",
            rfc9068.clone(),
            as_subject.clone(),
            true,
        ),
        (
            TokenProfile::Rfc9068Full,
            "at+jwt",
            rfc9068,
            as_subject.clone(),
            true,
        ),
        (
            TokenProfile::Keycloak,
            "JWT",
            keycloak.clone(),
            service_account.clone(),
            false,
        ),
        (
            TokenProfile::Keycloak,
            "at+jwt",
            keycloak,
            service_account,
            false,
        ),
        (
            TokenProfile::Entra,
            "JWT",
            of(json!({ "azp": "c", "scp": "orders.read", "roles": ["Orders.Read"], "tid": "t" })),
            json!({ "sub": "9f1c", "scp": null }),
            true,
        ),
        (
            TokenProfile::Okta,
            "JWT",
            of(json!({ "cid": "c", "scp": ["orders.read"] })),
            as_subject.clone(),
            true,
        ),
        (
            TokenProfile::Auth0,
            "JWT",
            of(json!({ "azp": "c", "scope": "orders.read" })),
            json!({ "sub": "c@clients", "gty": "client-credentials" }),
            true,
        ),
        (
            TokenProfile::Cognito,
            "JWT",
            cognito,
            as_subject.clone(),
            true,
        ),
        (
            TokenProfile::Generic,
            "JWT",
            of(json!({ "azp": "c", "permissions": ["orders.read"] })),
            as_subject,
            true,
        ),
    ]
}

fn changed(claims: &Value, changes: &Value) -> Value {
    let mut claims = claims.clone();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(name),
            value => claims
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
    claims
}

#[tokio::test]
async fn every_profile_accepts_bound_tokens_with_their_proof_and_tokens_of_other_grants() {
    let server = vendor(ISSUER);
    let client = Client::new(&server);
    let certificate = ClientCertificate::from_der(b"ours");
    let digest = URL_SAFE_NO_PAD.encode(certificate.thumbprint());
    for (profile, typ, user, own, is_told_apart) in vendors() {
        let name = format!("{profile:?}, {typ}");
        let audience: Audience = match profile {
            TokenProfile::Cognito => Audience::clients(["c"]),
            _ => AUDIENCE.into(),
        };
        let verifier = JwtVerifier::new(&server.authorization_server(), audience).unwrap();
        let verifier = verifier.with_profile(profile);
        let plain = api(verifier.clone());
        let layer = BearerLayer::new(verifier.clone())
            .with_dpop(dpop::dpop(&server))
            .with_mtls(Mtls::from_tls());
        let both = crate::support::api::api(layer);
        let sign = |claims: &Value| token(&server, Some(typ), claims);

        // RFC 9449 §6.1, and as Keycloak sends it: another `typ`, and a member of `cnf` of its own.
        let cnf = json!({ "jkt": client.key.thumbprint() });
        let of_keycloak = with(
            &with(&user, "typ", "DPoP"),
            "cnf",
            with(&cnf, "kc-jkt-type", "DPoP"),
        );
        let mut bound = vec![with(&user, "cnf", cnf.clone())];
        if profile == TokenProfile::Keycloak || typ == "at+jwt" {
            bound.push(of_keycloak);
        }
        for claims in bound {
            let bound = sign(&claims);
            let proof = client.proof("/", &bound).sign();
            let stolen = Client::new(&server).proof("/", &bound).sign();
            assert_eq!(
                dpop::show(&both, &bound, &proof).await.said(),
                "200",
                "{name} {claims}"
            );
            for refused in [
                dpop::show(&both, &bound, &stolen).await,
                present(&both, &bound).await,
                present(&plain, &bound).await,
            ] {
                assert_eq!(refused.status, 401, "{name} {claims}");
            }
        }
        let unbound = sign(&with(&user, "typ", "DPoP"));
        assert_eq!(present(&both, &unbound).await.status, 401, "{name}");

        // RFC 8705 §3.1.
        let bound = sign(&with(
            &user,
            "cnf",
            json!({ "x5t#S256": digest, "x5t": "unknown" }),
        ));
        let mut request = http::Request::get("/").header(AUTHORIZATION, format!("Bearer {bound}"));
        request
            .extensions_mut()
            .unwrap()
            .insert(certificate.clone());
        let request = request.body(axum::body::Body::empty()).unwrap();
        assert_eq!(
            ask(&both, request).await.outcome(),
            Outcome::Accepted,
            "{name}"
        );
        assert_eq!(present(&both, &bound).await.status, 401, "{name}");

        // RFC 6749 §4.4 and RFC 8693 §4.1.
        let own = sign(&changed(&user, &own));
        let exchanged = sign(&with(&user, "act", json!({ "sub": "c" })));
        for (token, is_client_only) in [(own, is_told_apart), (exchanged, false)] {
            let verified = verifier.verify(&token).await.unwrap();
            assert_eq!(verified.is_client_only(), is_client_only, "{name}");
            assert_eq!(verified.client_id(), Some("c"), "{name}");
        }
    }
}
