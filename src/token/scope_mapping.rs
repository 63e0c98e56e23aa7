//! Where a token says what it grants: other servers than RFC 9068 §2.2.3 asks for use other claims.

use crate::ConfigError;
use crate::protocol::ScopeSet;
use crate::protocol::json::{Json, Object};

/// A claim whose values count as scopes, by its name or by the way to it.
///
/// By default only `scope` counts, and only where it is a string ([RFC 9068 §2.2.3]); every other claim
/// has to be named. What is found there is read in one of two forms:
///
/// - a string is a list separated by spaces, as in `scope`;
/// - an array of strings is a list of values, each of them whole.
///
/// Anything else grants nothing, nor does an array with something in it that is not a string. A value
/// of an array that is empty or holds a space is left out, since printed it would read as others.
/// Values of several claims are put together; nothing tells them apart afterwards, so name only claims
/// that mean the same kind of grant.
///
/// ```
/// use tower_oauth::token::{JwtVerifier, ScopeClaim};
/// # let server = tower_oauth::AuthorizationServer::new("https://id.example.com")?;
///
/// let verifier = JwtVerifier::new(&server, "https://api.example.com")?
///     .with_scopes_from(["scope", "permissions"])?;
/// let keycloak = JwtVerifier::new(&server, "orders")?
///     .with_scopes_from([ScopeClaim::nested(["resource_access", "orders", "roles"])])?;
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// [RFC 9068 §2.2.3]: https://www.rfc-editor.org/rfc/rfc9068#section-2.2.3
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScopeClaim {
    /// Member names from the outermost to the claim itself.
    path: Vec<Box<str>>,
}

impl ScopeClaim {
    /// The claim of this name, at the top: `scp`, `permissions`, `https://example.com/roles`.
    pub fn named(name: &str) -> Self {
        Self {
            path: vec![name.into()],
        }
    }

    /// The claim at the end of this way through nested objects, as Keycloak has it:
    /// `["realm_access", "roles"]`, `["resource_access", "my-client", "roles"]`.
    pub fn nested<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            path: path.into_iter().map(Box::from).collect(),
        }
    }

    /// The values that are there, none where nothing is or where it has another form.
    pub(crate) fn values<'a>(&self, claims: &'a Object<'_>) -> Vec<&'a str> {
        let Some((last, outer)) = self.path.split_last() else {
            return Vec::new();
        };
        let inside = outer.iter().try_fold(claims, |object, name| {
            object.member(name).and_then(Json::as_object)
        });
        match inside.and_then(|object| object.member(last)) {
            Some(Json::String(list)) => list.split(' ').filter(|one| !one.is_empty()).collect(),
            Some(Json::Array(items)) => {
                let values: Option<Vec<&str>> = items.iter().map(Json::as_str).collect();
                let mut values = values.unwrap_or_default();
                values.retain(|value| !value.is_empty() && !value.contains(' '));
                values
            }
            _ => Vec::new(),
        }
    }

    /// Whether there is anything to look for.
    pub(crate) fn is_named(&self) -> bool {
        !self.path.is_empty() && self.path.iter().all(|name| !name.is_empty())
    }

    /// The path for people, in a log and in a policy that is printed.
    pub(crate) fn describe(&self) -> String {
        self.path.join(".")
    }
}

impl From<&str> for ScopeClaim {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

/// The claims that grant scopes, for one kind of token of one authorization server (`A15`, `A20`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScopeMapping(Vec<ScopeClaim>);

impl ScopeMapping {
    /// # Errors
    ///
    /// [`ConfigError::Setting`] for no claim at all, and for one without a name.
    pub(crate) fn new<S: Into<ScopeClaim>>(
        claims: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        let claims: Vec<ScopeClaim> = claims.into_iter().map(Into::into).collect();
        let refuse = |value: String, reason| {
            Err(ConfigError::Setting {
                setting: "scope claims",
                value,
                reason,
            })
        };
        if claims.is_empty() {
            return refuse("[]".to_owned(), "there must be at least one");
        }
        if let Some(bad) = claims.iter().find(|claim| !claim.is_named()) {
            return refuse(bad.describe(), "every name in it must not be empty");
        }
        Ok(Self(claims))
    }

