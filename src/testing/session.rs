//! Somebody who is signed in, for a test of a handler.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::registry;
use crate::crypto::base64url;
use crate::flow::Injected;
use crate::protocol::claims::Registered;
use crate::protocol::json::parse_object;
use crate::protocol::{AccessToken, Claims, IdToken, RefreshToken, ScopeSet};
use crate::{ConfigError, LoginLayer, Session};

/// A [`Session`] that no login brought, for tests that call a handler.
///
/// It is a session of a login layer like any other: it has the limits of the layer, stands in its store
/// if it has one, and can be ended there. It needs no authorization server until somebody asks it for what
/// only a server has. A browser has no cookie of it: requests through the layer are for a
/// [`Browser`](super::Browser) that signs in.
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
/// assert_eq!(greeting(alice.begin(&login).await).await, "Hello, alice@example.test");
/// assert_eq!(greeting(TestSession::new("bob").begin(&login).await).await, "Hello, stranger");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a session begins when `begin` is called"]
pub struct TestSession {
    claims: Map<String, Value>,
    scopes: ScopeSet,
    access_token: AccessToken,
    access_token_lifetime: Duration,
    refresh_token: Option<RefreshToken>,
}

impl TestSession {
    /// A session of this subject, with the scope `openid`, an access token `test-access-token` for five
    /// minutes and no refresh token.
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
        }
    }

    /// Sets a claim of the ID token: `sid`, `email`, `acr`, `groups`. Those it must have (`iss`, `aud`,
    /// `iat`, `exp`) follow from the login layer where they are not set.
    pub fn with_claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// The scopes that were granted, separated by spaces.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Scope`] for a value that RFC 6749 §3.3 does not allow.
    pub fn with_scopes(mut self, scopes: &str) -> Result<Self, ConfigError> {
        self.scopes = registry::scopes(scopes)?;
        Ok(self)
    }

    /// The access token, and how long it is good.
    pub fn with_access_token(mut self, token: &str, lifetime: Duration) -> Self {
        self.access_token = AccessToken::new(token);
        self.access_token_lifetime = lifetime;
        self
    }

    /// A refresh token, for instance one that a [`TestServer`](super::TestServer) gave out.
    pub fn with_refresh_token(mut self, token: &str) -> Self {
        self.refresh_token = Some(RefreshToken::new(token));
        self
    }

    /// Begins the session at a login layer, as if this person had signed in there now.
    ///
    /// # Panics
    ///
    /// Where a claim has a type that no ID token may have, a number as `sub` for instance, and where the
    /// store of the layer does not take the session.
    pub async fn begin(&self, login: &LoginLayer) -> Session {
        let keeper = login.manager();
        let flow = keeper.flow();
        let now = keeper.now();
        let mut claims = self.claims.clone();
        for (name, value) in [
            ("iss", Value::from(flow.server().issuer())),
            ("aud", flow.client().id().into()),
            ("iat", now.into()),
            ("exp", now.saturating_add(300).into()),
        ] {
            claims.entry(name).or_insert(value);
        }
        let text: Arc<str> = Value::Object(claims).to_string().into();
        let Some(claims) = read(&text) else {
            panic!("no ID token has the claims {text}")
        };
        let unsigned = format!(
            "{}.{}.",
            base64url::encode(b"{\"alg\":\"none\"}"),
            base64url::encode(text.as_bytes())
        );
        let injected = Injected {
            claims,
            scopes: self.scopes.clone(),
            access_token: self.access_token.clone(),
            access_token_lifetime: self.access_token_lifetime,
            refresh_token: self.refresh_token.clone(),
            id_token: IdToken::new(unsigned),
        };
        let Ok(record) = flow.inject(injected, now) else {
            panic!("no session without randomness of the operating system")
        };
        match keeper.begin(record).await {
            Ok(held) => Session::new(keeper.clone(), held),
            Err(refused) => panic!("no session was begun: {refused}"),
        }
    }
}

fn read(text: &Arc<str>) -> Option<Claims> {
    let object = parse_object(text.as_bytes()).ok()?;
    let registered = Registered::read_within(text, &object).ok()?;
    Some(Claims::new(Arc::clone(text), registered))
}
