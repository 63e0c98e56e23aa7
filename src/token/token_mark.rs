//! [`TokenMark`]: an application's own mark of access tokens.

use std::sync::Arc;

use super::audience::Audience;
use super::error_kind::VerifyErrorKind;
use super::jws::{MediaTypes, Signed};
use super::scope_mapping::ScopeClaim;
use crate::ConfigError;
use crate::crypto::same_media_type;
use crate::protocol::json::{Json, parse_object_text};

/// The types of other tokens (RFC 9449 §4.2, OpenID Connect Back-Channel Logout §2.4, RFC 8417 §2.3, RFC 9701 §5,
/// RFC 9101 §10.8).
const OTHER_TYPES: [&str; 6] = [
    "dpop+jwt",
    "logout+jwt",
    "secevent+jwt",
    "token-introspection+jwt",
    "oauth-authz-req+jwt",
    "id_token+jwt",
];

/// The claims in which tokens name the client that they were issued to.
const CLIENT_CLAIMS: [&str; 4] = ["azp", "client_id", "cid", "appid"];

/// Describes the access tokens of an authorization server that no [`TokenProfile`](super::TokenProfile) knows, for
/// [`JwtVerifier::with_token_mark`](super::JwtVerifier::with_token_mark).
///
/// A token has the mark if
///
/// 1. each configured claim is a string with exactly the configured value;
/// 2. `typ` in the header is `JWT`, `at+jwt` or absent, or one of [the configured types](Self::with_types);
/// 3. it does not state that it is another token: it has no `events`, no `s_hash` and, unless its type is `at+jwt`, none of
///    `nonce`, `at_hash` and `c_hash`;
/// 4. its audience is not the client that it was issued to, as in ID tokens, unless
///    [that client is named](Self::with_client_audience).
///
/// Choose a claim that the ID tokens of the same issuer do not have with this value.
///
/// | issuer | a mark |
/// | --- | --- |
/// | GitHub Actions | `TokenMark::claim("repository_owner", "acme")` |
/// | Kubernetes service accounts | `TokenMark::claim(ScopeClaim::nested(["kubernetes.io", "namespace"]), "shop")` |
/// | Cloudflare Access | `TokenMark::claim("type", "app")`, and the AUD tag as client audience |
/// | Firebase | `TokenMark::claim(ScopeClaim::nested(["firebase", "sign_in_provider"]), "google.com")`, and the project as client audience |
///
/// The access tokens of Dex have the claims of its ID tokens (`at_hash`), so no mark tells them apart: introspect them.
///
/// ```
/// use tower_oauth::token::{JwtVerifier, TokenMark};
/// use tower_oauth::{AuthorizationServer, BearerLayer};
///
/// let github = AuthorizationServer::new("https://token.actions.githubusercontent.com")?;
/// let verifier = JwtVerifier::new(&github, "https://deploy.example.com")?
///     .with_token_mark(TokenMark::claim("repository", "acme/shop")?)?;
/// let layer = BearerLayer::new(verifier);
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TokenMark {
    claims: Vec<(ScopeClaim, Box<str>)>,
    types: Option<Arc<[Box<str>]>>,
    client_audiences: Vec<Box<str>>,
}

impl TokenMark {
    /// Requires a claim to be a string with this value.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the name of the claim or the value is empty.
    pub fn claim(claim: impl Into<ScopeClaim>, value: &str) -> Result<Self, ConfigError> {
        let unmarked = Self {
            claims: Vec::new(),
            types: None,
            client_audiences: Vec::new(),
        };
        unmarked.and_claim(claim, value)
    }

    /// Also requires another claim to be a string with this value. Errors as for [`claim`](Self::claim).
    pub fn and_claim(
        mut self,
        claim: impl Into<ScopeClaim>,
        value: &str,
    ) -> Result<Self, ConfigError> {
        let claim = claim.into();
        if !claim.is_named() || value.is_empty() {
            return Err(ConfigError::Setting {
                setting: "token mark",
                value: format!("{} = {value}", claim.describe()),
                reason: "the claim and its value must not be empty",
            });
        }
        self.claims.push((claim, value.into()));
        Ok(self)
    }

