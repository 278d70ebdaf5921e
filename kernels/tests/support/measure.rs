//! What a call costs: time, and memory as the allocator counts it, in all threads.

#![allow(unreachable_pub, reason = "a module of test binaries")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a call took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub microseconds: u128,
    /// The most memory held at a time, above what was held before.
    pub bytes_peak: usize,
}

impl Spent {
    /// The worse of both, in each respect.
    pub fn worse(self, other: Self) -> Self {
        Self {
            microseconds: self.microseconds.max(other.microseconds),
            bytes_peak: self.bytes_peak.max(other.bytes_peak),
        }
    }
}

/// Only one test of a binary runs while it holds this: what others allocate would count too.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls and measures.
#[allow(clippy::disallowed_methods, reason = "the time is what is tested")]
pub fn measure<T>(call: impl FnOnce() -> T) -> (T, Spent) {
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    let started = std::time::Instant::now();
    let result = call();
    let microseconds = started.elapsed().as_micros();
    let spent = Spent {
        microseconds,
        bytes_peak: (PEAK.load(Relaxed) - before).max(0) as usize,
    };
    (result, spent)
}

static HELD: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    let held = HELD.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(held, Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory of the heap.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of `dealloc`, and the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}
