//! Completes a login: from the authorization response to the new session.

use std::future::Future;
use std::sync::Arc;

use super::error::{CreateSessionError, SealSessionError};
use super::hooks::{LoginRejection, NewLogin};
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use crate::flow::{AuthorizationGrant, FlowError, RedemptionOutcome};
use crate::protocol::token_response::TokenResponse;
use crate::record::SessionRecord;
use crate::store::StoreError;

/// Why a login created no session. Tokens that were received have been revoked.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum SignInError {
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// There was no permit for the token request. No request was sent.
    #[error("too many token requests are in progress")]
    Busy,
    /// Another replica has redeemed the code.
    #[error("the state was used before")]
    Used,
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

impl SignInError {
    /// Reports whether the code was certainly neither sent nor consumed, so that the callback can be repeated.
    pub(crate) fn can_be_repeated(&self) -> bool {
        matches!(self, Self::Busy | Self::Store(StoreError::Full))
    }
}

impl SessionManager {
    /// Redeems the code of a validated authorization response and creates the session of its user.
    ///
    /// `permit` completes with a permit for the token request, or with `None` if none is available.
    /// `seal` writes the new session to cookies. It is called before anything of the session is stored, since a
    /// session that does not fit into cookies could never be ended.
    ///
    /// A code is sent at most once. Run this in a task: dropped halfway, it leaves tokens that nothing revokes.
    pub(crate) async fn sign_in<P, C>(
        &self,
        grant: AuthorizationGrant,
        permit: impl Future<Output = Option<P>>,
        seal: impl FnOnce(&LoadedSession) -> Result<C, SealSessionError>,
    ) -> Result<(LoadedSession, C), SignInError> {
        let permit = permit.await.ok_or(SignInError::Busy)?;
        let tokens = self.redeem_once(&grant).await?;
        // The rest needs no permit.
        drop(permit);
        let record = self.flow.complete(grant, tokens).await?;
        let created = self.create_approved(record.clone(), seal).await;
        if created.is_err() {
            // These tokens will never be used.
            self.flow.revoke(&record).await;
        }
        created
    }

    /// Redeems the code, unless its state was consumed here or by another process.
    async fn redeem_once(&self, grant: &AuthorizationGrant) -> Result<TokenResponse, SignInError> {
        let consumed = self.consume_state(grant.state()).await?;
        let consumed = consumed.ok_or(SignInError::Used)?;
        match self.flow.redeem(grant).await {
            Ok(tokens) => Ok(tokens),
            Err(failure) => {
                // The state of a code that may have been redeemed stays consumed until it expires.
                if failure.outcome == RedemptionOutcome::Refused {
                    self.shorten_consumed_state(consumed).await;
                }
                Err(failure.error.into())
            }
        }
    }

    async fn create_approved<C>(
        &self,
        record: SessionRecord,
        seal: impl FnOnce(&LoadedSession) -> Result<C, SealSessionError>,
    ) -> Result<(LoadedSession, C), SignInError> {
        let record = self.approve_login(record).await?;
        let new = self.new_session(self.after_watermark(record));
        let new = new.map_err(CreateSessionError::from)?;
        let cookies = seal(&new)?;
        Ok((self.create_session(new).await?, cookies))
    }

    /// Calls the login hook, once for each login.
    async fn approve_login(&self, record: SessionRecord) -> Result<SessionRecord, LoginRejection> {
        let new = NewLogin::new(Arc::clone(&self.flow), record.clone());
        let Some(text) = self.hooks.approve_login(self.flow.clock(), new).await? else {
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
