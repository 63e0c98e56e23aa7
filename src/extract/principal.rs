//! [`Principal`]: the authenticated caller, with an access token or a session.

use std::fmt;

use http::{Extensions, Request};

use super::rejection::PrincipalRejection;
use crate::bearer::{AuthState, Policy, RequestHead};
use crate::login::LoginContext;
use crate::protocol::{Claims, ScopeSet};
use crate::session::{Session, UserKey};
use crate::token::VerifiedToken;

/// The authenticated caller: a program with an access token, or a user with a session.
///
/// For routes that accept both. The route needs a [`BearerLayer`](crate::BearerLayer) that is
/// [`optional`](crate::BearerLayer::optional) and a [`LoginLayer`](crate::LoginLayer), in either order. If one of them is
/// missing, the response to every request is 500, even if the other layer authenticated it.
///
/// A handler that takes a `Principal` is only called for authenticated requests; see [`PrincipalRejection`] for the
/// response to others. `Option<Principal>` is `None` for anonymous requests. Services other than axum call
/// [`of`](Self::of) or [`find`](Self::find).
///
/// # Requests with both
///
/// The access token takes precedence, because browsers send cookies automatically:
///
/// | access token | session | principal |
/// | --- | --- | --- |
/// | valid | any or none | the token |
/// | invalid, malformed or repeated | any or none | none: `BearerLayer` rejects the request |
/// | unsupported scheme (`DPoP` without `with_dpop`), or a `DPoP` proof alone | any or none | none: `BearerLayer` rejects the request |
/// | none, or another scheme (`Basic`) | valid | the session |
/// | none, or another scheme | none, ended or invalid | none |
///
/// A session never replaces a rejected token, and the two are never mixed: subject, scopes and claims all belong to the
/// token or all to the session. [`Csrf`](crate::login::Csrf) protection also applies to a session that is not the
/// principal, because the login layer does not know the result of the bearer layer. Programs that send an access token
/// have no reason to send cookies.
///
/// # Not checked
///
/// What the caller may do. [`scopes`](Self::scopes) have two meanings, explained there.
/// [`PrincipalLayer`](super::PrincipalLayer) requires roles of both. [`ScopeLayer`](crate::ScopeLayer) requires scopes of
/// access tokens, and rejects sessions.
///
/// # Example
///
#[cfg_attr(feature = "testing", doc = "```")]
#[cfg_attr(not(feature = "testing"), doc = "```ignore")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::get};
/// use http::Request;
/// use tower::ServiceExt;
/// use tower_oauth::testing::{TestClient, TestServer, TestUser};
/// use tower_oauth::{BearerLayer, Client, CookieKey, LoginLayer, extract::Principal};
///
/// async fn orders(principal: Principal) -> String {
///     match principal {
///         Principal::Token(token) => format!("{:?} for a program", token.subject()),
///         Principal::Session(session) => format!("{:?} for a browser", session.subject()),
///     }
/// }
///
/// let redirect_uri = "https://shop.example.com/auth/callback";
/// let client = TestClient::confidential("shop", "secret").add_redirect_uri(redirect_uri)?;
/// let server = TestServer::new("https://id.example.test")?
///     .add_client(client)
///     .add_user(TestUser::new("alice", "wonderland"));
///
/// let (client, key) = (Client::confidential("shop", "secret"), CookieKey::generate()?);
/// let login = LoginLayer::new(&server.authorization_server(), client, redirect_uri, key)?;
/// let bearer = BearerLayer::jwt(&server.authorization_server(), "https://shop.example.com")?;
/// let app = Router::new()
///     .route("/orders", get(orders).layer(bearer.optional()))
///     .layer(login);
///
/// // A browser is redirected to sign in, and back.
/// let browser = server.browser().with_origin("https://shop.example.com", app.clone())?;
/// let page = browser.navigate("https://shop.example.com/orders").await?;
/// let page = page.sign_in("alice", "wonderland").await?;
/// assert_eq!(page.text(), "\"alice\" for a browser");
///
/// // A program sends its token.
/// let token = server.access_token().with_audience("https://shop.example.com").with_subject("robot");
/// let request = Request::get("/orders").header("authorization", format!("Bearer {}", token.sign()));
/// let response = app.clone().oneshot(request.body(axum::body::Body::empty())?).await?;
/// let body = axum::body::to_bytes(response.into_body(), 1024).await?;
/// assert_eq!(body, "Some(\"robot\") for a program");
///
/// // Without a token it receives a challenge.
/// let response = app.oneshot(Request::get("/orders").body(axum::body::Body::empty())?).await?;
/// assert_eq!(response.status(), 401);
/// assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"api\"");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
// Every handler has to decide about a new kind of principal, so adding one should not compile unnoticed.
#[allow(clippy::exhaustive_enums)]
pub enum Principal<C = Claims> {
    /// A caller with a valid access token.
    Token(VerifiedToken<C>),
    /// A user who signed in with a browser, without an access token in the request.
    Session(Session),
}

