//! Where sessions are kept, and tests that run once for each of these modes.

use tower_oauth::LoginLayer;
use tower_oauth::store::{MemoryStore, Store};

/// Where sessions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In cookies alone.
    Cookie,
    /// In cookies with a shared store.
    Shared,
    /// In a store.
    Store,
}

impl Mode {
    /// Returns a layer that keeps sessions this way, with a store of its own.
    pub fn place(self, login: LoginLayer) -> LoginLayer {
        self.place_in(login, MemoryStore::new())
    }

    /// Returns a layer that keeps sessions this way, in this store if there is one.
    pub fn place_in(self, login: LoginLayer, store: impl Store) -> LoginLayer {
        match self {
            Self::Cookie => login,
            Self::Shared => login.with_shared_store(store),
            Self::Store => login.with_session_store(store),
        }
    }
}

/// Runs functions as tests, once for each mode: `a_claim::cookie`, `a_claim::shared`, `a_claim::store`. Those in
/// `with_store` run in the modes that have a store.
macro_rules! session_modes {
    ($(all: [$($all:ident),* $(,)?],)? $(with_store: [$($with_store:ident),* $(,)?],)?) => {
        $($(mod $all {
            $crate::support::modes::session_mode!($all, cookie, Cookie);
            $crate::support::modes::session_mode!($all, shared, Shared);
            $crate::support::modes::session_mode!($all, store, Store);
        })*)?
        $($(mod $with_store {
            $crate::support::modes::session_mode!($with_store, shared, Shared);
            $crate::support::modes::session_mode!($with_store, store, Store);
        })*)?
    };
}

macro_rules! session_mode {
    ($function:ident, $name:ident, $mode:ident) => {
        #[tokio::test]
        async fn $name() {
            super::$function($crate::support::modes::Mode::$mode).await;
        }
    };
}

pub(crate) use {session_mode, session_modes};
