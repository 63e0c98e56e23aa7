//! Hooks of the application: at logins, refreshes and ends of sessions.

use std::future::Future;

use super::layer::LoginLayer;
use crate::session::{
    EndedSession, LoginDecision, NewLogin, RefreshDecision, RefreshedSession, SessionHook,
};

impl LoginLayer {
    /// Sets a hook that approves or rejects sign-ins, after the ID token was validated and before
    /// the session is created. It can also record the login and store application data, such as
    /// roles, in the session.
    ///
    /// The hook is called once per login, even if the browser sends the callback several times, in
    /// a task that a closed connection does not cancel. It times out after 10 seconds; the login is
    /// then rejected with 503. If it panics, the login is rejected with 500. A rejected login
    /// creates no session, keeps the session that the browser had before, and revokes the tokens of
    /// the login.
    ///
    #[cfg_attr(feature = "testing", doc = "```")]
    #[cfg_attr(not(feature = "testing"), doc = "```ignore")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use axum::{Router, routing::get};
    /// use serde::{Deserialize, Serialize};
    /// use tower_oauth::session::{LoginDecision, NewLogin};
    /// use tower_oauth::testing::{TestClient, TestServer, TestUser};
    /// use tower_oauth::{Client, CookieKey, LoginLayer, Session};
    ///
    /// #[derive(Deserialize, Serialize)]
    /// struct Staff {
    ///     role: String,
    /// }
    ///
    /// async fn only_staff(login: NewLogin) -> LoginDecision {
    ///     match login.subject() {
    ///         "alice" => LoginDecision::allow_with(&Staff { role: "editor".into() }),
    ///         _ => LoginDecision::deny("This application is for staff only."),
    ///     }
    /// }
    ///
    /// async fn desk(session: Session) -> String {
    ///     let staff: Option<Staff> = session.app_data().unwrap_or_default();
    ///     staff.map_or("none".into(), |staff| staff.role)
    /// }
    /// # let redirect_uri = "https://shop.example.com/auth/callback";
    /// # let client = TestClient::confidential("shop", "secret").add_redirect_uri(redirect_uri)?;
    /// # let server = TestServer::new("https://id.example.test")?
    /// #     .add_client(client)
    /// #     .add_user(TestUser::new("alice", "wonderland"))
    /// #     .add_user(TestUser::new("mallory", "malice"));
    /// # let (client, key) = (Client::confidential("shop", "secret"), CookieKey::generate()?);
    /// # let authorization_server = server.authorization_server();
    ///
    /// let login = LoginLayer::new(&authorization_server, client, redirect_uri, key)?
    ///     .with_on_login(only_staff);
    /// let app = Router::new().route("/desk", get(desk)).layer(login);
    ///
    /// let browser = server.browser().with_origin("https://shop.example.com", app.clone())?;
    /// let page = browser.navigate("https://shop.example.com/desk").await?;
    /// assert_eq!(page.sign_in("alice", "wonderland").await?.text(), "editor");
    ///
    /// let browser = server.browser().with_origin("https://shop.example.com", app)?;
    /// let page = browser.navigate("https://shop.example.com/desk").await?;
    /// let page = page.sign_in("mallory", "malice").await?;
    /// assert_eq!(page.status(), 403);
    /// assert!(page.text().contains("for staff only"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A hook that needs a connection pool clones it for each call. An `async move` closure would
    /// give its only one away at the first call: "async closure does not implement `Fn`".
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_oauth::session::{LoginDecision, NewLogin};
    /// # use tower_oauth::{AuthorizationServer, Client, CookieKey, LoginLayer};
    /// # #[derive(Clone)]
    /// # struct Pool;
    /// # impl Pool {
    /// #     async fn is_staff(&self, _: &str) -> Result<bool, std::io::Error> { Ok(true) }
    /// # }
    /// # let server = AuthorizationServer::new("https://id.example.com")?;
    /// # let (client, key) = (Client::confidential("shop", "secret"), CookieKey::generate()?);
    /// # let redirect_uri = "https://shop.example.com/auth/callback";
    /// # let pool = Pool;
    ///
    /// let login = LoginLayer::new(&server, client, redirect_uri, key)?;
    /// let login = login.with_on_login(move |login: NewLogin| {
    ///     let pool = pool.clone();
    ///     async move {
    ///         match pool.is_staff(login.subject()).await {
    ///             Ok(true) => LoginDecision::allow(),
    ///             Ok(false) => LoginDecision::deny("This application is for staff only."),
    ///             Err(error) => {
    ///                 eprintln!("no database: {error}");
    ///                 LoginDecision::later(Duration::from_secs(5))
    ///             }
    ///         }
    ///     }
    /// });
    /// # Ok::<(), tower_oauth::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_on_login<F>(self, hook: impl Fn(NewLogin) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = LoginDecision> + Send + 'static,
    {
        self.with_session_manager(|manager| {
            manager.with_hooks(|hooks| hooks.on_login = SessionHook::new(hook))
        })
    }

    /// Sets a hook that is called after each refresh of a session's tokens, to check again whether
    /// the user may stay signed in, and to update application data.
    ///
    /// The new tokens are saved before, and requests that wait for them wait for the hook too. It
    /// times out after 10 seconds. A hook that times out or panics does not end the session: the
    /// failure is logged, and the hook is called again at the next refresh. Only the process that
    /// refreshed calls it.
    ///
    /// ```
    /// use tower_oauth::LoginLayer;
    /// use tower_oauth::session::{RefreshDecision, RefreshedSession};
    ///
    /// async fn still_staff(session: RefreshedSession) -> RefreshDecision {
    ///     let left = session.new_claims().is_some_and(|claims| claims.get("left").is_some());
    ///     if left { RefreshDecision::end() } else { RefreshDecision::keep() }
    /// }
    ///
    /// fn set_up(login: LoginLayer) -> LoginLayer {
    ///     login.with_on_refresh(still_staff)
    /// }
    /// ```
    #[must_use]
    pub fn with_on_refresh<F>(
        self,
        hook: impl Fn(RefreshedSession) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = RefreshDecision> + Send + 'static,
    {
        self.with_session_manager(|manager| {
            manager.with_hooks(|hooks| hooks.on_refresh = SessionHook::new(hook))
        })
    }

    /// Sets a hook that is called when a session is ended, with the reason: to close connections of
    /// the session, or to record its end.
    ///
    /// The session has ended whatever the hook does, and no request waits for it. It times out
    /// after 10 seconds and is called once, in the process that ended the session, without retries:
    /// use it for nothing that must not be missed. It is not called for sessions that expire.
    ///
    /// ```
    /// use tower_oauth::LoginLayer;
    /// use tower_oauth::session::EndedSession;
    ///
    /// fn set_up(login: LoginLayer) -> LoginLayer {
    ///     login.with_on_logout(async |ended: EndedSession| {
    ///         println!("{:?} ended by {:?}", ended.session_id(), ended.reason());
    ///     })
    /// }
    /// ```
    #[must_use]
    pub fn with_on_logout<F>(self, hook: impl Fn(EndedSession) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.with_session_manager(|manager| {
            manager.with_hooks(|hooks| hooks.on_logout = SessionHook::new(hook))
        })
    }
}
