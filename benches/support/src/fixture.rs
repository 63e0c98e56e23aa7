//! The issuer, its keys and one token per algorithm, written by `bench-scenarios fixture`.

use std::path::{Path, PathBuf};
use std::{env, fs};

use serde::{Deserialize, Serialize};

pub const AUDIENCE: &str = "https://api.example.test";
pub const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

#[derive(Clone, Debug)]
pub struct Fixture {
    folder: PathBuf,
    pub algorithm: String,
    pub issuer: String,
    pub token: String,
}

/// The 13 claims of the token, for peers that need a type.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub aud: String,
    pub exp: i64,
    pub nbf: i64,
    pub iat: i64,
    pub jti: String,
    pub client_id: String,
    pub scope: String,
    pub sid: String,
    pub email: String,
    pub preferred_username: String,
    pub roles: Vec<String>,
}

impl Fixture {
    /// Loads the fixture from the folder in `BENCH_FIXTURE`.
    pub fn load(algorithm: &str) -> Self {
        let folder = env::var("BENCH_FIXTURE").expect("BENCH_FIXTURE is the folder of the tokens");
        Self::read(Path::new(&folder), algorithm)
    }

    pub fn read(folder: &Path, algorithm: &str) -> Self {
        let text = |name: &str| {
            let path = folder.join(name);
            let text = fs::read_to_string(&path);
            text.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
                .trim()
                .to_owned()
        };
        Self {
            folder: folder.to_owned(),
            algorithm: algorithm.to_owned(),
            issuer: text("issuer"),
            token: text(&format!("{algorithm}.token")),
        }
    }

    pub fn jwks_url(&self) -> String {
        format!("{}/jwks.json", self.issuer)
    }

    /// Returns the key of the token's algorithm as a JWK (RFC 7517 §4).
    pub fn jwk(&self) -> serde_json::Value {
        let set = fs::read(self.folder.join("jwks.json")).expect("the key set");
        let set: serde_json::Value = serde_json::from_slice(&set).expect("a key set");
        let keys = set["keys"].as_array().expect("keys");
        let found = keys
            .iter()
            .find(|key| key["alg"] == self.algorithm.as_str());
        found.expect("a key for the algorithm").clone()
    }

    /// Returns the signing input and the signature.
    pub fn signed(&self) -> (&str, Vec<u8>) {
        let (input, signature) = self.token.rsplit_once('.').expect("a token");
        (input, decode(signature))
    }
}

pub fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE_NO_PAD
        .decode(text)
        .expect("base64url")
}
