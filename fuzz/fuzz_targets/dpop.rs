//! DPoP proofs with header and payload of the fuzzer and a signature of the right key. A proof is accepted only for this
//! request, this token, this key and this minute, and once.
#![no_main]

use std::convert::Infallible;
use std::future::Future as _;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Request, Response};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tower::{Layer as _, Service as _};
use tower_oauth::issuer::StaticKeys;
use tower_oauth::token::Dpop;
use tower_oauth::{AuthorizationServer, BearerLayer};

use fixed_clock::{FixedClock, NOW};

#[path = "support/fixed_clock.rs"]
mod fixed_clock;

struct Fixture {
    key: Ed25519KeyPair,
    jwk: Value,
    token: String,
    token_digest: String,
    layer: BearerLayer,
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let x = encode(key.public_key().as_ref());
    let jwk = json!({ "crv": "Ed25519", "kty": "OKP", "x": x });
    let thumbprint = encode(digest(&SHA256, jwk.to_string().as_bytes()));
    let token = sign(
        &key,
        r#"{"alg":"EdDSA","typ":"at+jwt"}"#,
        &json!({
            "iss": "https://id.example.com", "aud": "api", "exp": NOW + 60, "cnf": { "jkt": thumbprint },
        })
        .to_string(),
    );
    let keys = StaticKeys::from_jwks(&json!({ "keys": [jwk] }).to_string()).unwrap();
    let server = AuthorizationServer::new("https://id.example.com").unwrap();
    let server = server.with_clock(FixedClock).with_keys(keys);
    Fixture {
        key,
        jwk,
        token_digest: encode(digest(&SHA256, token.as_bytes())),
        token,
        layer: BearerLayer::jwt(&server, "api").unwrap(),
    }
});

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn sign(key: &Ed25519KeyPair, header: &str, payload: &str) -> String {
    let input = format!("{}.{}", encode(header), encode(payload));
    let signature = encode(key.sign(input.as_bytes()));
    format!("{input}.{signature}")
}

fuzz_target!(|data: &str| {
    let fixture = &*FIXTURE;
    // Values that a fuzzer cannot find by itself.
    let text = data.replace("$JWK", &fixture.jwk.to_string());
    let text = text.replace("$ATH", &fixture.token_digest);
    let (header, payload) = text.split_once('\n').unwrap_or((&text, "{}"));
    let proof = sign(&fixture.key, header, payload);

    let dpop = Dpop::new("https://api.example.com")
        .unwrap()
        .with_clock(FixedClock);
    let layer = fixture.layer.clone().with_dpop(dpop);
    let status = present(&layer, &proof);
    if status == 200 {
        check(header, payload);
        assert_eq!(present(&layer, &proof), 401, "a proof is accepted once");
    } else {
        assert_eq!(status, 401);
        let valid = [
            include_str!("../seeds/dpop/good"),
            include_str!("../seeds/dpop/odd"),
        ];
        assert!(!valid.contains(&data));
    }
});

fn present(layer: &BearerLayer, proof: &str) -> u16 {
    let mut service = layer.layer(tower::service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(()))
    }));
    let request = Request::get("https://api.example.com/a?b")
        .header("authorization", format!("DPoP {}", FIXTURE.token))
        .header("dpop", proof);
    let mut response = pin!(service.call(request.body(()).unwrap()));
    // Replay detection in memory and static keys: nothing has to wait.
    match response
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(Ok(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

fn check(header: &str, payload: &str) {
    let header: Value = serde_json::from_str(header).unwrap();
    assert_eq!(header["typ"], "dpop+jwt");
    assert!(["EdDSA", "Ed25519"].contains(&header["alg"].as_str().unwrap()));
    assert_eq!(header["jwk"]["x"], FIXTURE.jwk["x"]);
    assert!(header["jwk"].get("d").is_none());
    assert!(header.get("crit").is_none());

    let claims: Value = serde_json::from_str(payload).unwrap();
    assert_eq!(claims["htm"], "GET");
    assert_eq!(claims["ath"], FIXTURE.token_digest.as_str());
    assert!((1..=256).contains(&claims["jti"].as_str().unwrap().len()));
    let age = NOW as f64 - claims["iat"].as_f64().unwrap();
    assert!((-11.0..=60.0).contains(&age), "{age}");
    let url = url::Url::parse(claims["htu"].as_str().unwrap()).unwrap();
    assert_eq!(
        url.origin().ascii_serialization(),
        "https://api.example.com"
    );
    assert!(url.username().is_empty());
    assert!(["/a", "/%61"].contains(&url.path()), "{url}");
}
