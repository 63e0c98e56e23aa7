//! Who a request comes from, by its session cookies.

use std::time::Duration;

use http::HeaderValue;

use super::chunks::{self, Found, NotWritten};
use super::cookies::Jar;
use super::events;
use super::settings::Settings;
use crate::flow::SessionRecord;

/// What the session cookies of a request came to, and what is to be set on its response.
#[derive(Debug, Default)]
pub(super) struct Visit {
    pub(super) session: Option<SessionRecord>,
    pub(super) cookies: Vec<HeaderValue>,
}

/// A session that may have been written anew.
#[derive(Debug)]
pub(super) struct Renewed {
    pub(super) record: SessionRecord,
    pub(super) cookies: Vec<HeaderValue>,
}

/// The cookies of a session.
#[derive(Debug)]
pub(super) struct SessionCookies {
    /// Their names without our prefix.
    pub(super) names: Vec<String>,
    pub(super) values: Vec<HeaderValue>,
}

impl Settings {
    /// `L39`: what is unknown, changed, too old or ended is nobody, and its cookies are cleared.
    pub(super) fn visit(&self, jar: &Jar<'_>) -> Visit {
        let reason = match chunks::open(&self.sealer, jar) {
            Found::Nothing => return Visit::default(),
            Found::Spoiled => "spoiled",
            Found::Session(record) if self.has_ended(&record) => "expired",
            Found::Session(record) if self.memory.tombstones.holds(record.id()) => "signed_out",
            Found::Session(record) => {
                return Visit {
                    session: Some(*record),
                    cookies: Vec::new(),
                };
            }
        };
        events::session_ended(reason);
        Visit {
            session: None,
            cookies: jar
                .session_names()
                .filter_map(|name| self.clear(name))
                .collect(),
        }
    }

    /// Notes that the session is in use, if the last note is old enough to be worth a new one (`L44`).
    pub(super) fn renew(&self, record: SessionRecord, jar: &Jar<'_>) -> Renewed {
        let now = self.now();
        if !record.wants_touch(now, self.idle) {
            return Renewed {
                record,
                cookies: Vec::new(),
            };
        }
        let record = record.touched(now);
        let cookies = match self.session_cookies(&record) {
            Ok(written) => {
                let stale = jar
                    .session_names()
                    .filter(|&name| !written.names.iter().any(|new| new == name));
                let cleared = stale.filter_map(|name| self.clear(name));
                written.values.into_iter().chain(cleared).collect()
            }
            Err(reason) => {
                events::session_not_renewed(&reason);
                Vec::new()
            }
        };
        Renewed { record, cookies }
    }

    pub(super) fn session_cookies(
        &self,
        record: &SessionRecord,
    ) -> Result<SessionCookies, NotWritten> {
        let left = self.ends_at(record).saturating_sub(self.now());
        let lifetime = Duration::from_secs(u64::try_from(left).unwrap_or_default());
        let names = &self.sealer.names;
        let sealed = chunks::seal(&self.sealer, record)?;
        let values = sealed
            .iter()
            .filter_map(|(name, value)| {
                names.set(&names.full(name), value, lifetime, self.same_site)
            })
            .collect();
        Ok(SessionCookies {
            names: sealed.into_iter().map(|(name, _)| name).collect(),
            values,
        })
    }
}
