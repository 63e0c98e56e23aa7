//! The asking: one question for all who bring a token, in a task of its own, and what its answer means.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::answer::Answer;
use super::cache::Remembered;
use super::calls::{Boarding, Calls, Outcome, Ticket};
use super::circuit::Circuit;
use super::failure::Failure;
use super::key::Key;
use super::settings::Settings;
use super::{judge, request};
use crate::clock::{unix_seconds, within};
use crate::issuer::Unavailable;
use crate::protocol::AccessToken;
use crate::telemetry::{self, Stopwatch};
use crate::token::Verdict;
use crate::token::error::{VerifyError, VerifyErrorKind};

/// How long a request waits for an answer, and a question for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// Unless anything better is known, when a request is worth repeating.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is known, what is being asked, and how the authorization server fares.
pub(super) struct Inquiries {
    pub(super) settings: Settings,
    pub(super) remembered: Remembered,
    pub(super) calls: Arc<Calls>,
    pub(super) circuit: Circuit,
}

impl Inquiries {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            remembered: Remembered::new(&settings),
            calls: Arc::new(Calls::new(&settings)),
            circuit: Circuit::default(),
            settings,
        }
    }

    pub(super) fn look(&self, key: &Key) -> Option<Outcome> {
        let known = self.remembered.look(key, &self.settings)?;
        Some(known.map_err(VerifyError::from))
    }

    /// What the question about a token of which nothing is known brings.
    pub(super) async fn ask(self: &Arc<Self>, key: &Key, token: &str) -> Outcome {
        let mut outcome = match self.board(key, token)? {
            Boarding::Decided(outcome) => {
                return outcome.inspect(|_| telemetry::Source::IntrospectionRemembered.count());
            }
            Boarding::Waits(outcome) => outcome,
            Boarding::Full => return Err(unavailable("too many questions wait", RETRY_AFTER)),
        };
        let clock = &**self.settings.server.clock();
        let arrived = within(clock, PATIENCE, outcome.wait_for(Option::is_some)).await;
        match arrived {
            Some(Ok(arrived)) => arrived
                .clone()
                .unwrap_or_else(|| Err(unavailable("no answer", RETRY_AFTER)))
                .inspect(|_| telemetry::Source::Introspected.count()),
            Some(Err(_)) => Err(unavailable("the question was torn down", RETRY_AFTER)),
            None => Err(unavailable("no answer in time", RETRY_AFTER)),
        }
    }

    /// Joins the question about this token or begins one, in a task that outlives whoever waits.
    fn board(self: &Arc<Self>, key: &Key, token: &str) -> Result<Boarding, VerifyError> {
        if let Some(pause) = self.circuit.pause(self.monotonic()) {
            return Err(paused(pause));
        }
        let start = |ticket: Ticket| {
            let (inquiries, token) = (Arc::clone(self), AccessToken::new(token));
            tokio::spawn(async move { inquiries.fly(ticket, &token).await });
        };
        Ok(self.calls.board(key, || self.look(key), start))
    }

    async fn fly(&self, ticket: Ticket, token: &AccessToken) {
        let settings = &self.settings;
        let clock = &**settings.server.clock();
        let turn = within(clock, PATIENCE, self.calls.turns.acquire()).await;
        let Some(Ok(_turn)) = turn else {
            let error = unavailable("too many questions are under way", RETRY_AFTER);
            return ticket.land(Err(error), |_| {});
        };
        // While this one waited for its turn, others may have found that nobody answers.
        if let Err(pause) = self.circuit.admit(self.monotonic()) {
            return ticket.land(Err(paused(pause)), |_| {});
        }
        let asked_at = self.monotonic();
        let watch = Stopwatch::start(|| asked_at);
        let issuer = settings.server.issuer();
        let span = tracing::debug_span!(target: "tower_oauth::bearer", "introspect", issuer);
        let answer = request::ask(settings, token).instrument(span).await;
        watch.introspection(|| self.monotonic());
        match &answer {
            Ok(Answer::Active(_)) => telemetry::Introspection::Active.count(),
            Ok(Answer::Inactive) => telemetry::Introspection::Inactive.count(),
            Err(_) => telemetry::Introspection::Failure.count(),
        }
        let outcome = match answer {
            Ok(answer) => {
                if self.circuit.succeeded(self.monotonic()) {
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
            Ok(verdict) => self.remembered.keep(key, verdict, settings, asked_at),
            // A failure says nothing of the token (`I8`).
            Err(error) if error.unavailable().is_some() => {}
            Err(error) => {
                self.remembered
                    .keep_refusal(key, error.kind(), settings, asked_at);
            }
        });
    }

    fn judge(&self, answer: Answer) -> Result<Arc<Verdict>, VerifyErrorKind> {
        match answer {
            Answer::Inactive => Err(VerifyErrorKind::Inactive),
            Answer::Active(active) => {
                let now = unix_seconds(&**self.settings.server.clock());
                judge::judge(&self.settings, *active, now).map(Arc::new)
            }
        }
    }

    /// Counts a failure and logs the first of its row; wrong credentials of ours need a person.
    fn note(&self, failure: &Failure) -> VerifyError {
        let now = self.monotonic();
        let first = self.circuit.failed(failure, now);
        let issuer = self.settings.server.issuer();
        match failure {
            Failure::Credentials(_) if first => tracing::error!(
                name: "introspection_forbidden",
                target: "tower_oauth::bearer",
                issuer,
                client_id = self.settings.client.id(),
                "{failure}; callers get 503 until that is set right"
            ),
            _ if first => tracing::warn!(
                name: "introspection_failed",
                target: "tower_oauth::bearer",
                issuer,
                "introspection failed: {failure}"
            ),
            _ => tracing::debug!(
                name: "introspection_failed_again",
                target: "tower_oauth::bearer",
                issuer,
                "introspection failed: {failure}"
            ),
        }
        let wait = self.circuit.pause(now).unwrap_or(RETRY_AFTER);
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
