//! The authorization request (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1) as a URL.

use url::Url;

use super::form;
use super::pkce::{CODE_CHALLENGE_METHOD, CodeChallenge};
use super::secret::{Nonce, State};

/// An authorization request of the code flow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuthorizationRequest<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) state: &'a State,
    pub(crate) nonce: &'a Nonce,
    pub(crate) code_challenge: &'a CodeChallenge,
    /// Additional parameters, in order of precedence.
    pub(crate) additional: &'a [(&'a str, &'a str)],
}

/// The parameters that only the flow may set, and those that would override them: a request object
/// replaces the query (RFC 9101 §5), and another response type or mode changes the response.
const RESERVED: [&str; 13] = [
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
    "id_token_hint",
];

/// Returns whether only the flow itself may set this parameter.
pub(crate) fn is_reserved_parameter(name: &str) -> bool {
    RESERVED.contains(&name)
}

impl AuthorizationRequest<'_> {
    /// Returns the URL of the request: `endpoint` with the parameters added to its query.
    ///
    /// No parameter appears twice (RFC 6749 §3.1). Those of the flow take precedence, then the additional
    /// parameters in their order, then the query of the endpoint.
    pub(crate) fn url(&self, endpoint: &Url) -> String {
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", self.client_id),
            ("redirect_uri", self.redirect_uri),
            ("scope", self.scope),
            ("state", self.state.expose()),
            ("nonce", self.nonce.expose()),
            ("code_challenge", self.code_challenge.as_str()),
            ("code_challenge_method", CODE_CHALLENGE_METHOD),
        ];
        for &(name, value) in self.additional {
            if !is_reserved_parameter(name) && pairs.iter().all(|(other, _)| *other != name) {
                pairs.push((name, value));
            }
        }
        let mut url = endpoint.clone();
        url.set_fragment(None);
        let kept: Vec<&str> = endpoint
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty() && is_not_overridden(pair, &pairs))
            .collect();
        let mut query = kept.join("&");
        if !query.is_empty() {
            query.push('&');
        }
        query.push_str(&form::encode(pairs));
        url.set_query(Some(&query));
        url.into()
    }
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
        let request = AuthorizationRequest {
            client_id: "shop",
            redirect_uri: "https://shop.example.com/auth/callback",
            scope: "openid profile",
            state: &State::new("the-state"),
            nonce: &Nonce::new("the-nonce"),
            code_challenge: &CodeChallenge::parse(&"c".repeat(43)).unwrap(),
            additional,
        };
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
