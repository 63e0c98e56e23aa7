//! The parameters of an authorization request (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1), and its URL.
//!
//! How a request is sent is a matter of the flow: it has the same parameters in a URL and over the back channel.

use std::fmt;

use url::Url;

use super::form;
use super::pkce::{CODE_CHALLENGE_METHOD, CodeChallenge};
use super::secret::{Nonce, State};

/// The parameters that every authorization request of the code flow has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeRequest<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) state: &'a State,
    /// OpenID Connect Core §3.1.2.1: for the ID token. `None` if there is none.
    pub(crate) nonce: Option<&'a Nonce>,
    pub(crate) code_challenge: &'a CodeChallenge,
}

/// An authorization request of the code flow: names and values in the order in which they were added.
///
/// No name appears twice (RFC 6749 §3.1), except for those of [`REPEATABLE`].
#[derive(Clone)]
pub(crate) struct AuthorizationRequest {
    parameters: Vec<(String, String)>,
}

/// Omits the values: `state` and `nonce` are secrets.
impl fmt::Debug for AuthorizationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.parameters.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

/// The parameters that only the flow may set, and those that would override them: a request object
/// replaces the query (RFC 9101 §5), and another response type or mode changes the response.
const RESERVED: [&str; 16] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "response_mode",
    "request",
    "request_uri",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "dpop_jkt",
    "id_token_hint",
];

/// Returns whether only the flow itself may set this parameter.
pub(crate) fn is_reserved_parameter(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// The parameters of which a request may have several (RFC 8707 §2).
const REPEATABLE: [&str; 1] = ["resource"];

impl AuthorizationRequest {
    pub(crate) fn new(request: CodeRequest<'_>) -> Self {
        let nonce = request.nonce.map(|nonce| ("nonce", nonce.expose()));
        let before = [
            ("response_type", "code"),
            ("client_id", request.client_id),
            ("redirect_uri", request.redirect_uri),
            ("scope", request.scope),
            ("state", request.state.expose()),
        ];
        let after = [
            ("code_challenge", request.code_challenge.as_str()),
            ("code_challenge_method", CODE_CHALLENGE_METHOD),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        // RFC 6749 §3.3: a request for the default scopes has no `scope`.
        let parameters = before.into_iter().chain(nonce).chain(after);
        let parameters = parameters.filter(|(name, value)| *name != "scope" || !value.is_empty());
        Self {
            parameters: parameters.map(owned).collect(),
        }
    }

    /// Adds a parameter of the flow, unless the request already has it.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        let has_name = self.parameters.iter().any(|(other, _)| other == name);
        if !has_name || REPEATABLE.contains(&name) {
            self.parameters.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Adds a parameter that the application configured, unless only the flow may set it or the request already has
    /// it.
    pub(crate) fn add_configured(&mut self, name: &str, value: &str) {
        if !is_reserved_parameter(name) {
            self.add(name, value);
        }
    }

    /// Returns the parameters in their order.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parameters
            .iter()
            .map(|(name, value)| (&**name, &**value))
    }

    /// Returns the URL of the request: `endpoint` with the parameters added to its query.
    pub(crate) fn url(&self, endpoint: &Url) -> String {
        let parameters: Vec<_> = self.parameters().collect();
        authorization_url(endpoint, &parameters)
    }
}

/// Returns `endpoint` with `parameters` added to its query. They take precedence over those of the endpoint's own
/// query, which cannot set a reserved parameter either.
pub(crate) fn authorization_url(endpoint: &Url, parameters: &[(&str, &str)]) -> String {
    let mut url = endpoint.clone();
    url.set_fragment(None);
    let kept: Vec<&str> = endpoint
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty() && is_not_overridden(pair, parameters))
        .collect();
    let mut query = kept.join("&");
    if !query.is_empty() {
        query.push('&');
    }
    query.push_str(&form::encode(parameters.iter().copied()));
    url.set_query(Some(&query));
    url.into()
}

/// Returns whether a pair of the endpoint's query is neither reserved nor set by `pairs`.
fn is_not_overridden(pair: &str, pairs: &[(&str, &str)]) -> bool {
    let Ok(parsed) = form::parse(pair) else {
        return false;
    };
    parsed.iter().all(|(name, _)| {
        !is_reserved_parameter(name) && pairs.iter().all(|(other, _)| other != name)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs_of(endpoint: &str, additional: &[(&str, &str)]) -> Vec<(String, String)> {
        let (state, nonce) = (State::new("the-state"), Nonce::new("the-nonce"));
        let code_challenge = CodeChallenge::parse(&"c".repeat(43)).unwrap();
        let mut request = AuthorizationRequest::new(CodeRequest {
            client_id: "shop",
            redirect_uri: "https://shop.example.com/auth/callback",
            scope: "openid profile",
            state: &state,
            nonce: Some(&nonce),
            code_challenge: &code_challenge,
        });
        for &(name, value) in additional {
            request.add_configured(name, value);
        }
        let url = Url::parse(&request.url(&Url::parse(endpoint).unwrap())).unwrap();
        assert_eq!(
            (url.host_str(), url.fragment()),
            (Some("id.example.com"), None)
        );
        form::parse(url.query().unwrap()).unwrap()
    }

    fn value_of<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
        pairs
            .iter()
            .find_map(|(other, value)| (other == name).then_some(value.as_str()))
    }

    #[test]
    fn the_request_has_all_parameters_of_the_flow() {
        let pairs = pairs_of("https://id.example.com/authorize", &[("prompt", "login")]);
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", "shop"),
            ("redirect_uri", "https://shop.example.com/auth/callback"),
            ("scope", "openid profile"),
            ("state", "the-state"),
            ("nonce", "the-nonce"),
            ("code_challenge", &"c".repeat(43)),
            ("code_challenge_method", "S256"),
            ("prompt", "login"),
        ] {
            assert_eq!(value_of(&pairs, name), Some(value), "{name}");
        }
        assert_eq!(pairs.len(), 9);
    }

    #[test]
    fn the_query_of_the_endpoint_is_kept_except_for_parameters_of_the_flow() {
        let pairs = pairs_of(
            "https://id.example.com/authorize?tenant=1&client%5Fid=evil&p=a%2Fb&request=x&prompt=none#top",
            &[("prompt", "login")],
        );
        assert_eq!(value_of(&pairs, "tenant"), Some("1"));
        assert_eq!(value_of(&pairs, "p"), Some("a/b"));
        assert_eq!(value_of(&pairs, "client_id"), Some("shop"));
        assert_eq!(value_of(&pairs, "prompt"), Some("login"));
        assert_eq!(value_of(&pairs, "request"), None);
    }

    proptest! {
        #[test]
        fn additional_parameters_neither_duplicate_nor_override_those_of_the_flow(
            names in prop::collection::vec(
                prop_oneof![
                    prop::sample::select(RESERVED.to_vec()), Just("prompt"), Just("audience"),
                ],
                0..12,
            ),
        ) {
            let additional: Vec<_> = names.iter().map(|name| (*name, "evil")).collect();
            let pairs = pairs_of("https://id.example.com/authorize", &additional);
            for (at, (name, value)) in pairs.iter().enumerate() {
                prop_assert!(pairs[..at].iter().all(|(other, _)| other != name), "{} twice", name);
                prop_assert!(!is_reserved_parameter(name) || value != "evil");
            }
        }
    }
}
