//! The other process: `troop engine`, in which a model is parsed and computed.
//!
//! A model file and a request come from strangers, and everything that touches their bytes runs here. The
//! order is what makes it safe: the file is mapped, the doors are shut ([`sandbox`]), and only then is the
//! first byte looked at. What is left to a file that takes this process over is to compute, and to lie to
//! its keeper in frames that the keeper checks.
//!
//! It talks frames on its standard input and output, and exits when its input ends.

pub(crate) mod cores;
pub mod sandbox;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use troop_actors::contract::Time;
use troop_actors::engine::native::{self, Means, PageKind};
use troop_actors::engine::{Desk, say_unfit, serve};
use troop_kernels::isa::Isa;

/// Computes a model; started by a node, never by hand.
#[derive(Clone, Debug, clap::Args)]
pub struct EngineArgs {
    /// The model file
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Threads that compute; one for each physical core if not given
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// How keys and values are kept
    #[arg(long, value_enum, default_value_t)]
    pub kv_cache: KvCache,
    /// Bytes for keys and values; half of what weights leave free and 1 GiB at most if not given
    #[arg(long, value_name = "N")]
    pub kv_bytes: Option<u64>,
    /// Sequences that run at once
    #[arg(long, value_name = "N", default_value_t = SEQUENCES_MAX)]
    pub sequences: u32,
    /// Evaluate no drafts of what may be said next
    #[arg(long)]
    pub no_speculation: bool,
}

/// How an engine keeps keys and values, as the command line says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum KvCache {
    /// 16 bits a number: what all workers make the same answers with
    #[default]
    F16,
    /// 8 bits a number: little more than half the memory, answers that differ slightly
    Int8,
}

impl From<KvCache> for PageKind {
    fn from(cache: KvCache) -> PageKind {
        match cache {
            KvCache::F16 => PageKind::F16,
            KvCache::Int8 => PageKind::Int8,
        }
    }
}

/// Serves until the input ends. Exits with 0 then, with 2 if the model is unfit, with 1 if the pipe failed.
pub fn run(args: EngineArgs) -> ExitCode {
    let (input, output) = match pipes() {
        Ok(pipes) => pipes,
        Err(error) => return fail(1, &format!("the pipe: {error}")),
    };
    let page_kind = args.kv_cache.into();
    let means = means(args.threads, page_kind, args.kv_bytes, args.sequences);
    let cores = cores::all();
    let desk = map(&args.model).and_then(|file| {
        match sandbox::enter(memory_bytes(file.len() as u64, means)) {
            Ok(()) => {}
            Err(sandbox::SandboxError::Unsupported) => {
                eprintln!("this system offers no sandbox; the engine runs without one");
            }
            Err(error) => return Err(error.to_string()),
        }
        let (mut forward, words, facts) = native::load(&file, means)?;
        if let Some(cores) = &cores {
            forward.keep_apart(cores);
        }
        let mut desk = Desk::new(forward, words, facts);
        if args.no_speculation {
            desk = desk.without_speculation();
        }
        desk.prove().map_err(|failure| failure.to_string())?;
        Ok(desk)
    });
    let mut desk = match desk {
        Ok(desk) => desk,
        Err(message) => {
            // The node may be gone; then there is nobody to tell.
            let _ = say_unfit(message.clone(), output);
            return fail(2, &message);
        }
    };
    match serve(&mut desk, input, output, clock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &format!("the pipe: {error}")),
    }
}

/// Enters the sandbox and looks for a way out of it. Exits with 0 if there is none, with 1 and a word on what was
/// open if there is.
pub(crate) fn try_sandbox() -> ExitCode {
    sandbox::close_others();
    let open = match sandbox::enter(WORK_BYTES) {
        Err(error) => Some(error.to_string()),
        Ok(()) if File::open("/proc/self/status").is_ok() => Some("files can be opened".to_owned()),
        Ok(()) if std::net::UdpSocket::bind("127.0.0.1:0").is_ok() => {
            Some("sockets can be opened".to_owned())
        }
        Ok(()) if std::process::Command::new("/bin/true").status().is_ok() => {
            Some("programs can be started".to_owned())
        }
        Ok(()) => None,
    };
    match open {
        None => ExitCode::SUCCESS,
        Some(open) => {
            println!("{open}");
            ExitCode::FAILURE
        }
    }
}

