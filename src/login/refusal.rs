//! Maps errors of logins and sessions to responses.
//!
//! The response has a status, a stable code and a text of this crate. The log has the reason, which may
//! contain details that a browser must not see.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::flow::{FlowError, FlowErrorKind};
use crate::random::RandomError;
use crate::session::{CreateSessionError, LoginRejection, SealSessionError, SignInError};
use crate::store::StoreError;

/// An error response before it is rendered as a page or problem document.
#[derive(Clone, Debug)]
pub(crate) struct LoginRefusal {
    pub(super) status: StatusCode,
    /// Stable code, for programs and for support.
    pub(super) code: &'static str,
    /// Message for the user.
    pub(super) message: Cow<'static, str>,
    /// Text of the authorization server: shortened, to be escaped.
    pub(super) error_description: Option<String>,
    pub(super) retry_after: Option<Duration>,
    /// Whether a new login may help.
    pub(super) can_restart: bool,
    /// The reason, for the log only.
    pub(super) reason: Option<Cow<'static, str>>,
}

impl LoginRefusal {
    pub(crate) const fn new(status: StatusCode, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            code,
            message: Cow::Borrowed(message),
            error_description: None,
            retry_after: None,
            can_restart: false,
            reason: None,
        }
    }

    /// A 400 response that a new login resolves.
    pub(super) const fn stale(code: &'static str, message: &'static str) -> Self {
        let mut refusal = Self::new(StatusCode::BAD_REQUEST, code, message);
        refusal.can_restart = true;
        refusal
    }

    pub(super) const fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn because(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

/// The rejection of a request from another site.
pub(super) const CROSS_SITE: LoginRefusal = LoginRefusal::new(
    StatusCode::FORBIDDEN,
    "cross_site_request",
    "This request did not come from a page of this application. Nothing was changed. Please go back, reload \
     the page and try again.",
);

/// The rejection of a session that does not meet a policy.
pub(super) const FORBIDDEN: LoginRefusal = LoginRefusal::new(
    StatusCode::FORBIDDEN,
    "forbidden",
    "You are signed in, but you don't have access to this page. If you think you should, please contact support.",
);

const AUTHENTICATION_TOO_WEAK: &str = "authentication_too_weak";

/// The same, if it is about the authentication of the user.
pub(super) const WEAK_AUTHENTICATION: LoginRefusal = LoginRefusal::new(
    StatusCode::FORBIDDEN,
    AUTHENTICATION_TOO_WEAK,
    "This page requires a more recent or a stronger sign-in. Please sign out, sign in again, and return to this page.",
);

/// The response to a form or program if the user can authenticate again.
pub(super) const STEP_UP: LoginRefusal = LoginRefusal::stale(
        AUTHENTICATION_TOO_WEAK,
        "This page requires a more recent or a stronger sign-in. Nothing was changed. Please confirm your sign-in and \
         submit the form again.",)
.with_status(StatusCode::UNAUTHORIZED);

/// The rejection of another user at the end of a step-up. The session of the browser is kept.
const OTHER_USER: LoginRefusal = LoginRefusal::stale(
        "step_up_other_user",
        "You confirmed your sign-in as another user. Nothing was changed: you are still signed in here as before. To \
         switch users, please sign in again.",)
.with_status(StatusCode::FORBIDDEN);

/// A policy with a condition on claims of another type.
pub(super) const UNCHECKED_POLICY: LoginRefusal = LoginRefusal::new(
    StatusCode::INTERNAL_SERVER_ERROR,
    "policy_misconfigured",
    "We can't check your access because of an internal error. Please contact support.",
);

/// The response to a form of a user who is not signed in.
pub(super) const SIGNED_OUT: LoginRefusal = LoginRefusal::stale(
        "login_required",
        "You are not signed in, or your session has ended. Nothing was changed. Please sign in and submit \
         the form again.",)
.with_status(StatusCode::UNAUTHORIZED);

impl From<&FlowError> for LoginRefusal {
    fn from(error: &FlowError) -> Self {
        let (status, message, can_restart) = match error.kind() {
            FlowErrorKind::Request => (StatusCode::BAD_REQUEST, MISMATCH, true),
            FlowErrorKind::Refused if error.code() == "access_denied" => {
                (StatusCode::FORBIDDEN, DENIED, true)
            }
            FlowErrorKind::Refused => (StatusCode::BAD_REQUEST, REJECTED, true),
            FlowErrorKind::NotSignedIn => (StatusCode::UNAUTHORIZED, NOT_SIGNED_IN, true),
            FlowErrorKind::Server => (StatusCode::BAD_GATEWAY, INVALID_RESPONSE, true),
            FlowErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, true),
            FlowErrorKind::Configuration => {
                (StatusCode::INTERNAL_SERVER_ERROR, MISCONFIGURED, false)
            }
            FlowErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, INTERNAL_ERROR, true),
        };
        Self {
            status,
            code: error.code(),
            message: message.into(),
            error_description: error_description(error),
            retry_after: error.retry_after(),
            can_restart,
            reason: Some(error.for_log().into()),
        }
    }
}

impl From<SealSessionError> for LoginRefusal {
    fn from(error: SealSessionError) -> Self {
        let code = match error {
            SealSessionError::TooLarge { .. } => "session_too_large",
            SealSessionError::Random(_) => "no_randomness",
        };
        let refusal = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            code,
            match error {
                SealSessionError::TooLarge { .. } => TOO_LARGE,
                SealSessionError::Random(_) => INTERNAL_ERROR,
            },
        );
        refusal.because(error.to_string())
    }
}

