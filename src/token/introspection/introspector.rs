//! The asking: one question for all who bring a token, in a task of its own, and what its answer means.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::cache::IntrospectionCache;
use super::cache_key::Key;
use super::calls::{Boarding, Calls, Outcome, Ticket};
use super::circuit::Circuit;
use super::failure::Failure;
use super::response::Answer;
use super::settings::Settings;
use super::turns::Turns;
use super::{request, validate};
use crate::clock::{unix_seconds, within};
use crate::issuer::Unavailable;
use crate::protocol::AccessToken;
use crate::telemetry::{self, LogLimits, Stopwatch};
use crate::token::TokenInfo;
use crate::token::error::{VerifyError, VerifyErrorKind};

/// How long a request waits for an answer, and a question for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// The same for a token that is not known, while nothing has succeeded for some seconds: an outage must not
/// keep every request waiting. The question itself goes on.
const SHORT_PATIENCE: Duration = Duration::from_secs(2);

/// What a server may have a caller wait for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(30);

/// Unless anything better is known, when a request is worth repeating.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is known, what is being asked, and how the authorization server fares.
pub(super) struct Introspector {
    pub(super) settings: Settings,
    pub(super) remembered: IntrospectionCache,
    pub(super) calls: Arc<Calls>,
    pub(super) circuit: Circuit,
    turns: Turns,
    logs: LogLimits,
}

