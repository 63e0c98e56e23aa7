//! The system's allocator, which counts while it is told to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

/// Counting costs time, so it is off while time is measured.
pub struct Counting;

static ON: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

#[derive(Clone, Copy, Debug)]
pub struct Counts {
    pub allocations: u64,
    /// By how many bytes the heap has grown, as asked for, without what the allocator adds.
    pub grown: i64,
}

/// Counts from here, on all threads.
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

fn took(bytes: usize) {
    if ON.load(Relaxed) {
        ALLOCATIONS.fetch_add(1, Relaxed);
        LIVE.fetch_add(bytes as i64, Relaxed);
    }
}

fn gave(bytes: usize) {
    if ON.load(Relaxed) {
        LIVE.fetch_sub(bytes as i64, Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        took(size);
        gave(layout.size());
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        gave(layout.size());
        unsafe { System.dealloc(old, layout) }
    }
}
