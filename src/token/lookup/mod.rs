//! [`IssuerLookup`]: issuers that are not known from the start, one for each tenant for instance.

mod memory;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::memory::{Answer, Memory, Turn};
use super::error::{VerifyError, VerifyErrorKind};
use super::issuers::claimed_issuer;
use super::jwt::JwtVerifier;
use crate::clock::{Clock, SharedClock, SystemClock, within};
use crate::issuer::Unavailable;
use crate::protocol::sanitize::log_safe;
use crate::telemetry::LogLimits;

/// How long a request waits for a lookup; the lookup itself goes on.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long a lookup may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Finds the verifier of an issuer when its first token comes: for tenants that come and go while the
/// application runs.
///
/// `allow` is asked for every token, and an issuer that it does not let pass is refused before anything
/// else happens. For one that it does, `lookup` is called, once for all requests that wait for it. It answers with a [`JwtVerifier`] for just
/// this issuer, or with `None` where there is no such tenant. Either is remembered:
///
/// - a verifier for ten minutes; then the next request has it looked up again. While that fails, the
///   one at hand is used for another hour;
/// - that there is none for one minute: 401;
/// - a failure for a quarter of a second: 503 with `Retry-After`.
///
/// At most 1000 verifiers are held, the longest unused goes first, and at most 256 issuers for which
/// there is none yet; with as many lookups of the last two seconds under way, requests for others get 503.
///
/// What a token says of its issuer is a stranger's word until its signature was checked. So `allow` has
/// to compare whole issuers, or a prefix that ends in a slash: `https://id.example.com` is also how
/// `https://id.example.com.evil.test` begins. And `lookup` must not fetch from an issuer that it does not
/// know.
///
/// Hand out clones of one [`AuthorizationServer`](crate::AuthorizationServer) for each tenant where you can:
/// its keys stay at hand then when the tenant is looked up again.
///
/// ```
/// use std::convert::Infallible;
/// use tower_oauth::token::{JwtVerifier, Verifier};
/// use tower_oauth::{AuthorizationServer, BearerLayer, ConfigError};
///
/// async fn tenant(issuer: String) -> Result<Option<JwtVerifier>, ConfigError> {
///     // Ask the database here whether there is such a tenant, and for its audience.
///     if issuer != "https://id.example.com/acme" {
///         return Ok(None);
///     }
///     let server = AuthorizationServer::new(&issuer)?;
///     JwtVerifier::new(&server, "https://api.example.com").map(Some)
/// }
///
/// let allow = |issuer: &str| issuer.starts_with("https://id.example.com/");
/// let layer = BearerLayer::new(Verifier::lookup(allow, tenant));
/// ```
#[derive(Clone)]
pub struct IssuerLookup {
    shared: Arc<Shared>,
}

struct Shared {
    allow: Arc<dyn Fn(&str) -> bool + Send + Sync>,
    lookup: Lookup,
    clock: SharedClock,
    memory: Mutex<Memory>,
    logs: LogLimits,
}

type Lookup = Arc<dyn Fn(String) -> Pin<Box<dyn Future<Output = Found> + Send>> + Send + Sync>;

type Found = Result<Option<JwtVerifier>, Box<dyn Error + Send + Sync>>;

impl IssuerLookup {
    /// Which issuers may be asked for at all, and the function that is asked.
    pub fn new<F, E>(
        allow: impl Fn(&str) -> bool + Send + Sync + 'static,
        lookup: impl Fn(String) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<Option<JwtVerifier>, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let lookup: Lookup = Arc::new(move |issuer| {
            let found = lookup(issuer);
            Box::pin(async move { found.await.map_err(Into::into) })
        });
        Self {
            shared: Arc::new(Shared {
                allow: Arc::new(allow),
                lookup,
                clock: Arc::new(SystemClock),
                memory: Mutex::default(),
                logs: LogLimits::per_second(),
            }),
        }
    }

