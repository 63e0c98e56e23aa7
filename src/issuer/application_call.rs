//! Calls of code of the application that client authentication or a login waits for.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::clock::{Clock, within};

/// How long a file, a function, a remote signer or an identity source may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Returns the result of the call, or why there is none: it panicked, or took too long.
pub(crate) async fn call_application<T>(
    clock: &dyn Clock,
    call: impl Future<Output = T>,
) -> Result<T, &'static str> {
    match within(clock, TIMEOUT, AssertUnwindSafe(call).catch_unwind()).await {
        Some(Ok(result)) => Ok(result),
        Some(Err(_)) => Err("it panicked"),
        None => Err("it took longer than 5 seconds"),
    }
}
