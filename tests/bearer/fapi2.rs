//! The FAPI 2.0 Security Profile at the resource server.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use tower::Layer as _;
use tower_oauth::bearer::{ClientCertificate, FormTokenLayer, Mtls, TokenSource};
use tower_oauth::protocol::Metadata;
use tower_oauth::testing::{TestServer, TokenMint};
use tower_oauth::token::{
    Audience, Dpop, DpopNonceKey, IntrospectionVerifier, JwtVerifier, ProofError, Verifier,
    VerifyErrorKind as Why,
};
use tower_oauth::{Algorithm, AuthorizationServer, BearerLayer, Client as Registration};

use crate::support::api::{
    AUDIENCE, ISSUER, Outcome, api, ask, good, layer, present, server, verifier,
};
use crate::support::dpop::{Client, dpop, request, show};
use crate::support::logs::Logs;

const CERTIFICATE: &[u8] = b"a client certificate";

fn profile(server: &TestServer) -> BearerLayer {
    layer(server).with_fapi2_security_profile().unwrap()
}

fn certified(token: &str) -> Request<Body> {
    let mut request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
    let certificate = ClientCertificate::from_der(CERTIFICATE);
    request.extensions_mut().unwrap().insert(certificate);
    request.body(Body::empty()).unwrap()
}

/// §5.3.4: with DPoP, certificates or both, in any order of the settings.
#[tokio::test]
async fn a_token_without_proof_of_possession_is_rejected() {
    let server = server();
    let client = Client::new(&server);
    let with_dpop = profile(&server).with_dpop(dpop(&server));
    let dpop_first = layer(&server).with_dpop(dpop(&server));
    let dpop_first = dpop_first.with_fapi2_security_profile().unwrap();
    let with_mtls = profile(&server).with_mtls(Mtls::from_tls());
    let with_both = with_dpop.clone().with_mtls(Mtls::from_tls());
    for (name, layer, takes_dpop, takes_mtls) in [
        ("DPoP", with_dpop, true, false),
        ("DPoP first", dpop_first, true, false),
        ("mTLS", with_mtls, false, true),
        ("both", with_both, true, true),
    ] {
        assert!(layer.check().is_ok(), "{name}");
        let api = api(layer);
        let (unbound, bound) = (good(&server).sign(), client.token());
        let certificate = good(&server).bound_to_certificate(CERTIFICATE).sign();
        assert_eq!(present(&api, &unbound).await.status, 401, "{name}");
        assert_eq!(present(&api, &bound).await.status, 401, "{name}");
        assert_eq!(present(&api, &certificate).await.status, 401, "{name}");
        assert_eq!(ask(&api, certified(&unbound)).await.status, 401, "{name}");

        let proof = client.proof("/", &bound).sign();
        let status = show(&api, &bound, &proof).await.status;
        assert_eq!(status == 200, takes_dpop, "{name}: {status}");
        let status = ask(&api, certified(&certificate)).await.status;
        assert_eq!(status == 200, takes_mtls, "{name}: {status}");
    }
}

/// §5.4.1: PS256, ES256 and EdDSA, for access tokens and proofs.
#[tokio::test]
async fn only_the_algorithms_of_the_profile_are_accepted() {
    let server = server();
    let api = api(profile(&server).with_dpop(dpop(&server)));
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps512,
        Algorithm::Es256,
        Algorithm::Es384,
        Algorithm::EdDsa,
    ] {
        let is_permitted = matches!(
            algorithm,
            Algorithm::Ps256 | Algorithm::Es256 | Algorithm::EdDsa
        );
        let client = Client::new(&server);
        let token = client.mint().with_algorithm(algorithm).sign();
        let answer = show(&api, &token, &client.proof("/", &token).sign()).await;
        assert_eq!(answer.status == 200, is_permitted, "{algorithm}");
        let why = (!is_permitted).then_some(Why::Algorithm);
        assert_eq!(answer.kind(), why, "{algorithm}");

        let client = Client::with_algorithm(&server, algorithm);
        let token = client.token();
        let answer = show(&api, &token, &client.proof("/", &token).sign()).await;
        assert_eq!(answer.status == 200, is_permitted, "proof {algorithm}");
        let why = (!is_permitted).then_some(Why::DpopProof(ProofError::Algorithm));
        assert_eq!(answer.kind(), why, "proof {algorithm}");
    }
    let challenge = ask(&api, Request::get("/").body(Body::empty()).unwrap()).await;
    let challenge = challenge.challenge();
    assert_eq!(challenge.scheme, "DPoP");
    assert_eq!(challenge.parameter("algs"), Some("PS256 ES256 EdDSA"));
}

