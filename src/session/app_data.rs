//! Application data in sessions: JSON of a size that the backend can store.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::AppDataError;
use super::handle::Session;
use super::hooks::NewAppData;
use super::loaded::LoadedSession;
use super::manager::SessionManager;
use crate::record::SessionRecord;
use crate::store::StoreError;

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
        read(self.current().record())
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
        let text = serde_json::to_string(data).map_err(AppDataError::not_json)?;
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
        self.change_app_data(|record| {
            let new = change(read(record)?);
            let text = serde_json::to_string(&new).map_err(AppDataError::not_json)?;
            saved = Some(new);
            Ok(text)
        })
        .await?;
        // Set by the call of `change` that was saved.
        saved.ok_or(AppDataError::Ended)
    }

    async fn change_app_data(
        &self,
        change: impl FnMut(&SessionRecord) -> NewAppData,
    ) -> Result<(), AppDataError> {
        let current = self.current();
        let newer = self.manager().replace_app_data(&current, change).await?;
        self.replace(newer);
        Ok(())
    }
}

impl SessionManager {
    /// Compares and swaps until it succeeds or the session has ended.
    pub(super) async fn replace_app_data(
        &self,
        loaded: &LoadedSession,
        mut change: impl FnMut(&SessionRecord) -> NewAppData,
    ) -> Result<LoadedSession, AppDataError> {
        let now = self.time();
        // Loaded first: a session that has ended keeps no data, even if its record has not been written
        // since.
        let mut loaded = self.load(loaded, &now).await?.ok_or(AppDataError::Ended)?;
        if !self.has_room_for(loaded.record()) {
            return Err(StoreError::Full.into());
        }
        for _ in 0..MAX_ATTEMPTS {
            let text = change(loaded.record())?;
            let record = self.with_app_data(loaded.record(), text)?;
            if let Some(newer) = self.save(&loaded, record, &now).await? {
                return Ok(newer);
            }
            loaded = self.load(&loaded, &now).await?.ok_or(AppDataError::Ended)?;
        }
        Err(StoreError::unavailable("the session changes too fast").into())
    }

    /// Returns the record with this app data if it fits. `null` removes it.
    pub(super) fn with_app_data(
        &self,
        record: &SessionRecord,
        text: String,
    ) -> Result<SessionRecord, AppDataError> {
        let text = Some(text).filter(|text| text != "null");
        let bytes = text.as_ref().map_or(0, String::len);
        let record = record.clone().with_app_data(text);
        let limit = self.max_app_data(&record, bytes);
        match bytes > limit {
            true => Err(AppDataError::TooLarge { bytes, limit }),
            false => Ok(record),
        }
    }
}

fn read<T: DeserializeOwned>(record: &SessionRecord) -> Result<Option<T>, AppDataError> {
    let data = record.app_data().map(serde_json::from_str).transpose();
    data.map_err(AppDataError::other_type)
}

/// Of concurrent writers, at least one succeeds in each round.
const MAX_ATTEMPTS: usize = 64;