    /// The one claim that a profile knows its scopes to be in.
    pub(crate) fn of(name: &str) -> Self {
        Self(vec![ScopeClaim::named(name)])
    }

    /// All that is granted, in the order in which the claims were named.
    pub(crate) fn read(&self, claims: &Object<'_>) -> ScopeSet {
        ScopeSet::from_values(self.0.iter().flat_map(|claim| claim.values(claims)))
    }
}

/// What of a payload is read beside the registered members.
#[derive(Clone, Debug)]
pub(crate) struct ClaimMapping {
    pub(crate) scopes: Option<ScopeMapping>,
    /// The claims that name the client, the first that is there counts.
    pub(crate) clients: &'static [&'static str],
}

/// What was read there.
#[derive(Debug, Default)]
pub(crate) struct MappedClaims {
    pub(crate) scopes: Option<ScopeSet>,
    pub(crate) client: Option<Box<str>>,
}

impl ClaimMapping {
    pub(crate) fn read(&self, claims: &Object<'_>) -> MappedClaims {
        let named = |name: &&str| claims.member(name).and_then(Json::as_str);
        MappedClaims {
            scopes: self.scopes.as_ref().map(|mapping| mapping.read(claims)),
            client: self.clients.iter().find_map(named).map(Box::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::parse_object;

    #[test]
    fn strings_are_split_and_arrays_are_taken_whole() {
        let keycloak = ScopeClaim::nested(["resource_access", "my.client", "roles"]);
        for (name, claim, json, expected) in [
            ("a string", "scp".into(), r#"{"scp":"a b  a"}"#, "a b"),
            ("an array", "scp".into(), r#"{"scp":["a","b","a"]}"#, "a b"),
            (
                "a value with a space is nobody's",
                "scp".into(),
                r#"{"scp":["a b","","c"]}"#,
                "c",
            ),
            (
                "a number spoils its list",
                "scp".into(),
                r#"{"scp":["a",1]}"#,
                "",
            ),
            ("an object", "scp".into(), r#"{"scp":{"a":"a"}}"#, ""),
            ("a number", "scp".into(), r#"{"scp":1}"#, ""),
            ("null", "scp".into(), r#"{"scp":null}"#, ""),
            ("absent", "scp".into(), r#"{"scope":"a"}"#, ""),
            (
                "nested",
                keycloak.clone(),
                r#"{"resource_access":{"my.client":{"roles":["a"]},"other":{"roles":["b"]}}}"#,
                "a",
            ),
            (
                "a way that ends early",
                keycloak.clone(),
                r#"{"resource_access":{"my.client":["a"]},"roles":["b"]}"#,
                "",
            ),
            (
                "a dotted name is one name",
                ScopeClaim::named("a.b"),
                r#"{"a":{"b":"no"},"a.b":"yes"}"#,
                "yes",
            ),
        ] {
            let mapping = ScopeMapping::new([claim]).unwrap();
            let claims = parse_object(json.as_bytes()).unwrap();
            assert_eq!(mapping.read(&claims).to_string(), expected, "{name}");
        }
    }

    #[test]
    fn a_mapping_names_at_least_one_claim_and_names_it() {
        assert!(ScopeMapping::new([""; 0]).is_err());
        assert!(ScopeMapping::new([""]).is_err());
        assert!(ScopeMapping::new([ScopeClaim::nested([])]).is_err());
        assert!(ScopeMapping::new([ScopeClaim::nested(["a", ""])]).is_err());
        assert!(ScopeMapping::new(["scope", "scp"]).is_ok());
    }
}
