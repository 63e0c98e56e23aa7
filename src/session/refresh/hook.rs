//! What follows a refresh: the decision of the application's hook.

use std::sync::Arc;
use std::time::Duration;

use crate::protocol::Claims;
use crate::record::SessionRecord;
use crate::session::error::{AppDataError, SessionError};
use crate::session::events;
use crate::session::hooks::{EndReason, RefreshAction, RefreshedSession};
use crate::session::loaded::LoadedSession;
use crate::session::manager::SessionManager;
use crate::session::refreshes::RefreshResult;

impl SessionManager {
    /// Calls the hook after the new tokens were saved, so that the hook cannot lose them.
    ///
    /// A failed hook does not end the session.
    pub(in crate::session) async fn after_refresh(
        &self,
        loaded: LoadedSession,
        new_claims: Option<Claims>,
    ) -> RefreshResult {
        let record = Arc::clone(loaded.record());
        let refreshed = RefreshedSession::new(Arc::clone(&self.flow), record, new_claims);
        let decision = self.hooks.after_refresh(self.flow.clock(), refreshed).await;
        let saved = match decision {
            RefreshAction::Keep => return Ok(loaded),
            RefreshAction::KeepWith(Ok(text)) => {
                self.replace_app_data(&loaded, |_| Ok(text.clone())).await
            }
            RefreshAction::KeepWith(Err(error)) => Err(error),
            RefreshAction::End => {
                self.end_after_hook(loaded.record()).await;
                return Err(SessionError::Ended);
            }
        };
        match saved {
            Ok(newer) => Ok(newer),
            Err(AppDataError::Ended) => Err(SessionError::Ended),
            Err(error) => {
                events::hook_failed("on_refresh", &error);
                Ok(loaded)
            }
        }
    }

    /// Ends the session after the hook decided so. The hook is not called again, so a failing store is
    /// retried until the session has expired.
    async fn end_after_hook(&self, record: &SessionRecord) {
        while let Err(error) = self.end(record).await {
            events::end_failed(&error);
            if self.has_ended(record, &self.time()) {
                break;
            }
            self.flow.clock().sleep(RETRY_DELAY).await;
        }
        self.notify_ended(record, EndReason::Hook);
        self.flow.revoke(record).await;
    }
}

/// The delay before a failed store is retried.
const RETRY_DELAY: Duration = Duration::from_secs(1);
