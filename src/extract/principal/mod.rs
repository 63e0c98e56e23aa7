//! `Principal`: whoever calls, a program with an access token or a person with a session.

#[cfg(feature = "axum")]
mod extractor;
mod rejection;

pub use rejection::PrincipalRejection;

use std::fmt;

use http::{Extensions, Request};

use crate::protocol::{Claims, ScopeSet};
use crate::session::{Session, UserKey};
use crate::token::VerifiedToken;
use rejection::{Asked, look};

/// Whoever calls: a program with an access token, or a person with a session.
///
/// For routes that serve both. It needs a [`BearerLayer`](crate::BearerLayer) that is
/// [`optional`](crate::BearerLayer::optional) and a [`LoginLayer`](crate::LoginLayer) around the route, in
/// either order; where one of them is missing every request gets 500, also one that the other would have
/// let in.
///
/// As an argument of an axum handler, `Principal` is somebody or the handler is not called:
/// [`PrincipalRejection`] says what is answered. `Option<Principal>` is `None` for nobody. Other services
/// call [`of`](Self::of) or [`find`](Self::find).
///
/// # When both are sent
///
/// What is explicit wins: a request with an access token speaks for that token, whatever cookie comes
/// along.
///
/// | access token | session | principal |
/// | --- | --- | --- |
/// | good | any or none | the token |
/// | bad, or unreadable, or twice | any or none | none: the `BearerLayer` refuses the request |
/// | of a scheme that is not accepted (`DPoP` without `with_dpop`), or a `DPoP` proof alone | any or none | none: the `BearerLayer` refuses the request |
/// | none, or another scheme (`Basic`) | good | the session |
/// | none, or another scheme | none, ended or spoiled | nobody |
///
/// A refused token is never replaced by the session, and the two are never mixed: subject, scopes and
/// claims are all of the one or all of the other. A session in the request is still held to
/// [`Csrf`](crate::login::Csrf), also where it is not the principal: the login layer does not know what
/// the other one will say. A browser sends no access token by itself, so a program that sends one has no
/// reason to send cookies too.
///
/// # Not checked here
///
/// What either may do. [`scopes`](Self::scopes) mean two things, see there.
/// [`ScopeLayer`](crate::ScopeLayer) demands scopes of access tokens and lets no session through.
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
/// // A person is sent to sign in, and comes back.
/// let browser = server.browser().with_origin("https://shop.example.com", app.clone())?;
/// let page = browser.navigate("https://shop.example.com/orders").await?;
/// let page = page.sign_in("alice", "wonderland").await?;
/// assert_eq!(page.text(), "\"alice\" for a browser");
///
/// // A program shows its token.
/// let token = server.access_token().with_audience("https://shop.example.com").with_subject("robot");
/// let request = Request::get("/orders").header("authorization", format!("Bearer {}", token.sign()));
/// let answer = app.clone().oneshot(request.body(axum::body::Body::empty())?).await?;
/// let body = axum::body::to_bytes(answer.into_body(), 1024).await?;
/// assert_eq!(body, "Some(\"robot\") for a program");
///
/// // Without one it is told what it lacks.
/// let answer = app.oneshot(Request::get("/orders").body(axum::body::Body::empty())?).await?;
/// assert_eq!(answer.status(), 401);
/// assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"api\"");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
// A third kind would be a new question to every handler: it should not compile unnoticed.
#[allow(clippy::exhaustive_enums)]
pub enum Principal<C = Claims> {
    /// A caller with a good access token.
    Token(VerifiedToken<C>),
    /// A person who signed in with a browser, and showed no access token.
    Session(Session),
}

impl<C: Send + Sync + 'static> Principal<C> {
    /// The principal of a request, for services outside of axum.
    ///
    /// # Errors
    ///
    /// [`PrincipalRejection`] for nobody, and where a layer is missing.
    pub fn of<B>(request: &Request<B>) -> Result<Self, PrincipalRejection> {
        let asked = Asked {
            extensions: request.extensions(),
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
        };
        asked.principal()
    }

    /// The principal of a request, if there is one, by the extensions that the layers have filled.
    ///
    /// # Errors
    ///
    /// [`PrincipalRejection`] where a layer is missing: nobody is no error here.
    pub fn find(extensions: &Extensions) -> Result<Option<Self>, PrincipalRejection> {
        look(extensions).map(|(found, ..)| found)
    }
}

impl<C> Principal<C> {
    /// Whether it is a person with a session, and not an access token.
    pub fn is_session(&self) -> bool {
        matches!(self, Self::Session(_))
    }

    /// The session, if it is one.
    pub fn session(&self) -> Option<&Session> {
        match self {
            Self::Session(session) => Some(session),
            Self::Token(_) => None,
        }
    }

    /// The access token, if it is one.
    pub fn token(&self) -> Option<&VerifiedToken<C>> {
        match self {
            Self::Token(token) => Some(token),
            Self::Session(_) => None,
        }
    }

    /// `iss`: the authorization server that vouches for it.
    pub fn issuer(&self) -> &str {
        match self {
            Self::Token(token) => token.issuer(),
            Self::Session(session) => session.issuer(),
        }
    }

    /// `sub`: who it is, as the issuer knows them. A session always has one; a token that a client got for
    /// itself may name the client here, or nobody.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Token(token) => token.subject(),
            Self::Session(session) => Some(session.subject()),
        }
    }

    /// The person behind it: the same key whether they come with a browser or send a program.
    ///
    /// `None` where there is no person: a token without `sub`, or one that a client got for itself
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

    /// The scopes that were granted, and to whom differs: an access token's to its caller, for this API; a
    /// session's to this application, for the APIs it calls on the person's behalf. What the person
    /// may do here is no scope of a session.
    pub fn scopes(&self) -> &ScopeSet {
        match self {
            Self::Token(token) => token.scopes(),
            Self::Session(session) => session.scopes(),
        }
    }

    /// The claims of the access token, or of the ID token of the session. As `C`, those of a token are
    /// [`VerifiedToken::claims`].
    pub fn claims(&self) -> &Claims {
        match self {
            Self::Token(token) => token.registered_claims(),
            Self::Session(session) => session.claims(),
        }
    }
}

/// Names who it is; no token.
impl<C> fmt::Debug for Principal<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(token) => f.debug_tuple("Token").field(token).finish(),
            Self::Session(session) => f.debug_tuple("Session").field(session).finish(),
        }
    }
}
