//! A leaf: files of records, each written by one thread of its own.
//!
//! A store is a redb file. Commits are `Durability::Immediate` with two-phase commit, because what is
//! acknowledged must survive. A failed commit is indeterminate: whoever gets the error stops writing, dies,
//! and reopens what the disk really holds. Commits are batches made by a core, so fsyncs are shared.

use crate::planted;
use redb::backends::FileBackend;
use redb::{Database, DatabaseError, Durability, StorageBackend, WriteTransaction};
use std::fs::OpenOptions;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// The store cannot be read or written. What the last commit did is unknown until it is reopened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    /// What the disk or the file's content said.
    pub message: String,
}

impl StoreError {
    /// An error that says `error`.
    pub fn of(error: impl ToString) -> StoreError {
        StoreError {
            message: error.to_string(),
        }
    }
}

/// Opens the file at `path`, readable by its owner alone; it is made if it is absent.
pub fn open_file(path: &Path) -> Result<Database, StoreError> {
    let at_path = |error: StoreError| StoreError::of(format!("{}: {error}", path.display()));
    open_if_free(file(path).map_err(at_path)?)
        .map_err(at_path)?
        .ok_or_else(|| at_path(StoreError::of("in use by another process")))
}

/// Opens the file at `path` and reads it with `read`, on a thread where it may take its time. An actor that
/// died may have left a write or a reading unfinished, which keeps the file for a moment: that is waited for.
pub async fn reopen<T: Send + 'static>(
    path: &Path,
    read: impl FnOnce(Database) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let at_path = |error: StoreError| StoreError::of(format!("{}: {error}", path.display()));
    for _ in 0..REOPEN_TRIES {
        let file = file(path).map_err(at_path)?;
        let opened = blocking(move || open_if_free(file)).await;
        if let Some(database) = opened.map_err(at_path)? {
            let read = blocking(move || guarded(|| read(database))).await;
            return read.map_err(at_path);
        }
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
    Err(at_path(StoreError::of("in use by another process")))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(StoreError::of)?
}

fn file(path: &Path) -> Result<FileBackend, StoreError> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(StoreError::of)?;
    FileBackend::new(file).map_err(StoreError::of)
}

/// Opens a database over any backend: a file, memory, or the simulator's disk. Every page is read and its
/// checksum verified; with two-phase commit a damaged file is an error, never a quiet step back in time (L18).
pub fn open(backend: impl StorageBackend) -> Result<Database, StoreError> {
    open_if_free(backend)?.ok_or_else(|| StoreError::of("in use by another process"))
}

fn open_if_free(backend: impl StorageBackend) -> Result<Option<Database>, StoreError> {
    guarded(|| {
        let mut database = match redb::Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
        {
            Ok(database) => database,
            Err(DatabaseError::DatabaseAlreadyOpen) => return Ok(None),
            Err(error) => return Err(StoreError::of(error)),
        };
        match database.check_integrity().map_err(StoreError::of)? {
            true => Ok(Some(database)),
            false => Err(StoreError::of("the file is damaged")),
        }
    })
}

/// Runs `work` on a file that may be damaged in ways the library under us answers with a panic.
fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    // What `work` held is dropped or returned whole: nothing half-changed is seen afterwards.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(StoreError::of(
            "the file is damaged: reading it broke a rule of its format",
        ))
    })
}

/// One durable commit: all that `change` does, or nothing of it.
pub fn commit(
    database: &Database,
    change: impl FnOnce(&WriteTransaction) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut transaction = database.begin_write().map_err(StoreError::of)?;
    transaction
        .set_durability(Durability::Immediate)
        .map_err(StoreError::of)?;
    transaction.set_two_phase_commit(true);
    change(&transaction)?;
    transaction.commit().map_err(StoreError::of)
}

/// The thread that writes one store.
#[derive(Debug)]
pub struct Writer<W> {
    queue: SyncSender<W>,
}

impl<W: Send + 'static> Writer<W> {
    /// Starts the thread: each write is handed to `write`, whose end is told by `done`. It ends when the
    /// writer is dropped, or after the first error.
    pub fn start(
        name: &str,
        mut write: impl FnMut(W) -> Result<u64, StoreError> + Send + 'static,
        done: impl Fn(Result<u64, StoreError>) + Send + 'static,
    ) -> Result<Writer<W>, StoreError> {
        let (queue, writes) = sync_channel::<W>(QUEUE_MAX);
        let name = format!("{name}-store");
        std::thread::Builder::new()
            .name(name.clone())
            .spawn(move || {
                for next in writes {
                    // A panic is an error too: whoever waits for this write is always told.
                    let result = guarded(|| {
                        planted::meet(&name, "Write");
                        write(next)
                    });
                    let failed = result.is_err();
                    done(result);
                    if failed {
                        break;
                    }
                }
            })
            .map_err(StoreError::of)?;
        Ok(Writer { queue })
    }

    /// Queues a write. Cores keep one in flight, so a full queue is a fault of ours.
    pub fn put(&self, write: W) -> Result<(), StoreError> {
        self.queue.try_send(write).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::of("more writes are queued than a core may have"),
            TrySendError::Disconnected(_) => StoreError::of("the writer has ended"),
        })
    }
}

/// Writes waiting for the thread, at most.
const QUEUE_MAX: usize = 16;
/// Memory for pages of one file; our files are small and written once.
const CACHE_BYTES: usize = 8 << 20;
/// How long a file in use is waited for: [`REOPEN_TRIES`] times this, 10 s in all.
const REOPEN_PAUSE: Duration = Duration::from_millis(20);
const REOPEN_TRIES: u32 = 500;
