//! The validation result of a token, and what the token cache stores with it.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::audience::Audience;
use super::jwt::settings::JwtSettings;
use crate::issuer::KeyRef;
use crate::protocol::confirmation::Confirmation;
use crate::protocol::shared_text::allocated;
use crate::protocol::{AuthorizationDetails, Claims, ScopeSet};

/// The validation result of a token, independent of the application's claims type. Scope checks and extractors use
/// only this.
#[derive(Debug)]
pub(crate) struct TokenInfo {
    pub(crate) claims: Arc<Claims>,
    /// The scopes of a configured claim mapping, which replaces the registered `scope`.
    pub(crate) scopes: Option<ScopeSet>,
    /// Boxed, because most tokens have none.
    pub(crate) confirmation: Option<Box<Confirmation>>,
    /// What identifies this API, which the verifier was configured with.
    pub(crate) audience: Arc<Audience>,
    pub(crate) cache: CacheData,
}

impl TokenInfo {
    pub(crate) fn scopes(&self) -> &ScopeSet {
        self.scopes.as_ref().unwrap_or_else(|| self.claims.scope())
    }

    /// Returns the authorization details that are meant for this API; none if the claim is malformed.
    pub(crate) fn authorization_details(&self) -> AuthorizationDetails {
        let granted = AuthorizationDetails::of_document(self.claims.as_json().as_bytes());
        let granted = granted.unwrap_or_default().unwrap_or_default();
        granted.at(|location| self.audience.is_named(location))
    }

    /// Returns the size on the heap including `self`, close to what an allocator counts.
    pub(super) fn heap_bytes(&self) -> usize {
        let scopes = self.scopes.as_ref().map_or(0, ScopeSet::heap_bytes);
        let confirmation = self.confirmation.as_deref().map_or(0, size_of_val);
        allocated(size_of::<Self>() + 16)
            + self.claims.heap_bytes()
            + scopes
            + allocated(confirmation)
    }
}

/// What the cache stores with the [`TokenInfo`] of a token.
#[derive(Default)]
pub(crate) struct CacheData {
    /// `None` if this cache must not store the token.
    pub(super) provenance: Option<Provenance>,
    /// The claims as the application's type, deserialized on first use.
    converted: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// Which conditions on the claims are known to be met, one bit each.
    met: AtomicU64,
}

/// Identifies a condition that depends on nothing but the claims, so that its result can be cached with the token. The
/// first 64 conditions of the process have an identifier; others are checked on every request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConditionId(u64);

impl ConditionId {
    pub(crate) fn next() -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // The last bit shifts out, and zero is not an identifier.
        let shift = |bit: u64| (bit != 0).then_some(bit << 1);
        let bit = NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shift);
        bit.ok().map(Self)
    }
}

/// The verifier and the key that validated a token, and when the token is valid.
#[derive(Debug)]
pub(super) struct Provenance {
    pub(super) verifier: Arc<JwtSettings>,
    pub(super) key: KeyRef,
    /// The period of validity, in seconds since the Unix epoch.
    pub(super) validity: Range<i64>,
}

impl CacheData {
    pub(super) fn new(provenance: Provenance) -> Self {
        Self {
            provenance: Some(provenance),
            ..Self::default()
        }
    }

    /// Returns whether the claims meet a condition. Calls `check` unless they are known to.
    pub(crate) fn meets(&self, id: Option<ConditionId>, check: impl FnOnce() -> bool) -> bool {
        let bit = id.map_or(0, |id| id.0);
        if self.met.load(Ordering::Relaxed) & bit != 0 {
            return true;
        }
        let is_met = check();
        if is_met {
            self.met.fetch_or(bit, Ordering::Relaxed);
        }
        is_met
    }

    /// Returns the claims as type `T`. Calls `convert` unless they were converted to `T` before.
    pub(crate) fn converted<T, E>(
        &self,
        convert: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E>
    where
        T: Send + Sync + 'static,
    {
        let cached = self.converted.get().map(Arc::clone);
        if let Some(Ok(cached)) = cached.map(Arc::downcast) {
            return Ok(cached);
        }
        let converted = Arc::new(convert()?);
        // If the claims were first converted to another type, that type stays cached.
        let any: Arc<dyn Any + Send + Sync> = Arc::<T>::clone(&converted);
        let _ = self.converted.set(any);
        Ok(converted)
    }
}

impl fmt::Debug for CacheData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheData").finish_non_exhaustive()
    }
}
