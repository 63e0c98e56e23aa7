//! Shared by the programs: the token, the requests, the counting allocator, and the loop that executes
//! commands of `benches/measure.py`.

#[cfg(feature = "by-hand")]
pub mod by_hand;
pub mod fixture;
#[cfg(feature = "raw")]
pub mod raw;

#[cfg(feature = "subjects")]
pub mod alloc;
#[cfg(feature = "subjects")]
pub mod subject;
#[cfg(feature = "subjects")]
mod worker;

pub use fixture::{Claims, Fixture};
#[cfg(feature = "subjects")]
pub use subject::{Inner, Subject};
#[cfg(feature = "subjects")]
pub use worker::run;

#[cfg(feature = "subjects")]
#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;
