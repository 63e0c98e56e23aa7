//! What the programs share: the token, the requests, the counting allocator, and the loop that takes
//! orders from `benches/measure.py`.

pub mod alloc;
#[cfg(feature = "by-hand")]
pub mod by_hand;
pub mod fixture;
pub mod subject;
mod worker;

pub use fixture::{Claims, Fixture};
pub use subject::{Inner, Subject};
pub use worker::run;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;
