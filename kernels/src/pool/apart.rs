//! Where the threads of a team may run: each has cores of its own.
//!
//! A thread that is woken is put where it is thought to find its data, beside the one that woke it: on the same
//! processor. Two threads of a team that share one while another is idle wait for each other's time slices at every
//! barrier until the system notices, some tens of milliseconds later. After a pause of 0.3 s a short answer of a small
//! model then took 72 ms, and each thread slept 350 times; apart it takes 47 ms.
//!
//! Cores are dealt out like cards. Where some are faster they are numbered together, so each thread has about as many
//! of them as any other, and the system chooses which of a thread's cores it runs on.

/// Processors that a thread may run on.
#[derive(Clone, Copy)]
pub(super) struct Processors(#[cfg(target_os = "linux")] libc::cpu_set_t);

/// The processors of each thread of a team.
pub(super) struct Apart {
    threads: Vec<Processors>,
    /// Those of the first thread between two jobs, when it belongs to its caller.
    before: Processors,
}

impl Apart {
    /// Deals cores, each a list of processors, to so many threads. None where there are fewer cores than
    /// threads, or processors that cannot be named.
    pub(super) fn new(cores: &[Vec<usize>], threads: usize) -> Option<Apart> {
        if cores.len() < threads {
            return None;
        }
        let of_thread = |index| {
            let own = cores.iter().skip(index).step_by(threads);
            Processors::of(own.flatten().copied())
        };
        Some(Apart {
            threads: (0..threads).map(of_thread).collect::<Option<_>>()?,
            before: Processors::of_this_thread()?,
        })
    }

    /// Keeps this thread, the one of that index, to its cores.
    pub(super) fn settle(&self, index: usize) {
        self.threads[index].keep();
    }

    /// Keeps the calling thread, the first of a team, to its cores until the result is dropped.
    pub(super) fn settle_caller(&self) -> Settled<'_> {
        self.settle(0);
        Settled(&self.before)
    }
}

/// The first thread of a team during a job.
pub(super) struct Settled<'a>(&'a Processors);

impl Drop for Settled<'_> {
    fn drop(&mut self) {
        self.0.keep();
    }
}

#[cfg(target_os = "linux")]
impl Processors {
    fn of(numbers: impl Iterator<Item = usize>) -> Option<Processors> {
        // SAFETY: a set of no processors is all zeros.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        for number in numbers {
            if number >= libc::CPU_SETSIZE as usize {
                return None;
            }
            // SAFETY: the number is below the size of the set.
            unsafe { libc::CPU_SET(number, &mut set) };
        }
        Some(Processors(set))
    }

    fn of_this_thread() -> Option<Processors> {
        // SAFETY: as in `of`; the call writes at most the size that it is given.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let got = libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
            (got == 0).then_some(Processors(set))
        }
    }

    /// Keeps this thread to them. Where the system refuses, it runs where it ran: this is for speed alone.
    fn keep(&self) {
        // SAFETY: the call reads the set.
        unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &self.0) };
    }
}

#[cfg(not(target_os = "linux"))]
impl Processors {
    fn of(_: impl Iterator<Item = usize>) -> Option<Processors> {
        None
    }

    fn of_this_thread() -> Option<Processors> {
        None
    }

    fn keep(&self) {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::Pool;
    use super::*;
    use std::sync::Mutex;

    fn numbers(processors: &Processors) -> Vec<usize> {
        let all = 0..libc::CPU_SETSIZE as usize;
        // SAFETY: each number is below the size of the set.
        all.filter(|number| unsafe { libc::CPU_ISSET(*number, &processors.0) })
            .collect()
    }

    #[test]
    fn cores_are_dealt_out_whole_and_none_is_left_over() {
        let cores = [vec![0, 4], vec![1, 5], vec![2, 6], vec![3, 7], vec![8]];
        let apart = Apart::new(&cores, 2).expect("there are enough");
        let of_threads: Vec<_> = apart.threads.iter().map(numbers).collect();
        assert_eq!(of_threads, [vec![0, 2, 4, 6, 8], vec![1, 3, 5, 7]]);
        assert!(Apart::new(&cores, 5).is_some());
        assert!(Apart::new(&cores, 6).is_none(), "more threads than cores");
        assert!(Apart::new(&[vec![0], vec![1 << 20]], 2).is_none());
    }

    #[test]
    fn threads_of_a_team_keep_apart_and_its_caller_is_free_between_jobs() {
        let here = || numbers(&Processors::of_this_thread().expect("Linux tells"));
        let allowed = here();
        if allowed.len() < 2 {
            return;
        }
        let cores: Vec<Vec<usize>> = allowed.iter().map(|number| vec![*number]).collect();
        let mut pool = Pool::new(2).expect("threads can be started");
        pool.keep_apart(&cores);
        for _ in 0..3 {
            let seen = Mutex::new([Vec::new(), Vec::new()]);
            pool.run(&|place| seen.lock().expect("nobody panics")[place.index] = here());
            let [first, second] = seen.into_inner().expect("nobody panics");
            assert!(!first.is_empty() && !second.is_empty());
            assert!(first.iter().all(|number| !second.contains(number)));
            assert_eq!(first.len() + second.len(), allowed.len());
            assert_eq!(here(), allowed);
        }
    }
}
