//! An application that uses jsonwebtoken itself, beside this crate.
//!
//! jsonwebtoken has one cryptography provider per process. It selects the provider whose feature is enabled, and
//! panics at the first token if both are, because Cargo unifies the features of a build. The default build of
//! this crate must therefore enable neither. With the feature `rust-crypto` of this crate, an application on
//! aws-lc-rs has to install its provider.

use std::convert::Infallible;
use std::error::Error;

use http::{Request, Response, StatusCode};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;
use tower_oauth::issuer::StaticKeys;
use tower_oauth::{AuthorizationServer, BearerLayer};

/// A P-256 key of this program: PKCS #8 in hexadecimal.
const PRIVATE: &str = "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420a2e00954\
    2612d12ea054c088728a312f2eef1be979fb903bc09dad43ee868982a14403420004e1b23ef0a80f\
    ae5e2c14de41cab2c67f795fb20c9080d284ccd2d21eea0b595f8742f4117db1ccaefc0f8cf32f78\
    4509ee6129c8242e8e42b994bf00334ceea9";
const PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE4bI+8KgPrl4sFN5ByrLGf3lfsgyQ
gNKEzNLSHuoLWV+HQvQRfbHMrvwPjPMveEUJ7mEpyCQujkK5lL8AM0zuqQ==
-----END PUBLIC KEY-----";

fn main() -> Result<(), Box<dyn Error>> {
    #[cfg(feature = "application-aws-lc")]
    if std::env::args().nth(1).as_deref() == Some("installs") {
        jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER
            .install_default()
            .map_err(|_| "another provider was installed before the application's")?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    use_jsonwebtoken()?;
    runtime.block_on(use_layer())?;
    println!("ok");
    Ok(())
}

/// Uses jsonwebtoken as an application does.
fn use_jsonwebtoken() -> Result<(), Box<dyn Error>> {
    let claims = json!({ "sub": "alice", "exp": 4_000_000_000_u64 });
    let token = encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(b"shared"),
    )?;
    let key = DecodingKey::from_secret(b"shared");
    let read = decode::<Value>(&token, &key, &Validation::new(Algorithm::HS256))?;
    assert_eq!(read.claims["sub"], "alice");
    Ok(())
}

/// Verifies a token, signed with jsonwebtoken, with the layer.
async fn use_layer() -> Result<(), Box<dyn Error>> {
    let keys = StaticKeys::from_pem("k", tower_oauth::Algorithm::Es256, PUBLIC)?;
    let server = AuthorizationServer::new("https://id.example.com")?.with_keys(keys);
    let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
    let api = BearerLayer::jwt(&server, "https://api.example.com")?.layer(inner);
    for (audience, expected) in [
        ("https://api.example.com", StatusCode::OK),
        ("https://other.example.com", StatusCode::UNAUTHORIZED),
    ] {
        let claims = json!({
            "iss": "https://id.example.com", "aud": audience, "exp": 4_000_000_000_u64,
        });
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some("k".to_owned());
        let token = encode(&header, &claims, &EncodingKey::from_ec_der(&private_key()?))?;
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        let response = api.clone().oneshot(request.body(())?).await?;
        assert_eq!(response.status(), expected);
    }
    Ok(())
}

fn private_key() -> Result<Vec<u8>, Box<dyn Error>> {
    let digits = PRIVATE.as_bytes().chunks(2).map(std::str::from_utf8);
    digits
        .map(|two| Ok(u8::from_str_radix(two?, 16)?))
        .collect()
}
