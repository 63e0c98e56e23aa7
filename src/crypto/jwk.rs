//! A public key of a key set (RFC 7517 §4), parsed strictly and prepared once.

use serde_json::{Map, Value};

use super::backend::PublicKey;
use super::key_material::{KeyMaterial, read_material};
use super::{Algorithm, pem};
use crate::protocol::json::{Json, Object};

/// A key for verifying signatures, prepared for each algorithm that it may verify.
#[derive(Debug)]
pub(crate) struct Jwk {
    key_id: Option<Box<str>>,
    material: KeyMaterial,
    prepared: Vec<(Algorithm, PublicKey)>,
    /// Whether the set names the algorithm. Otherwise the key is prepared for all that fit its type.
    names_algorithm: bool,
    /// The member `issuer`, which is not registered: a key set for several issuers says so whose tokens a key may sign.
    issuer: Option<Box<str>>,
}

/// All algorithms that a key can be prepared for.
const ALL: [Algorithm; 9] = [
    Algorithm::Rs256,
    Algorithm::Ps256,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

/// Members of private and symmetric keys (RFC 7518 §6).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl Jwk {
    /// Parses a key. The error says why it is ignored, for the log.
    pub(crate) fn read(jwk: &Object<'_>) -> Result<Self, &'static str> {
        check_public(jwk)?;
        check_purpose(jwk)?;
        let key_id = read_key_id(jwk)?;
        let material = read_material(jwk)?;
        let name = jwk.text("alg").map_err(|_| "its alg is not a string")?;
        let algorithms: Vec<Algorithm> = match name {
            // RFC 8725 §3.1: a key is used with one algorithm, if the server specifies it.
            Some(name) => vec![Algorithm::from_name(name).ok_or("its alg is not supported")?],
            None => ALL
                .into_iter()
                .filter(|one| one.key_kind() == material.kind())
                .collect(),
        };
        let prepared: Vec<_> = algorithms
            .into_iter()
            .filter_map(|one| PublicKey::prepare(&material, one).map(|key| (one, key)))
            .collect();
        if prepared.is_empty() {
            return Err("its parameters are invalid, or its alg does not fit its type");
        }
        Ok(Self {
            key_id: key_id.map(Box::from),
            material,
            prepared,
            names_algorithm: name.is_some(),
            issuer: jwk.text("issuer").unwrap_or_default().map(Box::from),
        })
    }

    /// Parses a configured key in PEM, for one algorithm.
    pub(crate) fn from_pem(
        key_id: Option<&str>,
        algorithm: Algorithm,
        text: &str,
    ) -> Result<Self, &'static str> {
        let material = pem::read_public_key(text)?;
        if material.kind() != algorithm.key_kind() {
            return Err("it is not a key for this algorithm");
        }
        let key =
            PublicKey::prepare(&material, algorithm).ok_or("its point is not on the curve")?;
        Ok(Self {
            key_id: key_id.map(Box::from),
            material,
            prepared: vec![(algorithm, key)],
            names_algorithm: true,
            issuer: None,
        })
    }

    pub(crate) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Returns the only issuer whose tokens the key may sign, if the key set names one.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Returns whether both have the same id, issuer, parameters and algorithms.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let algorithms = |key: &Self| key.prepared.iter().map(|(one, _)| *one).collect::<Vec<_>>();
        self.key_id == other.key_id
            && self.issuer == other.issuer
            && self.is_same_key(other)
            && algorithms(self) == algorithms(other)
    }

    /// Returns whether both have the same parameters, which is the comparison of their thumbprints (RFC 7638 §3).
    pub(crate) fn is_same_key(&self, other: &Self) -> bool {
        self.material == other.material
    }

    /// Returns the algorithms that the set names for this entry; none if it has no `alg`.
    pub(crate) fn named_algorithms(&self) -> impl Iterator<Item = Algorithm> {
        let named = self.prepared.iter().filter(|_| self.names_algorithm);
        named.map(|(algorithm, _)| *algorithm)
    }

    /// Restricts an entry without `alg` to the algorithms that other entries name for the same key.
    pub(crate) fn restrict_to(&mut self, named: &[Algorithm]) {
        if !self.names_algorithm && !named.is_empty() {
            self.prepared.retain(|(one, _)| named.contains(one));
        }
    }

    /// Adds the algorithms of another entry for the same key.
    pub(crate) fn absorb(&mut self, other: Self) {
        for (algorithm, key) in other.prepared {
            if self.for_algorithm(algorithm).is_none() {
                self.prepared.push((algorithm, key));
            }
        }
    }

    /// Returns whether both may verify a common algorithm.
    pub(crate) fn shares_algorithm_with(&self, other: &Self) -> bool {
        let mut ours = self.prepared.iter();
        ours.any(|(one, _)| other.for_algorithm(*one).is_some())
    }

    /// Returns the key prepared for this algorithm, if the key may be used with it.
    pub(crate) fn for_algorithm(&self, algorithm: Algorithm) -> Option<&PublicKey> {
        self.prepared
            .iter()
            .find_map(|(one, key)| (*one == algorithm).then_some(key))
    }
}