/// If the store is unavailable, a user is neither signed in nor signed out; a later request may succeed.
impl From<&StoreError> for LoginRefusal {
    fn from(error: &StoreError) -> Self {
        let (code, message) = match error {
            StoreError::Full => ("session_store_full", FULL),
            StoreError::Unavailable(_) => ("session_store_unavailable", STORE_UNAVAILABLE),
        };
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message);
        refusal.retry_after = Some(RETRY_AFTER);
        // The text of a store error may contain its address.
        refusal.because(error.to_string())
    }
}

impl From<&SignInError> for LoginRefusal {
    fn from(error: &SignInError) -> Self {
        match error {
            SignInError::Flow(error) | SignInError::NotSent(error) => Self::from(error),
            SignInError::Busy => busy(),
            // The code was already sent, so only a new login can succeed.
            SignInError::CreateSessionError(CreateSessionError::Store(error))
            | SignInError::Store(error) => Self {
                can_restart: true,
                ..Self::from(error)
            },
            SignInError::LoginRejection(error) => Self::from(error),
            SignInError::SealSessionError(error) => Self::from(*error),
            SignInError::CreateSessionError(CreateSessionError::Random(error)) => {
                Self::from(*error)
            }
            SignInError::CreateSessionError(CreateSessionError::LoggedOut) => LOGGED_OUT,
            SignInError::CreateSessionError(error @ CreateSessionError::Expired(_)) => {
                EXPIRED.because(error.to_string())
            }
            SignInError::Used => USED,
            SignInError::OtherUser => OTHER_USER.because(error.to_string()),
        }
    }
}

/// A login that the hook of the application rejected.
impl From<&LoginRejection> for LoginRefusal {
    fn from(error: &LoginRejection) -> Self {
        let refusal = match error {
            LoginRejection::Denied(message) => {
                let mut refusal = Self::new(StatusCode::FORBIDDEN, "login_denied", LOGIN_DENIED);
                if !message.trim().is_empty() {
                    refusal.message = message.clone();
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
                Self::new(status, "login_hook_failed", INTERNAL_ERROR)
            }
        };
        let mut refusal = refusal.because(error.to_string());
        refusal.can_restart = true;
        refusal
    }
}

/// The response to a state that was already redeemed.
pub(super) const USED: LoginRefusal = LoginRefusal::stale(
    "login_used",
    "This sign-in was already completed. If you are not signed in, please sign in again.",
);

const LOGGED_OUT: LoginRefusal = LoginRefusal::stale(
    "logged_out_meanwhile",
    "You were signed out during sign-in. Please sign in again.",
);

const EXPIRED: LoginRefusal = LoginRefusal::stale("session_expired_at_sign_in", INVALID_RESPONSE)
    .with_status(StatusCode::BAD_GATEWAY);

/// The transaction cookie is kept, so reloading the callback completes the login later.
fn busy() -> LoginRefusal {
    let refusal = LoginRefusal::stale("login_busy", BUSY);
    let mut refusal = refusal.with_status(StatusCode::SERVICE_UNAVAILABLE).because(
        "64 token requests of callbacks are in progress and none finished in time: the token endpoint is slow, \
         or callbacks with forged codes arrive; a rate limit on the callback route helps against those",
    );
    refusal.retry_after = Some(RETRY_AFTER);
    refusal
}

impl From<RandomError> for LoginRefusal {
    fn from(error: RandomError) -> Self {
        SealSessionError::from(error).into()
    }
}

/// The `error` and `error_description` of the authorization response, as one line.
fn error_description(error: &FlowError) -> Option<String> {
    let code = error.authorization_error()?;
    Some(match error.description() {
        Some(description) => format!("{code}: {description}"),
        None => code.to_string(),
    })
}

const MISMATCH: &str = "We couldn't complete your sign-in. It has expired, was already used, or started in \
                        another browser. Please sign in again.";
const DENIED: &str =
    "The sign-in was canceled, or access was denied. To try again, please sign in again.";
const REJECTED: &str = "We couldn't complete your sign-in. The sign-in service rejected the request. Please try \
                        again, and contact support if this happens again.";
const NOT_SIGNED_IN: &str = "You are not signed in at the sign-in service. Please sign in.";
const INVALID_RESPONSE: &str = "We couldn't complete your sign-in. The sign-in service sent an invalid response. \
                                Please try again, and contact support if this happens again.";
const UNAVAILABLE: &str = "We couldn't complete your sign-in. The sign-in service did not respond. Please try \
                           again in a moment.";
const MISCONFIGURED: &str = "We couldn't complete your sign-in. Sign-in is not set up correctly here. Please contact support.";
pub(super) const INTERNAL_ERROR: &str =
    "We couldn't complete your sign-in because of an internal error. Please try again.";
const LOGIN_DENIED: &str = "You have signed in, but you don't have access to this application. Please sign in \
                            with another account, or contact support.";
const UNDECIDED: &str = "We can't complete sign-in right now. Please try again shortly.";
const BUSY: &str = "Many users are signing in right now. Please reload this page in a moment.";
const FULL: &str = "We can't start another session right now. Please try again shortly.";
const STORE_UNAVAILABLE: &str = "We can't check your session right now. You have not been signed out. Please try \
                                 again shortly.";
const TOO_LARGE: &str = "We couldn't complete your sign-in. Your account data does not fit into browser cookies. \
                         Please contact support.";

/// The `Retry-After` while the store is unavailable or too many logins complete at once.
const RETRY_AFTER: Duration = Duration::from_secs(5);
