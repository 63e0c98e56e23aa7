//! Who a request comes from, by its session cookies.

use std::time::Duration;

use http::HeaderValue;

use super::chunks::{self, NotWritten};
use super::cookies::{Jar, SESSION};
use super::presented::{self, Found, SessionNames};
use super::settings::Settings;
use super::{events, tickets};
use crate::session::{LoadedSession, OpenedSession, PresentedSessions};
use crate::store::StoreError;

/// What the session cookies of a request came to, and what is to be set on its response.
#[derive(Debug, Default)]
pub(super) struct SessionCookie {
    pub(super) session: Option<LoadedSession>,
    pub(super) cookies: Vec<HeaderValue>,
    /// The cookies that the session is in.
    pub(super) names: SessionNames,
}

/// What is known of a request without asking anybody.
#[derive(Debug)]
pub(super) enum Resolved {
    Known(SessionCookie),
    /// A store has to be asked.
    Unknown(PresentedSessions, SessionNames),
}

/// The cookies of a session.
#[derive(Debug)]
pub(super) struct SessionCookies {
    /// Their names without our prefix.
    pub(super) names: Vec<String>,
    pub(super) values: Vec<HeaderValue>,
}

impl Settings {
    /// The sessions that the cookies open, alive or not.
    pub(super) fn found(&self, jar: &Jar<'_>) -> Found {
        match self.keeper.keeps_sessions_in_store() {
            true => tickets::open(jar),
            false => presented::open(&self.sealer, jar),
        }
    }

    /// Who it is, as far as that is at hand.
    pub(super) fn glance(&self, jar: &Jar<'_>) -> Resolved {
        let found = self.found(jar);
        let names = found.names;
        match found.presented {
            None if !found.is_broken => Resolved::Known(SessionCookie::default()),
            None => Resolved::Known(self.nobody("spoiled", jar)),
            Some(presented) => match self.keeper.cached(presented) {
                Ok(opened) => Resolved::Known(self.visited(opened, names, jar)),
                Err(presented) => Resolved::Unknown(presented, names),
            },
        }
    }

    /// Who it is, whoever has to be asked.
    pub(super) async fn visit(&self, jar: &Jar<'_>) -> Result<SessionCookie, StoreError> {
        match self.glance(jar) {
            Resolved::Known(visit) => Ok(visit),
            Resolved::Unknown(presented, names) => {
                let opened = self.keeper.open_presented(presented).await?;
                Ok(self.visited(opened, names, jar))
            }
        }
    }

    pub(super) fn visited(
        &self,
        opened: OpenedSession,
        names: SessionNames,
        jar: &Jar<'_>,
    ) -> SessionCookie {
        match opened {
            OpenedSession::Session(held) => SessionCookie {
                session: Some(held),
                cookies: self.clear_planted(names, jar),
                names,
            },
            OpenedSession::Ended(reason) => self.nobody(reason, jar),
            OpenedSession::Unreadable => SessionCookie::default(),
        }
    }

    /// What is no part of the session goes, so that it does not come again.
    fn clear_planted(&self, names: SessionNames, jar: &Jar<'_>) -> Vec<HeaderValue> {
        let planted = jar.session_names().filter(|name| !names.has(name));
        planted.filter_map(|name| self.clear(name)).collect()
    }

    /// `L39`: what is unknown, changed, too old or ended is nobody, and its cookies are cleared.
    fn nobody(&self, reason: &'static str, jar: &Jar<'_>) -> SessionCookie {
        events::session_ended(reason);
        let names = jar.session_names();
        SessionCookie {
            session: None,
            cookies: names.filter_map(|name| self.clear(name)).collect(),
            names: SessionNames::default(),
        }
    }

    /// The cookies of a session whose cookie is older than it is; nothing for all others. `shown` are those that the
    /// browser sent it in.
    pub(super) fn renewed_cookies(
        &self,
        held: &LoadedSession,
        shown: SessionNames,
    ) -> Vec<HeaderValue> {
        // `L47`: a slow response must not bring back a session that was ended or renewed meanwhile.
        let Some(newest) = self.keeper.newest_cached(held) else {
            return Vec::new();
        };
        if !newest.wants_cookie() {
            return Vec::new();
        }
        match self.session_cookies(&newest) {
            Ok(written) => {
                self.keeper.note_sent(&newest);
                let stale = shown.iter();
                let stale = stale.filter(|name| !written.names.contains(name));
                let cleared = stale.filter_map(|name| self.clear(&name));
                written.values.into_iter().chain(cleared).collect()
            }
            Err(reason) => {
                events::session_not_renewed(&reason);
                Vec::new()
            }
        }
    }

    pub(super) fn session_cookies(
        &self,
        held: &LoadedSession,
    ) -> Result<SessionCookies, NotWritten> {
        let left = self
            .keeper
            .latest_expiry(held.record())
            .saturating_sub(self.now());
        let lifetime = Duration::from_secs(u64::try_from(left).unwrap_or_default());
        let names = &self.sealer.names;
        let cookies = match held.secret() {
            Some(ticket) => vec![(SESSION.to_owned(), ticket.to_text().to_string())],
            None => chunks::seal(&self.sealer, held.record())?,
        };
        let values = cookies
            .iter()
            .filter_map(|(name, value)| {
                names.set(&names.full(name), value, lifetime, self.same_site)
            })
            .collect();
        Ok(SessionCookies {
            names: cookies.into_iter().map(|(name, _)| name).collect(),
            values,
        })
    }
}
