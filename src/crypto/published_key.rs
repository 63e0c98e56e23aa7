//! [`PublishedKey`]: a public key of this application, in a key set that it publishes (RFC 7517 §5).

use serde_json::Value;

use super::jwk::{check_complete, check_public, check_purpose};
use super::key_material::read_material;
use super::{ALL_ALGORITHMS, Algorithm, PublicKey};
use crate::protocol::json::parse_object;

/// A public key: the required members of its type, its `kid` and its `alg`, and nothing else that the JWK may have had.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PublishedKey {
    /// The required members, in the order of RFC 7638 §3.
    material: String,
    key_id: Option<String>,
    algorithm: Option<Algorithm>,
}

impl PublishedKey {
    /// Reads a public JWK. A private one is an error, although its private members would not be published.
    pub(crate) fn read(jwk: &Value) -> Result<Self, &'static str> {
        let text = jwk.to_string();
        let jwk = parse_object(text.as_bytes()).map_err(|_| "it is not a JSON object")?;
        check_complete(&jwk)?;
        check_public(&jwk)?;
        check_purpose(&jwk)?;
        let material = read_material(&jwk)?;
        let algorithm = match jwk.text("alg").map_err(|_| "its alg is not a string")? {
            Some(name) => Some(Algorithm::from_name(name).ok_or("its alg is not supported")?),
            None => None,
        };
        let mut fitting = ALL_ALGORITHMS.iter().copied();
        let fitting = fitting.find(|one| one.key_kind() == material.kind());
        let verifier = algorithm.or(fitting);
        verifier
            .filter(|algorithm| algorithm.key_kind() == material.kind())
            .ok_or("its alg requires another type of key")
            .and_then(|one| {
                PublicKey::prepare(&material, one).ok_or("its parameters are invalid")
            })?;
        let key_id = jwk.text("kid").map_err(|_| "its kid is not a string")?;
        Ok(Self {
            material: material.required_members(),
            key_id: key_id.map(str::to_owned),
            algorithm,
        })
    }

    pub(crate) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Adds the key to a set. The same key with two algorithms is one key of the set without `alg`.
    pub(crate) fn add_to(self, keys: &mut Vec<Self>) {
        let is_same = |one: &&mut Self| one.material == self.material && one.key_id == self.key_id;
        match keys.iter_mut().find(is_same) {
            Some(one) if one.algorithm == self.algorithm => {}
            Some(one) => one.algorithm = None,
            None => keys.push(self),
        }
    }

    pub(crate) fn to_jwk(&self) -> Value {
        let mut jwk: Value = serde_json::from_str(&self.material).unwrap_or_default();
        if let Some(key_id) = &self.key_id {
            jwk["kid"] = key_id.as_str().into();
        }
        if let Some(algorithm) = self.algorithm {
            jwk["alg"] = algorithm.name().into();
        }
        jwk["use"] = "sig".into();
        jwk
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    #[test]
    fn a_published_key_has_its_public_members_only() {
        let jwk = json!({
            "kty": "OKP", "crv": "Ed25519", "x": X, "kid": "a", "alg": "EdDSA", "key_ops": ["verify"],
            "x5c": ["AAAA"], "note": "internal",
        });
        assert_eq!(
            PublishedKey::read(&jwk).unwrap().to_jwk(),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "kid": "a", "alg": "EdDSA", "use": "sig" })
        );
        let bare = json!({ "kty": "OKP", "crv": "Ed25519", "x": X });
        assert_eq!(
            PublishedKey::read(&bare).unwrap().to_jwk(),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "use": "sig" })
        );
    }

    #[test]
    fn a_key_that_is_not_public_or_cannot_verify_is_rejected() {
        for (change, expected) in [
            (json!({ "d": X }), "private"),
            (json!({ "d": null }), "empty"),
            (json!({ "k": "c2VjcmV0" }), "private"),
            (json!({ "kty": "oct", "k": "c2VjcmV0" }), "private"),
            (json!({ "kty": "oct" }), "not supported"),
            (json!({ "use": "enc" }), "use"),
            (json!({ "key_ops": ["sign"] }), "key_ops"),
            (json!({ "alg": "ES256" }), "another type"),
            (json!({ "alg": "HS256" }), "not supported"),
            (json!({ "x": "AAAA" }), "length"),
            (json!({ "kid": 7 }), "kid"),
        ] {
            let mut jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": X });
            for (name, value) in change.as_object().unwrap() {
                jwk[name] = value.clone();
            }
            let error = PublishedKey::read(&jwk).unwrap_err();
            assert!(error.contains(expected), "{jwk}: {error}");
        }
        assert!(PublishedKey::read(&json!([X])).is_err());
    }

    #[test]
    fn one_key_for_two_algorithms_is_one_key_of_the_set() {
        let key = |id: &str, algorithm: Option<Algorithm>| PublishedKey {
            material: r#"{"e":"AQAB","kty":"RSA","n":"AA"}"#.to_owned(),
            key_id: Some(id.to_owned()),
            algorithm,
        };
        let mut keys = Vec::new();
        for added in [
            key("a", Some(Algorithm::Rs256)),
            key("a", Some(Algorithm::Rs256)),
            key("a", Some(Algorithm::Ps256)),
            key("b", Some(Algorithm::Ps256)),
        ] {
            added.add_to(&mut keys);
        }
        assert_eq!(keys, [key("a", None), key("b", Some(Algorithm::Ps256))]);
    }
}
