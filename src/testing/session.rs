//! Sessions without a login, for tests of handlers.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use serde_json::{Map, Value};

use super::registry;
use crate::clock::seconds_after;
use crate::crypto::base64url;
use crate::protocol::claims::RegisteredClaims;
use crate::protocol::json::parse_object;
use crate::protocol::{AccessToken, AuthorizationDetails, Claims, IdToken, RefreshToken, ScopeSet};
use crate::record::{NewRecord, SessionId, SessionRecord, SessionTokens, SubjectSource};
use crate::session::LoadedSession;
use crate::{ConfigError, LoginLayer, Session};

/// Creates a [`Session`] without a login, for tests that call a handler directly.
///
/// The session has the limits of the login layer, is saved in the layer's store if there is one, and
/// can be ended there. It contacts the authorization server only for a refresh or a revocation.
/// [`cookie`](Self::cookie) creates one for requests through the layer; to test the login itself, sign in with
/// a [`Browser`](super::Browser).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_oauth::testing::TestSession;
/// use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer, Session};
///
/// async fn greeting(session: Session) -> String {
///     let email = session.email().filter(|email| email.verified() == Some(true));
///     format!("Hello, {}", email.map_or_else(|| "stranger".to_owned(), |email| email.address().to_owned()))
/// }
///
/// let server = AuthorizationServer::new("https://id.example.test")?;
/// let client = Client::confidential("shop", "shop-secret");
/// let callback = "https://shop.example.test/auth/callback";
/// let login = LoginLayer::new(&server, client, callback, CookieKey::generate()?)?;
///
/// let alice = TestSession::new("alice")
///     .with_claim("email", "alice@example.test")
///     .with_claim("email_verified", true);
/// assert_eq!(greeting(alice.create(&login).await).await, "Hello, alice@example.test");
/// assert_eq!(greeting(TestSession::new("bob").create(&login).await).await, "Hello, stranger");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "no session exists until `create` is called"]
pub struct TestSession {
    claims: Map<String, Value>,
    scopes: ScopeSet,
    access_token: AccessToken,
    access_token_lifetime: Duration,
    refresh_token: Option<RefreshToken>,
    provider: Option<String>,
}

impl TestSession {
    /// Describes a session of this subject with the scope `openid`, the access token
    /// `test-access-token` valid for five minutes, and no refresh token.
    pub fn new(subject: &str) -> Self {
        let mut scopes = ScopeSet::default();
        scopes.insert("openid");
        let claims = [("sub".to_owned(), subject.into())].into_iter().collect();
        Self {
            claims,
            scopes,
            access_token: AccessToken::new("test-access-token"),
            access_token_lifetime: Duration::from_secs(300),
            refresh_token: None,
            provider: None,
        }
    }

    /// Sets the [provider](crate::Provider) that the user signed in at. Default: the one that the layer was created with.
    pub fn with_provider(mut self, name: &str) -> Self {
        self.provider = Some(name.to_owned());
        self
    }

