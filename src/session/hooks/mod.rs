//! Hooks with which an application approves logins, follows refreshes and observes ended sessions.

mod ended;
mod login;
mod refresh;
#[cfg(test)]
mod tests;

pub use ended::{EndReason, EndedSession};
pub(crate) use login::LoginRejection;
pub use login::{LoginDecision, NewLogin};
pub use refresh::{RefreshDecision, RefreshedSession};

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::clock::{Clock, within};

/// The hooks of a login layer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) on_login: SessionHook<NewLogin, LoginDecision>,
    pub(crate) on_refresh: SessionHook<RefreshedSession, RefreshDecision>,
    pub(crate) on_logout: SessionHook<EndedSession, ()>,
}

/// A function of the application, if set.
pub(crate) struct SessionHook<A, R>(Option<Arc<HookFn<A, R>>>);

type HookFn<A, R> = dyn Fn(A) -> Pin<Box<dyn Future<Output = R> + Send>> + Send + Sync;

/// The reason why a hook returned no value.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum HookError {
    #[error("the hook timed out after 10 s")]
    TooSlow,
    #[error("the hook panicked")]
    Panicked,
}

impl<A: Send + 'static, R: Send + 'static> SessionHook<A, R> {
    pub(crate) fn new<F>(hook: impl Fn(A) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = R> + Send + 'static,
    {
        Self(Some(Arc::new(move |argument| Box::pin(hook(argument)))))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Calls the hook in its own task, so that a panic does not affect the caller. The task is aborted after
    /// the timeout.
    pub(super) async fn call(
        &self,
        clock: &dyn Clock,
        argument: A,
    ) -> Option<Result<R, HookError>> {
        let call = Arc::clone(self.0.as_ref()?);
        let mut task = AbortOnDrop(tokio::spawn(async move { call(argument).await }));
        Some(match within(clock, HOOK_TIMEOUT, &mut task.0).await {
            Some(Ok(value)) => Ok(value),
            Some(Err(_)) => Err(HookError::Panicked),
            None => Err(HookError::TooSlow),
        })
    }
}

/// Aborts a task when its caller is cancelled.
struct AbortOnDrop<R>(JoinHandle<R>);

impl<R> Drop for AbortOnDrop<R> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<A, R> Clone for SessionHook<A, R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A, R> Default for SessionHook<A, R> {
    fn default() -> Self {
        Self(None)
    }
}

impl<A, R> fmt::Debug for SessionHook<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "SessionHook(..)"
        } else {
            "SessionHook"
        })
    }
}

/// How long a hook may take.
const HOOK_TIMEOUT: Duration = Duration::from_secs(10);
