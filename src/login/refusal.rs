//! What is said of a login that did not come about: the one place where errors become answers.
//!
//! The log gets what we know, the browser a status, a stable code and a text of ours (`L73`).

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use super::chunks::NotWritten;
use super::redemptions::SignInError;
use crate::flow::{FlowError, FlowErrorKind};
use crate::random::RandomError;
use crate::session::{CreateSessionError, LoginRejection};
use crate::store::StoreError;

/// A refusal on its way to the browser.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(super) status: StatusCode,
    /// Stable, for machines and for support.
    pub(super) code: &'static str,
    /// For the person, in words that help.
    pub(super) message: Cow<'static, str>,
    /// What the authorization server wrote: a stranger's text, capped, to be escaped.
    pub(super) said: Option<String>,
    pub(super) retry_after: Option<Duration>,
    /// Beginning anew may help.
    pub(super) start_again: bool,
    /// For the log alone.
    pub(super) reason: Option<Cow<'static, str>>,
}

impl Refusal {
    pub(crate) const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message: Cow::Borrowed(message),
            said: None,
            retry_after: None,
            start_again: false,
            reason: None,
        }
    }

    /// The browser's request is at fault, and a new login is the way out.
    pub(super) const fn stale(code: &'static str, message: &'static str) -> Self {
        let mut refusal = Self::new(StatusCode::BAD_REQUEST, code, message);
        refusal.start_again = true;
        refusal
    }

    pub(super) fn because(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

/// To a person who sent a form and is not signed in, any more or yet.
pub(super) const SIGNED_OUT: Refusal = {
    let mut refusal = Refusal::stale(
        "login_required",
        "You are not signed in, or not any more. Nothing was changed: sign in, and send it again.",
    );
    refusal.status = StatusCode::UNAUTHORIZED;
    refusal
};

impl From<&FlowError> for Refusal {
    fn from(error: &FlowError) -> Self {
        let (status, message, start_again) = match error.kind() {
            FlowErrorKind::Request => (StatusCode::BAD_REQUEST, MISFIT, true),
            FlowErrorKind::Refused if error.code() == "access_denied" => {
                (StatusCode::FORBIDDEN, DENIED, true)
            }
            FlowErrorKind::Refused => (StatusCode::BAD_REQUEST, REFUSED, true),
            FlowErrorKind::NotSignedIn => (StatusCode::UNAUTHORIZED, NOT_SIGNED_IN, true),
            FlowErrorKind::Server => (StatusCode::BAD_GATEWAY, UNUSABLE, true),
            FlowErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, true),
            FlowErrorKind::Configuration => {
                (StatusCode::INTERNAL_SERVER_ERROR, MISCONFIGURED, false)
            }
            FlowErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, OUR_FAULT, true),
        };
        Self {
            status,
            code: error.code(),
            message: message.into(),
            said: said(error),
            retry_after: error.retry_after(),
            start_again,
            reason: Some(error.to_string().into()),
        }
    }
}

impl From<NotWritten> for Refusal {
    fn from(error: NotWritten) -> Self {
        let code = match error {
            NotWritten::TooLarge(_) => "session_too_large",
            NotWritten::Random(_) => "no_randomness",
        };
        let refusal = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            code,
            match error {
                NotWritten::TooLarge(_) => TOO_LARGE,
                NotWritten::Random(_) => OUR_FAULT,
            },
        );
        refusal.because(error.to_string())
    }
}

/// `L48`: nobody is taken for signed out, or for signed in, because a store cannot be asked. It is worth
/// coming back.
impl From<&StoreError> for Refusal {
    fn from(error: &StoreError) -> Self {
        let (code, message) = match error {
            StoreError::Full => ("session_store_full", FULL),
            StoreError::Unavailable(_) => ("session_store_unavailable", NO_STORE),
        };
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        refusal.retry_after = Some(STORE_RETRY);
        // What a store says of itself may name its address.
        refusal.because(error.to_string())
    }
}

