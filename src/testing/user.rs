//! Users of a test server, and their claims.

use serde_json::{Map, Value, json};

use crate::protocol::{ClientSecret, ScopeSet};

/// A user who can sign in.
///
/// ```
/// use tower_oauth::testing::TestUser;
///
/// let alice = TestUser::new("alice", "wonderland").with_claim("email", "alice@example.test");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct TestUser {
    pub(super) name: String,
    pub(super) password: ClientSecret,
    pub(super) subject: String,
    pub(super) claims: Map<String, Value>,
    pub(super) id_token_claims: Map<String, Value>,
    pub(super) access_token_claims: Map<String, Value>,
    pub(super) acr_values: Vec<String>,
}

impl TestUser {
    /// Registers a user. `name` is also the subject and the `preferred_username`.
    pub fn new(name: &str, password: &str) -> Self {
        Self {
            name: name.to_owned(),
            password: ClientSecret::new(password),
            subject: name.to_owned(),
            claims: Map::new(),
            id_token_claims: Map::new(),
            access_token_claims: Map::new(),
            acr_values: Vec::new(),
        }
        .with_claim("preferred_username", name)
    }

    /// Sets the subject (`sub`).
    pub fn with_subject(mut self, subject: &str) -> Self {
        self.subject = subject.to_owned();
        self
    }

    /// Adds a claim of the user.
    ///
    /// The claims that OpenID Connect Core §5.4 lists for a scope, such as `email`, are in the userinfo response and,
    /// unless the client [excludes](super::TestClient::without_claims_in_id_token) them, in the ID token if that scope was
    /// granted. All others are in the userinfo response only; [`with_id_token_claim`](Self::with_id_token_claim) adds them
    /// to the ID token. A login can also request each by name
    /// ([`with_requested_claims`](crate::LoginLayer::with_requested_claims)).
    pub fn with_claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a claim to the ID tokens of the user, whatever the scopes and the client, for example `employee_id`: a
    /// [`Session`](crate::Session) has it in [`claims`](crate::Session::claims).
    pub fn with_id_token_claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.id_token_claims.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a claim to the access tokens of the user, whatever the scopes, for example the roles that an API checks.
    pub fn with_access_token_claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.access_token_claims
            .insert(name.to_owned(), value.into());
        self
    }

    /// Sets the groups of the user: the claim `groups` in ID tokens, access tokens and the userinfo response, whatever the
    /// scopes. The mapper of Keycloak and the claim of Okta and authentik have names or paths (`/staff`), that of
    /// Entra ID has object ids and is not in the userinfo response.
    pub fn with_groups<'a>(self, groups: impl IntoIterator<Item = &'a str>) -> Self {
        let groups: Value = groups.into_iter().collect();
        self.with_claim("groups", groups.clone())
            .with_id_token_claim("groups", groups.clone())
            .with_access_token_claim("groups", groups)
    }

    /// Sets the application roles of the user as Entra ID does: the claim `roles` in ID and access tokens.
    pub fn with_roles<'a>(self, roles: impl IntoIterator<Item = &'a str>) -> Self {
        let roles: Value = roles.into_iter().collect();
        self.with_id_token_claim("roles", roles.clone())
            .with_access_token_claim("roles", roles)
    }

    /// Sets the realm roles of the user as Keycloak does: the claim `realm_access.roles` in access tokens, and in ID
    /// tokens. Keycloak has it in ID tokens only if *Add to ID token* is on in the mapper `realm roles` of the client
    /// scope `roles`.
    ///
    /// ```
    /// use tower_oauth::bearer::Policy;
    /// use tower_oauth::testing::TestUser;
    /// use tower_oauth::token::ScopeClaim;
    ///
    /// let alice = TestUser::new("alice", "wonderland").with_realm_roles(["clerk"]);
    /// let policy = Policy::role(ScopeClaim::nested(["realm_access", "roles"]), "clerk")?;
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    pub fn with_realm_roles<'a>(self, roles: impl IntoIterator<Item = &'a str>) -> Self {
        let roles: Value = roles.into_iter().collect();
        let access = json!({ "roles": roles });
        self.with_id_token_claim("realm_access", access.clone())
            .with_access_token_claim("realm_access", access)
    }

    /// Sets the authentication context classes that the user can authenticate with, the usual one first. Default: none,
    /// so that tokens have no `acr`.
    ///
    /// A sign-in has the first of the requested `acr_values` that is among them, otherwise the usual one. If the user is
    /// signed in with another one, the server asks the user to sign in again.
    pub fn with_acr_values<'a>(mut self, values: impl IntoIterator<Item = &'a str>) -> Self {
        self.acr_values = values.into_iter().map(str::to_owned).collect();
        self
    }

    /// Returns the first of the requested classes that the user can authenticate with.
    pub(super) fn best_acr<'a>(&self, requested: &'a [String]) -> Option<&'a String> {
        requested.iter().find(|acr| self.acr_values.contains(acr))
    }

    /// Returns the claims of the user that these scopes grant (OpenID Connect Core §5.4), and those without a scope if
    /// `with_others`.
    pub(super) fn granted_claims(
        &self,
        scopes: &ScopeSet,
        with_others: bool,
    ) -> impl Iterator<Item = (&String, &Value)> {
        self.claims
            .iter()
            .filter(move |(name, _)| match scope_of(name) {
                Some(scope) => scopes.contains(scope),
                None => with_others,
            })
    }
}

/// Returns the scope that a standard claim requires (OpenID Connect Core §5.4).
fn scope_of(claim: &str) -> Option<&'static str> {
    Some(match claim {
        "name" | "family_name" | "given_name" | "middle_name" | "nickname"
        | "preferred_username" | "profile" | "picture" | "website" | "gender" | "birthdate"
        | "zoneinfo" | "locale" | "updated_at" => "profile",
        "email" | "email_verified" => "email",
        "address" => "address",
        "phone_number" | "phone_number_verified" => "phone",
        _ => return None,
    })
}