impl Introspector {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            remembered: IntrospectionCache::new(&settings),
            calls: Arc::new(Calls::new(&settings)),
            circuit: Circuit::default(),
            turns: Turns::new(settings.concurrency),
            logs: LogLimits::per_minute(),
            settings,
        }
    }

    pub(super) fn look(&self, key: &Key) -> Option<Outcome> {
        let known = self.remembered.look(key, &self.settings)?;
        Some(known.map_err(VerifyError::from))
    }

    /// What the question about a token of which nothing is known brings.
    pub(super) async fn ask(self: &Arc<Self>, key: &Key, token: &str) -> Outcome {
        let now = self.monotonic();
        let was_active = self.remembered.was_active(key, now);
        self.circuit.admit(was_active, now).map_err(paused)?;
        let mut outcome = match self.board(key, token, was_active) {
            Boarding::Decided(outcome) => {
                return outcome.inspect(|_| telemetry::TokenOrigin::IntrospectionCached.count());
            }
            Boarding::Waits(outcome) => outcome,
            Boarding::Full => return Err(unavailable("too many questions wait", RETRY_AFTER)),
        };
        let clock = &**self.settings.server.clock();
        let arrived = within(
            clock,
            self.patience(was_active),
            outcome.wait_for(Option::is_some),
        )
        .await;
        match arrived {
            Some(Ok(arrived)) => arrived
                .clone()
                .unwrap_or_else(|| Err(unavailable("no answer", RETRY_AFTER)))
                .inspect(|_| telemetry::TokenOrigin::Introspected.count()),
            Some(Err(_)) => Err(unavailable("the question was torn down", RETRY_AFTER)),
            None => Err(unavailable("no answer in time", RETRY_AFTER)),
        }
    }

    /// How long a request waits for the answer about its token.
    fn patience(&self, was_active: bool) -> Duration {
        match self.circuit.is_failing(self.monotonic()) && !was_active {
            true => self.turns.slow_after().max(SHORT_PATIENCE),
            false => PATIENCE,
        }
    }

    /// Joins the question about this token or begins one, in a task that outlives whoever waits.
    fn board(self: &Arc<Self>, key: &Key, token: &str, was_active: bool) -> Boarding {
        let start = |ticket: Ticket| {
            let (inquiries, token) = (Arc::clone(self), AccessToken::new(token));
            tokio::spawn(async move { inquiries.fly(ticket, &token, was_active).await });
        };
        self.calls.board(key, was_active, || self.look(key), start)
    }

    async fn fly(&self, ticket: Ticket, token: &AccessToken, was_active: bool) {
        let settings = &self.settings;
        let clock = &**settings.server.clock();
        let Some(turn) = self.turns.take(clock, was_active, PATIENCE).await else {
            let error = unavailable("too many questions are under way", RETRY_AFTER);
            return ticket.land(Err(error), |_| {});
        };
        // While this one waited for its turn, others may have found that the server cannot be reached.
        if let Some(pause) = self.circuit.pause(self.monotonic()).filter(|_| !was_active) {
            return ticket.land(Err(paused(pause)), |_| {});
        }
        let asked_at = self.monotonic();
        let watch = Stopwatch::start(|| asked_at);
        let issuer = settings.server.issuer();
        let span = tracing::debug_span!(target: "tower_oauth::bearer", "introspect", issuer);
        let question = request::ask(settings, token).instrument(span);
        let Some(answer) = self.turns.ask(clock, turn, question).await else {
            telemetry::Introspection::Failure.count();
            let error = unavailable("no answer yet, and other tokens wait", RETRY_AFTER);
            return ticket.land(Err(error), |_| {});
        };
        watch.introspection(|| self.monotonic());
        match &answer {
            Ok(Answer::Active(_)) => telemetry::Introspection::Active.count(),
            Ok(Answer::Inactive) => telemetry::Introspection::Inactive.count(),
            Err(_) => telemetry::Introspection::Failure.count(),
        }
        let outcome = match answer {
            Ok(answer) => {
                let now = self.monotonic();
                if matches!(answer, Answer::Active(_)) {
                    self.turns.learn(now.saturating_sub(asked_at));
                }
                if self.circuit.succeeded(now) && self.logs.allows("introspection_mended", "", now)
                {
                    tracing::info!(
                        name: "introspection_mended",
                        target: "tower_oauth::bearer",
                        issuer,
                        "introspection works again"
                    );
                }
                self.judge(answer).map_err(VerifyError::from)
            }
            Err(failure) => Err(self.note(&failure)),
        };
        let key = *ticket.key();
        ticket.land(outcome, |outcome| match outcome {
            Ok(token_info) => self.remembered.keep(key, token_info, settings, asked_at),
            // A failure says nothing of the token (`I8`).
            Err(error) if error.unavailable().is_some() => {}
            Err(error) => {
                self.remembered
                    .keep_refusal(key, error.kind(), settings, asked_at);
            }
        });
    }

    fn judge(&self, answer: Answer) -> Result<Arc<TokenInfo>, VerifyErrorKind> {
        match answer {
            Answer::Inactive => Err(VerifyErrorKind::Inactive),
            Answer::Active(active) => {
                let now = unix_seconds(&**self.settings.server.clock());
                validate::judge(&self.settings, *active, now).map(Arc::new)
            }
        }
    }

    /// Counts a failure and logs it, once a minute for each kind: wrong credentials of ours need a person.
    fn note(&self, failure: &Failure) -> VerifyError {
        let now = self.monotonic();
        let other_tokens_work = self.circuit.succeeded_recently(now);
        self.circuit.failed(failure, now);
        let issuer = self.settings.server.issuer();
        let is_ours = matches!(failure, Failure::Credentials(_)) && !other_tokens_work;
        let name = match is_ours {
            true => "introspection_forbidden",
            false => "introspection_failed",
        };
        match self.logs.allows(name, failure.kind(), now) {
            true if is_ours => tracing::error!(
                name: "introspection_forbidden",
                target: "tower_oauth::bearer",
                issuer,
                client_id = self.settings.client.id(),
                "{failure}; callers get 503 until that is set right"
            ),
            true => tracing::warn!(
                name: "introspection_failed",
                target: "tower_oauth::bearer",
                issuer,
                other_tokens_work,
                "introspection failed: {failure}"
            ),
            false => tracing::debug!(
                name: "introspection_failed_again",
                target: "tower_oauth::bearer",
                issuer,
                "introspection failed: {failure}"
            ),
        }
        let told = failure.retry_after().unwrap_or(RETRY_AFTER);
        let wait = self.circuit.pause(now);
        let wait = wait.unwrap_or_else(|| told.clamp(RETRY_AFTER, LONGEST_RETRY_AFTER));
        unavailable(&failure.to_string(), wait)
    }

    pub(super) fn monotonic(&self) -> Duration {
        self.settings.server.clock().monotonic()
    }
}

fn paused(pause: Duration) -> VerifyError {
    unavailable(
        "the introspection endpoint is left alone for a while",
        pause,
    )
}

fn unavailable(reason: &str, retry_after: Duration) -> VerifyError {
    Unavailable::new(reason, retry_after).into()
}
