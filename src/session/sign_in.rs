//! Completes a login: from the authorization response to the new session.
//!
//! With a store, each login is redeemed once, at whichever replica its callback arrives: its `state` is consumed there.
//! Unauthenticated callers create these entries: they can start a login and send a callback with a forged
//! code. An entry therefore lasts as long as its transaction only if the code may have been redeemed. If the
//! authorization server has rejected the code, there is nothing left to protect: the entry expires soon, and
//! each process keeps few of these.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::error::{CreateSessionError, SealSessionError};
use super::hooks::{LoginRejection, NewLogin};
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use super::providers::ProviderEntry;
use crate::flow::{AuthorizationGrant, FlowError, RedemptionOutcome, StateDigest};
use crate::protocol::token_response::TokenResponse;
use crate::record::{SessionRecord, SessionRef};
use crate::store::{Expect, Key, Put, StoreError};

/// Why a login created no session. Tokens that were received have been revoked.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SignInError {
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// The code was not sent: the metadata or the credential of the client are not available, for example.
    #[error(transparent)]
    NotSent(FlowError),
    /// There was no permit for the token request. No request was sent.
    #[error("too many token requests are in progress")]
    Busy,
    /// Another replica has redeemed the code.
    #[error("the state was used before")]
    Used,
    /// The user of a session had to authenticate again, and another user did.
    #[error("another user than that of the session completed a step-up")]
    OtherUser,
    /// The state could not be consumed in the store. No request was sent.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    LoginRejection(#[from] LoginRejection),
    #[error(transparent)]
    SealSessionError(#[from] SealSessionError),
    #[error(transparent)]
    CreateSessionError(#[from] CreateSessionError),
}

/// A consumed state, owned by the process that redeems its code. Dropping it does not change the store.
#[derive(Debug)]
struct ConsumedState {
    /// Key and version of the entry. `None` without a store.
    entry: Option<(Key, u64)>,
}

impl SignInError {
    /// Reports whether the code was certainly neither sent nor consumed, so that the callback can be repeated.
    pub(crate) fn can_be_repeated(&self) -> bool {
        matches!(
            self,
            Self::Busy | Self::NotSent(_) | Self::Store(StoreError::Full)
        )
    }
}

impl SessionManager {
    /// Redeems the code of a validated authorization response at its provider and creates the session of its user, in place
    /// of the session `previous` of this browser.
    ///
    /// `permit` completes with a permit for the token request, or with `None` if none is available.
    /// `seal` writes the new session to cookies. It is called before anything of the session is stored, since a
    /// session that does not fit into cookies could never be ended.
    ///
    /// A code is sent at most once. Run this in a task: dropped halfway, it leaves tokens that nothing revokes.
    pub(crate) async fn sign_in<P, C>(
        &self,
        provider: &ProviderEntry,
        mut grant: AuthorizationGrant,
        previous: Option<Arc<SessionRecord>>,
        permit: impl Future<Output = Option<P>>,
        seal: impl FnOnce(&LoadedSession) -> Result<C, SealSessionError>,
    ) -> Result<(LoadedSession, C), SignInError> {
        let permit = permit.await.ok_or(SignInError::Busy)?;
        let tokens = self.redeem_once(provider, &grant).await?;
        // The rest needs no permit.
        drop(permit);
        let (required_user, unverified_user) =
            (grant.required_user(), grant.take_unverified_user());
        let record = provider.flow.complete(grant, tokens).await?;
        let is_other_user =
            required_user.is_some_and(|user| user != SessionRef::from(&record).user);
        let created = match is_other_user {
            true => Err(SignInError::OtherUser),
            false => {
                let new = NewLogin::new(provider.clone(), record.clone(), previous);
                let new = new.with_unverified_user(unverified_user);
                self.create_approved(new, record.clone(), seal).await
            }
        };
        if created.is_err() {
            // These tokens will never be used.
            provider.flow.revoke(&record).await;
        }
        created
    }

    /// Redeems the code, unless its state was consumed here or by another process.
    async fn redeem_once(
        &self,
        provider: &ProviderEntry,
        grant: &AuthorizationGrant,
    ) -> Result<TokenResponse, SignInError> {
        let consumed = self.consume_state(grant.state()).await?;
        let consumed = consumed.ok_or(SignInError::Used)?;
        match provider.flow.redeem(grant).await {
            Ok(tokens) => Ok(tokens),
            Err(failure) => {
                match failure.outcome {
                    RedemptionOutcome::NotSent => {
                        self.restore_state(consumed).await;
                        return Err(SignInError::NotSent(failure.error));
                    }
                    RedemptionOutcome::Refused => self.shorten_consumed_state(consumed).await,
                    // The state of a code that may have been redeemed stays consumed until it expires.
                    RedemptionOutcome::Unknown => {}
                }
                Err(failure.error.into())
            }
        }
    }

    /// Consumes the state of a login. Returns `None` if it was consumed before.
    ///
    /// The entry lives as long as a replica could accept the transaction. Its age is not subtracted, since only
    /// the wall clock measures it: if that is ahead, the entry would expire while the transaction can still be
    /// presented.
    async fn consume_state(&self, state: StateDigest) -> Result<Option<ConsumedState>, StoreError> {
        let Some(store) = self.store() else {
            return Ok(Some(ConsumedState { entry: None }));
        };
        let key = Key::new("state", &state.to_text());
        let limit = self.layer_flow().login_time_limit();
        let ttl = limit.saturating_add(CLOCK_SKEW);
        match store.put(&key, Bytes::new(), ttl, Expect::Absent).await? {
            Put::Stored(version) => Ok(Some(ConsumedState {
                entry: Some((key, version)),
            })),
            Put::Conflict => Ok(None),
        }
    }

    /// Removes the entry of a code that was not sent, so that the callback can be repeated. If the store fails, the entry
    /// keeps its lifetime, and the user has to start again.
    async fn restore_state(&self, consumed: ConsumedState) {
        if let (Some(store), Some((key, version))) = (self.store(), consumed.entry) {
            let _ = store.remove(&key, Expect::Version(version)).await;
        }
    }

    /// Shortens the lifetime of an entry whose code was rejected. If the store fails, the entry keeps its
    /// lifetime.
    async fn shorten_consumed_state(&self, consumed: ConsumedState) {
        let (Some(store), Some((key, version))) = (self.store(), consumed.entry) else {
            return;
        };
        let now = self.clock().monotonic();
        let expect = Expect::Version(version);
        let put = store.put(&key, Bytes::new(), REJECTED_TTL, expect).await;
        let Ok(Put::Stored(version)) = put else {
            return;
        };
        let surplus = {
            let mut rejected = self.local.rejected_states.lock();
            rejected.remove_expired(now);
            rejected.insert(key, version, now.saturating_add(REJECTED_TTL))
        };
        if let Some((oldest, version)) = surplus {
            let _ = store.remove(&oldest, Expect::Version(version)).await;
        }
    }

    async fn create_approved<C>(
        &self,
        new: NewLogin,
        record: SessionRecord,
        seal: impl FnOnce(&LoadedSession) -> Result<C, SealSessionError>,
    ) -> Result<(LoadedSession, C), SignInError> {
        let record = self.approve_login(new, record).await?;
        let record = self.after_watermark(record);
        // The next request would find no session, and begin another login.
        let now = self.time();
        if self.has_ended(&record, &now) {
            let seconds = now.wall().saturating_sub(self.expires_at(&record, &now));
            return Err(CreateSessionError::Expired(seconds).into());
        }
        let new = self.new_session(record);
        let new = new.map_err(CreateSessionError::from)?;
        let cookies = seal(&new)?;
        Ok((self.create_session(new).await?, cookies))
    }

    /// Calls the login hook, once for each login.
    async fn approve_login(
        &self,
        new: NewLogin,
        record: SessionRecord,
    ) -> Result<SessionRecord, LoginRejection> {
        let Some(text) = self.hooks.approve_login(self.clock(), new).await? else {
            return Ok(record);
        };
        text.and_then(|text| self.with_app_data(&record, text))
            .map_err(|error| LoginRejection::Failed(error.to_string()))
    }

    /// Moves the creation time past the watermark of the user, which would otherwise cover a login in the
    /// same second.
    fn after_watermark(&self, record: SessionRecord) -> SessionRecord {
        let latest = record.created_at().saturating_add(MAX_CLOCK_LEAD);
        match self.local.denylist.watermark(&record) {
            Some(watermark) if watermark < latest => record.created_after(watermark),
            _ => record,
        }
    }

    /// Stores a new session. Nothing of it is left if a logout overtook the login.
    async fn create_session(
        &self,
        new: LoadedSession,
    ) -> Result<LoadedSession, CreateSessionError> {
        let record = Arc::clone(new.record());
        let created = self.create(new, &self.time()).await;
        if let Err(CreateSessionError::LoggedOut) = created {
            self.end(&record).await?;
        }
        created
    }

    /// Creates a session that needs no cookie.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) async fn begin(
        &self,
        record: SessionRecord,
    ) -> Result<LoadedSession, CreateSessionError> {
        self.create_session(self.new_session(self.after_watermark(record))?)
            .await
    }
}