/// What an engine started with these options may use here and now.
pub(crate) fn means(
    threads: Option<usize>,
    page_kind: PageKind,
    kv_bytes: Option<u64>,
    sequences: u32,
) -> Means {
    Means {
        isa: Isa::detect(),
        threads: threads
            .unwrap_or_else(|| cores::count().get())
            .clamp(1, THREADS_MAX),
        page_kind,
        kv_bytes,
        free_bytes: free_bytes(),
        sequences_max: sequences.clamp(1, 256),
    }
}

fn fail(code: u8, message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::from(code)
}

/// The standard input and output without the buffers that std puts before them. Nothing else stays open.
fn pipes() -> io::Result<(File, File)> {
    sandbox::close_others();
    let input = io::stdin().as_fd().try_clone_to_owned()?;
    let output = io::stdout().as_fd().try_clone_to_owned()?;
    Ok((input.into(), output.into()))
}

fn map(path: &Path) -> Result<memmap2::Mmap, String> {
    let unread = |error: io::Error| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(unread)?;
    // SAFETY: models are kept by content and never changed in place; if somebody cuts the file short all
    // the same, this process dies by a signal, which is what it is a process for.
    unsafe { memmap2::Mmap::map(&file) }.map_err(unread)
}

/// Bytes of memory that nobody uses: of the machine, or of the group that this process is confined to.
fn free_bytes() -> Option<u64> {
    let machine = read("/proc/meminfo").and_then(|text| {
        let mut lines = text.lines();
        let line = lines.find(|line| line.starts_with("MemAvailable:"))?;
        let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        kilobytes.checked_mul(1024)
    });
    // A group without a limit says `max`, which is no number.
    let number = |path| read(path)?.trim().parse::<u64>().ok();
    let limit = number("/sys/fs/cgroup/memory.max");
    let group = limit.zip(number("/sys/fs/cgroup/memory.current"));
    let group = group.map(|(limit, used)| limit.saturating_sub(used));
    machine.into_iter().chain(group).min()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// What this process may map in all: the file and its weights, which are packed from it at about the same
/// size, the keys and values, what threads reserve, what grammars learn, and [`WORK_BYTES`]. A file or a template
/// that wants more ends this process, and nothing else on the machine.
fn memory_bytes(file: u64, means: Means) -> u64 {
    let weights = file.saturating_add(file / 4);
    let threads = (means.threads as u64 + LOADING_THREADS_MAX) * THREAD_BYTES;
    let pages = means.kv_bytes.unwrap_or(native::KV_BYTES_MAX);
    let grammars = u64::from(means.sequences_max) * GRAMMAR_BYTES;
    [file, weights, pages, threads, grammars, WORK_BYTES]
        .into_iter()
        .fold(0, u64::saturating_add)
}

/// A clock that starts at the wall clock and only counts forward.
#[allow(
    clippy::disallowed_methods,
    reason = "this is a process's edge: time is made here"
)]
fn clock() -> impl Fn() -> Time {
    let wall = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let start = Instant::now();
    move || Time((wall + start.elapsed()).as_millis() as u64)
}

/// Sequences that run at once: beyond this a CPU gains nothing from one more.
pub(crate) const SEQUENCES_MAX: u32 = 32;
/// Threads, at most; beyond this a barrier costs more than a thread brings.
const THREADS_MAX: usize = 64;
/// The program itself, its tokenizer and template, the workspace of a step and its logits, and frames that
/// wait: SmolLM2 takes a tenth of it, and a model of 32 layers with 150,000 tokens a third.
const WORK_BYTES: u64 = 1 << 30;
/// What a grammar learns of its patterns while an answer is made, at most: 32 answers at once, each of three
/// patterns of thousands of letters, took 870 MB.
const GRAMMAR_BYTES: u64 = 32 << 20;
/// A thread's stack, and the part of the address space that the allocator reserves for it.
const THREAD_BYTES: u64 = 72 << 20;
/// Threads that pack weights while a model is loaded, the one that makes grammars, and the one that reads the pipe.
const LOADING_THREADS_MAX: u64 = 10;
