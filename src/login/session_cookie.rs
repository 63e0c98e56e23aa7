//! Resolves the session of a request from its cookies.

use http::HeaderValue;

use super::chunks;
use super::cookie_cipher::CookieCipher;
use super::cookies::{Jar, SESSION};
use super::presented_cookies::{self, SessionCookieContents, SessionCookieNames};
use super::settings::Settings;
use super::{events, session_secrets};
use crate::clock::time_until;
use crate::session::{LoadedSession, OpenedSession, PresentedSessions, SealSessionError};
use crate::store::StoreError;

/// The session of a request, and the cookies to set on its response.
#[derive(Debug, Default)]
pub(super) struct SessionCookie {
    pub(super) session: Option<LoadedSession>,
    pub(super) set_cookies: Vec<HeaderValue>,
    /// The names of the cookies that the session is in.
    pub(super) names: SessionCookieNames,
}

/// The result of resolving the session cookies without I/O.
#[derive(Debug)]
pub(super) enum Resolved {
    Cached(SessionCookie),
    /// The store must be read.
    NeedsStore(PresentedSessions, SessionCookieNames),
}

/// The cookies that a session is written to.
#[derive(Debug)]
pub(super) struct WrittenSessionCookies {
    /// Their names, without prefix.
    pub(super) names: Vec<String>,
    pub(super) values: Vec<HeaderValue>,
}

impl Settings {
    /// Returns the sessions in the cookies, ended or not.
    pub(super) fn presented_sessions(&self, jar: &Jar<'_>) -> SessionCookieContents {
        match self.manager.keeps_sessions_in_store() {
            true => session_secrets::open(jar),
            false => presented_cookies::open(&self.cipher, jar),
        }
    }

    /// Resolves the session without I/O, if possible.
    pub(super) fn resolve_cached(&self, jar: &Jar<'_>) -> Resolved {
        let contents = self.presented_sessions(jar);
        let names = contents.names;
        match contents.presented {
            None if !contents.has_invalid => Resolved::Cached(SessionCookie::default()),
            None => Resolved::Cached(self.clear_invalid("invalid", jar)),
            Some(presented) => match self.manager.cached(presented) {
                Ok(opened) => Resolved::Cached(self.resolved(opened, names, jar)),
                Err(presented) => Resolved::NeedsStore(presented, names),
            },
        }
    }

    /// Resolves the session, and reads the store if necessary.
    pub(super) async fn resolve(&self, jar: &Jar<'_>) -> Result<SessionCookie, StoreError> {
        match self.resolve_cached(jar) {
            Resolved::Cached(cookie) => Ok(cookie),
            Resolved::NeedsStore(presented, names) => {
                let opened = self.manager.open_presented(presented).await?;
                Ok(self.resolved(opened, names, jar))
            }
        }
    }

    pub(super) fn resolved(
        &self,
        opened: OpenedSession,
        names: SessionCookieNames,
        jar: &Jar<'_>,
    ) -> SessionCookie {
        match opened {
            OpenedSession::Session(loaded) => SessionCookie {
                session: Some(loaded),
                set_cookies: self.clear_planted(names, jar),
                names,
            },
            OpenedSession::Ended(reason) => self.clear_invalid(reason, jar),
            OpenedSession::Unreadable => SessionCookie::default(),
        }
    }

    /// Clears cookies that are not part of the session, so that browsers stop sending them.
    fn clear_planted(&self, names: SessionCookieNames, jar: &Jar<'_>) -> Vec<HeaderValue> {
        let planted = jar.session_names().filter(|name| !names.contains(name));
        planted.filter_map(|name| self.clear(name)).collect()
    }

    /// Clears the cookies of a session that is invalid, expired or ended. The request continues
    /// without a session.
    fn clear_invalid(&self, reason: &'static str, jar: &Jar<'_>) -> SessionCookie {
        events::session_cookie_rejected(reason);
        let names = jar.session_names();
        SessionCookie {
            session: None,
            set_cookies: names.filter_map(|name| self.clear(name)).collect(),
            names: SessionCookieNames::default(),
        }
    }

    /// Returns the cookies to set if the browser's cookie is older than the session, otherwise
    /// none. `presented` are the cookies that the browser sent.
    pub(super) fn renewed_cookies(
        &self,
        loaded: &LoadedSession,
        presented: SessionCookieNames,
    ) -> Vec<HeaderValue> {
        // A slow response must not restore a session that was ended or renewed in the meantime.
        let Some(newest) = self.manager.newest_cached(loaded) else {
            return Vec::new();
        };
        if !newest.wants_cookie() {
            return Vec::new();
        }
        match seal_session(&self.cipher, &newest) {
            Ok(sealed) => {
                let written = self.session_cookies(&newest, &sealed);
                self.manager.note_sent(&newest);
                let stale = presented.iter();
                let stale = stale.filter(|name| !written.names.contains(name));
                let cleared = stale.filter_map(|name| self.clear(&name));
                written.values.into_iter().chain(cleared).collect()
            }
            Err(reason) => {
                events::session_cookie_not_renewed(&reason);
                Vec::new()
            }
        }
    }

    /// Returns the `Set-Cookie` values of an encrypted session.
    pub(super) fn session_cookies(
        &self,
        loaded: &LoadedSession,
        sealed: &[(String, String)],
    ) -> WrittenSessionCookies {
        let lifetime = time_until(self.manager.latest_expiry(loaded.record()), self.now());
        let names = &self.cipher.names;
        let values = sealed
            .iter()
            .filter_map(|(name, value)| {
                names.set(&names.full(name), value, lifetime, self.same_site)
            })
            .collect();
        WrittenSessionCookies {
            names: sealed.iter().map(|(name, _)| name.clone()).collect(),
            values,
        }
    }
}

/// Returns the names (without prefix) and values of the cookies of a session.
pub(super) fn seal_session(
    cipher: &CookieCipher,
    loaded: &LoadedSession,
) -> Result<Vec<(String, String)>, SealSessionError> {
    match loaded.secret() {
        Some(secret) => Ok(vec![(SESSION.to_owned(), secret.to_text().to_string())]),
        None => chunks::seal(cipher, loaded.record()),
    }
}