    /// Reads time from this clock; call it first, what was looked up is forgotten.
    #[must_use]
    pub fn with_clock(self, clock: impl Clock) -> Self {
        let shared = Shared {
            allow: Arc::clone(&self.shared.allow),
            lookup: Arc::clone(&self.shared.lookup),
            clock: Arc::new(clock),
            memory: Mutex::default(),
            logs: LogLimits::per_second(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub(super) fn clock(&self) -> &SharedClock {
        &self.shared.clock
    }

    /// Who judges this token, where that can be said without waiting.
    pub(super) fn judge_at_hand(&self, compact: &str) -> Option<Result<JwtVerifier, VerifyError>> {
        let issuer = match self.shared.claimed(compact) {
            Ok(issuer) => issuer,
            Err(error) => return Some(Err(error)),
        };
        let now = self.shared.clock.monotonic();
        let answer = self.shared.memory().recall(&issuer, now)?;
        Some(settle(answer))
    }

    /// Whether this verifier is the one that its issuer's tokens come before now, said without waiting.
    pub(super) fn still_finds(&self, verifier: &JwtVerifier) -> bool {
        let now = self.shared.clock.monotonic();
        let issuer = verifier.server().issuer();
        // The application may have changed its mind since the token was judged.
        if !(self.shared.allow)(issuer) {
            return false;
        }
        let found = self.shared.memory().recall(issuer, now);
        matches!(found, Some(Answer::Found(found)) if found.is_same(verifier))
    }

    /// Who judges this token, after a lookup where one is needed.
    pub(super) async fn verifier_for(&self, compact: &str) -> Result<JwtVerifier, VerifyError> {
        let issuer = self.shared.claimed(compact)?;
        let now = self.shared.clock.monotonic();
        let start = || Arc::clone(&self.shared).attempt(issuer.clone());
        let (seat, fallback) = match self.shared.memory().turn(&issuer, now, start) {
            Turn::Known(answer) => return settle(answer),
            Turn::Wait { seat, fallback } => (seat, fallback),
            Turn::Full => return settle(Answer::Failed),
        };
        let outcome = within(&*self.shared.clock, PATIENCE, seat.outcome()).await;
        let answer = match (outcome.flatten(), fallback) {
            (None | Some(Answer::Failed), Some(verifier)) => Answer::Found(verifier),
            (outcome, _) => outcome.unwrap_or(Answer::Failed),
        };
        settle(answer)
    }
}

impl Shared {
    /// The issuer, if it may be asked for: an allow-list before any I/O (`J20`).
    fn claimed(&self, compact: &str) -> Result<Box<str>, VerifyError> {
        let issuer = claimed_issuer(compact)?;
        if (self.allow)(&issuer) {
            Ok(issuer)
        } else {
            Err(VerifyErrorKind::Issuer.into())
        }
    }

    /// One lookup, in a task of its own.
    async fn attempt(self: Arc<Self>, issuer: Box<str>) -> Answer {
        let asked = (self.lookup)(issuer.to_string());
        let answer = match within(&*self.clock, LIMIT, asked).await {
            Some(Ok(Some(verifier))) if verifier.server().issuer() == &*issuer => {
                Answer::Found(verifier)
            }
            Some(Ok(Some(_))) => {
                let error = "the verifier that was found is of another issuer";
                self.tell("other_issuer", &issuer, error);
                Answer::Failed
            }
            Some(Ok(None)) => Answer::Nobody,
            Some(Err(error)) => {
                self.tell("failed", &issuer, &error.to_string());
                Answer::Failed
            }
            None => {
                self.tell("no_answer", &issuer, "no answer in time");
                Answer::Failed
            }
        };
        let now = self.clock.monotonic();
        self.memory().keep(&issuer, answer.clone(), now);
        answer
    }

    /// The issuer is a stranger's word: in quotes, and not all of it.
    fn tell(&self, kind: &'static str, issuer: &str, error: &str) {
        let now = self.clock.monotonic();
        if self.logs.allows("issuer_lookup_failed", kind, now) {
            tracing::warn!(
                name: "issuer_lookup_failed",
                target: "tower_oauth::bearer",
                issuer = log_safe(issuer),
                error,
                "an issuer could not be looked up"
            );
        }
    }

    /// A poisoned lock is only one whose holder panicked; what it holds stays valid.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settle(answer: Answer) -> Result<JwtVerifier, VerifyError> {
    match answer {
        Answer::Found(verifier) => Ok(verifier),
        Answer::Nobody => Err(VerifyErrorKind::Issuer.into()),
        Answer::Failed => Err(Unavailable::new(
            "the issuer could not be looked up",
            Duration::from_secs(1),
        )
        .into()),
    }
}

impl fmt::Debug for IssuerLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuerLookup").finish_non_exhaustive()
    }
}
