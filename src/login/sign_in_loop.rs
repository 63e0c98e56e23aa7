//! Detects sign-ins that succeed but whose sessions no page accepts: the browser would be redirected
//! to the login, which needs no action of the user, and back, without end.
//!
//! A sign-in sets a cookie that the browser keeps for 30 seconds, unless a request with the session
//! is accepted before. It is neither encrypted nor timed, since it must work if the replicas have
//! different keys or clocks; it can only stop a redirect.

use std::time::Duration;

use http::header::HeaderMap;
use http::{HeaderValue, StatusCode};

use super::cookies::{CookieLifetime, SameSite};
use super::jar::{Jar, SIGNED_IN};
use super::refusal::LoginRefusal;
use super::settings::Settings;
use crate::record::SessionRef;

impl Settings {
    /// Returns the cookie that marks a sign-in as recent.
    pub(super) fn mark_sign_in(&self) -> Option<HeaderValue> {
        self.cookies
            .set(SIGNED_IN, "1", CookieLifetime::Of(RECENT), SameSite::Lax)
    }

    /// Rejects a sign-in of a browser that completed another one just before, whose session no request
    /// had.
    /// `replaces` is the session at the start of this login.
    pub(super) async fn check_sign_in_loop(
        &self,
        jar: &Jar<'_>,
        headers: &HeaderMap,
        replaces: Option<&SessionRef>,
    ) -> Result<(), LoginRefusal> {
        if !jar.has(SIGNED_IN) || replaces.is_some() {
            return Ok(());
        }
        let cookie = self.session(headers, false).await;
        match cookie {
            Ok(cookie) if cookie.session.is_some() => Ok(()),
            // The store is unavailable, which is not a loop.
            Err(_) => Ok(()),
            Ok(_) => Err(LOOP.because(REASON)),
        }
    }
}

/// How long a sign-in is recent.
const RECENT: Duration = Duration::from_secs(30);

const LOOP: LoginRefusal = LoginRefusal::stale(
        "session_not_accepted",
        "You have signed in, but your session was not accepted afterwards. Please try again, and contact support \
         if this happens again.",)
.with_status(StatusCode::INTERNAL_SERVER_ERROR);

const REASON: &str = "this browser signed in less than 30 seconds ago and has no session again. Check that all \
                      replicas have the same cookie key, client and clock, that nothing removes or clears the \
                      session cookie, and the events `new_session_rejected` of the replicas";
