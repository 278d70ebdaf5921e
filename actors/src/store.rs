//! A leaf: files of records, each written by one thread of its own.
//!
//! A store is a redb file. Commits are `Durability::Immediate` with two-phase commit, because what is
//! acknowledged must survive. A failed commit is indeterminate: whoever gets the error stops writing, dies,
//! and reopens what the disk really holds. Commits are batches made by a core, so fsyncs are shared.

use redb::backends::FileBackend;
use redb::{Database, Durability, StorageBackend, WriteTransaction};
use std::fs::OpenOptions;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

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
    use std::os::unix::fs::OpenOptionsExt;
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| StoreError::of(format!("{}: {error}", path.display())))?;
    let backend = FileBackend::new(file).map_err(StoreError::of)?;
    open(backend).map_err(|error| StoreError::of(format!("{}: {error}", path.display())))
}

/// Opens a database over any backend: a file, memory, or the simulator's disk.
pub fn open(backend: impl StorageBackend) -> Result<Database, StoreError> {
    redb::Builder::new()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(backend)
        .map_err(StoreError::of)
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
        std::thread::Builder::new()
            .name(format!("{name}-store"))
            .spawn(move || {
                for next in writes {
                    let result = write(next);
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
