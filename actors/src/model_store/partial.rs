//! A leaf: what has come of a file, on the disk, so that it can be gone on with after anything.
//!
//! ```text
//! TROOP_HOME/models/partial/<key>.partial   the bytes, in order
//! TROOP_HOME/models/partial/<key>.json      how many the disk is known to have, of how many, of which file
//! TROOP_HOME/models/partial/<key>.lock      held by whoever downloads it
//! ```
//!
//! The note is written after the bytes it speaks of have reached the disk; what lies behind it is not
//! believed. A power cut then costs the last few megabytes and never a wrong byte.

use super::error::{PullError, disk};
use super::files::{hex, stream, write_whole};
use super::progress::{Phase, Report, tell};
use super::transfer::Begun;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is known of the bytes.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    source: String,
    bytes: u64,
    size: Option<u64>,
    mark: Option<String>,
}

/// A file that is on its way, and nobody else's while this lives.
pub(super) struct Partial {
    path: PathBuf,
    note_path: PathBuf,
    lock_path: PathBuf,
    file: File,
    note: Note,
    hash: Sha256,
    written: u64,
    _lock: File,
}

impl Partial {
    /// Takes what there is of `source`, or begins; waits for whoever downloads it. Says whether it waited.
    pub(super) fn open(
        folder: &Path,
        source: &str,
        report: &mut Report<'_>,
    ) -> Result<(Partial, bool), PullError> {
        fs::create_dir_all(folder).map_err(disk(folder))?;
        let key = &hex(Sha256::new_with_prefix(source))[..32];
        let at = |ending: &str| folder.join(format!("{key}.{ending}"));
        let (path, note_path, lock_path) = (at("partial"), at("json"), at("lock"));
        let (lock, waited) = locked(&lock_path, report)?;
        let note = fs::read(&note_path).ok();
        let note = note.and_then(|text| serde_json::from_slice::<Note>(&text).ok());
        let mut note = note
            .filter(|note| note.source == source)
            .unwrap_or_default();
        note.source = source.to_owned();
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(disk(&path))?;
        let length = file.metadata().map_err(disk(&path))?.len();
        if length < note.bytes {
            note.bytes = 0;
        }
        file.set_len(note.bytes).map_err(disk(&path))?;
        let partial = Partial {
            path,
            note_path,
            lock_path,
            file,
            written: note.bytes,
            note,
            hash: Sha256::new(),
            _lock: lock,
        };
        Ok((partial, waited))
    }

    /// Hashes what is here; says where to go on.
    pub(super) fn begun(&mut self, report: &mut Report<'_>) -> Result<Begun, PullError> {
        let (have, path) = (self.note.bytes, self.path.clone());
        self.hash = Sha256::new();
        self.file.rewind().map_err(disk(&path))?;
        let mut bytes = 0;
        let (hash, mut first) = (&mut self.hash, (&self.file).take(have));
        stream(&mut first, &path, |piece| {
            hash.update(piece);
            bytes += piece.len() as u64;
            tell(report, Phase::Verifying, bytes, Some(have))
        })?;
        Ok(Begun {
            have,
            size: self.note.size,
            mark: self.note.mark.clone(),
        })
    }

    /// More bytes have come.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), PullError> {
        self.file.write_all(bytes).map_err(disk(&self.path))?;
        self.hash.update(bytes);
        self.written += bytes.len() as u64;
        match self.written - self.note.bytes >= NOTE_EVERY_BYTES {
            true => self.save(),
            false => Ok(()),
        }
    }

    /// From now on it is that file: what is noted before its bytes come.
    pub(super) fn describe(&mut self, size: Option<u64>, mark: Option<&str>) {
        self.note.size = size;
        self.note.mark = mark.map(str::to_owned);
    }

    /// Nothing of it is worth anything any more.
    pub(super) fn clear(&mut self) -> Result<(), PullError> {
        // The note goes first: one without its bytes would be believed.
        (self.note.bytes, self.written) = (0, 0);
        self.note()?;
        self.hash = Sha256::new();
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map(drop)
            .map_err(disk(&self.path))
    }

    /// Makes what has come outlast everything.
    pub(super) fn save(&mut self) -> Result<(), PullError> {
        self.file.sync_all().map_err(disk(&self.path))?;
        self.note.bytes = self.written;
        self.note()
    }

    /// The hash of all that has come.
    pub(super) fn sha256(&self) -> String {
        hex(self.hash.clone())
    }

    /// Where the bytes are.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what is left of it, bytes included if they are still in their place.
    pub(super) fn discard(self) -> Result<(), PullError> {
        for path in [&self.note_path, &self.path, &self.lock_path] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(disk(path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn note(&self) -> Result<(), PullError> {
        let text = serde_json::to_vec(&self.note).unwrap_or_default();
        write_whole(
            &self.note_path.with_extension("note"),
            &self.note_path,
            &text,
        )
        .map_err(disk(&self.note_path))
    }
}

/// Takes the lock at `path`; says whether it had to wait. Whoever had it may have removed it: a lock on a
/// file that is not there any more is none.
fn locked(path: &Path, report: &mut Report<'_>) -> Result<(File, bool), PullError> {
    let mut waited = false;
    loop {
        let lock = File::create(path).map_err(disk(path))?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) => tell(report, Phase::Waiting, 0, None)?,
                Err(fs::TryLockError::Error(error)) => return Err(disk(path)(error)),
            }
            waited = true;
            std::thread::sleep(super::pip::LOOK_EVERY);
        }
        let ours = lock.metadata().map_err(disk(path))?.ino();
        if fs::metadata(path).is_ok_and(|there| there.ino() == ours) {
            return Ok((lock, waited));
        }
    }
}

/// Removes what nobody has gone on with for long, and nobody is at.
pub(super) fn sweep_old(folder: &Path, now_seconds: u64) -> Result<(), PullError> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    let locks = entries.filter_map(|entry| Some(entry.ok()?.path()));
    for path in locks.filter(|path| path.extension().is_some_and(|ending| ending == "lock")) {
        let Ok(lock) = File::open(&path) else {
            continue;
        };
        if lock.try_lock().is_err() {
            continue;
        }
        let touched = ["partial", "json", "lock"]
            .iter()
            .filter_map(|ending| fs::metadata(path.with_extension(ending)).ok())
            .filter_map(|facts| u64::try_from(facts.mtime()).ok())
            .max();
        if touched.is_some_and(|touched| now_seconds.saturating_sub(touched) < KEPT_SECONDS) {
            continue;
        }
        for ending in ["json", "note", "partial", "lock"] {
            let path = path.with_extension(ending);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(disk(&path)(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// How often the disk is waited for: what a power cut can cost.
const NOTE_EVERY_BYTES: u64 = 16 << 20;
/// How long half a file is kept: two weeks.
const KEPT_SECONDS: u64 = 14 * 24 * 3600;
