//! The settings of a `BearerLayer` in every order.

use std::convert::Infallible;

use http::{HeaderMap, Request, Response, StatusCode};
use tower::{ServiceExt as _, service_fn};
use tower_layer::Layer as _;

use super::layer::BearerLayer;
use super::metadata::ResourceMetadata;
use super::token_source::TokenSource;
use crate::crypto::Algorithm;
use crate::issuer::AuthorizationServer;
use crate::token::{Dpop, Mtls};

const API: &str = "https://api.example.com";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Setting {
    Realm,
    Dpop,
    Mtls,
    Metadata,
    Source,
    NoCache,
}

fn metadata() -> ResourceMetadata {
    let server = AuthorizationServer::new("https://id.example.com").unwrap();
    ResourceMetadata::new(API)
        .unwrap()
        .add_authorization_server(&server)
        .with_dpop_algorithms([Algorithm::Es256])
        .with_dpop_required()
        .with_mtls()
}

fn plain() -> BearerLayer {
    let server = AuthorizationServer::new("https://id.example.com").unwrap();
    BearerLayer::jwt(&server, API).unwrap()
}

fn set<C>(layer: BearerLayer<C>, setting: Setting) -> BearerLayer<C> {
    match setting {
        Setting::Realm => layer.with_realm("orders").unwrap(),
        Setting::Dpop => layer.with_dpop(Dpop::new(API).unwrap().required()),
        Setting::Mtls => layer.with_mtls(Mtls::from_tls()),
        Setting::Metadata => layer.with_resource_metadata(&metadata()).unwrap(),
        Setting::Source => layer.add_token_source(TokenSource::cookie("token").unwrap()),
        Setting::NoCache => layer.without_token_cache(),
    }
}

/// Responses without a token, with a malformed one, with one of another issuer, and with two.
async fn responses<C>(layer: &BearerLayer<C>) -> Vec<(StatusCode, HeaderMap)> {
    let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
    let jwt = "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJ4In0.AAAA";
    let mut responses = Vec::new();
    for fields in [
        &[][..],
        &[("authorization", "Bearer x")],
        &[("authorization", &format!("DPoP {jwt}"))],
        &[("cookie", &format!("token={jwt}"))],
        &[("authorization", "Bearer x"), ("cookie", "token=x")],
    ] {
        let mut request = Request::new(());
        for (name, value) in fields {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let response = layer.layer(inner).oneshot(request).await.unwrap();
        responses.push((response.status(), response.headers().clone()));
    }
    responses
}

fn permutations(settings: &[Setting]) -> Vec<Vec<Setting>> {
    if settings.is_empty() {
        return vec![Vec::new()];
    }
    let with_first = |first: &Setting| {
        let others = settings.iter().filter(|one| *one != first).copied();
        let others: Vec<_> = others.collect();
        let first = *first;
        permutations(&others).into_iter().map(move |mut rest| {
            rest.insert(0, first);
            rest
        })
    };
    settings.iter().flat_map(with_first).collect()
}

#[tokio::test]
async fn settings_have_the_same_effect_in_every_order() {
    let settings = [
        Setting::Realm,
        Setting::Dpop,
        Setting::Mtls,
        Setting::Metadata,
        Setting::Source,
        Setting::NoCache,
    ];
    let expected = responses(&settings.into_iter().fold(plain(), set)).await;
    let statuses: Vec<_> = expected.iter().map(|(status, _)| status.as_u16()).collect();
    assert_eq!(statuses, [401, 401, 401, 401, 400]);
    assert_eq!(
        expected[0].1["www-authenticate"],
        "DPoP realm=\"orders\", algs=\"RS256 PS256 ES256 ES384 EdDSA\", resource_metadata=\
         \"https://api.example.com/.well-known/oauth-protected-resource\""
    );
    for order in permutations(&settings) {
        let typed_at = order
            .iter()
            .position(|one| *one == Setting::NoCache)
            .unwrap();
        let (before, after) = order.split_at(typed_at);
        // The type of the claims changes at any place, too.
        let layer = before.iter().copied().fold(plain(), set);
        let layer = layer.with_claims::<serde_json::Value>();
        let layer = after.iter().copied().fold(layer, set);
        assert!(layer.check().is_ok(), "{order:?}");
        assert!(format!("{layer:?}").contains("cache: None"), "{order:?}");
        assert_eq!(responses(&layer).await, expected, "{order:?}");
    }
}
#[tokio::test]
async fn a_layer_whose_settings_contradict_each_other_rejects_every_request_with_500() {
    let half = set(set(plain(), Setting::Metadata), Setting::Mtls);
    let reason = half.check().unwrap_err().to_string();
    assert!(reason.contains("BearerLayer::with_dpop"), "{reason}");
    for (status, headers) in responses(&half.clone().optional()).await {
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!headers.contains_key("www-authenticate"));
    }
    let whole = set(half, Setting::Dpop);
    assert!(whole.check().is_ok());
    let other = Dpop::new(API).unwrap();
    assert!(whole.with_dpop(other).check().is_err(), "not required");
}
