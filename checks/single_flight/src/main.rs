//! Checks `src/single_flight.rs` under many interleavings, with shuttle in place of tokio and of the mutex.

extern crate self as tokio;

mod claims;
#[cfg_attr(not(feature = "fault"), path = "../../../src/single_flight.rs")]
#[cfg_attr(feature = "fault", path = "../target/fault.rs")]
#[allow(dead_code)]
mod single_flight;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt as _;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, MaxSteps, Runner};
use shuttle_tokio::task::AbortHandle;

/// What `tokio::sync` and `crate::sync` are in the file of the crate.
pub mod sync {
    use std::sync::PoisonError;

    use shuttle::sync::MutexGuard;
    pub use shuttle_tokio::sync::watch;

    /// A mutex without poisoning.
    #[derive(Default)]
    pub struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

/// What `tokio::spawn` is in the file of the crate. As there, a panic ends the task alone.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    let task = shuttle_tokio::spawn(async move {
        let Err(panic) = AssertUnwindSafe(future).catch_unwind().await else {
            return;
        };
        if !panic.is::<FlightPanic>() {
            std::panic::resume_unwind(panic);
        }
    });
    LAST_TASK.with(|last| *last.borrow_mut() = Some(task.abort_handle()));
}

shuttle::thread_local! {
    /// The last task of a flight that this thread has begun.
    static LAST_TASK: std::cell::RefCell<Option<AbortHandle>> = const { std::cell::RefCell::new(None) };
}

/// Drops the last flight of this thread, as the end of a runtime does.
fn abort_last_task() {
    let task = LAST_TASK.with(|last| last.borrow_mut().take());
    task.into_iter().for_each(|task| task.abort());
}

/// Panics inside a flight. The panic hook is not called, since shuttle takes that for a failure.
fn panic_in_flight() -> ! {
    std::panic::resume_unwind(Box::new(FlightPanic))
}

struct FlightPanic;

fn main() {
    let count = std::env::args().nth(1).map(|count| count.parse());
    let count: usize = count
        .expect("interleavings of each claim")
        .expect("a number");
    for &(name, claim) in claims::ALL {
        let begun = Instant::now();
        explore(RandomScheduler::new(count), claim);
        // Finds faults that need few but rare changes of task.
        explore(PctScheduler::new(3, count), claim);
        println!("{name} ({} ms)", begun.elapsed().as_millis());
    }
}

/// Runs a check under different interleavings.
fn explore(scheduler: impl Scheduler + 'static, claim: claims::Claim) {
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(100_000);
    Runner::new(scheduler, config).run(move || claims::check(claim));
}
