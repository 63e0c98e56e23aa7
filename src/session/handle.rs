//! Somebody who is signed in, as handlers see them.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::SessionError;
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use super::refresh::Seat;
use crate::clock::within;
use crate::flow::{Email, SessionId, SessionRecord, UserInfo};
use crate::protocol::{AccessToken, Claims, ScopeSet};

/// Somebody who signed in.
///
/// Outside of tests (`testing::TestSession`) there is no public way to make one, so a handler that is given
/// one needs no check of its own: the ID token was verified at the login, and the session is within its
/// limits. Cheap to clone.
///
/// Know people by [`user_key`](Self::user_key), never by an e-mail address or a user name
/// ([OpenID Connect Core §5.7]).
///
/// What is *not* checked: whether the account still exists at the authorization server, and anything
/// that changed there since the login.
///
/// [OpenID Connect Core §5.7]: https://openid.net/specs/openid-connect-core-1_0.html#ClaimStability
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    keeper: Arc<SessionManager>,
    /// What the request came with: who somebody is does not change under a handler's hands.
    opened: Arc<SessionRecord>,
    expires_at: i64,
    /// The newest that is known here.
    current: Mutex<LoadedSession>,
    /// A refresh that was begun before anybody needed it.
    ahead: Mutex<Option<Seat>>,
    /// Whether the application has read anything of the session.
    was_read: AtomicBool,
}

/// Who somebody is: subjects are only unique within their issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct UserKey<'a> {
    /// `iss`: the authorization server.
    pub issuer: &'a str,
    /// `sub`: the person, as that server knows them.
    pub subject: &'a str,
}

impl Session {
    /// `iss`: the authorization server the person signed in at.
    pub fn issuer(&self) -> &str {
        self.opened().issuer()
    }

    /// `sub`: the person, as the issuer knows them.
    pub fn subject(&self) -> &str {
        self.opened().subject()
    }

