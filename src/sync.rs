//! The mutex and the lock of the crate. Neither is poisoned: what they protect stays consistent if a holder panics.

pub(crate) use parking_lot::{Mutex, RwLock};
