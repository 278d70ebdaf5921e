//! Shuts every door an engine does not need: after [`enter`] a process can compute, start threads, and read
//! and write the pipes it already has. It opens no file and no socket, starts no program, maps no memory
//! that is executable, and signals nobody. Nor does it take more memory than it was given.
//!
//! What is not on the list fails with EPERM instead of ending the process: libc tries things it can do
//! without (a file in /proc for a backtrace, a newer call before an older one), and an error is something
//! the code around it can report.

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The system has none that is known here.
    #[error("this system offers no sandbox")]
    Unsupported,
    /// The system refused.
    #[error("the sandbox cannot be set up: {0}")]
    Refused(String),
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub use linux::{close_others, enter};

/// Closes nothing: on this system descriptors are closed by the node that starts the process.
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub fn close_others() {}

/// There is no sandbox on this system.
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub fn enter(_memory_bytes: u64) -> Result<(), SandboxError> {
    Err(SandboxError::Unsupported)
}

#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod linux {
    use super::SandboxError;
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, TargetArch,
    };
    use std::collections::BTreeMap;
    use std::io;
    use troop_actors::engine::native;

    /// Closes every descriptor but the three standard ones.
    pub fn close_others() {
        // SAFETY: nothing in this process owns a descriptor yet; it has only just begun.
        unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    }

    /// Shuts the doors for this thread and all that it will start. To be called before there are others. The
    /// process may map `memory_bytes` in all, what it has mapped already included.
    pub fn enter(memory_bytes: u64) -> Result<(), SandboxError> {
        let refused = |error: io::Error| SandboxError::Refused(error.to_string());
        // The node is this process's only purpose; it is started from a thread that lasts as long as the
        // node. No core dump, and no debugger, sees a prompt.
        control(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong).map_err(refused)?;
        control(libc::PR_SET_DUMPABLE, 0).map_err(refused)?;
        control(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(refused)?;
        limit(libc::RLIMIT_CORE, 0).map_err(refused)?;
        limit(libc::RLIMIT_NOFILE, DESCRIPTORS_MAX).map_err(refused)?;
        limit(libc::RLIMIT_AS, memory_bytes).map_err(refused)?;
        for filter in filters()? {
            seccompiler::apply_filter(&filter).map_err(failed)?;
        }
        Ok(())
    }

    fn control(option: libc::c_int, value: libc::c_ulong) -> io::Result<()> {
        // SAFETY: these options take plain numbers and touch no memory of ours.
        match unsafe { libc::prctl(option, value, 0, 0, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn limit(resource: libc::__rlimit_resource_t, most: libc::rlim_t) -> io::Result<()> {
        let both = libc::rlimit {
            rlim_cur: most,
            rlim_max: most,
        };
        // SAFETY: the struct outlives the call, which only reads it.
        match unsafe { libc::setrlimit(resource, &both) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn failed(error: impl std::fmt::Display) -> SandboxError {
        SandboxError::Refused(error.to_string())
    }

    /// Two filters, because a filter has one answer for everything it forbids: libc falls back from `clone3`
    /// to `clone`, whose flags a filter can read, only if `clone3` does not exist.
    fn filters() -> Result<[BpfProgram; 2], SandboxError> {
        let allow = SeccompAction::Allow;
        let absent = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        let absent = compile(
            absent,
            allow.clone(),
            SeccompAction::Errno(libc::ENOSYS as u32),
        )?;
        let list = compile(allowed()?, SeccompAction::Errno(libc::EPERM as u32), allow)?;
        Ok([absent, list])
    }

    fn compile(
        rules: BTreeMap<i64, Vec<SeccompRule>>,
        otherwise: SeccompAction,
        action: SeccompAction,
    ) -> Result<BpfProgram, SandboxError> {
        let target = TargetArch::try_from(std::env::consts::ARCH).map_err(failed)?;
        let filter = SeccompFilter::new(rules, otherwise, action, target).map_err(failed)?;
        filter.try_into().map_err(failed)
    }

    fn allowed() -> Result<BTreeMap<i64, Vec<SeccompRule>>, SandboxError> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            ALWAYS.iter().map(|call| (*call, Vec::new())).collect();
        let executable = libc::PROT_EXEC as u64;
        let thread = libc::CLONE_THREAD as u64;
        let conditional = [
            // No memory that can be executed, new or old.
            (libc::SYS_mmap, 2, SeccompCmpOp::MaskedEq(executable), 0),
            (libc::SYS_mprotect, 2, SeccompCmpOp::MaskedEq(executable), 0),
            // Threads, not processes.
            (libc::SYS_clone, 0, SeccompCmpOp::MaskedEq(thread), thread),
            (
                libc::SYS_prctl,
                0,
                SeccompCmpOp::Eq,
                libc::PR_SET_NAME as u64,
            ),
            // A thread may choose its own cores, among those of its group; nobody else's.
            (libc::SYS_sched_setaffinity, 0, SeccompCmpOp::Eq, 0),
            // A panic may end this process, and no other.
            (
                libc::SYS_tgkill,
                0,
                SeccompCmpOp::Eq,
                std::process::id().into(),
            ),
        ];
        let condition = |argument, compare, value| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value).map_err(failed)
        };
        for (call, argument, compare, value) in conditional {
            let rule = SeccompRule::new(vec![condition(argument, compare, value)?]);
            rules.insert(call, vec![rule.map_err(failed)?]);
        }
        // A thread may put itself behind all others, and nobody else.
        let itself_last = [libc::PRIO_PROCESS as u64, 0, native::PRIORITY_LAST as u64];
        let conditions = (0..).zip(itself_last);
        let conditions = conditions.map(|(at, value)| condition(at, SeccompCmpOp::Eq, value));
        let rule = SeccompRule::new(conditions.collect::<Result<_, _>>()?);
        rules.insert(libc::SYS_setpriority, vec![rule.map_err(failed)?]);
        Ok(rules)
    }

    /// What computing, threads and pipes take. `clone3` is here because the other filter answers for it.
    const ALWAYS: &[i64] = &[
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_close,
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_getcpu,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_restart_syscall,
        libc::SYS_sigaltstack,
        libc::SYS_clone3,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_membarrier,
        libc::SYS_sysinfo,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];

    /// Descriptors at most: three standard ones, two copies of them, and a few to spare.
    const DESCRIPTORS_MAX: libc::rlim_t = 16;
}
