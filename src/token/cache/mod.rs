//! Verdicts on tokens that were verified here, so that a token seen before costs no signature check.
//!
//! What is remembered is only that a token was good, and by which key. At every hit the times and the
//! key are looked at again, and whatever is not plainly good still is judged anew, so that the answer
//! is the one it would have been without a memory (`A19`). Scope, binding and all else that a request
//! brings are judged at every request anyway. Tokens themselves are not kept.

mod table;

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use self::table::Table;
use super::jws::MAX_TOKEN_LENGTH;
use super::jwt::JwtVerifier;
use super::verified::TokenInfo;
use crate::crypto::{CacheTag, TokenTagger};
use crate::issuer::{KeyRef, KeyStatus};
use crate::random::Random;
use crate::telemetry::Source;

/// What the memory of a layer may take unless said otherwise.
pub(super) const DEFAULT_BYTES: usize = 32 * 1024 * 1024;

/// The memory of one verifier.
pub(crate) struct Remembered {
    names: TokenTagger,
    verdicts: Table<Arc<TokenInfo>>,
    max_bytes: usize,
    /// What a type of the application's own takes for the claims of one token, beside their text.
    converted: Option<usize>,
}

/// What a token_info carries for the next time its token comes.
#[derive(Default)]
pub(crate) struct Memory {
    /// `None` where a token_info must not be remembered here.
    grounds: Option<Provenance>,
    /// The claims as the application's own type, from the first time they were asked for as one.
    converted: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// Who found a token good, and by which key.
#[derive(Debug)]
struct Provenance {
    verifier: JwtVerifier,
    voucher: KeyRef,
}

impl Remembered {
    /// `None` where there is no memory to be had, so that every token is judged anew: without any
    /// bytes, and without randomness.
    pub(super) fn new(max_bytes: usize, converted: Option<usize>) -> Option<Self> {
        if max_bytes == 0 {
            return None;
        }
        // A key of its own for each memory, so that a name says nothing in another.
        let key = Random::system().bytes().ok()?;
        Some(Self {
            names: TokenTagger::new(&key)?,
            verdicts: Table::new(max_bytes),
            max_bytes,
            converted,
        })
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// What a token is known by here; `None` for one that nobody may present anyway.
    pub(super) fn name(&self, token: &[u8]) -> Option<CacheTag> {
        if token.len() > MAX_TOKEN_LENGTH {
            return None;
        }
        self.names.tag(token)
    }

    /// The token_info on a token that was good and plainly still is, where whoever gave it would be asked
    /// again.
    pub(super) fn recall(
        &self,
        name: &CacheTag,
        is_asked: impl FnOnce(&JwtVerifier) -> bool,
    ) -> Option<Arc<TokenInfo>> {
        let token_info = self.verdicts.get(name)?;
        let grounds = token_info.memory.grounds.as_ref()?;
        if !is_asked(&grounds.verifier) {
            return None;
        }
        match grounds.verifier.key_status(&token_info, &grounds.voucher) {
            KeyStatus::Current => {
                Source::Remembered.count();
                tracing::trace!(
                    name: "verdict_remembered",
                    target: "tower_oauth::token",
                    "token_info remembered"
                );
                Some(token_info)
            }
            KeyStatus::Withdrawn => {
                self.verdicts.remove(name);
                None
            }
            KeyStatus::Unknown => None,
        }
    }

    /// Remembers a token_info that was just given.
    pub(super) fn keep(&self, name: CacheTag, token_info: &Arc<TokenInfo>) {
        if token_info.memory.grounds.is_some() {
            // A converted copy comes later, so room is made for it now: for its strings as much as
            // the text has.
            let text = token_info.claims.as_json().len();
            let converted = self.converted.map_or(0, |size| size + text);
            let bytes = token_info.heap_bytes() + converted;
            self.verdicts.insert(name, Arc::clone(token_info), bytes);
        }
    }
}

impl Memory {
    pub(super) fn new(verifier: &JwtVerifier, voucher: KeyRef) -> Self {
        let grounds = Provenance {
            verifier: verifier.clone(),
            voucher,
        };
        Self {
            grounds: Some(grounds),
            converted: OnceLock::new(),
        }
    }

    /// The claims as this type, made by `convert` unless they were read as this type before.
    pub(crate) fn converted<T, E>(
        &self,
        convert: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E>
    where
        T: Send + Sync + 'static,
    {
        let kept = self.converted.get().map(Arc::clone);
        if let Some(Ok(kept)) = kept.map(Arc::downcast) {
            return Ok(kept);
        }
        let converted = Arc::new(convert()?);
        // Where another type was first, it stays.
        let any: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(&converted);
        let _ = self.converted.set(any);
        Ok(converted)
    }
}

/// How much is remembered; nothing of whom.
impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tokens, bytes) = self.verdicts.size();
        f.debug_struct("Remembered")
            .field("tokens", &tokens)
            .field("bytes", &bytes)
            .field("max_bytes", &self.max_bytes)
            .finish()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}
