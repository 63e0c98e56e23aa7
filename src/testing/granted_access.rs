//! What an authorization request asks for beside scopes, and what of it a test server grants: resources (RFC 8707),
//! authorization details (RFC 9396) and claims (OpenID Connect Core §5.5).

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::parameters::RequestParameters;
use super::registry::TestClient;
use super::server::{ServerState, TestServer};
use super::user::TestUser;
use crate::protocol::AuthorizationDetails;

/// An error code and its description.
type Error = (&'static str, &'static str);

const INVALID_TARGET: Error = ("invalid_target", "a resource is not known or not allowed");
const INVALID_DETAILS: Error = (
    "invalid_authorization_details",
    "authorization_details are malformed or have an unknown type",
);

/// What was granted beside scopes.
#[derive(Clone, Debug, Default)]
pub(super) struct GrantedAccess {
    resources: Vec<String>,
    authorization_details: Option<Value>,
    claims: Map<String, Value>,
}

/// The supported types of authorization details, and what users grant of a detail.
#[derive(Clone)]
pub(super) struct DetailRules {
    types: Vec<String>,
    grant: Arc<dyn Fn(Value) -> Option<Value> + Send + Sync>,
}

impl TestServer {
    /// Supports authorization details of these types ([RFC 9396]). Users grant what `grant` returns for each detail:
    /// less, more, or nothing.
    ///
    /// The token response and the claim `authorization_details` of access tokens have what was granted. By default the
    /// parameter is ignored, as by a server that does not know it.
    ///
    /// ```
    /// use tower_oauth::testing::TestServer;
    ///
    /// let server = TestServer::new("https://id.example.test")?.with_authorization_details(["payment"], |mut detail| {
    ///     detail["actions"] = ["status"].into();
    ///     Some(detail)
    /// });
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    ///
    /// [RFC 9396]: https://www.rfc-editor.org/rfc/rfc9396
    #[must_use]
    pub fn with_authorization_details<'a>(
        self,
        types: impl IntoIterator<Item = &'a str>,
        grant: impl Fn(Value) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        self.state().detail_rules = Some(DetailRules {
            types: types.into_iter().map(str::to_owned).collect(),
            grant: Arc::new(grant),
        });
        self
    }
}

impl TestClient {
    /// Sets the resources that the client can request tokens for ([RFC 8707]). The audience of an access token is then
    /// the requested resource, or all that the user granted. Others are rejected with `invalid_target`, and so is every
    /// resource by default.
    ///
    /// [RFC 8707]: https://www.rfc-editor.org/rfc/rfc8707
    pub fn with_resources<'a>(mut self, resources: impl IntoIterator<Item = &'a str>) -> Self {
        self.resources = resources.into_iter().map(str::to_owned).collect();
        self
    }
}

impl GrantedAccess {
    /// Validates the parameters of an authorization request.
    pub(super) fn of_request(
        parameters: &RequestParameters,
        state: &ServerState,
        client: &TestClient,
    ) -> Result<Self, Error> {
        let resources: Vec<String> = parameters.values("resource").map(str::to_owned).collect();
        if !resources.iter().all(|one| client.resources.contains(one)) {
            return Err(INVALID_TARGET);
        }
        let claims = parameters.value("claims").unwrap_or("{}");
        let claims = serde_json::from_str(claims);
        Ok(Self {
            resources,
            authorization_details: match &state.detail_rules {
                Some(rules) => rules.granted(parameters)?,
                None => None,
            },
            claims: claims.map_err(|_| ("invalid_request", "claims is not a JSON object"))?,
        })
    }

    /// Returns the audience of an access token: the resources of the token request, or all that were granted (RFC 8707
    /// §2.2). Empty if there are none.
    pub(super) fn audience(&self, form: &RequestParameters) -> Result<Vec<String>, Error> {
        let requested: Vec<String> = form.values("resource").map(str::to_owned).collect();
        if !requested.iter().all(|one| self.resources.contains(one)) {
            return Err(INVALID_TARGET);
        }
        Ok(match requested.is_empty() {
            true => self.resources.clone(),
            false => requested,
        })
    }

    pub(super) fn authorization_details(&self) -> Option<&Value> {
        self.authorization_details.as_ref()
    }

    /// Returns the claims of the user that were requested by name, for `id_token` or `userinfo`.
    pub(super) fn claims<'a>(
        &'a self,
        member: &str,
        user: &'a TestUser,
    ) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let requested = self.claims.get(member).and_then(Value::as_object);
        let is_requested = move |name: &String| requested.is_some_and(|all| all.contains_key(name));
        user.claims
            .iter()
            .filter(move |(name, _)| is_requested(name))
    }
}

impl DetailRules {
    pub(super) fn types(&self) -> &[String] {
        &self.types
    }

    /// Returns what the user grants of the requested details; `None` if none were requested.
    fn granted(&self, parameters: &RequestParameters) -> Result<Option<Value>, Error> {
        let Some(text) = parameters.value("authorization_details") else {
            return Ok(None);
        };
        let details = AuthorizationDetails::from_json(text).ok_or(INVALID_DETAILS)?;
        let is_known = |name: &str| self.types.iter().any(|known| known == name);
        if !details.iter().all(|one| is_known(one.detail_type())) {
            return Err(INVALID_DETAILS);
        }
        let details = serde_json::from_str::<Vec<Value>>(text).map_err(|_| INVALID_DETAILS)?;
        let granted = details
            .into_iter()
            .filter_map(|detail| (self.grant)(detail));
        Ok(Some(granted.collect()))
    }
}

impl fmt::Debug for DetailRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetailRules")
            .field("types", &self.types)
            .finish_non_exhaustive()
    }
}
