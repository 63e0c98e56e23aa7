//! Tokens that the introspection endpoint knows, and what it says of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::members::Members;
use super::mint::TokenMint;
use super::respond::random_text;

impl TokenMint {
    /// An opaque token with these claims: random text, of which only the introspection endpoint
    /// (RFC 7662) knows what it is. Header and signature mean nothing then.
    ///
    /// The answer is `active` with these claims, until `exp` has come; `token_type` is `Bearer`, or
    /// `DPoP` where `cnf` has a `jkt`, unless a claim of that name says otherwise.
    ///
    /// # Panics
    ///
    /// Where the operating system gives no randomness.
    #[must_use]
    pub fn opaque(&self) -> String {
        let token = random_text();
        self.register(&token);
        token
    }

    /// Has the introspection endpoint answer for this text, whatever it is, as for an opaque token.
    pub fn register(&self, token: &str) {
        self.introspected.add(token, self.claims.clone());
    }
}

/// Shared by a server and the mints it hands out.
#[derive(Clone, Debug, Default)]
pub(super) struct Introspected(Arc<Mutex<HashMap<String, Members>>>);

impl Introspected {
    fn add(&self, token: &str, claims: Members) {
        self.tokens().insert(token.to_owned(), claims);
    }

    pub(super) fn remove(&self, token: &str) {
        self.tokens().remove(token);
    }

    /// The claims of a token, as they were ordered.
    pub(super) fn claims(&self, token: &str) -> Option<Members> {
        self.tokens().get(token).cloned()
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<String, Members>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
