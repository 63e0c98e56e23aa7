//! Opaque tokens and their claims, as the introspection endpoint reports them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::members::Members;
use super::mint::TokenMint;
use super::respond::random_text;

impl TokenMint {
    /// Returns an opaque token with these claims: random text whose claims only the introspection
    /// endpoint reports ([RFC 7662]). Header and signature are not used.
    ///
    /// The introspection response is `active` with these claims until `exp`. `token_type` is `Bearer`,
    /// or `DPoP` if `cnf` has a `jkt`, unless set as a claim.
    ///
    /// # Panics
    ///
    /// If the operating system's random number generator fails.
    ///
    /// [RFC 7662]: https://www.rfc-editor.org/rfc/rfc7662
    #[must_use]
    pub fn opaque(&self) -> String {
        let token = random_text();
        self.register(&token);
        token
    }

    /// Registers any text as a token at the introspection endpoint, as [`opaque`](Self::opaque) does.
    pub fn register(&self, token: &str) {
        self.introspected.add(token, self.claims.clone());
    }
}

/// Registered tokens. Shared by a server and its mints.
#[derive(Clone, Debug, Default)]
pub(super) struct Introspected(Arc<Mutex<HashMap<String, Members>>>);

impl Introspected {
    fn add(&self, token: &str, claims: Members) {
        self.tokens().insert(token.to_owned(), claims);
    }

    pub(super) fn remove(&self, token: &str) {
        self.tokens().remove(token);
    }

    /// Returns the claims of a token in their order.
    pub(super) fn claims(&self, token: &str) -> Option<Members> {
        self.tokens().get(token).cloned()
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<String, Members>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