    /// Replaces the accepted values of `typ` in the header. A token without `typ` is then rejected.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the list is empty, or contains the type of another token, such as `logout+jwt`.
    pub fn with_types<'a>(
        mut self,
        types: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, ConfigError> {
        let types: Vec<&str> = types.into_iter().collect();
        let is_other = |one: &&str| {
            one.is_empty() || OTHER_TYPES.iter().any(|other| same_media_type(one, other))
        };
        if types.is_empty() || types.iter().any(is_other) {
            return Err(ConfigError::Setting {
                setting: "types of marked tokens",
                value: format!("{types:?}"),
                reason: "there must be at least one, none of which is the type of another token",
            });
        }
        self.types = Some(types.into_iter().map(Box::from).collect());
        Ok(self)
    }

    /// Accepts an audience that is, or may be, the identifier of a client: one that is not a URL, or that the token names
    /// as its client too.
    ///
    /// If users sign in at that client, its ID tokens have the same issuer and audience. Only the mark then tells access
    /// tokens apart.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the identifier is empty.
    pub fn with_client_audience(mut self, client_id: &str) -> Result<Self, ConfigError> {
        if client_id.is_empty() {
            return Err(ConfigError::Setting {
                setting: "client audience",
                value: String::new(),
                reason: "it must not be empty",
            });
        }
        self.client_audiences.push(client_id.into());
        Ok(self)
    }

    /// Checks that tokens must be issued for this API, and not only for a client of the same server.
    pub(super) fn check_audience(&self, audience: &Audience) -> Result<(), ConfigError> {
        let reject = |value: &str, reason| {
            Err(ConfigError::Audience {
                value: value.to_owned(),
                reason,
            })
        };
        let Audience::AnyOf(audiences) = audience else {
            return reject(
                "",
                "tokens with a mark of the application need an audience of this API",
            );
        };
        let is_url = |one: &str| one.contains("://") || one.starts_with("urn:");
        match audiences
            .iter()
            .find(|one| !is_url(one) && !self.is_named(one))
        {
            Some(client) => reject(
                client,
                "it may be the identifier of a client: name it with `TokenMark::with_client_audience`",
            ),
            None => Ok(()),
        }
    }

    fn is_named(&self, audience: &str) -> bool {
        self.client_audiences.iter().any(|one| **one == *audience)
    }

    /// Returns the accepted values of `typ`.
    pub(super) fn media_types(&self) -> MediaTypes {
        match &self.types {
            Some(types) => MediaTypes::Listed(Arc::clone(types)),
            None => MediaTypes::Checked(|sent| {
                sent.is_none_or(|sent| {
                    same_media_type(sent, "JWT") || same_media_type(sent, "at+jwt")
                })
            }),
        }
    }

    /// Checks the claims of a token whose audience is accepted.
    pub(super) fn check(&self, signed: &Signed) -> Result<(), VerifyErrorKind> {
        signed.markers.check_other_type(false, false)?;
        let claims = parse_object_text(&signed.payload).map_err(|_| VerifyErrorKind::Malformed)?;
        let text = |json: &Json<'_>| json.as_str().map(str::to_owned);
        let has_value = |(claim, value): &(ScopeClaim, Box<str>)| {
            claim.find(&claims).and_then(Json::as_str) == Some(&**value)
        };
        let is_own_client = CLIENT_CLAIMS.iter().any(|name| {
            let client = claims.member(name).and_then(text);
            client.is_some_and(|client| {
                let mut audience = signed.registered.audience.iter();
                audience.any(|one| **one == *client) && !self.is_named(&client)
            })
        });
        if self.claims.iter().all(has_value) && !is_own_client {
            Ok(())
        } else {
            Err(VerifyErrorKind::NotAnAccessToken)
        }
    }
}
