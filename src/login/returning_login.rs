//! The login that a callback belongs to, as its `state` and the cookies of the browser show.

use super::jar::{Jar, NO_SILENT_LOGIN};
use super::login_state::{LoginState, StateTarget};
use super::refusal::LoginRefusal;
use super::settings::Settings;
use super::slots::return_to_name;
use super::transactions::{self, SlotContents};
use super::{events, target_cookie};
use crate::flow::{StateDigest, Transaction, has_expired};
use crate::protocol::State;

/// The login of a callback.
#[derive(Debug)]
pub(super) struct ReturningLogin {
    /// The transaction, or why the login cannot complete.
    pub(super) transaction: Result<Box<Transaction>, LoginRefusal>,
    /// Whether its slot has no login: it was completed before, or did not start in this browser.
    pub(super) is_absent: bool,
    /// Whether it began longer ago than a login may take.
    pub(super) is_late: bool,
    /// Whether the user continues without the login if it fails.
    pub(super) is_optional: bool,
    /// The names of the cookies of this login, without prefix. Cookies of other logins are not its
    /// own to clear.
    pub(super) cookies: Vec<String>,
    target: Option<String>,
}

impl ReturningLogin {
    pub(super) fn read(settings: &Settings, jar: &Jar<'_>, state: &State) -> Self {
        let cookies = &settings.cookies;
        let Some(login) = LoginState::open(cookies, state) else {
            return Self {
                transaction: Err(UNKNOWN.because(FOREIGN_STATE)),
                is_absent: true,
                is_late: false,
                is_optional: false,
                cookies: Vec::new(),
                target: None,
            };
        };
        let state = StateDigest::of(state);
        let mut own_cookies = Vec::new();
        let target = match &login.target {
            StateTarget::Default => None,
            StateTarget::Short(target) => Some(target.clone()),
            StateTarget::InCookie => {
                let target = target_cookie::find(cookies, jar, state);
                match target {
                    Some(_) => own_cookies.push(return_to_name(cookies.login_tag())),
                    None => events::return_target_dropped(None, None, REPLACED_TARGET),
                }
                target
            }
        };
        let contents = transactions::find(cookies, jar, &login, state);
        let is_absent = matches!(contents, SlotContents::Empty | SlotContents::Unreadable);
        let (started_at, transaction) = match contents {
            SlotContents::Found(name, transaction) => {
                own_cookies.push(name);
                (transaction.started_at, Ok(transaction))
            }
            SlotContents::OtherLogin => (login.started_at, Err(REPLACED.because(TOO_MANY))),
            SlotContents::Empty => (login.started_at, Err(UNKNOWN.because(NO_COOKIE))),
            SlotContents::Unreadable => (login.started_at, Err(UNKNOWN.because(UNREADABLE))),
        };
        if transaction.is_err() {
            own_cookies.clear();
        }
        let late = too_late(settings, started_at);
        Self {
            is_late: late.is_some(),
            transaction: late.map_or(transaction, Err),
            is_absent,
            is_optional: login.is_optional,
            cookies: own_cookies,
            target,
        }
    }

    /// Returns whether the user continues at the target although the login cannot complete: the login was silent, and the
    /// browser keeps cookies, so that the page does not start another one without end.
    pub(super) fn continues_anonymously(&self, jar: &Jar<'_>) -> bool {
        self.is_optional && (!self.is_absent || jar.has(NO_SILENT_LOGIN))
    }

    /// Returns where the user goes next. The target is checked again: the configuration may have
    /// changed since it was encrypted.
    pub(super) fn target<'a>(&'a self, settings: &'a Settings) -> &'a str {
        let target = self.target.as_deref();
        let target = target.and_then(|target| settings.return_to(target));
        target.unwrap_or_else(|| settings.default_return_to())
    }
}

fn too_late(settings: &Settings, started_at: i64) -> Option<LoginRefusal> {
    let limit = settings.flow().login_time_limit();
    let now = settings.manager.time().wall_for(started_at);
    has_expired(started_at, now, limit).then(|| {
        EXPIRED.because(format!(
            "the callback came {} seconds after the start of the login, the limit is {} seconds; see \
             `LoginLayer::with_login_time_limit`",
            now.saturating_sub(started_at),
            limit.as_secs(),
        ))
    })
}

const UNKNOWN: LoginRefusal = LoginRefusal::stale(
    "login_unknown",
    "This sign-in did not start in this browser, or it was already completed or canceled. Please sign in again.",
);
const EXPIRED: LoginRefusal = LoginRefusal::stale(
    "login_expired",
    "Your sign-in took too long. Please sign in again.",
);
const REPLACED: LoginRefusal = LoginRefusal::stale(
    "login_replaced",
    "Another sign-in started in this browser in the meantime. Please sign in again.",
);
const FOREIGN_STATE: &str = "the state was not created by this layer, or with a key that is not configured: every process \
                             needs the same cookie key, or the previous one with `CookieKey::add_previous`";
const NO_COOKIE: &str = "the browser sent no cookie for this state; if this is always so, users open the application at another \
                         origin than that of the redirect URI";
const UNREADABLE: &str =
    "the cookie for this state does not open: it is damaged, or was encrypted with another key";
const TOO_MANY: &str = "a later login has the cookie of this one: a browser keeps 5 logins in progress, fewer if they start at \
                        the same time";
const REPLACED_TARGET: &str = "it was longer than 224 bytes, and its cookie is missing or was replaced by that of another login";
