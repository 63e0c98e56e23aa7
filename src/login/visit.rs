//! Who a request comes from, by its session cookies.

use std::time::Duration;

use http::HeaderValue;

use super::chunks::{self, Found, NotWritten};
use super::cookies::{Jar, SESSION};
use super::settings::Settings;
use super::{events, tickets};
use crate::flow::SessionId;
use crate::session::{Held, Opened, Shown};
use crate::store::StoreError;

/// What the session cookies of a request came to, and what is to be set on its response.
#[derive(Debug, Default)]
pub(super) struct Visit {
    pub(super) session: Option<Held>,
    pub(super) cookies: Vec<HeaderValue>,
}

/// What is known of a request without asking anybody.
#[derive(Debug)]
pub(super) enum Glance {
    Known(Visit),
    /// A store has to be asked.
    Unknown(Shown),
}

/// The cookies of a session.
#[derive(Debug)]
pub(super) struct SessionCookies {
    /// Their names without our prefix.
    pub(super) names: Vec<String>,
    pub(super) values: Vec<HeaderValue>,
}

impl Settings {
    /// Who it is, as far as that is at hand.
    pub(super) fn glance(&self, jar: &Jar<'_>) -> Glance {
        let found = match self.keeper.gives_tickets() {
            true => tickets::open(jar),
            false => chunks::open(&self.sealer, jar),
        };
        match found {
            Found::Nothing => Glance::Known(Visit::default()),
            Found::Spoiled => Glance::Known(self.nobody("spoiled", jar)),
            Found::Shown(shown) => match self.keeper.at_hand(shown) {
                Ok(opened) => Glance::Known(self.visited(opened, jar)),
                Err(shown) => Glance::Unknown(shown),
            },
        }
    }

    /// Who it is, whoever has to be asked.
    pub(super) async fn visit(&self, jar: &Jar<'_>) -> Result<Visit, StoreError> {
        match self.glance(jar) {
            Glance::Known(visit) => Ok(visit),
            Glance::Unknown(shown) => Ok(self.visited(self.keeper.look_up(shown).await?, jar)),
        }
    }

    /// The name of the session that a cookie is of, whether or not the cookie is still good for anything: a
    /// younger copy of it may be about, or its record be one that this process cannot read.
    pub(super) fn name_in_cookie(&self, jar: &Jar<'_>) -> Option<SessionId> {
        let found = match self.keeper.gives_tickets() {
            true => tickets::open(jar),
            false => chunks::open(&self.sealer, jar),
        };
        match found {
            Found::Shown(Shown::Record(record)) => Some(*record.id()),
            Found::Shown(Shown::Ticket(ticket)) => Some(self.keeper.name_of(&ticket)),
            _ => None,
        }
    }

    pub(super) fn visited(&self, opened: Opened, jar: &Jar<'_>) -> Visit {
        match opened {
            Opened::Session(held) => Visit {
                session: Some(held),
                cookies: Vec::new(),
            },
            Opened::Ended(reason) => self.nobody(reason, jar),
            Opened::Unreadable => Visit::default(),
        }
    }

    /// `L39`: what is unknown, changed, too old or ended is nobody, and its cookies are cleared.
    fn nobody(&self, reason: &'static str, jar: &Jar<'_>) -> Visit {
        events::session_ended(reason);
        let names = jar.session_names();
        Visit {
            session: None,
            cookies: names.filter_map(|name| self.clear(name)).collect(),
        }
    }

    /// The cookies of a session whose cookie is older than it is; nothing for all others. `shown` is how
    /// many cookies the browser showed.
    pub(super) fn renewed_cookies(&self, held: &Held, shown: usize) -> Vec<HeaderValue> {
        // `L47`: a slow response must not bring back a session that was ended or renewed meanwhile.
        let Some(newest) = self.keeper.newest_at_hand(held) else {
            return Vec::new();
        };
        if !newest.wants_cookie() {
            return Vec::new();
        }
        match self.session_cookies(&newest) {
            Ok(written) => {
                let stale = chunks::names(shown).into_iter();
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

    pub(super) fn session_cookies(&self, held: &Held) -> Result<SessionCookies, NotWritten> {
        let left = self
            .keeper
            .last_moment(held.record())
            .saturating_sub(self.now());
        let lifetime = Duration::from_secs(u64::try_from(left).unwrap_or_default());
        let names = &self.sealer.names;
        let cookies = match held.ticket() {
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
