//! Why a model did not come.

use super::manifest::StoreError;
use std::io;
use std::path::{Path, PathBuf};

/// Why a model did not come. The store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Neither a known name nor a source.
    #[error(
        "{text:?} is neither a known model nor a source (https://…, hf:ORG/REPO, file:PATH or pypi:PACKAGE)"
    )]
    Source {
        /// What was asked for.
        text: String,
    },
    /// A source, and a wrong one.
    #[error("source {text:?}: {message}")]
    Malformed {
        /// What was asked for.
        text: String,
        /// What is wrong with it.
        message: String,
    },
    /// The network is not to be touched, and the model is not here.
    #[error("{what} is not here, and the network is not to be used")]
    Offline {
        /// What would have been fetched.
        what: String,
    },
    /// There is no such thing there.
    #[error("{what}: {message}")]
    Absent {
        /// What was asked for.
        what: String,
        /// What the other side said.
        message: String,
    },
    /// The other side will not give it to us.
    #[error("{what}: the server answers {status}: it wants a token, or one with more rights")]
    Denied {
        /// What was asked for.
        what: String,
        /// The status.
        status: u16,
    },
    /// The other side answers in a way that asking again does not mend.
    #[error("{what}: {message}")]
    Refused {
        /// What was asked for.
        what: String,
        /// What is wrong.
        message: String,
    },
    /// It was asked for often enough. What has come is kept.
    #[error("{what}: given up after {attempts} attempts, {bytes} bytes have come: {message}")]
    GivenUp {
        /// What was asked for.
        what: String,
        /// How often.
        attempts: u32,
        /// Bytes that are here and are kept.
        bytes: u64,
        /// What went wrong last.
        message: String,
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
    #[error("sha256 of {what} is {found}, {expected} was expected")]
    Integrity {
        /// Of what.
        what: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The file is longer or shorter than was said. It has been deleted.
    #[error("{what} has {found} bytes where {expected} were promised")]
    Length {
        /// What was asked for.
        what: String,
        /// Bytes that were promised.
        expected: u64,
        /// Bytes that there are.
        found: u64,
    },
    /// The file is no model we can read. It has been deleted.
    #[error("not a usable model file: {message}")]
    Unfit {
        /// What is wrong, by field.
        message: String,
    },
    /// Whoever was told how it goes has ended it.
    #[error("interrupted; the store is as it was")]
    Interrupted,
    /// There is not room enough.
    #[error("{needed} bytes are needed, {free} are free on the disk of the model store")]
    Room {
        /// Bytes, with those that are to stay free.
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

pub(super) fn disk(path: &Path) -> impl FnOnce(io::Error) -> PullError + '_ {
    move |error| PullError::Disk {
        path: path.to_owned(),
        error,
    }
}
