//! Application data in sessions: JSON of a size that the backend can store.

use std::error::Error;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::backend::SaveResult;
use super::handle::Session;
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use crate::crypto::seal::sealed_len;
use crate::record::SessionRecord;
use crate::store::StoreError;

/// The error of reading or writing app data.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppDataError {
    /// The data is too large. Nothing was changed.
    #[error("app data of {bytes} bytes as JSON exceeds the maximum of {limit} bytes")]
    TooLarge {
        /// The size of the data as JSON, in bytes.
        bytes: usize,
        /// The maximum: 1024 in cookies, or less beside large tokens; 65 536 in a store.
        limit: usize,
    },
    /// The data cannot be serialized as JSON.
    #[error("the app data cannot be serialized as JSON")]
    NotJson(#[source] Arc<dyn Error + Send + Sync>),
    /// The stored data cannot be deserialized as the requested type.
    #[error("the app data cannot be deserialized as this type")]
    OtherType(#[source] Arc<dyn Error + Send + Sync>),
    /// The session has ended.
    #[error("the session has ended")]
    Ended,
    /// The store cannot be reached, or too many requests write to this session concurrently.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Session {
    /// Returns the app data of this session, or `None` if there is none.
    ///
    /// App data is kept over refreshes and removed with the session: the next login starts without.
    ///
    /// # Errors
    ///
    /// [`AppDataError::OtherType`] if it cannot be deserialized as `T`.
    pub fn app_data<T: DeserializeOwned>(&self) -> Result<Option<T>, AppDataError> {
        self.note_read();
        from_json(self.current().record().app_data())
    }

    /// Replaces the app data of this session. Data that serializes to `null` removes it.
    ///
    /// | session in | saved | concurrent requests | maximum |
    /// | --- | --- | --- | --- |
    /// | encrypted cookie | with the response of this request, whose headers must not have been sent | the later call wins; with several processes the later response wins | 1 KiB |
    /// | encrypted cookie with a shared store | when this method returns | the later call wins | 1 KiB |
    /// | store | when this method returns | the later call wins | 64 KiB |
    ///
    /// Use [`update_app_data`](Self::update_app_data) if the new data depends on the old.
    ///
    /// # Errors
    ///
    /// [`AppDataError`]; the app data is then unchanged.
    pub async fn set_app_data<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), AppDataError> {
        let text = to_json(data)?;
        self.change_app_data(|_| Ok(text.clone())).await
    }

    /// Updates the app data of this session with a function of the old data, for example a counter or a list.
    ///
    /// With a store, `change` receives the data of all previous writes and is called again after a conflict.
    /// In encrypted cookies alone, it receives the data that this process has.
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
    /// [`AppDataError`]; the app data is then unchanged.
    pub async fn update_app_data<T: Serialize + DeserializeOwned>(
        &self,
        change: impl Fn(Option<T>) -> T,
    ) -> Result<T, AppDataError> {
        let mut saved = None;
        self.change_app_data(|text| {
            let new = change(from_json(text)?);
            let text = to_json(&new)?;
            saved = Some(new);
            Ok(text)
        })
        .await?;
        // Set by the call of `change` that was saved.
        saved.ok_or(AppDataError::Ended)
    }

    async fn change_app_data(
        &self,
        change: impl FnMut(Option<&str>) -> Result<Option<String>, AppDataError>,
    ) -> Result<(), AppDataError> {
        let newer = self
            .manager()
            .replace_app_data(&self.current(), change)
            .await?;
        self.replace(newer);
        Ok(())
    }
}

impl SessionManager {
    /// Compares and swaps until it succeeds or the session has ended.
    pub(super) async fn replace_app_data(
        &self,
        loaded: &LoadedSession,
        mut change: impl FnMut(Option<&str>) -> Result<Option<String>, AppDataError>,
    ) -> Result<LoadedSession, AppDataError> {
        // Loaded first: a session that has ended keeps no data, even if its record has not been written
        // since.
        let mut loaded = self.load(loaded).await?.ok_or(AppDataError::Ended)?;
        if self.is_cookie_only() && !self.has_room_for(loaded.record()) {
            return Err(StoreError::Full.into());
        }
        for _ in 0..MAX_ATTEMPTS {
            let text = change(loaded.record().app_data())?;
            let record = self.with_app_data(loaded.record(), text)?;
            match self.save(&loaded, record).await? {
                SaveResult::Stored(newer) => return Ok(newer),
                SaveResult::Conflict => match self.load(&loaded).await? {
                    Some(newest) => loaded = newest,
                    None => return Err(AppDataError::Ended),
                },
            }
        }
        Err(StoreError::unavailable("the session changes too fast").into())
    }

    /// Returns the record with this app data if it fits.
    pub(super) fn with_app_data(
        &self,
        record: &SessionRecord,
        text: Option<String>,
    ) -> Result<SessionRecord, AppDataError> {
        let bytes = text.as_ref().map_or(0, String::len);
        let too_large = |limit| AppDataError::TooLarge { bytes, limit };
        let limit = if self.keeps_sessions_in_store() {
            MAX_IN_STORE
        } else {
            MAX_IN_COOKIES
        };
        if bytes > limit {
            return Err(too_large(limit));
        }
        let record = record.clone().with_app_data(text);
        if !self.keeps_sessions_in_store() && bytes > 0 {
            // The raw ID token is dropped first if the cookie is too large.
            let length = record.clone().without_id_token().to_bytes().len();
            let surplus = sealed_len(1 + length).saturating_sub(MAX_COOKIE_LEN);
            if surplus > 0 {
                return Err(too_large(bytes.saturating_sub(surplus)));
            }
        }
        Ok(record)
    }
}

/// Serializes `data`. Returns `None` for `null`.
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

const MAX_IN_COOKIES: usize = 1024;
const MAX_IN_STORE: usize = 64 * 1024;

/// Limit on all session cookies together, names included, as a request carries them. With the cookies of pending
/// logins they stay below 8 KiB, at which proxies reject header fields.
pub(crate) const MAX_COOKIE_BYTES: usize = 5 * 1024 - 64;

/// The same without their longest names.
const MAX_COOKIE_LEN: usize = MAX_COOKIE_BYTES - 2 * 64;

/// Of concurrent writers, at least one succeeds in each round.
const MAX_ATTEMPTS: usize = 64;
