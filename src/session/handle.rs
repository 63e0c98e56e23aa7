//! The session that handlers receive.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::clock_rollback::SessionTime;
use super::error::SessionError;
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use super::refresh::state::RefreshWaiter;
use crate::bearer::{Policy, UnmetBySession};
use crate::clock::{system_time, within};
use crate::crypto::ProofKey;
use crate::flow::{Flow, UserInfo};
use crate::protocol::credentials::is_token68;
use crate::protocol::{AccessToken, AuthorizationDetails, Claims, ScopeSet};
use crate::record::{Email, SessionId, SessionRecord, SubjectSource, UserKey};
use crate::sync::Mutex;

/// An authenticated user session.
///
/// [`LoginLayer`](crate::LoginLayer) inserts it into the request extensions after validating the session
/// cookie; handlers receive it as an axum extractor. It cannot be constructed outside of tests
/// (`testing::TestSession`), so a handler that takes a `Session` needs no further authentication check.
/// Cloning is cheap.
///
/// Identify users by [`user_key`](Self::user_key), not by e-mail address or user name ([OpenID Connect Core
/// §5.7]).
///
/// # Not checked
///
/// Whether the account still exists at the authorization server, and anything that changed there since the
/// login.
///
/// [OpenID Connect Core §5.7]: https://openid.net/specs/openid-connect-core-1_0.html#ClaimStability
#[derive(Clone)]
pub struct Session(Arc<SessionInner>);

struct SessionInner {
    manager: Arc<SessionManager>,
    /// The record that the request presented. The user does not change during a request.
    opened: Arc<SessionRecord>,
    expires_at: i64,
    /// The newest state in this request.
    current: Mutex<LoadedSession>,
    /// The proactive refresh that was started, if any.
    proactive_refresh: Mutex<Option<RefreshWaiter>>,
    /// Whether the application has read the session.
    was_read: AtomicBool,
}

impl Session {
    /// Returns the issuer (`iss`), which identifies the authorization server.
    pub fn issuer(&self) -> &str {
        self.opened().issuer()
    }

    /// Returns the subject (`sub`), which identifies the user at the issuer.
    pub fn subject(&self) -> &str {
        self.opened().subject()
    }

    /// Returns the name of the [provider](crate::Provider) that the user signed in at. Of a layer with a single provider, it is
    /// `default` unless [`with_provider_name`](crate::LoginLayer::with_provider_name) or
    /// [`for_provider`](crate::LoginLayer::for_provider) set another one.
    pub fn provider(&self) -> &str {
        let provider = self.0.manager.providers().of(self.opened());
        provider.map_or("", |provider| &provider.name)
    }

    /// Returns where the provider said who the user is: in an ID token, or in a response to a request with the access token.
    pub fn subject_source(&self) -> SubjectSource {
        self.opened().subject_source()
    }

