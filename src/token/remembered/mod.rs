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
use super::verified::Verdict;
use crate::crypto::{TokenName, TokenNames};
use crate::issuer::{Standing, Voucher};
use crate::random::Random;
use crate::telemetry::Source;

/// What the memory of a layer may take unless said otherwise.
pub(super) const DEFAULT_BYTES: usize = 32 * 1024 * 1024;

/// The memory of one verifier.
pub(crate) struct Remembered {
    names: TokenNames,
    verdicts: Table<Arc<Verdict>>,
    max_bytes: usize,
    /// What a type of the application's own takes for the claims of one token, beside their text.
    converted: Option<usize>,
}

/// What a verdict carries for the next time its token comes.
#[derive(Default)]
pub(crate) struct Memory {
    /// `None` where a verdict must not be remembered here.
    grounds: Option<Grounds>,
    /// The claims as the application's own type, from the first time they were asked for as one.
    converted: OnceLock<Arc<dyn Any + Send + Sync>>,
}

/// Who found a token good, and by which key.
#[derive(Debug)]
struct Grounds {
    verifier: JwtVerifier,
    voucher: Voucher,
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
            names: TokenNames::new(&key)?,
            verdicts: Table::new(max_bytes),
            max_bytes,
            converted,
        })
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// What a token is known by here; `None` for one that nobody may present anyway.
    pub(super) fn name(&self, token: &[u8]) -> Option<TokenName> {
        if token.len() > MAX_TOKEN_LENGTH {
            return None;
        }
        self.names.name(token)
    }

    /// The verdict on a token that was good and plainly still is, where whoever gave it would be asked
    /// again.
    pub(super) fn recall(
        &self,
        name: &TokenName,
        is_asked: impl FnOnce(&JwtVerifier) -> bool,
    ) -> Option<Arc<Verdict>> {
        let verdict = self.verdicts.get(name)?;
        let grounds = verdict.memory.grounds.as_ref()?;
        if !is_asked(&grounds.verifier) {
            return None;
        }
        match grounds.verifier.standing(&verdict, &grounds.voucher) {
            Standing::Current => {
                Source::Remembered.count();
                tracing::trace!(
                    name: "verdict_remembered",
                    target: "tower_oauth::token",
                    "verdict remembered"
                );
                Some(verdict)
            }
            Standing::Withdrawn => {
                self.verdicts.remove(name);
                None
            }
            Standing::Unknown => None,
        }
    }

    /// Remembers a verdict that was just given.
    pub(super) fn keep(&self, name: TokenName, verdict: &Arc<Verdict>) {
        if verdict.memory.grounds.is_some() {
            // A converted copy comes later, so room is made for it now: for its strings as much as
            // the text has.
            let text = verdict.claims.as_json().len();
            let converted = self.converted.map_or(0, |size| size + text);
            let bytes = verdict.heap_bytes() + converted;
            self.verdicts.insert(name, Arc::clone(verdict), bytes);
        }
    }
}

impl Memory {
    pub(super) fn new(verifier: &JwtVerifier, voucher: Voucher) -> Self {
        let grounds = Grounds {
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