    /// Sets a claim of the ID token, for example `sid`, `email`, `acr` or `groups`. The required claims
    /// `iss`, `aud`, `iat` and `exp` are taken from the login layer unless set.
    pub fn with_claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Sets the granted scopes (space-separated).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] if a value is not a scope ([RFC 6749 §3.3]).
    ///
    /// [RFC 6749 §3.3]: https://www.rfc-editor.org/rfc/rfc6749#section-3.3
    pub fn with_scopes(mut self, scopes: &str) -> Result<Self, ConfigError> {
        self.scopes = registry::scopes(scopes)?;
        Ok(self)
    }

    /// Sets the access token and its lifetime.
    pub fn with_access_token(mut self, token: &str, lifetime: Duration) -> Self {
        self.access_token = AccessToken::new(token);
        self.access_token_lifetime = lifetime;
        self
    }

    /// Sets the refresh token, for example one issued by a [`TestServer`](super::TestServer).
    pub fn with_refresh_token(mut self, token: &str) -> Self {
        self.refresh_token = Some(RefreshToken::new(token));
        self
    }

    /// Creates the session at a login layer, as if the user had signed in now.
    ///
    /// # Panics
    ///
    /// If a claim has a type that an ID token cannot have (a number as `sub`), or if the layer's store
    /// cannot save the session.
    pub async fn create(&self, login: &LoginLayer) -> Session {
        let manager = login.manager();
        let loaded = self.begin(login).await;
        Session::new(Arc::clone(manager), loaded, &manager.time())
    }

    /// Creates the session, and returns the value of the `Cookie` field that its browser sends.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, body::Body, routing::get};
    /// use http::{Request, StatusCode};
    /// use tower::ServiceExt;
    /// use tower_oauth::testing::TestSession;
    /// use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer, Session};
    ///
    /// let server = AuthorizationServer::new("https://id.example.test")?;
    /// let callback = "https://shop.example.test/auth/callback";
    /// let login = LoginLayer::new(&server, Client::public("shop"), callback, CookieKey::generate()?)?;
    /// let app = Router::new()
    ///     .route("/account", get(async |session: Session| session.subject().to_owned()))
    ///     .layer(login.clone());
    ///
    /// let cookie = TestSession::new("alice").cookie(&login).await;
    /// let request = Request::get("/account").header("cookie", cookie).body(Body::empty())?;
    /// assert_eq!(app.oneshot(request).await?.status(), StatusCode::OK);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`create`](Self::create), and if the session does not fit into cookies.
    pub async fn cookie(&self, login: &LoginLayer) -> HeaderValue {
        let loaded = self.begin(login).await;
        let field = login.cookie_field(&loaded);
        match field.map(HeaderValue::try_from) {
            Ok(Ok(mut value)) => {
                value.set_sensitive(true);
                value
            }
            Ok(Err(error)) => panic!("the cookies are no field value: {error}"),
            Err(error) => panic!("{error}"),
        }
    }

    async fn begin(&self, login: &LoginLayer) -> LoadedSession {
        let manager = login.manager();
        let providers = manager.providers();
        let provider = match &self.provider {
            None => Some(providers.first()),
            Some(name) => providers.named(name),
        };
        let Some(flow) = provider.map(|provider| &provider.flow) else {
            panic!("the layer has no provider {:?}", self.provider)
        };
        let now = manager.time().wall();
        let mut claims = self.claims.clone();
        for (name, value) in [
            ("iss", Value::from(flow.issuers().first().copied())),
            ("aud", flow.client().id().into()),
            ("iat", now.into()),
            ("exp", now.saturating_add(300).into()),
        ] {
            claims.entry(name).or_insert(value);
        }
        let text: Arc<str> = Value::Object(claims).to_string().into();
        let Some(claims) = parse_claims(&text) else {
            panic!("an ID token cannot have the claims {text}")
        };
        let unsigned = format!(
            "{}.{}.",
            base64url::encode(b"{\"alg\":\"none\"}"),
            base64url::encode(text.as_bytes())
        );
        let Ok(id) = flow.random().bytes() else {
            panic!("the operating system's random number generator failed")
        };
        let record = SessionRecord::new(NewRecord {
            id: SessionId::new(id),
            entry: flow.entry(),
            subject_source: SubjectSource::IdToken,
            now,
            claims,
            tokens: SessionTokens {
                resource: flow.main_resource().cloned(),
                scopes: self.scopes.clone(),
                access_token: self.access_token.clone(),
                access_token_since: now,
                access_token_expires_at: seconds_after(now, self.access_token_lifetime),
                refresh_token: self.refresh_token.clone(),
                refresh_token_expires_at: None,
                id_token: Some(IdToken::new(unsigned)),
                proof_key: None,
                authorization_details: AuthorizationDetails::default(),
                resource_tokens: Vec::new(),
            },
        });
        match manager.begin(record).await {
            Ok(loaded) => loaded,
            Err(error) => panic!("the session could not be created: {error}"),
        }
    }
}

fn parse_claims(text: &Arc<str>) -> Option<Claims> {
    let object = parse_object(text.as_bytes()).ok()?;
    let registered = RegisteredClaims::read_within(text, &object).ok()?;
    Some(Claims::new(Arc::clone(text), registered))
}