    /// Returns issuer and subject, which together identify the user.
    pub fn user_key(&self) -> UserKey<'_> {
        self.opened().user_key()
    }

    /// Returns the claims of the ID token from the login.
    pub fn claims(&self) -> &Claims {
        self.opened().claims()
    }

    /// Returns whether the session meets a policy, for handlers and templates whose content depends on it. To reject
    /// requests, use [`RequiredLayer::with_policy`](crate::login::RequiredLayer::with_policy).
    ///
    /// [`Policy`](crate::bearer::Policy#sessions) has the rules. A policy that requires scopes is never met.
    ///
    /// ```
    /// use tower_oauth::bearer::Policy;
    /// use tower_oauth::{ConfigError, Session};
    ///
    /// # #[derive(serde::Deserialize)]
    /// # struct Staff { is_editor: bool }
    /// fn policies() -> Result<[Policy; 2], ConfigError> {
    ///     let clerk = Policy::role("roles", "clerk")?;
    ///     let editor = Policy::claim("the user is not an editor", |session: &Session| {
    ///         let staff: Option<Staff> = session.app_data().unwrap_or_default();
    ///         staff.is_some_and(|staff| staff.is_editor)
    ///     })?;
    ///     Ok([clerk, editor])
    /// }
    ///
    /// fn menu(session: &Session, clerk: &Policy) -> &'static str {
    ///     if session.meets(clerk) { "orders, customers" } else { "orders" }
    /// }
    /// ```
    pub fn meets(&self, policy: &Policy) -> bool {
        self.check(policy).is_ok()
    }

    /// Checks a policy at the current time.
    pub(crate) fn check(&self, policy: &Policy) -> Result<(), UnmetBySession> {
        policy.check_session(self.claims(), self, self.0.manager.time().wall())
    }

    /// Returns the e-mail address in the ID token, and whether the issuer has verified it.
    pub fn email(&self) -> Option<Email> {
        Email::read(|name| self.claims().get(name))
    }

    /// Returns the granted scopes, which may differ from the requested ones ([RFC 6749 §5.1]).
    ///
    /// [RFC 6749 §5.1]: https://www.rfc-editor.org/rfc/rfc6749#section-5.1
    pub fn scopes(&self) -> &ScopeSet {
        &self.opened().tokens().scopes
    }

    /// Returns the authorization details that the user granted ([RFC 9396 §7]): those in the response to the login, or to
    /// the last refresh that had any.
    ///
    /// They can be narrower than the [requested](crate::LoginLayer::with_authorization_details) ones, or have more members,
    /// such as an account that the user selected. If the authorization server does not say what was granted, there are
    /// none here, and an API may still find some in the access token. They say what the access token permits at APIs, and
    /// nothing about the rights of the user here.
    ///
    /// [RFC 9396 §7]: https://www.rfc-editor.org/rfc/rfc9396#section-7
    pub fn authorization_details(&self) -> &AuthorizationDetails {
        &self.opened().tokens().authorization_details
    }

    /// Returns when the user signed in to this application.
    pub fn signed_in_at(&self) -> SystemTime {
        system_time(self.opened().created_at())
    }

    /// Returns when the session expires unless it is used again.
    pub fn expires_at(&self) -> SystemTime {
        system_time(self.0.expires_at)
    }

    /// Returns the ID of the session, for logs and support. It is not a secret.
    pub fn id(&self) -> &SessionId {
        self.opened().id()
    }

    /// Returns an access token that is valid now, refreshing it if it has expired.
    ///
    /// Concurrent callers share one refresh, in this process and in all processes that share a store. Waits
    /// at most 15 seconds. Proactive refreshes make waiting rare. The method also works after the response
    /// was sent.
    ///
    /// If an API rejects the token because it was revoked, call [`refresh`](Self::refresh) and repeat the
    /// request once.
    ///
    /// With [DPoP](crate::LoginLayer::with_dpop) the token is bound to a key of the session: as a bearer token, APIs
    /// reject it. Use [`authorize`](Self::authorize), which adds a proof, for every request.
    ///
    /// # Errors
    ///
    /// [`SessionError`] if there is no valid access token:
    ///
    /// - [`AccessTokenExpired`](SessionError::AccessTokenExpired) and [`Ended`](SessionError::Ended): the
    ///   user has to sign in again. A session that outlives its request, for example in a WebSocket handler,
    ///   returns `Ended` as soon as it has ended: in every process if there is a store, which is read once
    ///   for each call, and otherwise in the process that ended it.
    /// - All others: try again later. The session is kept.
    pub async fn access_token(&self) -> Result<AccessToken, SessionError> {
        self.valid_token(None).await?.sendable()
    }

    /// Returns an access token for another [resource](crate::LoginLayer::add_resource) that is valid now ([RFC 8707 §2.2]).
    /// For the first resource this is [`access_token`](Self::access_token).
    ///
    /// The first call sends a refresh request with this resource; the token is kept in the session and refreshed like
    /// that of the session. A session has one refresh token for all resources, so its requests are sent one after the
    /// other. In cookies there may be no room for further tokens: the process that requested them keeps them then, and
    /// others request them again.
    ///
    /// # Errors
    ///
    /// As [`access_token`](Self::access_token), and
    ///
    /// - [`UnknownResource`](SessionError::UnknownResource) unless the layer has exactly this resource;
    /// - [`NoRefreshToken`](SessionError::NoRefreshToken) if the session has no refresh token;
    /// - [`Refused`](SessionError::Refused) if the authorization server issues no token for this resource
    ///   (`invalid_target`). The session and its other tokens are kept.
    ///
    /// [RFC 8707 §2.2]: https://www.rfc-editor.org/rfc/rfc8707#section-2.2
    pub async fn access_token_for(&self, resource: &str) -> Result<AccessToken, SessionError> {
        self.valid_token(Some(resource)).await?.sendable()
    }

    /// Returns the scopes of the access token for a [resource](Self::access_token_for), or `None` if the session has no
    /// such token at the moment. For the first resource these are [`scopes`](Self::scopes).
    pub fn scopes_for(&self, resource: &str) -> Option<ScopeSet> {
        self.note_read();
        let current = self.current();
        let tokens = current.record().tokens();
        let main = self.0.manager.main_resource(current.record());
        if main.is_some_and(|main| **main == *resource) {
            let is_current = tokens.resource.as_deref() == Some(resource);
            return is_current.then(|| tokens.scopes.clone());
        }
        let token = tokens.resource_token(resource);
        token.map(|token| token.scopes.clone())
    }

    /// Returns an access token that is valid now: for a configured resource, or that of the session.
    pub(crate) async fn valid_token(
        &self,
        resource: Option<&str>,
    ) -> Result<ValidToken, SessionError> {
        let Some(resource) = resource else {
            return self.valid_token_of(None).await;
        };
        let flow = self.flow()?;
        let Some(known) = flow.find_resource(resource) else {
            let configured = flow.resources().iter();
            return Err(SessionError::UnknownResource {
                resource: resource.to_owned(),
                configured: configured.map(ToString::to_string).collect(),
            });
        };
        let further = Some(known).filter(|known| flow.main_resource() != Some(known));
        self.valid_token_of(further).await
    }

    /// Returns an access token that is valid now: for a further resource, or that of the session.
    async fn valid_token_of(
        &self,
        resource: Option<&Arc<str>>,
    ) -> Result<ValidToken, SessionError> {
        self.note_read();
        let manager = &self.0.manager;
        let now = manager.time();
        self.adopt(manager.newest(&self.current(), &now).await?);
        self.refresh_proactively(&now);
        if resource.is_some() {
            self.start_refresh(&mut self.0.proactive_refresh.lock(), resource, &now);
        }
        let loaded = self.current();
        let name = resource.map(|resource| &**resource);
        if manager.has_valid_token(loaded.record(), name, &now)
            && let Some(token) = ValidToken::of(loaded.record(), name)
        {
            return Ok(token);
        }
        let newest = manager.refresh_if_expired(&loaded, resource).await?;
        if manager.is_denied(newest.record()) {
            return Err(SessionError::Ended);
        }
        let is_valid = manager.has_valid_token(newest.record(), name, &manager.time());
        let token = ValidToken::of(newest.record(), name);
        self.adopt(newest);
        match token {
            Some(token) if is_valid => Ok(token),
            _ => Err(SessionError::AccessTokenExpired),
        }
    }

    /// Replaces the access token, even if it has not expired, after an API has rejected it. Uses the token of
    /// a concurrent refresh if there was one. The tokens of further [resources](Self::access_token_for) are discarded, and
    /// requested again when they are needed.
    ///
    /// # Errors
    ///
    /// [`SessionError`]. After a failure, further calls return the same error without a request for 1, 2, 4 …
    /// 60 seconds.
    pub async fn refresh(&self) -> Result<(), SessionError> {
        let loaded = self.current();
        let newest = self.0.manager.force_refresh(&loaded).await?;
        self.adopt(newest);
        Ok(())
    }

    /// Requests the claims of the userinfo endpoint ([OpenID Connect Core §5.3]), with one request for each
    /// call.
    ///
    /// # Errors
    ///
    /// [`SessionError`], for example if the response is about another subject, or if it is signed and its
    /// signature, issuer or audience is wrong. Encrypted responses are rejected.
    ///
    /// [OpenID Connect Core §5.3]: https://openid.net/specs/openid-connect-core-1_0.html#UserInfo
    pub async fn userinfo(&self) -> Result<UserInfo, SessionError> {
        let token = self.valid_token(None).await?;
        let flow = self.flow()?;
        let tokens = token.record.tokens();
        Ok(flow.userinfo(tokens, self.subject()).await?)
    }

    /// Returns the flow of the provider that the user signed in at, which is one of the layer.
    pub(crate) fn flow(&self) -> Result<&Arc<Flow>, SessionError> {
        let flow = self.0.manager.flow_of(&self.0.opened);
        flow.ok_or(SessionError::Ended)
    }

    pub(crate) fn new(
        manager: Arc<SessionManager>,
        loaded: LoadedSession,
        now: &SessionTime,
    ) -> Self {
        Self(Arc::new(SessionInner {
            expires_at: manager.expires_at(loaded.record(), now),
            manager,
            opened: Arc::clone(loaded.record()),
            current: Mutex::new(loaded),
            proactive_refresh: Mutex::default(),
            was_read: AtomicBool::new(false),
        }))
    }

    /// Reports whether the application has read the session, so that the response depends on it.
    pub(crate) fn was_read(&self) -> bool {
        self.0.was_read.load(Ordering::Relaxed)
    }

    pub(super) fn note_read(&self) {
        self.0.was_read.store(true, Ordering::Relaxed);
    }

    fn opened(&self) -> &SessionRecord {
        self.note_read();
        &self.0.opened
    }

    /// Returns the newest state in this request.
    pub(crate) fn current(&self) -> LoadedSession {
        self.0.current.lock().clone()
    }

    pub(super) fn manager(&self) -> &Arc<SessionManager> {
        &self.0.manager
    }

    /// Replaces the state.
    pub(super) fn replace(&self, loaded: LoadedSession) {
        *self.0.current.lock() = loaded;
    }

    /// Starts a refresh if one is due, and takes over the result of the previous one.
    pub(crate) fn refresh_proactively(&self, now: &SessionTime) {
        let mut proactive_refresh = self.0.proactive_refresh.lock();
        if let Some(waiter) = proactive_refresh.take_if(|waiter| waiter.is_over())
            && let Some(Ok(newest)) = waiter.result()
        {
            self.adopt(newest);
        }
        self.start_refresh(&mut proactive_refresh, None, now);
    }

    /// Starts a refresh if one is due, unless this request waits for another one.
    fn start_refresh(
        &self,
        proactive_refresh: &mut Option<RefreshWaiter>,
        resource: Option<&Arc<str>>,
        now: &SessionTime,
    ) {
        if proactive_refresh.is_none() {
            let manager = &self.0.manager;
            *proactive_refresh = manager.refresh_proactively(&self.current(), resource, now);
        }
    }

    /// Waits briefly for a started refresh if the response must carry its tokens, as with sessions in cookies
    /// alone. Returns `None` if there is nothing to wait for.
    pub(crate) fn pending_refresh(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let waiter = self.0.proactive_refresh.lock().clone()?;
        let session = self.clone();
        self.0.manager.is_cookie_only().then_some(async move {
            let clock = Arc::clone(session.0.manager.clock());
            let outcome = within(&*clock, RESPONSE_TIMEOUT, waiter.outcome()).await;
            if let Some(Some(Ok(newest))) = outcome {
                session.adopt(newest);
            }
        })
    }

    /// Takes over a state that is newer than the current one.
    fn adopt(&self, newest: LoadedSession) {
        let mut current = self.0.current.lock();
        let (new, old) = (newest.record(), current.record());
        if new.generation() > old.generation() || old.lacks_tokens_of(new) {
            *current = newest;
        }
    }
}

