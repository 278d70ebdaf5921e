//! How many files and sockets this process may have open.
//!
//! Most systems begin a process with a soft limit of 1,024, which as many clients use up; then a store could
//! not be reopened and an engine not be started. The hard limit is the system's own, and ours to use.

use std::io;

/// Raises the soft limit to the hard one, but no further than [`WANTED`]. Returns what it is now.
pub fn raise() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a limit of ours, which the call fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let wanted = limit.rlim_max.min(WANTED).max(limit.rlim_cur);
    if wanted > limit.rlim_cur {
        limit.rlim_cur = wanted;
        // SAFETY: the pointer is to a limit of ours, which the call only reads.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(wanted)
}

/// Clients on two listeners, stores, engines and some to spare.
const WANTED: libc::rlim_t = 16_384;

#[cfg(test)]
mod tests {
    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        let first = super::raise().expect("a process may raise its soft limit");
        assert_eq!(super::raise().expect("and again"), first);
        assert!(first >= 1_024);
    }
}
