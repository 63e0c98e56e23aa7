//! Scopes from claims other than `scope` (RFC 9068 §2.2.3).

use crate::ConfigError;
use crate::protocol::ScopeSet;
use crate::protocol::json::{Json, Object};

/// A claim whose values are read as scopes or roles, by name or by path.
///
/// The default is `scope`, which must be a string ([RFC 9068 §2.2.3]). Other claims are read only if they are
/// configured, and so is an array in `scope`, as IdentityServer and UAA send it: `with_scopes_from(["scope"])`. Two forms
/// are read:
///
/// - a string is a space-separated list, as in `scope`;
/// - an array of strings is a list with one scope per element.
///
/// Any other value grants nothing, including an array with an element that is not a string. Elements that are empty or
/// contain a space are ignored, because a space separates scopes in the printed form. The scopes of several claims are
/// merged and cannot be distinguished afterwards, so configure only claims with the same meaning. Roles
/// ([`Policy::and_role`](crate::bearer::Policy::and_role)) are compared as they are: neither strings nor elements are
/// split at spaces.
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
    /// Member names, from the outermost object to the claim itself.
    path: Vec<Box<str>>,
}

impl ScopeClaim {
    /// Selects a top-level claim: `scp`, `permissions`, `https://example.com/roles`. A dot in the name is part of it.
    pub fn named(name: &str) -> Self {
        Self {
            path: vec![name.into()],
        }
    }

    /// Selects a claim by its path through nested objects, as in the tokens of Keycloak:
    /// `["realm_access", "roles"]`, `["resource_access", "my-client", "roles"]`.
    pub fn nested<'a>(path: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            path: path.into_iter().map(Box::from).collect(),
        }
    }

    /// Returns the claim as it is, if it is present.
    pub(super) fn find<'a, 'b>(&self, claims: &'a Object<'b>) -> Option<&'a Json<'b>> {
        let (last, outer) = self.path.split_last()?;
        let inside = outer.iter().try_fold(claims, |object, name| {
            object.member(name).and_then(Json::as_object)
        });
        inside.and_then(|object| object.member(last))
    }

    /// Returns whether the claim is present.
    pub(crate) fn is_present(&self, claims: &Object<'_>) -> bool {
        self.find(claims).is_some()
    }

    /// Returns whether the claim contains a role: it is a string that equals the role, or an array of strings with such
    /// an element. Unlike scopes, neither is split at spaces, because names of roles contain them.
    pub(crate) fn has_role(&self, claims: &Object<'_>, role: &str) -> bool {
        match self.find(claims) {
            Some(Json::String(one)) => *one == *role,
            Some(list) => list.as_texts().is_some_and(|roles| roles.contains(&role)),
            None => false,
        }
    }

    /// Returns whether the claim contains a role in an organization: it is an object of roles, each of which is an object
    /// of organizations with a description of each. The role alone would let users of every organization in.
    pub(crate) fn has_role_in(&self, claims: &Object<'_>, role: &str, organization: &str) -> bool {
        let roles = self.find(claims).and_then(Json::as_object);
        let organizations = roles.and_then(|roles| roles.member(role)?.as_object());
        let description = organizations.and_then(|all| all.member(organization)?.as_str());
        description.is_some_and(|description| !description.is_empty())
    }

    /// Returns the scopes in the claim, or none if the claim is missing or has another form.
    pub(crate) fn values<'a>(&self, claims: &'a Object<'_>) -> Vec<&'a str> {
        match self.find(claims) {
            Some(Json::String(list)) => list.split(' ').filter(|one| !one.is_empty()).collect(),
            Some(list) => {
                let mut values = list.as_texts().unwrap_or_default();
                values.retain(|value| !value.is_empty() && !value.contains(' '));
                values
            }
            None => Vec::new(),
        }
    }

    /// Returns whether the path and all its names are non-empty.
    pub(crate) fn is_named(&self) -> bool {
        !self.path.is_empty() && self.path.iter().all(|name| !name.is_empty())
    }

    /// Returns the path in a readable form, for logs and printed policies.
    pub(crate) fn describe(&self) -> String {
        self.path.join(".")
    }
}

impl From<&str> for ScopeClaim {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

/// Warns that tokens have scopes which are not read.
#[cold]
pub(crate) fn report_array(issuer: &str, setting: &'static str) {
    tracing::warn!(
        name: "scope_is_an_array",
        target: "tower_oauth::bearer",
        issuer,
        %setting,
        "the tokens of this issuer have an array in `scope`, which grants nothing unless it is configured"
    );
}

/// The claims that are read as scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScopeMapping(Vec<ScopeClaim>);

impl ScopeMapping {
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if there is no claim, or a name is empty.
    pub(crate) fn new<S: Into<ScopeClaim>>(
        claims: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        let claims: Vec<ScopeClaim> = claims.into_iter().map(Into::into).collect();
        let reject = |value: String, reason| {
            Err(ConfigError::Setting {
                setting: "scope claims",
                value,
                reason,
            })
        };
        if claims.is_empty() {
            return reject("[]".to_owned(), "at least one is required");
        }
        if let Some(unnamed) = claims.iter().find(|claim| !claim.is_named()) {
            return reject(unnamed.describe(), "its names must not be empty");
        }
        Ok(Self(claims))
    }