/// Shows issuer and subject, and no token.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

/// How long a response waits for the tokens that it must carry.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A record, and one of its access tokens, which was valid when it was loaded.
pub(crate) struct ValidToken {
    record: Arc<SessionRecord>,
    access_token: AccessToken,
}

impl ValidToken {
    /// Returns the access token for a further resource, or that of the session.
    fn of(record: &Arc<SessionRecord>, resource: Option<&str>) -> Option<Self> {
        let tokens = record.tokens();
        let access_token = match resource {
            None => &tokens.access_token,
            Some(resource) => &tokens.resource_token(resource)?.access_token,
        };
        Some(Self {
            access_token: access_token.clone(),
            record: Arc::clone(record),
        })
    }

    pub(crate) fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    /// Returns the key that all access tokens of the session are bound to.
    pub(crate) fn proof_key(&self) -> Option<&ProofKey> {
        self.record.tokens().proof_key.as_ref()
    }

    /// Rejects a token that is not a b64token (RFC 6750 §2.1), before it is put into a header field. A server may issue
    /// any printable token (RFC 6749 §A.12).
    fn sendable(self) -> Result<AccessToken, SessionError> {
        match is_token68(self.access_token.expose().as_bytes()) {
            true => Ok(self.access_token),
            false => Err(SessionError::UnusableAccessToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use serde_json::json;

    use super::*;
    use crate::crypto::CookieKey;
    use crate::flow::tests::support::{ISSUER, NOW, Server, sign_in};

    async fn session(server: &Server) -> Session {
        let (flow, record) = sign_in(server).await;
        let manager = SessionManager::of_flow(flow, CookieKey::generate().unwrap());
        let manager = Arc::new(manager);
        let loaded = manager.begin(record).await.unwrap();
        let now = manager.time();
        Session::new(manager, loaded, &now)
    }

    #[tokio::test]
    async fn a_session_has_the_user_and_the_times_and_hides_its_tokens() {
        let session = session(&Server::new()).await;
        assert_eq!((session.issuer(), session.subject()), (ISSUER, "alice"));
        assert_eq!(session.claims().get("sub"), Some(json!("alice")));
        assert_eq!(session.email(), None);
        let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap());
        assert_eq!(session.signed_in_at(), time(NOW));
        assert_eq!(session.expires_at(), time(NOW + 3600));
        assert_eq!(
            session.access_token().await.unwrap().expose(),
            "the-access-token"
        );
        assert!(!format!("{session:?}").contains("the-access-token"));
    }

    #[tokio::test]
    async fn an_expired_access_token_is_not_used() {
        let server = Server::new();
        let session = session(&server).await;
        server.clock.advance(600);
        server.answer_token_request(400, r#"{"error":"invalid_grant"}"#);
        assert!(matches!(
            session.access_token().await,
            Err(SessionError::Ended)
        ));
        assert!(matches!(session.userinfo().await, Err(SessionError::Ended)));
        assert_eq!(server.requests("/userinfo").len(), 0);
    }
}
