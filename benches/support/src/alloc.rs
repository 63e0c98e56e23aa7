//! The system allocator with counters that can be switched on.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

/// An allocator that counts. Counting is off while time is measured, because it costs time.
pub struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub allocations: u64,
    /// Growth of the heap in requested bytes, without the allocator's overhead.
    pub grown: i64,
}

/// Starts to count on all threads.
pub fn begin() {
    ALLOCATIONS.store(0, Relaxed);
    LIVE.store(0, Relaxed);
    ON.store(true, Relaxed);
}

pub fn end() -> Counts {
    ON.store(false, Relaxed);
    Counts {
        allocations: ALLOCATIONS.load(Relaxed),
        grown: LIVE.load(Relaxed),
    }
}

fn count_alloc(bytes: usize) {
    if ON.load(Relaxed) {
        ALLOCATIONS.fetch_add(1, Relaxed);
        LIVE.fetch_add(bytes as i64, Relaxed);
    }
}

fn count_dealloc(bytes: usize) {
    if ON.load(Relaxed) {
        LIVE.fetch_sub(bytes as i64, Relaxed);
    }
}

// SAFETY: every call is forwarded unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_alloc(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_alloc(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count_alloc(size);
        count_dealloc(layout.size());
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        count_dealloc(layout.size());
        unsafe { System.dealloc(old, layout) }
    }
}