impl From<&SignInError> for Refusal {
    fn from(error: &SignInError) -> Self {
        match error {
            SignInError::Flow(error) => Self::from(error),
            SignInError::Busy => busy(),
            // The callback has been used up: to try again is to begin anew.
            SignInError::CreateSessionError(CreateSessionError::Store(error))
            | SignInError::Store(error) => Self {
                start_again: true,
                ..Self::from(error)
            },
            SignInError::LoginRejection(error) => Self::from(error),
            SignInError::NotWritten(error) => Self::from(*error),
            SignInError::CreateSessionError(CreateSessionError::Random(error)) => {
                Self::from(*error)
            }
            SignInError::CreateSessionError(CreateSessionError::LoggedOut) => LOGGED_OUT,
            SignInError::Used => USED,
        }
    }
}

/// What the application itself says to a login (`L76`).
impl From<&LoginRejection> for Refusal {
    fn from(error: &LoginRejection) -> Self {
        let refusal = match error {
            LoginRejection::Denied(words) => {
                let mut refusal = Self::new(StatusCode::FORBIDDEN, "login_denied", NOT_LET_IN);
                if !words.trim().is_empty() {
                    refusal.message = words.clone();
                }
                refusal
            }
            LoginRejection::Later { retry_after, .. } => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let mut refusal = Self::new(status, "login_undecided", UNDECIDED);
                refusal.retry_after = Some(*retry_after);
                refusal
            }
            LoginRejection::Failed(_) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Self::new(status, "login_hook_failed", OUR_FAULT)
            }
        };
        let mut refusal = refusal.because(error.to_string());
        refusal.start_again = true;
        refusal
    }
}

/// The state was redeemed before.
pub(super) const USED: Refusal =
    Refusal::stale("login_used", "This sign-in was already completed.");

const LOGGED_OUT: Refusal = Refusal::stale(
    "logged_out_meanwhile",
    "You were signed out while you signed in.",
);

/// The transaction is kept, so the same address completes the login later.
fn busy() -> Refusal {
    let mut refusal = Refusal::stale("login_busy", BUSY).because(
        "64 token requests of callbacks are under way and none ended in time: the token endpoint is slow, or \
         callbacks with made-up codes arrive; a rate limit in front of the callback route helps against those",
    );
    refusal.status = StatusCode::SERVICE_UNAVAILABLE;
    refusal.retry_after = Some(STORE_RETRY);
    refusal
}

impl From<RandomError> for Refusal {
    fn from(error: RandomError) -> Self {
        NotWritten::from(error).into()
    }
}

/// The server's code and its explanation, as one line.
fn said(error: &FlowError) -> Option<String> {
    let code = error.oauth_error()?;
    Some(match error.description() {
        Some(description) => format!("{code}: {description}"),
        None => code.to_string(),
    })
}

const MISFIT: &str = "This sign-in cannot be completed: it has expired, was already used, or began in \
                      another browser.";
const DENIED: &str = "The sign-in was cancelled, or access was denied.";
const REFUSED: &str = "The sign-in service refused the request.";
const NOT_SIGNED_IN: &str = "You are not signed in.";
const UNUSABLE: &str = "The sign-in service gave an answer that cannot be used.";
const UNAVAILABLE: &str = "The sign-in service cannot be reached at the moment. Try again shortly.";
const MISCONFIGURED: &str = "This application is not set up correctly for signing in.";
const OUR_FAULT: &str = "Something went wrong here.";
const NOT_LET_IN: &str = "You have signed in, but this application is not open to you.";
const UNDECIDED: &str = "Whether you may sign in cannot be told at the moment. Try again shortly.";
const BUSY: &str =
    "Too many sign-ins are being completed right now. Please reload this page in a moment.";
const FULL: &str = "There is no room for another session at the moment. Try again shortly.";
const NO_STORE: &str = "Whether you are signed in cannot be told at the moment. You have not been signed \
                        out: try again shortly.";
const TOO_LARGE: &str = "The sign-in succeeded, but what the sign-in service says of you is too much for \
                         cookies. This application needs a session store.";

/// When to come again while a store is away, or too many come at once.
const STORE_RETRY: Duration = Duration::from_secs(5);
