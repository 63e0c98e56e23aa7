//! The authorization request, RFC 6749 §4.1.1 and OpenID Connect Core §3.1.2.1: a URL for the browser.

use url::Url;

use super::form;
use super::pkce::{CODE_CHALLENGE_METHOD, CodeChallenge};
use super::secret::{Nonce, State};

/// What a code flow asks the authorization endpoint for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuthorizationRequest<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) redirect_uri: &'a str,
    pub(crate) scope: &'a str,
    pub(crate) state: &'a State,
    pub(crate) nonce: &'a Nonce,
    pub(crate) code_challenge: &'a CodeChallenge,
    /// Whatever else is asked for, in order of precedence.
    pub(crate) further: &'a [(&'a str, &'a str)],
}

/// The parameters that are ours alone, and those that would take their place (`L5`): a request object
/// overrides the query (RFC 9101 §5), another response mode or type changes what comes back.
const OWN: [&str; 13] = [
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

/// Whether a parameter of this name may only be set by the flow itself.
pub(crate) fn is_own_parameter(name: &str) -> bool {
    OWN.contains(&name)
}

impl AuthorizationRequest<'_> {
    /// Adds the request to the query that the endpoint may already have (RFC 6749 §3.1).
    ///
    /// No name appears twice (RFC 6749 §3.1): ours come first and win, then the further ones in their
    /// order, and of the endpoint's query only what neither names.
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
        for &(name, value) in self.further {
            if !is_own_parameter(name) && pairs.iter().all(|(other, _)| *other != name) {
                pairs.push((name, value));
            }
        }
        let mut url = endpoint.clone();
        url.set_fragment(None);
        let kept: Vec<&str> = endpoint
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty() && is_foreign(pair, &pairs))
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

fn is_foreign(pair: &str, pairs: &[(&str, &str)]) -> bool {
    let Ok(parsed) = form::parse(pair) else {
        return false;
    };
    parsed
        .iter()
        .all(|(name, _)| !is_own_parameter(name) && pairs.iter().all(|(other, _)| other != name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pairs_of(endpoint: &str, further: &[(&str, &str)]) -> Vec<(String, String)> {
        let request = AuthorizationRequest {
            client_id: "shop",
            redirect_uri: "https://shop.example.com/auth/callback",
            scope: "openid profile",
            state: &State::new("the-state"),
            nonce: &Nonce::new("the-nonce"),
            code_challenge: &CodeChallenge::parse(&"c".repeat(43)).unwrap(),
            further,
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
    fn the_request_says_all_that_the_flow_needs() {
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
    fn the_query_of_the_endpoint_is_kept_unless_it_is_ours() {
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
        fn nothing_further_duplicates_or_overrides_ours(
            names in prop::collection::vec(
                prop_oneof![prop::sample::select(OWN.to_vec()), Just("prompt"), Just("audience")],
                0..12,
            ),
        ) {
            let further: Vec<_> = names.iter().map(|name| (*name, "evil")).collect();
            let pairs = pairs_of("https://id.example.com/authorize", &further);
            for (at, (name, value)) in pairs.iter().enumerate() {
                prop_assert!(pairs[..at].iter().all(|(other, _)| other != name), "{} twice", name);
                prop_assert!(!is_own_parameter(name) || value != "evil");
            }
        }
    }
}