/// How far the creation time may be moved ahead of the clock, in seconds. Less than the accepted clock skew.
const MAX_CLOCK_LEAD: i64 = 30;

/// A minute of clock skew between two replicas, and a minute for the request itself.
const CLOCK_SKEW: Duration = Duration::from_secs(120);

/// Prevents a second token request if a double click arrives at another replica.
const REJECTED_TTL: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::CookieKey;
    use crate::flow::tests::support::Server;
    use crate::protocol::State;
    use crate::session::manager::MAX_REJECTED;
    use crate::store::{MemoryStore, SharedStore};

    #[tokio::test]
    async fn a_process_keeps_a_bounded_number_of_rejected_states_and_removes_the_oldest() {
        let server = Server::new();
        let manager = SessionManager::of_flow(server.flow(), CookieKey::generate().unwrap());
        let manager = manager.with_session_store(SharedStore::new(MemoryStore::new()));
        let is_consumed = async |n: usize| {
            let state = StateDigest::of(&State::new(n.to_string()));
            manager.consume_state(state).await.unwrap().is_none()
        };
        let reject = async |n: usize| {
            let state = StateDigest::of(&State::new(n.to_string()));
            let consumed = manager.consume_state(state).await.unwrap().unwrap();
            manager.shorten_consumed_state(consumed).await;
        };
        for n in 0..=MAX_REJECTED {
            reject(n).await;
        }
        assert!(is_consumed(1).await);
        assert!(!is_consumed(0).await, "removed for the last one");
        // Expired entries need no removal.
        server.clock.advance(30);
        reject(MAX_REJECTED + 1).await;
        assert_eq!(manager.local.rejected_states.lock().len(), 1);
    }
}
