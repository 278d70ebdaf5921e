//! A leaf: what a pull does with files of its own: hash, copy within limits, look for room, sweep.

use super::error::{PullError, disk};
use super::facts::Facts;
use super::manifest::Store;
use super::progress::{Phase, Report, tell};
use crate::ids::Digest;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

/// The hash that so far went in.
pub(super) fn hex(hash: Sha256) -> String {
    Digest(hash.finalize().into()).to_string()
}

/// Hands what `from` holds to `each`, in pieces.
pub(super) fn stream(
    from: &mut dyn Read,
    path: &Path,
    mut each: impl FnMut(&[u8]) -> Result<(), PullError>,
) -> Result<(), PullError> {
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => each(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(disk(path)(error)),
        }
    }
}

/// The size of the file of that hash, if it is here and has it.
pub(super) fn sound(
    store: &Store,
    sha256: &str,
    report: &mut Report<'_>,
) -> Result<Option<u64>, PullError> {
    let path = store.blob_path(sha256);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(disk(&path)(error)),
    };
    let size = file.metadata().map_err(disk(&path))?.len();
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    stream(&mut file, &path, |piece| {
        hash.update(piece);
        bytes += piece.len() as u64;
        tell(report, Phase::Verifying, bytes, Some(size))
    })?;
    Ok((hex(hash) == sha256).then_some(size))
}

/// Reads the header by our own rules.
pub(super) fn lint(path: &Path) -> Result<(), PullError> {
    let file = File::open(path).map_err(disk(path))?;
    // SAFETY: the file is this pull's own, under a lock; nobody else writes to it.
    let file = unsafe { memmap2::Mmap::map(&file) }.map_err(disk(path))?;
    let facts = troop_kernels::gguf::Gguf::parse(&file).and_then(|gguf| Facts::of(&gguf));
    facts.map(drop).map_err(|error| PullError::Unfit {
        message: error.to_string(),
    })
}

/// Whether `bytes` more find room in `folder`, and leave some.
pub(super) fn room(folder: &Path, bytes: u64) -> Result<(), PullError> {
    let free = free_bytes(folder).map_err(disk(folder))?;
    let needed = bytes.saturating_add(ROOM_LEFT);
    match needed > free {
        true => Err(PullError::Room { needed, free }),
        false => Ok(()),
    }
}

/// Removes all that is in a folder.
pub(super) fn sweep(folder: &Path) -> Result<(), PullError> {
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

/// Writes a file so that it is there whole or not at all, even after a power cut; `half` is where it is made.
pub(super) fn write_whole(half: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(half)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(half, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
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

/// Bytes that are read at once.
const PIECE_BYTES: usize = 1 << 20;
/// Bytes that a pull leaves free, for the ledger above all.
const ROOM_LEFT: u64 = 256 << 20;
