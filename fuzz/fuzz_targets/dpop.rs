//! DPoP proofs, header and payload by the fuzzer and the signature by the right key: what is accepted is
//! for this request, this token, this key and this minute, and once.
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

use still::{NOW, Still};

#[path = "support/still.rs"]
mod still;

struct Setting {
    key: Ed25519KeyPair,
    jwk: Value,
    token: String,
    token_digest: String,
    layer: BearerLayer,
}

static SETTING: LazyLock<Setting> = LazyLock::new(|| {
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
    let server = server.with_clock(Still).with_keys(keys);
    Setting {
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
    let setting = &*SETTING;
    // What no fuzzer would find by itself.
    let text = data.replace("$JWK", &setting.jwk.to_string());
    let text = text.replace("$ATH", &setting.token_digest);
    let (header, payload) = text.split_once('\n').unwrap_or((&text, "{}"));
    let proof = sign(&setting.key, header, payload);

    let dpop = Dpop::new("https://api.example.com")
        .unwrap()
        .with_clock(Still);
    let layer = setting.layer.clone().with_dpop(dpop);
    let status = show(&layer, &proof);
    if status == 200 {
        check(header, payload);
        assert_eq!(show(&layer, &proof), 401, "a proof is good once");
    } else {
        assert_eq!(status, 401);
        let good = [
            include_str!("../seeds/dpop/good"),
            include_str!("../seeds/dpop/odd"),
        ];
        assert!(!good.contains(&data));
    }
});

fn show(layer: &BearerLayer, proof: &str) -> u16 {
    let mut service = layer.layer(tower::service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(()))
    }));
    let request = Request::get("https://api.example.com/a?b")
        .header("authorization", format!("DPoP {}", SETTING.token))
        .header("dpop", proof);
    let mut answer = pin!(service.call(request.body(()).unwrap()));
    // Memory and the keys at hand: nothing has to be waited for.
    match answer
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        Poll::Ready(Ok(answer)) => answer.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

fn check(header: &str, payload: &str) {
    let header: Value = serde_json::from_str(header).unwrap();
    assert_eq!(header["typ"], "dpop+jwt");
    assert!(["EdDSA", "Ed25519"].contains(&header["alg"].as_str().unwrap()));
    assert_eq!(header["jwk"]["x"], SETTING.jwk["x"]);
    assert!(header["jwk"].get("d").is_none());
    assert!(header.get("crit").is_none());

    let claims: Value = serde_json::from_str(payload).unwrap();
    assert_eq!(claims["htm"], "GET");
    assert_eq!(claims["ath"], SETTING.token_digest.as_str());
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