    /// Issuer and subject: the key under which an application keeps what it knows of somebody.
    pub fn user_key(&self) -> UserKey<'_> {
        UserKey {
            issuer: self.issuer(),
            subject: self.subject(),
        }
    }

    /// The claims of the ID token, as they were at the login.
    pub fn claims(&self) -> &Claims {
        self.opened().claims()
    }

    /// The e-mail address in the ID token, and whether the issuer vouches for it.
    pub fn email(&self) -> Option<Email> {
        Email::read(|name| self.claims().get(name))
    }

    /// The scopes that were granted, which may be others than those asked for (RFC 6749 §5.1).
    pub fn scopes(&self) -> &ScopeSet {
        self.opened().scopes()
    }

    /// When the person signed in here.
    pub fn signed_in_at(&self) -> SystemTime {
        moment(self.opened().created_at())
    }

    /// When the session ends if it is not used any more.
    pub fn expires_at(&self) -> SystemTime {
        moment(self.0.expires_at)
    }

    /// The name of the session: for logs and for support. No secret.
    pub fn id(&self) -> &SessionId {
        self.opened().id()
    }

    /// An access token that is good now, for requests to an API on the person's behalf. Opaque to this
    /// application.
    ///
    /// It is renewed ahead of its end, so it is nearly always at hand; where it has expired, this waits for
    /// a new one, up to 15 seconds. However many ask at once, and in however many processes that share a
    /// store, the authorization server is asked once. It works as well after the response was sent.
    ///
    /// An API may refuse it all the same, because it was revoked: then [`refresh`](Self::refresh) and ask
    /// again, once.
    ///
    /// # Errors
    ///
    /// [`SessionError`], only where there is no good access token:
    /// [`AccessTokenExpired`](SessionError::AccessTokenExpired) and [`Ended`](SessionError::Ended) want a
    /// login, all others a later attempt. A session that is kept for longer than its request, by a WebSocket for
    /// example, answers `Ended` as soon as it has ended: in every process if sessions have a store, which is asked
    /// once at each call; otherwise in the process that ended it.
    pub async fn access_token(&self) -> Result<AccessToken, SessionError> {
        self.note_read();
        let keeper = &self.0.keeper;
        let newest = keeper.newest(&self.current()).await?;
        self.adopt(newest);
        self.refresh_ahead();
        let held = self.current();
        if keeper.has_good_token(held.record()) {
            return Ok(held.record().access_token().clone());
        }
        let newest = keeper.fresh(&held).await?;
        if keeper.is_denied(newest.record()) {
            return Err(SessionError::Ended);
        }
        let good = keeper.has_good_token(newest.record());
        let token = newest.record().access_token().clone();
        self.adopt(newest);
        if good {
            Ok(token)
        } else {
            Err(SessionError::AccessTokenExpired)
        }
    }

    /// Gets another access token than the one at hand, however long that would last: for an API that refused
    /// it. Where somebody else has renewed it meanwhile, that one is taken.
    ///
    /// # Errors
    ///
    /// [`SessionError`]. After a failure the authorization server is left alone for a while, which doubles
    /// each time up to a minute; until then the error is the same.
    pub async fn refresh(&self) -> Result<(), SessionError> {
        let held = self.current();
        let newest = self.0.keeper.newer(&held).await?;
        self.adopt(newest);
        Ok(())
    }

    /// Asks the userinfo endpoint, once at each call: what is known of the person now, which may be
    /// more than the ID token said.
    ///
    /// # Errors
    ///
    /// [`SessionError`]; in particular where the answer speaks of somebody else, or where it is signed
    /// and its signature, issuer or audience is wrong. Encrypted answers are refused.
    pub async fn userinfo(&self) -> Result<UserInfo, SessionError> {
        let token = self.access_token().await?;
        Ok(self
            .0
            .keeper
            .flow()
            .userinfo(&token, self.subject())
            .await?)
    }

    pub(crate) fn new(keeper: Arc<SessionManager>, held: LoadedSession) -> Self {
        Self(Arc::new(Inner {
            expires_at: keeper.expires_at(held.record()),
            keeper,
            opened: Arc::clone(held.record()),
            current: Mutex::new(held),
            ahead: Mutex::default(),
            was_read: AtomicBool::new(false),
        }))
    }

    /// Returns whether the application has read anything of the session, so that the response depends on it.
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

    /// The newest state of the session that is known to this request.
    pub(crate) fn current(&self) -> LoadedSession {
        self.lock().clone()
    }

    pub(super) fn keeper(&self) -> &Arc<SessionManager> {
        &self.0.keeper
    }

    /// The session has become this.
    pub(super) fn renew(&self, held: LoadedSession) {
        *self.lock() = held;
    }

    /// Begins a refresh if it is time for one, and takes in what came of the last.
    pub(crate) fn refresh_ahead(&self) {
        let mut ahead = self.ahead();
        if let Some(seat) = ahead.take_if(|seat| seat.is_over())
            && let Some(Ok(newest)) = seat.at_hand()
        {
            self.adopt(newest);
        }
        if ahead.is_none() {
            *ahead = self.0.keeper.refresh_ahead(&self.current());
        }
    }

    /// Waits a moment for a refresh that was begun, where the response is what carries its tokens to their
    /// place: `L54` for sealed cookies. `None` where there is nothing to wait for.
    pub(crate) fn pending_refreshes(&self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let seat = self.ahead().clone()?;
        let session = self.clone();
        self.0
            .keeper
            .keeps_in_cookies_alone()
            .then_some(async move {
                let clock = Arc::clone(session.0.keeper.flow().clock());
                let outcome = within(&*clock, MOMENT, seat.outcome()).await;
                if let Some(Some(Ok(newest))) = outcome {
                    session.adopt(newest);
                }
            })
    }

    /// Takes a state that is newer than what is known here.
    fn adopt(&self, newest: LoadedSession) {
        let mut current = self.lock();
        if newest.record().generation() > current.record().generation() {
            *current = newest;
        }
    }

    fn ahead(&self) -> MutexGuard<'_, Option<Seat>> {
        self.0.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, LoadedSession> {
        self.0
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names whose session it is; no token.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

pub(super) fn moment(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(LAST_SECOND))
}

/// How long a response waits for tokens that it shall carry.
const MOMENT: Duration = Duration::from_secs(2);

/// The end of the year 9999: every platform can name it.
const LAST_SECOND: u64 = 253_402_300_799;
