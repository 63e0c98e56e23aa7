//! Where an application has a word: at logins, refreshes and ends of sessions.

use std::future::Future;

use super::layer::LoginLayer;
use crate::session::{
    EndedSession, LoginDecision, NewLogin, RefreshDecision, RefreshedSession, SessionHook,
};

impl LoginLayer {
    /// Asks the application about every login, after the ID token was found good and before there is a
    /// session: to let in only whom it knows, to note who came, to keep roles with the session.
    ///
    /// It is called once a login, however often the browser sends the callback, in a task of its own that
    /// a closed connection does not stop. It has 10 seconds; after that the login is refused with 503.
    /// Where it panics, this login is refused with 500. Whoever is refused gets no session, keeps the one
    /// they had, and the tokens of the login are revoked.
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
    ///         _ => LoginDecision::deny("This application is for the staff alone."),
    ///     }
    /// }
    ///
    /// async fn desk(session: Session) -> String {
    ///     let staff: Option<Staff> = session.app_data().unwrap_or_default();
    ///     staff.map_or("nobody".into(), |staff| staff.role)
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
    /// assert!(page.text().contains("for the staff alone"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_on_login<F>(self, hook: impl Fn(NewLogin) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = LoginDecision> + Send + 'static,
    {
        self.with_session_manager(|keeper| {
            keeper.with_hooks(|hooks| hooks.on_login = SessionHook::new(hook))
        })
    }

    /// Asks the application whenever the tokens of a session were renewed: to look again whether the
    /// person may still be here, and to bring app data up to date.
    ///
    /// The new tokens are saved by then, and those who wait for them wait for the hook too. It has 10
    /// seconds. A hook that is slower or panics does not end the session: the log says so, and it is asked
    /// again at the next refresh. Of several processes, the one that refreshed asks.
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
        self.with_session_manager(|keeper| {
            keeper.with_hooks(|hooks| hooks.on_refresh = SessionHook::new(hook))
        })
    }

    /// Tells the application of every session that somebody ended, and who did: to close what is open for
    /// it, to note it down.
    ///
    /// Nobody waits for it, and the session is over whatever it does. It has 10 seconds, and it is told
    /// once, in the process where the session was ended: what must not be missed belongs elsewhere. A session that
    /// only ran out of time is not told of.
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
        self.with_session_manager(|keeper| {
            keeper.with_hooks(|hooks| hooks.on_logout = SessionHook::new(hook))
        })
    }
}
