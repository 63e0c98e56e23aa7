//! The audience check.

use url::Url;

use super::explanation::Explanation;
use crate::ConfigError;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::sanitize::listed;
use crate::protocol::sanitize::log_safe;

/// The audience that a token must be issued for ([RFC 9068 §4], [RFC 8725 §3.9]).
///
/// Usually a string: `"https://api.example.com".into()`.
///
/// [RFC 9068 §4]: https://www.rfc-editor.org/rfc/rfc9068#section-4
/// [RFC 8725 §3.9]: https://www.rfc-editor.org/rfc/rfc8725#section-3.9
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Audience {
    /// `aud` must contain one of these, compared byte for byte.
    ///
    /// Of a URL without a path, such as `https://api.example.com`, the spelling with a slash at its end is accepted
    /// too, and the reverse: both identify the same resource (RFC 3986 §6.2.3), and clients differ in the one that they
    /// request.
    AnyOf(Vec<String>),
    /// `client_id` must be one of these, compared byte for byte, and there must be no `aud`. For
    /// authorization servers that send no `aud`, such as Amazon Cognito.
    ///
    /// This is weaker than `aud`: such a token is valid at every API that accepts tokens of the client. List
    /// only clients that are meant to call this API.
    Clients(Vec<String>),
    /// The `aud` of the token is **not checked**: a token that was issued for any other API of the same
    /// authorization server is accepted, so every such API can replay the tokens it receives to this one.
    Unchecked,
}

impl From<&str> for Audience {
    fn from(audience: &str) -> Self {
        Self::AnyOf(vec![audience.to_owned()])
    }
}

impl From<String> for Audience {
    fn from(audience: String) -> Self {
        Self::AnyOf(vec![audience])
    }
}

impl<const N: usize> From<[&str; N]> for Audience {
    fn from(audiences: [&str; N]) -> Self {
        Self::AnyOf(audiences.map(str::to_owned).into())
    }
}

impl Audience {
    /// Accepts tokens without `aud` that were issued to one of these clients; see [`Clients`](Self::Clients).
    ///
    /// ```
    /// use tower_oauth::token::{Audience, JwtVerifier, TokenProfile};
    /// # use tower_oauth::AuthorizationServer;
    ///
    /// let pool = AuthorizationServer::new("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab1")?;
    /// let verifier = JwtVerifier::new(&pool, Audience::clients(["5t0pq1"]))?
    ///     .with_profile(TokenProfile::Cognito);
    /// assert!(JwtVerifier::new(&pool, Audience::clients([""])).is_err());
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    pub fn clients<S: Into<String>>(client_ids: impl IntoIterator<Item = S>) -> Self {
        Self::Clients(client_ids.into_iter().map(Into::into).collect())
    }

    /// Checks the values, and adds the other spelling of each bare origin.
    pub(crate) fn checked(mut self) -> Result<Self, ConfigError> {
        let reject = |value: &str, reason| {
            Err(ConfigError::Audience {
                value: value.to_owned(),
                reason,
            })
        };
        if let Self::AnyOf(audiences) | Self::Clients(audiences) = &self {
            if audiences.is_empty() {
                return reject("", "at least one is required");
            }
            if let Some(empty) = audiences.iter().find(|one| one.trim().is_empty()) {
                return reject(empty, "it must not be empty");
            }
        }
        if let Self::AnyOf(audiences) = &mut self {
            let others: Vec<_> = audiences.iter().filter_map(|one| respelled(one)).collect();
            for other in others {
                if !audiences.contains(&other) {
                    audiences.push(other);
                }
            }
        }
        Ok(self)
    }

    /// Returns whether tokens for this resource can be accepted. `aud` alone decides this before a token arrives.
    pub(crate) fn accepts_resource(&self, resource: &str) -> bool {
        match self {
            Self::AnyOf(accepted) => accepted.iter().any(|one| one == resource),
            Self::Clients(_) | Self::Unchecked => true,
        }
    }

    /// Returns whether this URI or name is known to identify this API.
    pub(crate) fn is_named(&self, location: &str) -> bool {
        match self {
            Self::AnyOf(accepted) => accepted.iter().any(|one| one == location),
            Self::Clients(_) | Self::Unchecked => false,
        }
    }

    /// Explains why a token with these claims is not accepted.
    pub(crate) fn explain(&self, claims: &RegisteredClaims) -> Explanation {
        let aud = listed(claims.audience.iter().map(|one| &**one));
        let setting = "the audience of the layer, or of the token at the authorization server";
        match self {
            Self::Clients(accepted) => {
                let client = claims.client_id.as_deref().map(log_safe);
                let client = client.as_deref().unwrap_or("missing");
                let accepted = listed(accepted.iter().map(String::as_str));
                Explanation::new(
                    format!("aud {aud}, client_id {client}"),
                    format!("no aud, client_id {accepted}"),
                    setting,
                )
            }
            Self::AnyOf(accepted) => {
                let accepted = listed(accepted.iter().map(String::as_str));
                Explanation::new(format!("aud {aud}"), format!("aud {accepted}"), setting)
            }
            Self::Unchecked => Explanation::default(),
        }
    }

    /// Returns whether a token with these claims is accepted. A missing or empty `aud` matches no audience.
    pub(crate) fn accepts(&self, claims: &RegisteredClaims) -> bool {
        match self {
            Self::AnyOf(accepted) => claims
                .audience
                .iter()
                .any(|sent| accepted.iter().any(|one| **sent == **one)),
            // RFC 7519 §4.1.3: a recipient that is not in a present `aud` must reject the token.
            Self::Clients(accepted) => {
                claims.audience.is_empty()
                    && claims
                        .client_id
                        .as_deref()
                        .is_some_and(|sent| accepted.iter().any(|one| *sent == **one))
            }
            Self::Unchecked => true,
        }
    }
}

/// Returns a URL that is an origin without a path in its other spelling: with or without the slash at its end.
fn respelled(audience: &str) -> Option<String> {
    let url = Url::parse(audience).ok()?;
    let is_web = ["https", "http"].contains(&url.scheme());
    let bare = audience.strip_suffix('/').unwrap_or(audience);
    if !is_web || !bare.eq_ignore_ascii_case(&url.origin().ascii_serialization()) {
        return None;
    }
    Some(match audience.ends_with('/') {
        true => bare.to_owned(),
        false => format!("{audience}/"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_origin_without_a_path_has_another_spelling() {
        for (audience, other) in [
            ("https://api.example.com", Some("https://api.example.com/")),
            ("https://api.example.com/", Some("https://api.example.com")),
            ("https://API.example.com", Some("https://API.example.com/")),
            ("http://localhost:3000", Some("http://localhost:3000/")),
            ("https://api.example.com/v1", None),
            ("https://api.example.com/v1/", None),
            ("https://api.example.com//", None),
            ("https://api.example.com?a", None),
            ("https://api.example.com/#a", None),
            ("https://user@api.example.com", None),
            ("api://default", None),
            ("api", None),
        ] {
            assert_eq!(respelled(audience).as_deref(), other, "{audience}");
        }
    }
}
