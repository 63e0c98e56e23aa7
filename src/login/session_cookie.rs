//! The session of a request: opened from its cookies, and written to the cookies of its response.

use std::sync::Arc;

use http::HeaderValue;
use http::header::HeaderMap;

use super::chunks::{self, SealedCookies};
use super::cookies::CookieLifetime;
use super::events;
use super::jar::{Jar, NO_SILENT_LOGIN, SIGNED_IN};
use super::presented_cookies::{self, SessionCookieContents, SessionCookieNames};
use super::refusal::LoginRefusal;
use super::settings::Settings;
use crate::clock::time_until;
use crate::record::SessionRecord;
#[cfg(feature = "testing")]
use crate::session::SealSessionError;
use crate::session::{LoadedSession, OpenedSession, SessionTime};
use crate::store::StoreError;
use crate::verification::Verification;

/// The session of a request, and the cookies to set on its response.
#[derive(Debug, Default)]
pub(super) struct SessionCookie {
    /// With the time at which it was opened.
    pub(super) session: Option<(LoadedSession, SessionTime)>,
    pub(super) set_cookies: Vec<HeaderValue>,
    /// The names of the cookies that the session is in.
    pub(super) names: SessionCookieNames,
}

/// What the session cookies of a request led to.
#[derive(Debug)]
pub(super) struct OpenedCookies {
    /// `None` if no cookie contains a session.
    session: Option<Result<(OpenedSession, SessionTime), StoreError>>,
    names: SessionCookieNames,
    has_invalid: bool,
    /// Whether the browser signed in just before, and no page has accepted its session since.
    has_just_signed_in: bool,
}

impl Settings {
    /// Returns the sessions in the cookies, ended or not.
    pub(super) fn presented_sessions(&self, jar: &Jar<'_>) -> SessionCookieContents {
        match self.manager.keeps_sessions_in_store() {
            true => presented_cookies::read_secrets(jar),
            false => presented_cookies::open_sessions(&self.cookies, jar),
        }
    }

    /// Opens the session cookies of a request. `touch` if that counts as use of the session.
    pub(super) fn open_cookies(
        &self,
        headers: &HeaderMap,
        touch: bool,
    ) -> Verification<OpenedCookies> {
        let jar = Jar::read(headers, &self.cookies);
        if !self.login_route.is_done() && jar.names().any(|name| name != NO_SILENT_LOGIN) {
            self.login_route.note_reachable();
        }
        let contents = self.presented_sessions(&jar);
        let (names, has_invalid) = (contents.names, contents.has_invalid);
        let has_just_signed_in = jar.has(SIGNED_IN);
        let opened = move |session| OpenedCookies {
            session,
            names,
            has_invalid,
            has_just_signed_in,
        };
        if contents.presented.is_empty() {
            return Verification::Ready(opened(None));
        }
        let now = self.manager.time();
        match self.manager.open_cached(contents.presented, &now) {
            Ok(OpenedSession::Session(loaded)) if touch => {
                let touched = OpenedSession::Session(self.manager.touch_cached(loaded, &now));
                Verification::Ready(opened(Some(Ok((touched, now)))))
            }
            Ok(session) => Verification::Ready(opened(Some(Ok((session, now))))),
            Err(presented) => {
                let manager = Arc::clone(&self.manager);
                Verification::pending(async move {
                    let session = match manager.open_presented(presented, &now).await {
                        Ok(OpenedSession::Session(loaded)) if touch => {
                            Ok(OpenedSession::Session(manager.touch(loaded, &now).await))
                        }
                        session => session,
                    };
                    opened(Some(session.map(|session| (session, now))))
                })
            }
        }
    }

    /// Opens the session of a request of one of this layer's routes.
    pub(super) async fn session(
        &self,
        headers: &HeaderMap,
        touch: bool,
    ) -> Result<SessionCookie, StoreError> {
        let opened = self.open_cookies(headers, touch).outcome().await;
        self.resolve(opened, headers)
    }

