//! For whom a token must be.

use crate::ConfigError;
use crate::protocol::claims::RegisteredClaims;

/// For whom a token must be (RFC 9068 §4, RFC 8725 §3.9).
///
/// A plain string is the usual case: `"https://api.example.com".into()`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Audience {
    /// `aud` must contain one of these, compared byte for byte.
    AnyOf(Vec<String>),
    /// `client_id` must be one of these, compared byte for byte, and there must be no `aud`: for
    /// authorization servers that send none, such as Amazon Cognito.
    ///
    /// It says less than `aud` does. A token is then for every API that takes tokens of the client, so
    /// name only clients that are meant to call this one.
    Clients(Vec<String>),
    /// The `aud` of the token is **not checked**: a token that was issued for any other API of the
    /// same authorization server is accepted, and whoever received it there can use it here.
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
    /// Tokens that were issued to one of these clients and have no `aud`; see
    /// [`Clients`](Self::Clients).
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

    pub(crate) fn checked(self) -> Result<Self, ConfigError> {
        let refuse = |value: &str, reason| {
            Err(ConfigError::Audience {
                value: value.to_owned(),
                reason,
            })
        };
        if let Self::AnyOf(audiences) | Self::Clients(audiences) = &self {
            if audiences.is_empty() {
                return refuse("", "there must be at least one");
            }
            if let Some(bad) = audiences.iter().find(|one| one.trim().is_empty()) {
                return refuse(bad, "it must not be empty");
            }
        }
        Ok(self)
    }

    /// Whether a token for this resource would be one for us, as far as that is known (`P2`).
    pub(crate) fn may_be(&self, resource: &str) -> bool {
        match self {
            Self::AnyOf(ours) => ours.iter().any(|one| one == resource),
            Self::Clients(_) | Self::Unchecked => true,
        }
    }

    /// `A9`: missing or empty is nobody, not everybody.
    pub(crate) fn accepts(&self, claims: &RegisteredClaims) -> bool {
        match self {
            Self::AnyOf(ours) => claims
                .audience
                .iter()
                .any(|sent| ours.iter().any(|one| **sent == **one)),
            // RFC 7519 §4.1.3: whoever is not named in an `aud` that is there must refuse the token.
            Self::Clients(ours) => {
                claims.audience.is_empty()
                    && claims
                        .client_id
                        .as_deref()
                        .is_some_and(|sent| ours.iter().any(|one| *sent == **one))
            }
            Self::Unchecked => true,
        }
    }
}
