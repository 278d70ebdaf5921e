//! The threads of an evaluator: a team that walks through one step together.
//!
//! A step is one job. Every thread runs the same job, takes its own part of the rows by its index, and
//! meets the others at barriers. Parts are contiguous and fixed, because streaming weights from memory
//! is fastest when each thread reads one long run of it.
//!
//! Waiting spins for a moment, since a barrier is crossed some hundred times per token, and then sleeps: on a
//! machine that others use too, a thread that only yields waits out everybody's time slices at each barrier.
//! Between steps a thread spins only briefly and then sleeps: an idle node burns nothing. `pool/apart.rs` says how
//! threads keep off each other's cores.

mod apart;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};

use apart::Apart;

/// A fixed number of threads, of which the caller is the first.
pub(crate) struct Pool {
    state: Arc<State>,
    workers: Vec<Thread>,
    handles: Vec<JoinHandle<()>>,
}

/// One thread's place in the team during a job.
pub(crate) struct Place<'a> {
    /// 0-based index of this thread.
    pub(crate) index: usize,
    /// Count of threads.
    pub(crate) count: usize,
    state: &'a State,
}

struct State {
    /// The job of the current epoch. Only read by workers between the epoch's start and its last
    /// arrival, while the caller of `run` keeps the job alive.
    job: std::cell::UnsafeCell<Option<Job>>,
    epoch: AtomicUsize,
    stop: AtomicBool,
    count: usize,
    arrived: AtomicUsize,
    generation: AtomicUsize,
    /// Threads that gave up spinning and sleep at `gate`.
    sleepers: AtomicUsize,
    gate: Condvar,
    lock: Mutex<()>,
    apart: OnceLock<Apart>,
}