    /// Returns the session that a login replaces, for the hook of the application.
    pub(super) async fn previous_session(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<Arc<SessionRecord>>, LoginRefusal> {
        if !self.manager.has_login_hook() {
            return Ok(None);
        }
        let cookie = self.session(headers, false).await;
        let cookie = cookie.map_err(|error| LoginRefusal::from(&error))?;
        Ok(cookie
            .session
            .map(|(loaded, _)| Arc::clone(loaded.record())))
    }

    /// Returns the session of a request. Cookies that do not belong to it are cleared, so that
    /// browsers stop sending them.
    pub(super) fn resolve(
        &self,
        opened: OpenedCookies,
        headers: &HeaderMap,
    ) -> Result<SessionCookie, StoreError> {
        let clear_others = |names: SessionCookieNames| {
            let jar = Jar::read(headers, &self.cookies);
            let others = jar.session_names().filter(|name| !names.contains(name));
            others.filter_map(|name| self.cookies.clear(name)).collect()
        };
        // An invalid, expired or ended session. The request continues without one.
        let rejected = |reason| {
            events::session_cookie_rejected(reason);
            let is_expected = ["signed_out", "refresh_refused"].contains(&reason);
            if opened.has_just_signed_in && !is_expected {
                events::new_session_rejected(reason);
            }
            let names = SessionCookieNames::default();
            let set_cookies = clear_others(names);
            SessionCookie {
                session: None,
                set_cookies,
                names,
            }
        };
        let names = opened.names;
        Ok(match opened.session.transpose()? {
            None if opened.has_invalid => rejected("invalid"),
            None | Some((OpenedSession::Unreadable, _)) => SessionCookie::default(),
            Some((OpenedSession::Ended(reason), _)) => rejected(reason),
            Some((OpenedSession::Session(loaded), now)) => {
                let mut set_cookies = match opened.has_invalid {
                    true => clear_others(names),
                    false => Vec::new(),
                };
                if opened.has_just_signed_in {
                    set_cookies.extend(self.cookies.clear(SIGNED_IN));
                }
                SessionCookie {
                    session: Some((loaded, now)),
                    set_cookies,
                    names,
                }
            }
        })
    }

    /// Returns the cookies to set if the browser's cookie is older than the session, otherwise
    /// none. `presented` are the cookies that the browser sent.
    pub(super) fn renewed_cookies(
        &self,
        loaded: &LoadedSession,
        presented: SessionCookieNames,
    ) -> Vec<HeaderValue> {
        // A slow response must not restore a session that was ended or renewed in the meantime.
        let newest = self.manager.newest_cached(loaded);
        let Some(newest) = newest.filter(LoadedSession::wants_cookie) else {
            return Vec::new();
        };
        match chunks::seal(&self.cookies, &newest) {
            Ok(sealed) => {
                self.manager.note_sent(&newest);
                self.session_cookies(&newest, &sealed, presented.iter())
            }
            Err(reason) => {
                events::session_cookie_not_renewed(&reason);
                Vec::new()
            }
        }
    }

    /// Returns the value of the `Cookie` field of a browser with this session.
    #[cfg(feature = "testing")]
    pub(super) fn cookie_field(&self, loaded: &LoadedSession) -> Result<String, SealSessionError> {
        let sealed = chunks::seal(&self.cookies, loaded)?;
        let pairs = sealed
            .iter()
            .map(|(suffix, value)| format!("{}={value}", self.cookies.name(suffix)));
        Ok(pairs.collect::<Vec<_>>().join("; "))
    }

    /// Returns the `Set-Cookie` values that write a session, and clear those of `others` that it
    /// does not overwrite.
    pub(super) fn session_cookies(
        &self,
        loaded: &LoadedSession,
        sealed: &SealedCookies,
        others: impl Iterator<Item = String>,
    ) -> Vec<HeaderValue> {
        let now = self.manager.time();
        let ends_at = self.manager.latest_expiry(loaded.record(), &now);
        let lifetime = match self.ends_with_browser {
            true => CookieLifetime::Browser,
            false => CookieLifetime::Of(time_until(ends_at, now.wall())),
        };
        let cookies = &self.cookies;
        let written = sealed
            .iter()
            .filter_map(|(name, value)| cookies.set(name, value, lifetime, self.same_site));
        let stale = others.filter(|name| !sealed.iter().any(|(written, _)| written == *name));
        let cleared = stale.filter_map(|name| cookies.clear(&name));
        written.chain(cleared).collect()
    }
}
