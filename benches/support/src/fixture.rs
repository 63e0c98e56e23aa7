//! The issuer, its keys and one token an algorithm, as `bench-scenarios fixture` wrote them.

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

/// The 13 claims of the token, for the peers that want a type.
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
    /// From the folder that `BENCH_FIXTURE` names.
    pub fn load(algorithm: &str) -> Self {
        let folder =
            env::var("BENCH_FIXTURE").expect("BENCH_FIXTURE names the folder of the tokens");
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

    /// The key of the token's algorithm, RFC 7517 §4.
    pub fn jwk(&self) -> serde_json::Value {
        let set = fs::read(self.folder.join("jwks.json")).expect("the key set");
        let set: serde_json::Value = serde_json::from_slice(&set).expect("a key set");
        let keys = set["keys"].as_array().expect("keys");
        let found = keys
            .iter()
            .find(|key| key["alg"] == self.algorithm.as_str());
        found.expect("a key for the algorithm").clone()
    }

    /// What is signed, and the signature.
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