impl<C: Send + Sync + 'static> Principal<C> {
    /// Returns the principal of a request, for services other than axum.
    ///
    /// # Errors
    ///
    /// [`PrincipalRejection`] if the request is anonymous or a layer is missing.
    pub fn of<B>(request: &Request<B>) -> Result<Self, PrincipalRejection> {
        Self::required(request)
    }

    /// Returns the principal from the request extensions, or `None` for an anonymous request.
    ///
    /// # Errors
    ///
    /// [`PrincipalRejection`] if a layer is missing.
    pub fn find(extensions: &Extensions) -> Result<Option<Self>, PrincipalRejection> {
        Self::resolve(extensions).map(|(principal, _)| principal)
    }

    pub(super) fn required<'a>(
        request: impl Into<RequestHead<'a>>,
    ) -> Result<Self, PrincipalRejection> {
        let request = request.into();
        let (principal, login) = Self::resolve(request.extensions)?;
        principal.ok_or_else(|| PrincipalRejection::anonymous(request, login))
    }

    /// The access token takes precedence over the session. A request with an invalid token was already rejected by
    /// `BearerLayer`.
    fn resolve(
        extensions: &Extensions,
    ) -> Result<(Option<Self>, &LoginContext), PrincipalRejection> {
        let (credentials, login) = credentials(extensions)?;
        let principal = match credentials {
            FoundPrincipal::Token(state) => state
                .token(extensions, OTHER_TYPE)
                .map_err(|refusal| PrincipalRejection::misconfigured(refusal.message()))?
                .map(|token| Self::Token(VerifiedToken::clone(token))),
            FoundPrincipal::Session(session) => Some(Self::Session(session.clone())),
            FoundPrincipal::None => None,
        };
        Ok((principal, login))
    }

    /// Returns whether the principal meets a policy, for handlers whose response depends on it. To reject requests, use
    /// [`PrincipalLayer`](super::PrincipalLayer).
    ///
    /// [`Policy`](Policy#sessions) has the rules for sessions: they meet no policy that requires scopes.
    pub fn meets(&self, policy: &Policy) -> bool {
        match self {
            Self::Token(token) => policy.check(token).is_ok(),
            Self::Session(session) => session.meets(policy),
        }
    }
}

/// What authenticates a request.
pub(super) enum FoundPrincipal<'a> {
    Token(&'a AuthState),
    Session(&'a Session),
    None,
}

/// Returns what authenticates a request, and the login layer around it.
pub(super) fn credentials(
    extensions: &Extensions,
) -> Result<(FoundPrincipal<'_>, &LoginContext), PrincipalRejection> {
    let Some(login) = extensions.get::<LoginContext>() else {
        return Err(PrincipalRejection::misconfigured(NO_LOGIN_LAYER));
    };
    let state = AuthState::of(extensions, NO_BEARER_LAYER)
        .map_err(|refusal| PrincipalRejection::misconfigured(refusal.message()))?;
    login.note_session_dependence();
    let credentials = if state.used_scheme().is_some() {
        FoundPrincipal::Token(state)
    } else {
        extensions
            .get()
            .map_or(FoundPrincipal::None, FoundPrincipal::Session)
    };
    Ok((credentials, login))
}

impl<C> Principal<C> {
    /// Returns whether the principal is a session.
    pub fn is_session(&self) -> bool {
        matches!(self, Self::Session(_))
    }

    /// Returns the session, if the principal is one.
    pub fn session(&self) -> Option<&Session> {
        match self {
            Self::Session(session) => Some(session),
            Self::Token(_) => None,
        }
    }

    /// Returns the access token, if the principal is one.
    pub fn token(&self) -> Option<&VerifiedToken<C>> {
        match self {
            Self::Token(token) => Some(token),
            Self::Session(_) => None,
        }
    }

    /// Returns the issuer (`iss`) of the token or of the session's ID token.
    pub fn issuer(&self) -> &str {
        match self {
            Self::Token(token) => token.issuer(),
            Self::Session(session) => session.issuer(),
        }
    }

    /// Returns the subject (`sub`), an identifier that is unique within the issuer. A session always has one; a
    /// client-credentials token may have the client as its subject, or none.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Token(token) => token.subject(),
            Self::Session(session) => Some(session.subject()),
        }
    }

    /// Returns the key of the user, which is equal for sessions and access tokens of the same user.
    ///
    /// `None` if there is no user: a token without `sub`, or a client-credentials token
    /// ([RFC 9700 §4.15](https://www.rfc-editor.org/rfc/rfc9700#section-4.15)).
    pub fn user_key(&self) -> Option<UserKey<'_>> {
        match self {
            Self::Session(session) => Some(session.user_key()),
            Self::Token(token) if token.is_client_only() => None,
            Self::Token(token) => token.subject().map(|subject| UserKey {
                issuer: token.issuer(),
                subject,
            }),
        }
    }

    /// Returns the granted scopes. Those of an access token allow the caller to use this API; those of a session allow
    /// this application to call other APIs on behalf of the user. Do not use the scopes of a session to decide what the
    /// user may do.
    pub fn scopes(&self) -> &ScopeSet {
        match self {
            Self::Token(token) => token.scopes(),
            Self::Session(session) => session.scopes(),
        }
    }

    /// Returns the claims of the access token, or of the session's ID token. For the claims of a token as `C`, see
    /// [`VerifiedToken::claims`].
    pub fn claims(&self) -> &Claims {
        match self {
            Self::Token(token) => token.registered_claims(),
            Self::Session(session) => session.claims(),
        }
    }
}

const NO_LOGIN_LAYER: &str = "a Principal requires an outer LoginLayer";
const NO_BEARER_LAYER: &str = "a Principal requires an outer BearerLayer";
const OTHER_TYPE: &str = "the Principal extractor and its BearerLayer have different claims types";

/// Does not print the access token.
impl<C> fmt::Debug for Principal<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(token) => f.debug_tuple("Token").field(token).finish(),
            Self::Session(session) => f.debug_tuple("Session").field(session).finish(),
        }
    }
}