type Job = *const (dyn Fn(&Place<'_>) + Sync);

// SAFETY: `job` is written by the caller before it publishes an epoch and read by workers after they
// have seen that epoch; everything else is atomic.
unsafe impl Sync for State {}
// SAFETY: the pointer in `job` is only followed while `run` keeps its target alive.
unsafe impl Send for State {}

impl Pool {
    pub(crate) fn new(threads: usize) -> std::io::Result<Self> {
        let count = threads.max(1);
        let state = Arc::new(State {
            job: std::cell::UnsafeCell::new(None),
            epoch: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            count,
            arrived: AtomicUsize::new(0),
            generation: AtomicUsize::new(0),
            sleepers: AtomicUsize::new(0),
            gate: Condvar::new(),
            lock: Mutex::new(()),
            apart: OnceLock::new(),
        });
        // Built before the first spawn, so that a failing spawn stops the threads it already made.
        let mut pool = Self {
            state,
            workers: Vec::new(),
            handles: Vec::new(),
        };
        for index in 1..count {
            let state = Arc::clone(&pool.state);
            let handle = std::thread::Builder::new()
                .name(format!("evaluate-{index}"))
                .spawn(move || work(&state, index))?;
            pool.workers.push(handle.thread().clone());
            pool.handles.push(handle);
        }
        Ok(pool)
    }

    /// Divides cores, each a list of processors, among the threads, from the next job on. Said once; nothing changes
    /// where there are fewer cores than threads.
    pub(crate) fn keep_apart(&mut self, cores: &[Vec<usize>]) {
        let apart = Apart::new(cores, self.state.count).filter(|_| self.state.count > 1);
        if let Some(apart) = apart {
            let _ = self.state.apart.set(apart);
        }
    }

    /// Runs the job on every thread, and returns when all have finished it.
    pub(crate) fn run(&mut self, job: &(dyn Fn(&Place<'_>) + Sync)) {
        let state = &*self.state;
        let _settled = state.apart.get().map(Apart::settle_caller);
        // SAFETY: workers look at the job only between the epoch published below and the barrier
        // at the end of this function, so the longer lifetime is never made use of.
        let job_pointer: Job =
            unsafe { std::mem::transmute::<*const (dyn Fn(&Place<'_>) + Sync + '_), Job>(job) };
        // SAFETY: all workers wait for the next epoch, so nobody else reads the cell now.
        unsafe { *state.job.get() = Some(job_pointer) };
        state.epoch.fetch_add(1, Ordering::Release);
        for worker in &self.workers {
            worker.unpark();
        }
        let _abort = AbortOnPanic;
        let place = Place {
            index: 0,
            count: state.count,
            state,
        };
        job(&place);
        place.barrier();
        std::mem::forget(_abort);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        for worker in &self.workers {
            worker.unpark();
        }
        for handle in self.handles.drain(..) {
            // A worker cannot have panicked: that aborts the process.
            let _ = handle.join();
        }
    }
}

impl Place<'_> {
    /// Waits until every thread of the team is here. What was written before is visible after.
    pub(crate) fn barrier(&self) {
        let state = self.state;
        if state.count == 1 {
            return;
        }
        let generation = state.generation.load(Ordering::Relaxed);
        if state.arrived.fetch_add(1, Ordering::AcqRel) + 1 == state.count {
            state.arrived.store(0, Ordering::Relaxed);
            // Sequentially consistent with `sleep`: either it sees the new generation, or this sees it.
            state
                .generation
                .store(generation.wrapping_add(1), Ordering::SeqCst);
            if state.sleepers.load(Ordering::SeqCst) > 0 {
                drop(state.lock.lock().unwrap_or_else(PoisonError::into_inner));
                state.gate.notify_all();
            }
            return;
        }
        for _ in 0..BARRIER_SPINS {
            if state.generation.load(Ordering::Acquire) != generation {
                return;
            }
            std::hint::spin_loop();
        }
        state.sleep(generation);
    }

    /// This thread's part of so many equal pieces of work.
    pub(crate) fn part(&self, pieces: usize) -> Range<usize> {
        part(pieces, self.index, self.count)
    }
}

/// The contiguous part of `pieces` that the thread of that index works on.
fn part(pieces: usize, index: usize, count: usize) -> Range<usize> {
    let whole = pieces / count;
    let rest = pieces % count;
    let start = index * whole + index.min(rest);
    start..start + whole + usize::from(index < rest)
}

fn work(state: &State, index: usize) {
    let mut seen = 0;
    let mut apart = None;
    loop {
        let mut spins = 0u32;
        while state.epoch.load(Ordering::Acquire) == seen {
            if state.stop.load(Ordering::Acquire) {
                return;
            }
            if spins < IDLE_SPINS {
                spins += 1;
                std::hint::spin_loop();
            } else {
                // An unpark that came before this makes it return at once, so no wake-up is lost.
                std::thread::park();
            }
        }
        seen = seen.wrapping_add(1);
        if apart.is_none() {
            apart = state.apart.get();
            apart.into_iter().for_each(|apart| apart.settle(index));
        }
        let _abort = AbortOnPanic;
        // SAFETY: the epoch was published after the job was written, and `run` does not return, nor
        // write the next job, before this thread has reached the barrier below.
        let job = unsafe { (*state.job.get()).map(|job| &*job) };
        let place = Place {
            index,
            count: state.count,
            state,
        };
        if let Some(job) = job {
            job(&place);
        }
        place.barrier();
        std::mem::forget(_abort);
    }
}

impl State {
    /// Sleeps until the generation is over.
    fn sleep(&self, generation: usize) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        while self.generation.load(Ordering::SeqCst) == generation {
            guard = self
                .gate
                .wait(guard)
                .unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A panic in one thread would leave the others at a barrier for ever, so it ends the process; the
/// engine is a child process, and its supervisor starts another one.
struct AbortOnPanic;

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// About a tenth of a millisecond: longer than the pause between the steps of a busy engine, and far
/// too short to be noticed as load.
const IDLE_SPINS: u32 = 4_000;

/// Some tens of microseconds: what two threads differ by when both have a core. When they do not, spinning
/// keeps the core from the very thread that is waited for.
const BARRIER_SPINS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_everything_once_and_in_order() {
        for count in 1..6 {
            for pieces in 0..20 {
                let mut next = 0;
                for index in 0..count {
                    let range = part(pieces, index, count);
                    assert_eq!(range.start, next);
                    next = range.end;
                }
                assert_eq!(next, pieces);
            }
        }
    }

    #[test]
    fn every_thread_sees_what_the_others_wrote_before_the_barrier() {
        let mut pool = Pool::new(3).expect("threads can be started");
        for round in 1..200 {
            let marks: Vec<AtomicUsize> = (0..3).map(|_| AtomicUsize::new(0)).collect();
            pool.run(&|place| {
                marks[place.index].store(round, Ordering::Relaxed);
                place.barrier();
                for mark in &marks {
                    assert_eq!(mark.load(Ordering::Relaxed), round);
                }
            });
        }
    }
}
