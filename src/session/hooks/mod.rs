//! What the application wants to hear of, and where it has a word: logins, refreshes, ends.

mod ended;
mod login;
mod refresh;
#[cfg(test)]
#[cfg(feature = "aws-lc-rs")]
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
    pub(crate) on_login: Hook<NewLogin, LoginDecision>,
    pub(crate) on_refresh: Hook<RefreshedSession, RefreshDecision>,
    pub(crate) on_logout: Hook<EndedSession, ()>,
}

/// A function of the application, or none.
pub(crate) struct Hook<A, R>(Option<Arc<Call<A, R>>>);

type Call<A, R> = dyn Fn(A) -> Pin<Box<dyn Future<Output = R> + Send>> + Send + Sync;

/// Why a hook gave no answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    #[error("the hook took longer than 10 s")]
    TooSlow,
    #[error("the hook panicked")]
    Panicked,
}

impl<A: Send + 'static, R: Send + 'static> Hook<A, R> {
    pub(crate) fn new<F>(hook: impl Fn(A) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = R> + Send + 'static,
    {
        Self(Some(Arc::new(move |argument| Box::pin(hook(argument)))))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Calls it in a task of its own: its panic ends nothing but itself, and it ends with its time.
    pub(super) async fn call(&self, clock: &dyn Clock, argument: A) -> Option<Result<R, NoAnswer>> {
        let call = Arc::clone(self.0.as_ref()?);
        let mut task = Task(tokio::spawn(async move { call(argument).await }));
        Some(match within(clock, PATIENCE, &mut task.0).await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(_)) => Err(NoAnswer::Panicked),
            None => Err(NoAnswer::TooSlow),
        })
    }
}

/// A task that nobody waits for any more is ended.
struct Task<R>(JoinHandle<R>);

impl<R> Drop for Task<R> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<A, R> Clone for Hook<A, R> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A, R> Default for Hook<A, R> {
    fn default() -> Self {
        Self(None)
    }
}

impl<A, R> fmt::Debug for Hook<A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Hook(..)" } else { "Hook" })
    }
}

/// How long a hook may take.
const PATIENCE: Duration = Duration::from_secs(10);