/// Reads `kid`. An empty one is kept, since servers that send it send it in headers too, where it matches exactly.
fn read_key_id<'a>(jwk: &'a Object<'_>) -> Result<Option<&'a str>, &'static str> {
    match jwk.member("kid") {
        Some(Json::String(key_id)) => Ok(Some(key_id)),
        None => Ok(None),
        Some(unset) if unset.is_unset() => Ok(None),
        Some(_) => Err("its kid is not a string"),
    }
}

/// The members that decide which key it is and what it may be used for.
const OPTIONAL_MEMBERS: [&str; 4] = ["use", "key_ops", "alg", "crv"];

/// Rejects a key in which one of these members is `null` or empty: for a key that the sender of a token writes into
/// its header.
pub(super) fn check_complete(jwk: &Object<'_>) -> Result<(), &'static str> {
    let mut names = PRIVATE_MEMBERS.iter().chain(&OPTIONAL_MEMBERS);
    match names.any(|name| jwk.member(name).is_some_and(Json::is_unset)) {
        true => Err("it has an empty member"),
        false => Ok(()),
    }
}

/// Returns whether an object is a JWK with private members, in any case of their names.
pub(crate) fn is_private_jwk(members: &Map<String, Value>) -> bool {
    let has = |name: &str| members.keys().any(|one| one.eq_ignore_ascii_case(name));
    has("kty") && PRIVATE_MEMBERS.iter().any(|name| has(name))
}

/// Rejects a key with private members: a published private key proves nothing.
pub(super) fn check_public(jwk: &Object<'_>) -> Result<(), &'static str> {
    if PRIVATE_MEMBERS.iter().any(|name| jwk.value(name).is_some()) {
        return Err("it has private members");
    }
    Ok(())
}

/// Twice the number of registered operations (RFC 7517 §4.3), which bounds the search for duplicates.
const MAX_OPERATIONS: usize = 16;

/// Checks that `use` and `key_ops`, if present, allow verification (RFC 7517 §4.2, §4.3).
pub(super) fn check_purpose(jwk: &Object<'_>) -> Result<(), &'static str> {
    match jwk.text("use") {
        Ok(None | Some("sig")) => {}
        _ => return Err("its use is not sig"),
    }
    let Some(operations) = jwk
        .texts("key_ops")
        .map_err(|_| "its key_ops is not a list of strings")?
    else {
        return Ok(());
    };
    if operations.len() > MAX_OPERATIONS {
        return Err("its key_ops is too long");
    }
    let has_duplicates = operations
        .iter()
        .enumerate()
        .any(|(index, one)| operations[..index].contains(one));
    if has_duplicates || !operations.contains(&"verify") {
        return Err("its key_ops does not allow verify");
    }
    Ok(())
}
