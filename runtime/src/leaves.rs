//! The leaf ports as the running program has them: the system's clock and dice, and engines as children; what looks at
//! the machine is in [`sensors`].

pub mod sensors;

use crate::home::Home;
use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use troop_actors::contract::Time;
use troop_actors::engine::native::PageKind;
use troop_actors::engine_process::Engines;
use troop_actors::ids::Passport;
use troop_actors::ports::{Clock, Entropy};

/// The wall clock at the start, and from then on the one that never goes back and goes on while the machine
/// sleeps: a laptop that slept would otherwise stamp holds and tickets hours late.
#[derive(Debug)]
pub struct SystemClock {
    wall_ms: u64,
    start: Duration,
}

impl SystemClock {
    /// Starts counting.
    #[allow(clippy::disallowed_methods)] // This is the leaf that reads the clocks.
    pub fn start() -> SystemClock {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        SystemClock {
            wall_ms: wall.as_millis() as u64 + ahead_ms(),
            start: since_boot(),
        }
    }
}

/// How far ahead of the truth a test wants this node's clock, so that it can outlive a hold's whole term;
/// debug builds only.
fn ahead_ms() -> u64 {
    if !cfg!(debug_assertions) {
        return 0;
    }
    let ahead = std::env::var("TROOP_CLOCK_AHEAD_MS").ok();
    ahead.and_then(|ahead| ahead.parse().ok()).unwrap_or(0)
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let elapsed = since_boot().saturating_sub(self.start);
        Time(self.wall_ms + elapsed.as_millis() as u64)
    }
}

/// Time since the machine started, sleep included.
#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a timespec of ours, which the call fills; this clock exists since Linux 2.6.39.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Time since the first call. Elsewhere the system's own monotonic clock says whether sleep is included.
#[cfg(not(target_os = "linux"))]
#[allow(clippy::disallowed_methods)] // This is the leaf that reads the clocks.
fn since_boot() -> Duration {
    static FIRST: std::sync::LazyLock<std::time::Instant> =
        std::sync::LazyLock::new(std::time::Instant::now);
    FIRST.elapsed()
}

/// The system's generator.
#[derive(Clone, Copy, Debug)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // Without it there are no keys and no seeds: going on would be worse than ending.
        getrandom::fill(bytes).expect("the system has randomness");
    }
}

/// What every engine of a node is started with.
#[derive(Clone, Copy, Debug)]
pub struct EngineOptions {
    /// Threads that compute.
    pub threads: NonZero<usize>,
    /// What is in KV pages.
    pub page_kind: PageKind,
    /// Bytes of KV pages; the engine's own choice if not given.
    pub kv_bytes: Option<u64>,
    /// Whether it guesses what may be said next.
    pub speculation: bool,
}

/// Engines as children of this very program.
#[derive(Debug)]
pub struct ChildEngines {
    program: PathBuf,
    blobs: PathBuf,
    options: EngineOptions,
    parent: Parent,
}

impl ChildEngines {
    /// Engines that find their models below `home`.
    pub fn new(home: &Home, options: EngineOptions) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let parent = Parent::start()?;
        Ok(ChildEngines {
            parent,
            program,
            blobs: home.path("models/blobs"),
            options,
        })
    }
}

impl ChildEngines {
    fn command(&self, model: Passport) -> io::Result<Command> {
        let file = self.blobs.join(format!("sha256-{model}"));
        if !file.exists() {
            let message = format!("{} is not on this machine", file.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        let mut command = Command::new(&self.program);
        command.arg("engine").arg("--model").arg(file);
        let EngineOptions {
            threads,
            page_kind,
            kv_bytes,
            speculation,
        } = self.options;
        command.arg("--threads").arg(threads.to_string());
        command.arg("--kv-cache").arg(page_kind.name());
        if let Some(bytes) = kv_bytes {
            command.arg("--kv-bytes").arg(bytes.to_string());
        }
        if !speculation {
            command.arg("--no-speculation");
        }
        // A child knows nothing of its parent's surroundings: no keys, no homes, no proxies.
        command.env_clear();
        if let Some(value) = std::env::var_os("TROOP_LOG") {
            command.env("TROOP_LOG", value);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: Ctrl-C on the node's terminal is for the node, which lets requests finish.
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }
}

impl Engines for ChildEngines {
    fn spawn(&self, model: Passport) -> io::Result<Child> {
        self.parent.spawn(self.command(model)?)
    }
}

/// The thread that all children are started from. A child asks to be killed with its parent, and its parent
/// is to the system the thread that started it: one of a pool may end long before the node does.
#[derive(Debug)]
struct Parent(Sender<Birth>);

/// A command, the runtime its pipes belong to, and where the child goes.
type Birth = (Command, Handle, Sender<io::Result<Child>>);

impl Parent {
    /// Starts the thread; it ends when this is dropped.
    fn start() -> io::Result<Parent> {
        let (sender, births) = channel::<Birth>();
        std::thread::Builder::new()
            .name("troop-parent".to_owned())
            .spawn(move || {
                for (mut command, runtime, reply) in births {
                    let _inside = runtime.enter();
                    // Whoever asked may have gone; its child goes too.
                    let _ = reply.send(command.spawn());
                }
            })?;
        Ok(Parent(sender))
    }

    /// Starts a child. To be called inside a runtime.
    fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, child) = channel();
        let gone = || io::Error::other("the thread that starts engines has ended");
        self.0
            .send((command, Handle::current(), reply))
            .map_err(|_| gone())?;
        child.recv().map_err(|_| gone())?
    }
}
