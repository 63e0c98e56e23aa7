//! [`IntrospectionVerifier`]: what is remembered, else one question, then the judgement.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument as _;

use super::answer::Answer;
use super::cache::{Key, Remembered};
use super::calls::{Boarding, Calls, Outcome, Ticket};
use super::circuit::Circuit;
use super::failure::Failure;
use super::health::IntrospectionHealth;
use super::settings::Settings;
use super::{judge, request};
use crate::ConfigError;
use crate::clock::{SharedClock, unix_seconds, within};
use crate::crypto::digest;
use crate::issuer::{AuthorizationServer, Client, Unavailable};
use crate::protocol::AccessToken;
use crate::telemetry::{self, Stopwatch};
use crate::token::audience::Audience;
use crate::token::error::{VerifyError, VerifyErrorKind};

/// How long a request waits for an answer, and a question for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// No server gives out opaque tokens half as long (`I2`).
const MAX_TOKEN_LENGTH: usize = 8 * 1024;

/// Unless anything better is known, when a request is worth repeating.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Judges access tokens by asking the authorization server about them
/// ([RFC 7662](https://www.rfc-editor.org/rfc/rfc7662)): opaque ones, or JWTs whose revocation must be
/// seen within a minute.
///
/// The client is who this API is at the authorization server, with its secret, key or certificate. A
/// token is good if the server says so (`active` is the JSON value `true`) *and* what it says of the token
/// fits: `aud` names this API, `iss` where present is this server, `exp` and `nbf` where present have not
/// and have come, it is an access token, and it is bound to nothing that the layer cannot check.
///
/// Good answers are used again for [60 seconds](Self::with_remembered_for), refusals for
/// [10](Self::with_refusals_remembered_for), failures never. However many requests bring a token at once,
/// it is asked about once. While the authorization server is away, requests get 503 with `Retry-After`;
/// after five failures in a row they get it without waiting. If it refuses this client, that is logged as
/// an error, and callers get 503 too: their tokens were not judged.
///
/// ```
/// use tower_oauth::token::IntrospectionVerifier;
/// use tower_oauth::{AuthorizationServer, BearerLayer, Client};
///
/// let server = AuthorizationServer::new("https://id.example.com")?;
/// let client = Client::confidential("orders-api", "a secret from the environment");
/// let verifier = IntrospectionVerifier::new(&server, client, "https://api.example.com")?
///     .with_signed_answers();
/// let layer = BearerLayer::new(verifier.clone());
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
///
/// # Not checked here
///
/// Whether the person is still the one of before, and anything only the application knows. A token that
/// is revoked works until its answer is forgotten, unless [`invalidate`](Self::invalidate) is called.
///
/// Cheap to clone; clones remember together. Use it within a Tokio runtime.
#[derive(Clone)]
pub struct IntrospectionVerifier {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    remembered: Remembered,
    calls: Arc<Calls>,
    circuit: Circuit,
}

impl IntrospectionVerifier {
    /// Asks this server as this client, about tokens for this audience: the identifier of *this* API, as
    /// the server puts it into `aud`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Audience`] where the audience is empty; [`ConfigError::Setting`] or
    /// [`ConfigError::Secret`] where the client cannot be one, or can prove nothing.
    pub fn new(
        server: &AuthorizationServer,
        client: Client,
        audience: impl Into<Audience>,
    ) -> Result<Self, ConfigError> {
        Settings::new(server, client, audience.into()).map(Self::from_settings)
    }

