//! A leaf: the folder of models. Names are small JSON files, models are files named by their hash.

use super::alias::Alias;
use super::pull::Source;
use crate::ids::Passport;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A name for a model that is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What people call it.
    pub name: String,
    /// SHA-256 of its file, in hex.
    pub sha256: String,
    /// Bytes of its file.
    pub size: u64,
    /// Where it came from.
    pub source: String,
    /// When, in seconds since the Unix epoch.
    pub created_seconds: u64,
}

impl Manifest {
    /// The model's identity.
    pub fn passport(&self) -> Option<Passport> {
        self.sha256.parse().ok()
    }
}

/// Why the store could not answer. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The name has characters that names do not have.
    #[error(
        "model name {name:?}: use 1 to 128 of a-z, 0-9, '.', '_', ':' and '-', beginning with a letter or digit"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// It is not here.
    #[error("model {name} is not here")]
    Absent {
        /// The name.
        name: String,
    },
    /// A manifest is not what this program writes.
    #[error("{path}: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The disk failed.
    #[error("{path}: {error}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

pub(super) fn disk(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    move |error| StoreError::Disk {
        path: path.to_owned(),
        error,
    }
}

/// The folder of models.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// Opens the store in `folder`, which is made if it is absent.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Store, StoreError> {
        let store = Store {
            folder: folder.into(),
        };
        for part in ["blobs", "manifests", "incoming"] {
            let path = store.folder.join(part);
            fs::create_dir_all(&path).map_err(disk(&path))?;
        }
        Ok(store)
    }

    /// Whether `name` may name a model: it also becomes a file name.
    pub fn check_name(name: &str) -> Result<(), StoreError> {
        let good = (1..=128).contains(&name.len())
            && name.as_bytes()[0].is_ascii_alphanumeric()
            && !name.contains("..")
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._:-".contains(&b));
        if good {
            Ok(())
        } else {
            Err(StoreError::Name {
                name: name.to_owned(),
            })
        }
    }

    /// Every model here, by name.
    pub fn list(&self) -> Result<Vec<Manifest>, StoreError> {
        let folder = self.folder.join("manifests");
        let mut manifests = Vec::new();
        for entry in fs::read_dir(&folder).map_err(disk(&folder))? {
            let path = entry.map_err(disk(&folder))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                manifests.push(read(&path)?);
            }
        }
        manifests.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(manifests)
    }

    /// The model of that name.
    pub fn find(&self, name: &str) -> Result<Manifest, StoreError> {
        Store::check_name(name)?;
        let path = self.manifest_path(name);
        if !path.exists() {
            return Err(StoreError::Absent {
                name: name.to_owned(),
            });
        }
        read(&path)
    }

    /// Where a model's file is.
    pub fn blob(&self, manifest: &Manifest) -> PathBuf {
        self.blob_path(&manifest.sha256)
    }

    /// The model of that name, if it is here and is what `source` stands for: by its record and the size of
    /// its file, without reading it.
    pub fn present(&self, name: &str, source: &Source) -> Option<Manifest> {
        let manifest = self.find(name).ok()?;
        let meant = self.meant(name, source)? == manifest.sha256;
        let whole =
            fs::metadata(self.blob(&manifest)).is_ok_and(|blob| blob.len() == manifest.size);
        (meant && whole).then_some(manifest)
    }

    /// The hash that `source` stands for under that name: the known name's own, or the one that came from
    /// there before.
    pub(super) fn meant(&self, name: &str, source: &Source) -> Option<String> {
        let alias = Alias::find(name).filter(|alias| alias.source() == *source);
        let recorded = || {
            let manifest = self.find(name).ok()?;
            (manifest.source == source.to_string()).then_some(manifest.sha256)
        };
        alias.map(|alias| alias.sha256.to_owned()).or_else(recorded)
    }

    /// Forgets a name, under the store's lock.
    pub(super) fn forget(&self, name: &str) -> Result<u64, StoreError> {
        let manifest = self.find(name)?;
        let path = self.manifest_path(name);
        fs::remove_file(&path).map_err(disk(&path))?;
        self.drop_unnamed(&manifest)
    }

    /// Deletes the file that a name stood for, unless another name has it. Returns the bytes freed.
    pub(super) fn drop_unnamed(&self, manifest: &Manifest) -> Result<u64, StoreError> {
        let named = |other: &Manifest| other.sha256 == manifest.sha256;
        if self.list()?.iter().any(named) {
            return Ok(0);
        }
        let blob = self.blob(manifest);
        match fs::remove_file(&blob) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(&blob)(error)),
            _ => Ok(manifest.size),
        }
    }

    /// Writes a manifest so that it is there whole or not at all, even after a power cut.
    pub(super) fn enter(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let path = self.manifest_path(&manifest.name);
        let half = self.incoming().join(format!("{}.json", manifest.name));
        let text = serde_json::to_vec_pretty(manifest).unwrap_or_default();
        let mut file = File::create(&half).map_err(disk(&half))?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .map_err(disk(&half))?;
        fs::rename(&half, &path).map_err(disk(&path))?;
        sync_folder(&self.folder.join("manifests"))
    }

    pub(super) fn incoming(&self) -> PathBuf {
        self.folder.join("incoming")
    }

    pub(super) fn lock_path(&self) -> PathBuf {
        self.folder.join("lock")
    }

    pub(super) fn blob_path(&self, sha256: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("sha256-{sha256}"))
    }

    fn manifest_path(&self, name: &str) -> PathBuf {
        self.folder.join("manifests").join(format!("{name}.json"))
    }
}

pub(super) fn sync_folder(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(disk(path))
}

fn read(path: &Path) -> Result<Manifest, StoreError> {
    let damaged = |message: String| StoreError::Damaged {
        path: path.to_owned(),
        message,
    };
    let size = fs::metadata(path).map_err(disk(path))?.len();
    if size > MANIFEST_BYTES_MAX {
        return Err(damaged(format!(
            "{size} bytes, {MANIFEST_BYTES_MAX} are the limit"
        )));
    }
    let text = fs::read(path).map_err(disk(path))?;
    let manifest: Manifest =
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
    // The hash becomes a file name: it must be exactly 64 hex digits.
    if manifest.passport().is_none() {
        return Err(damaged("sha256 is not 64 hex digits".to_owned()));
    }
    Ok(manifest)
}

/// Bytes of a manifest, at most.
const MANIFEST_BYTES_MAX: u64 = 64 * 1024;