/// What a setting would have to accept is an error, whichever of both was called first.
#[tokio::test]
async fn settings_that_contradict_the_profile_are_named() {
    let server = server();
    let handle = server.authorization_server();
    let of = |server: &AuthorizationServer| JwtVerifier::new(server, AUDIENCE).unwrap();
    let metadata = Metadata::new(ISSUER).with_jwks_uri("https://id.example.test/jwks");
    let by_hand = AuthorizationServer::from_metadata(metadata).unwrap();
    let elsewhere = AuthorizationServer::new(ISSUER).unwrap();
    let elsewhere = elsewhere
        .with_metadata_url("https://id.example.test/other")
        .unwrap();
    let loopback = AuthorizationServer::new("http://127.0.0.1:8080").unwrap();
    let rs256 = verifier(&server).with_algorithms([Algorithm::Rs256, Algorithm::Es384]);
    let slow = verifier(&server).with_leeway(Duration::from_secs(61));
    let opaque = Registration::confidential("api", "secret");
    let opaque = IntrospectionVerifier::new(&handle, opaque, Audience::Unchecked).unwrap();
    let either = Verifier::jwt_or_opaque(verifier(&server), opaque.clone());
    let endpoint = Registration::confidential("api", "secret");
    let endpoint = IntrospectionVerifier::new(&handle, endpoint, AUDIENCE).unwrap();
    let endpoint = endpoint.with_endpoint("https://id.example.test/introspect");
    let endpoint = endpoint.unwrap();
    let two = Verifier::issuers([verifier(&server), of(&loopback)]).unwrap();
    let unchecked = JwtVerifier::new(&handle, Audience::Unchecked).unwrap();
    let cases: [(Verifier, &str); 10] = [
        (of(&by_hand).into(), "from_metadata"),
        (of(&elsewhere).into(), "with_metadata_url"),
        (of(&loopback).into(), "https"),
        (rs256.unwrap().into(), "PS256, ES256 and EdDSA"),
        (slow.unwrap().into(), "at most 1 minute"),
        (unchecked.into(), "Audience::AnyOf"),
        (opaque.into(), "Audience::AnyOf"),
        (either, "Audience::AnyOf"),
        (endpoint.into(), "with_endpoint"),
        (two, "127.0.0.1"),
    ];
    for (verifier, expected) in cases {
        let layer = BearerLayer::new(verifier);
        let error = layer.with_fapi2_security_profile().unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let proofs = || dpop(&server).with_algorithms([Algorithm::Rs256]).unwrap();
    let cookie = || TokenSource::cookie("token").unwrap();
    let bound = || layer(&server).with_dpop(dpop(&server));
    let later = [
        ("with_dpop", profile(&server)),
        (
            "Dpop::with_algorithms",
            profile(&server).with_dpop(proofs()),
        ),
        (
            "add_token_source",
            bound()
                .with_fapi2_security_profile()
                .unwrap()
                .add_token_source(cookie()),
        ),
        (
            "add_token_source",
            bound()
                .add_token_source(cookie())
                .with_fapi2_security_profile()
                .unwrap(),
        ),
    ];
    for (expected, layer) in later {
        let error = layer.check().unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        let answer = present(&api(layer), &good(&server).sign()).await;
        assert_eq!(answer.outcome(), Outcome::Misconfigured, "{expected}");
    }
}

/// §5.3.2.1: up to 60 seconds for clocks that differ.
#[tokio::test]
async fn a_token_of_the_future_is_rejected() {
    let server = server();
    let verifier = verifier(&server)
        .with_leeway(Duration::from_secs(60))
        .unwrap();
    let layer = BearerLayer::new(verifier)
        .with_fapi2_security_profile()
        .unwrap();
    let api = api(layer.with_mtls(Mtls::from_tls()));
    let now = server.clock().unix_seconds();
    for claim in ["iat", "nbf"] {
        for (ahead, status) in [(10, 200), (60, 200), (61, 401)] {
            let mint: TokenMint = good(&server).bound_to_certificate(CERTIFICATE);
            let token = mint.with_claim(claim, now + ahead).sign();
            let answer = ask(&api, certified(&token)).await;
            assert_eq!(answer.status, status, "{claim} {ahead}");
        }
    }
}

/// RFC 6750 §2.2 and §2.3 are not used: a token in a form or the query is no credential.
#[tokio::test]
async fn a_token_outside_of_the_header_is_rejected() {
    let server = server();
    let plain = layer(&server).with_mtls(Mtls::from_tls());
    let strict = plain.clone().with_fapi2_security_profile().unwrap();
    let token = good(&server).bound_to_certificate(CERTIFICATE).sign();
    for (layer, in_form) in [(plain, 200), (strict, 400)] {
        let api = axum::Router::new().fallback_service(FormTokenLayer::new().layer(api(layer)));
        let mut form = certified(&token);
        form.headers_mut().remove(AUTHORIZATION);
        *form.method_mut() = http::Method::POST;
        let kind = http::HeaderValue::from_static("application/x-www-form-urlencoded");
        form.headers_mut().insert(CONTENT_TYPE, kind);
        let form = form.map(|_| Body::from(format!("access_token={token}")));
        let logs = Logs::default();
        let recording = logs.record_only("form_token_rejected");
        assert_eq!(ask(&api, form).await.status, in_form);
        drop(recording);
        let text = logs.take();
        let setting = "BearerLayer::with_fapi2_security_profile";
        assert_eq!(text.contains(setting), in_form == 400, "{text}");
        assert!(!text.contains(&token), "{text}");

        let mut query = certified(&token);
        query.headers_mut().remove(AUTHORIZATION);
        *query.uri_mut() = format!("/?access_token={token}").parse().unwrap();
        assert_eq!(ask(&api, query).await.status, 401);
    }
}

/// A verifier that is looked up later is restricted too.
#[tokio::test]
async fn a_verifier_that_is_looked_up_complies_or_is_unavailable() {
    for (leeway, status) in [(60, 200), (61, 503)] {
        let server = server();
        let verifier = verifier(&server)
            .with_leeway(Duration::from_secs(leeway))
            .unwrap();
        let lookup = Verifier::lookup(
            |issuer| issuer == ISSUER,
            move |_| {
                let verifier = verifier.clone();
                async move { Ok::<_, Infallible>(Some(verifier)) }
            },
        );
        let layer = BearerLayer::new(lookup)
            .with_fapi2_security_profile()
            .unwrap();
        let dpop = Dpop::new(AUDIENCE).unwrap().with_clock(server.clock());
        let api = api(layer.with_dpop(dpop));
        let client = Client::new(&server);
        let token = client.token();
        let proof = client.proof("/", &token).sign();
        let answer = ask(&api, request("/", &format!("DPoP {token}"), &proof)).await;
        assert_eq!(answer.status, status, "{leeway}");
        let rsa = client.mint().with_algorithm(Algorithm::Rs256).sign();
        let proof = client.proof("/", &rsa).sign();
        let answer = ask(&api, request("/", &format!("DPoP {rsa}"), &proof)).await;
        assert_ne!(answer.status, 200, "{leeway}");
    }
}

/// §5.3.2.1: also if a nonce decides whether a proof is recent.
#[tokio::test]
async fn a_proof_of_the_future_is_rejected_in_spite_of_its_nonce() {
    for (ahead, status) in [(60, 200), (61, 401), (3600, 401), (-3600, 200)] {
        let server = server();
        let dpop = dpop(&server).with_nonces_instead_of_iat(DpopNonceKey::generate().unwrap());
        let api = api(profile(&server).with_dpop(dpop));
        let client = Client::new(&server);
        let token = client.token();
        let first = show(&api, &token, &client.proof("/", &token).sign()).await;
        let nonce = first.header("dpop-nonce").unwrap().to_owned();
        let proof = client.proof("/", &token).with_claim("nonce", nonce);
        let issued_at = server.clock().unix_seconds() + ahead;
        let answer = show(&api, &token, &proof.with_claim("iat", issued_at).sign()).await;
        assert_eq!(answer.status, status, "{ahead}");
    }
}