    fn from_settings(settings: Settings) -> Self {
        Self {
            shared: Arc::new(Shared {
                remembered: Remembered::new(&settings),
                calls: Arc::new(Calls::new(&settings)),
                circuit: Circuit::default(),
                settings,
            }),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// An answer was good under the settings it was judged by, so a change begins with nothing known.
    pub(super) fn change(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.shared.settings.clone();
        change(&mut settings);
        Self::from_settings(settings)
    }

    /// Forgets what is known of a token: for an application that learns of a revocation. A question that
    /// is under way is not used for requests that come later.
    pub fn invalidate(&self, token: &str) {
        let key = self.shared.key(token);
        let calls = &self.shared.calls;
        calls.cut_off(&key, || self.shared.remembered.forget(&key));
    }

    /// How introspection fares at this moment, for a readiness probe. No I/O.
    pub fn health(&self) -> IntrospectionHealth {
        self.shared.circuit.health(self.shared.monotonic())
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        self.shared.settings.server.clock()
    }

    pub(crate) fn audience(&self) -> &Audience {
        &self.shared.settings.audience
    }

    /// The verdict, where it can be given without asking.
    pub(crate) fn at_hand(&self, token: &str) -> Option<Outcome> {
        if let Err(kind) = check_shape(token) {
            return Some(Err(kind.into()));
        }
        let outcome = self.shared.look(&self.shared.key(token));
        if let Some(Ok(_)) = outcome {
            telemetry::Source::IntrospectionRemembered.count();
        }
        outcome
    }

    /// The verdict, after a question where one is needed.
    pub(crate) async fn verify(&self, token: &str) -> Outcome {
        check_shape(token)?;
        let shared = &self.shared;
        let key = shared.key(token);
        let remembered = |_: &_| telemetry::Source::IntrospectionRemembered.count();
        let boarding = match shared.look(&key) {
            Some(outcome) => return outcome.inspect(remembered),
            None => shared.board(&key, token),
        };
        let mut outcome = match boarding? {
            Boarding::Decided(outcome) => return outcome.inspect(remembered),
            Boarding::Waits(outcome) => outcome,
            Boarding::Full => return Err(unavailable("too many questions wait", RETRY_AFTER)),
        };
        let clock = &**shared.settings.server.clock();
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
}

impl Shared {
    fn look(&self, key: &Key) -> Option<Outcome> {
        let known = self.remembered.look(key, &self.settings)?;
        Some(known.map_err(VerifyError::from))
    }

    /// Joins the question about this token or begins one, in a task that outlives whoever waits.
    fn board(self: &Arc<Self>, key: &Key, token: &str) -> Result<Boarding, VerifyError> {
        if let Some(pause) = self.circuit.pause(self.monotonic()) {
            return Err(paused(pause));
        }
        let start = |ticket: Ticket| {
            let (shared, token) = (Arc::clone(self), AccessToken::new(token));
            tokio::spawn(async move { shared.fly(ticket, &token).await });
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

    fn judge(&self, answer: Answer) -> Result<Arc<crate::token::Verdict>, VerifyErrorKind> {
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

    /// `I6`: of the whole token and of whom was asked as whom, each with its length in front, so that no
    /// two contexts share an encoding.
    fn key(&self, token: &str) -> Key {
        let settings = &self.settings;
        let endpoint = settings.endpoint.as_deref().unwrap_or_default();
        let parts = [
            endpoint,
            settings.client.id(),
            settings.server.issuer(),
            token,
        ];
        let mut context = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
        for part in parts {
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.extend_from_slice(&length.to_be_bytes());
            context.extend_from_slice(part.as_bytes());
        }
        let mut key = [0; 32];
        key.iter_mut()
            .zip(digest::sha256(&context))
            .for_each(|(place, byte)| *place = byte);
        key
    }

    fn monotonic(&self) -> Duration {
        self.settings.server.clock().monotonic()
    }
}

/// `b64token` of RFC 6750 §2.1 and not too long, before anything is asked (`I2`). Nothing is ever cut.
fn check_shape(token: &str) -> Result<(), VerifyErrorKind> {
    if token.len() > MAX_TOKEN_LENGTH {
        return Err(VerifyErrorKind::TooLong);
    }
    let bare = token.trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(allowed) {
        return Err(VerifyErrorKind::Malformed);
    }
    Ok(())
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

impl fmt::Debug for IntrospectionVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.shared.settings;
        f.debug_struct("IntrospectionVerifier")
            .field("issuer", &settings.server.issuer())
            .field("client_id", &settings.client.id())
            .field("signed", &settings.signed)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_contexts_share_a_key() {
        let verifier = |issuer: &str, client: &str| {
            let server = AuthorizationServer::new(issuer).unwrap();
            let client = Client::confidential(client, "secret");
            IntrospectionVerifier::new(&server, client, "api").unwrap()
        };
        let (a, b) = ("https://a.example.test", "https://b.example.test");
        let elsewhere = verifier(a, "api").with_endpoint("https://a.example.test/x");
        let keys = [
            verifier(a, "api").shared.key("token"),
            verifier(a, "api").shared.key("toke"),
            verifier(a, "api").shared.key("token="),
            verifier(b, "api").shared.key("token"),
            verifier(a, "ap").shared.key("token"),
            elsewhere.unwrap().shared.key("token"),
        ];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
        // Clones are one verifier, and one context always gives one key.
        assert_eq!(keys[0], verifier(a, "api").clone().shared.key("token"));
    }
}
