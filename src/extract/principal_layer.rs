//! [`PrincipalLayer`]: requires a principal that meets a policy.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use tower_layer::Layer;

use super::principal::{self, FoundPrincipal};
use super::rejection::PrincipalRejection;
use crate::ConfigError;
use crate::bearer::{Policy, refuse};
use crate::login::{Required, SessionRequirement};

/// Requires a [`Principal`](super::Principal) that meets a policy: for routes that serve browsers and programs.
///
/// It needs the same two layers around it as the extractor, an optional [`BearerLayer`](crate::BearerLayer) and a
/// [`LoginLayer`](crate::LoginLayer), and rejects anonymous requests in the same way. A token that does not meet the
/// policy is rejected as by [`ScopeLayer`](crate::ScopeLayer), a session as by
/// [`login.required().with_policy(..)`](crate::login::RequiredLayer::with_policy).
///
/// ```
/// use tower_oauth::bearer::Policy;
/// use tower_oauth::extract::PrincipalLayer;
///
/// // Users need the role, whether they use a browser or a program with their token; access tokens need the scope too.
/// let clerk = Policy::role("roles", "clerk")?;
/// let program = Policy::all("orders:write")?.and_role("roles", "clerk")?;
/// let clerks = PrincipalLayer::new(clerk)?.with_token_policy(program);
/// assert!(PrincipalLayer::new(Policy::all("orders:write")?).is_err());
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PrincipalLayer {
    policies: Arc<Policies>,
}

#[derive(Clone, Debug)]
struct Policies {
    session: Policy,
    token: Policy,
}

impl PrincipalLayer {
    /// Creates a layer that enforces `policy` on sessions and on access tokens.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Setting`] if the policy requires scopes, which no session meets: set the policy of sessions here,
    /// and another one for tokens with [`with_token_policy`](Self::with_token_policy).
    pub fn new(policy: Policy) -> Result<Self, ConfigError> {
        let session = policy.clone().for_sessions()?;
        let token = policy;
        Ok(Self {
            policies: Arc::new(Policies { session, token }),
        })
    }

    /// Sets another policy for access tokens, instead of that of sessions.
    #[must_use]
    pub fn with_token_policy(mut self, policy: Policy) -> Self {
        Arc::make_mut(&mut self.policies).token = policy;
        self
    }
}

impl SessionRequirement for Policies {
    fn check(&self, head: &mut Parts) -> Result<(), Box<Response<Bytes>>> {
        let (credentials, login) =
            principal::credentials(&head.extensions).map_err(PrincipalRejection::into_boxed)?;
        match credentials {
            FoundPrincipal::Token(state) => state
                .require(&self.token, &head.extensions)
                .map_err(|refusal| Box::new(refuse(refusal, &*head).map(|()| Bytes::new()))),
            FoundPrincipal::Session(session) => {
                login.check_policy(session, &self.session, &head.headers)
            }
            FoundPrincipal::None => {
                Err(PrincipalRejection::anonymous((&*head).into(), login).into_boxed())
            }
        }
    }
}

impl<S> Layer<S> for PrincipalLayer {
    type Service = Required<S>;

    fn layer(&self, inner: S) -> Required<S> {
        let policies = Arc::clone(&self.policies);
        Required::new(inner, policies)
    }
}
