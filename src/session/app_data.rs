//! What an application keeps with a session: JSON, of a size that its place can hold.

use std::error::Error;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::backend::Saved;
use super::handle::Session;
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use crate::crypto::seal::sealed_len;
use crate::flow::SessionRecord;
use crate::store::StoreError;

/// Why app data could not be read or kept.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppDataError {
    /// It does not fit. Nothing was changed.
    #[error("app data of {bytes} bytes as JSON, where {limit} fit")]
    TooLarge {
        /// What it takes as JSON.
        bytes: usize,
        /// What there is room for: 1024 in cookies, less beside large tokens; 65 536 in a store.
        limit: usize,
    },
    /// It cannot be written as JSON.
    #[error("the app data cannot be written as JSON")]
    NotJson(#[source] Arc<dyn Error + Send + Sync>),
    /// What is there is not of the type that was asked for.
    #[error("the app data is of another type")]
    OtherType(#[source] Arc<dyn Error + Send + Sync>),
    /// The session has ended meanwhile.
    #[error("the session has ended")]
    Ended,
    /// The store cannot be asked, or too many requests write to this session at once.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Session {
    /// What the application keeps with this session; `None` before it kept anything.
    ///
    /// It lives as long as the session, goes on over refreshes, and is gone with the next login.
    ///
    /// # Errors
    ///
    /// [`AppDataError::OtherType`] where it is no `T`.
    pub fn app_data<T: DeserializeOwned>(&self) -> Result<Option<T>, AppDataError> {
        self.note_read();
        from_json(self.current().record().app_data())
    }

    /// Keeps this with the session instead of what was there. What is written as `null` is nothing.
    ///
    /// | where the session is | when it is kept | who wins of two requests at once | at most |
    /// | --- | --- | --- | --- |
    /// | sealed cookie | with the response to this request, whose headers must not be sent yet | the later call; over several processes the later response | 1 KiB |
    /// | the same with shared memory | when this returns | the later call | 1 KiB |
    /// | store | when this returns | the later call | 64 KiB |
    ///
    /// What depends on what was there belongs into [`update_app_data`](Self::update_app_data).
    ///
    /// # Errors
    ///
    /// [`AppDataError`]; nothing was changed then.
    pub async fn set_app_data<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), AppDataError> {
        let text = to_json(data)?;
        self.replace(|_| Ok(text.clone())).await
    }

    /// Makes new app data of what is there: a counter, a list that grows.
    ///
    /// Where the session is in a store, or has shared memory, `change` sees what every other request has
    /// written before, and is called again where another was faster. In a sealed cookie alone, it sees
    /// what this process knows.
    ///
    /// ```
    /// use tower_oauth::Session;
    /// use tower_oauth::session::AppDataError;
    ///
    /// async fn count(session: Session) -> Result<String, AppDataError> {
    ///     let visits = session.update_app_data(|visits: Option<u32>| visits.unwrap_or(0) + 1).await?;
    ///     Ok(format!("visit {visits}"))
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AppDataError`]; nothing was changed then.
    pub async fn update_app_data<T: Serialize + DeserializeOwned>(
        &self,
        change: impl Fn(Option<T>) -> T,
    ) -> Result<T, AppDataError> {
        let mut made = None;
        self.replace(|text| {
            let new = change(from_json(text)?);
            let text = to_json(&new)?;
            made = Some(new);
            Ok(text)
        })
        .await?;
        // It was called at least once: otherwise nothing could have been kept.
        made.ok_or(AppDataError::Ended)
    }

    async fn replace(
        &self,
        change: impl FnMut(Option<&str>) -> Result<Option<String>, AppDataError>,
    ) -> Result<(), AppDataError> {
        let newer = self
            .keeper()
            .replace_app_data(&self.current(), change)
            .await?;
        self.renew(newer);
        Ok(())
    }
}

impl SessionManager {
    /// Compares and swaps until it took effect, or the session has ended (`L47`).
    pub(super) async fn replace_app_data(
        &self,
        held: &LoadedSession,
        mut change: impl FnMut(Option<&str>) -> Result<Option<String>, AppDataError>,
    ) -> Result<LoadedSession, AppDataError> {
        // A session that has ended keeps nothing, even if nobody has written it since.
        let mut held = self.load(held).await?.ok_or(AppDataError::Ended)?;
        if self.keeps_in_cookies_alone() && !self.has_room_for(held.record()) {
            return Err(StoreError::Full.into());
        }
        for _ in 0..ATTEMPTS {
            let text = change(held.record().app_data())?;
            let record = self.with_app_data(held.record(), text)?;
            match self.save(&held, record).await? {
                Saved::Stored(newer) => return Ok(newer),
                Saved::Conflict => match self.load(&held).await? {
                    Some(newest) => held = newest,
                    None => return Err(AppDataError::Ended),
                },
            }
        }
        Err(StoreError::unavailable("a session changes too fast").into())
    }

    /// The record with this app data, if there is room for it.
    pub(super) fn with_app_data(
        &self,
        record: &SessionRecord,
        text: Option<String>,
    ) -> Result<SessionRecord, AppDataError> {
        let bytes = text.as_ref().map_or(0, String::len);
        let too_large = |limit| AppDataError::TooLarge { bytes, limit };
        let most = if self.keeps_sessions_in_store() {
            MOST_IN_A_STORE
        } else {
            MOST_IN_COOKIES
        };
        if bytes > most {
            return Err(too_large(most));
        }
        let record = record.clone().with_app_data(text);
        if !self.keeps_sessions_in_store() && bytes > 0 {
            // The raw ID token gives way first.
            let length = record.clone().without_id_token().to_bytes().len();
            let surplus = sealed_len(1 + length).saturating_sub(COOKIE_ROOM);
            if surplus > 0 {
                return Err(too_large(bytes.saturating_sub(surplus)));
            }
        }
        Ok(record)
    }
}

/// `null` is nothing.
pub(super) fn to_json<T: Serialize + ?Sized>(data: &T) -> Result<Option<String>, AppDataError> {
    let text =
        serde_json::to_string(data).map_err(|error| AppDataError::NotJson(Arc::new(error)))?;
    Ok(Some(text).filter(|text| text != "null"))
}

pub(super) fn from_json<T: DeserializeOwned>(
    text: Option<&str>,
) -> Result<Option<T>, AppDataError> {
    text.map(serde_json::from_str)
        .transpose()
        .map_err(|error| AppDataError::OtherType(Arc::new(error)))
}

const MOST_IN_COOKIES: usize = 1024;
const MOST_IN_A_STORE: usize = 64 * 1024;

/// What the session cookies hold together, less their longest names.
const COOKIE_ROOM: usize = 5 * 1024 - 64 - 2 * 64;

/// Of those who write to one session at once, each round lets one through.
const ATTEMPTS: usize = 64;