    /// Selects the scope claim of a profile.
    pub(crate) fn of(name: &str) -> Self {
        Self(vec![ScopeClaim::named(name)])
    }

    /// Returns the granted scopes, in the configured order of the claims.
    pub(crate) fn read(&self, claims: &Object<'_>) -> ScopeSet {
        ScopeSet::from_values(self.0.iter().flat_map(|claim| claim.values(claims)))
    }
}

/// The claims that are read in addition to the registered ones.
#[derive(Clone, Debug)]
pub(crate) struct ClaimMapping {
    pub(crate) scopes: Option<ScopeMapping>,
    /// The claims that can contain the client identifier; the first one present is used.
    pub(crate) clients: &'static [&'static str],
}

/// The values of the mapped claims.
#[derive(Debug, Default)]
pub(crate) struct MappedClaims {
    pub(crate) scopes: Option<ScopeSet>,
    pub(crate) client: Option<Box<str>>,
}

impl ClaimMapping {
    pub(crate) fn read(&self, claims: &Object<'_>) -> MappedClaims {
        let text = |name: &&str| {
            let text = claims.member(name).and_then(Json::as_str);
            text.filter(|text| !text.is_empty())
        };
        MappedClaims {
            scopes: self.scopes.as_ref().map(|mapping| mapping.read(claims)),
            client: self.clients.iter().find_map(text).map(Box::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::parse_object;

    #[test]
    fn strings_are_split_at_spaces_and_array_elements_are_not() {
        let keycloak = ScopeClaim::nested(["resource_access", "my.client", "roles"]);
        for (name, claim, json, expected) in [
            ("a string", "scp".into(), r#"{"scp":"a b  a"}"#, "a b"),
            ("an array", "scp".into(), r#"{"scp":["a","b","a"]}"#, "a b"),
            (
                "an element with a space is ignored",
                "scp".into(),
                r#"{"scp":["a b","","c"]}"#,
                "c",
            ),
            (
                "an array with a number grants nothing",
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
                "a path that ends early",
                keycloak.clone(),
                r#"{"resource_access":{"my.client":["a"]},"roles":["b"]}"#,
                "",
            ),
            (
                "a dot is part of a name",
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
    fn roles_are_never_split_and_a_role_of_one_organization_is_none_of_another() {
        let zitadel = ScopeClaim::named("urn:zitadel:iam:org:project:roles");
        for (claim, role, organization, expected) in [
            (r#""Order Clerk""#, "Order Clerk", None, true),
            (r#""Order Clerk""#, "Clerk", None, false),
            (r#"["Order Clerk","b"]"#, "Order Clerk", None, true),
            (r#"["Order Clerk","b"]"#, "Clerk", None, false),
            (r#"["b",1]"#, "b", None, false),
            (r#"{"b":{"1":"a.test"}}"#, "b", None, false),
            (r#"{"b":{"1":"a.test"}}"#, "b", Some("1"), true),
            (r#"{"b":{"1":"a.test"}}"#, "b", Some("2"), false),
            (r#"{"b":{"1":"a.test"}}"#, "c", Some("1"), false),
            (
                r#"{"b":{"1":null,"2":false,"3":{},"4":""}}"#,
                "b",
                Some("1"),
                false,
            ),
            (
                r#"{"b":{"1":null,"2":false,"3":{},"4":""}}"#,
                "b",
                Some("2"),
                false,
            ),
            (
                r#"{"b":{"1":null,"2":false,"3":{},"4":""}}"#,
                "b",
                Some("3"),
                false,
            ),
            (
                r#"{"b":{"1":null,"2":false,"3":{},"4":""}}"#,
                "b",
                Some("4"),
                false,
            ),
            (r#"{"b":null}"#, "b", Some("1"), false),
            (r#"{"b":["1"]}"#, "b", Some("1"), false),
            (r#"["b"]"#, "b", Some("1"), false),
        ] {
            let json = format!(r#"{{"urn:zitadel:iam:org:project:roles":{claim}}}"#);
            let claims = parse_object(json.as_bytes()).unwrap();
            let found = match organization {
                None => zitadel.has_role(&claims, role),
                Some(organization) => zitadel.has_role_in(&claims, role, organization),
            };
            assert_eq!(found, expected, "{claim} {role} {organization:?}");
        }
    }

    #[test]
    fn a_mapping_without_claims_or_with_an_empty_name_is_rejected() {
        assert!(ScopeMapping::new([""; 0]).is_err());
        assert!(ScopeMapping::new([""]).is_err());
        assert!(ScopeMapping::new([ScopeClaim::nested([])]).is_err());
        assert!(ScopeMapping::new([ScopeClaim::nested(["a", ""])]).is_err());
        assert!(ScopeMapping::new(["scope", "scp"]).is_ok());
    }
}
