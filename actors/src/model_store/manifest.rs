//! A leaf: the folder of models. Names are small JSON files, models are files named by their hash.

use super::alias::Alias;
use super::files;
use super::source::Source;
use crate::ids::Passport;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
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
    /// What tells the server's file from another one at the same address, if it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
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

    /// Every model here, by name; manifests that cannot be read are passed over, and are in [`Store::damaged`].
    pub fn list(&self) -> Result<Vec<Manifest>, StoreError> {
        let mut manifests: Vec<Manifest> = self.manifests()?.into_iter().flatten().collect();
        manifests.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(manifests)
    }

    /// What is wrong with every manifest that cannot be read; `remove` makes room for a new one.
    pub fn damaged(&self) -> Result<Vec<StoreError>, StoreError> {
        let manifests = self.manifests()?.into_iter();
        Ok(manifests.filter_map(Result::err).collect())
    }

    fn manifests(&self) -> Result<Vec<Result<Manifest, StoreError>>, StoreError> {
        let folder = self.folder.join("manifests");
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).map_err(disk(&folder))? {
            let path = entry.map_err(disk(&folder))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                paths.push(path);
            }
        }
        Ok(paths.iter().map(|path| read(path)).collect())
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

    /// Forgets a name, under the store's lock, whether its manifest can be read or not.
    pub(super) fn forget(&self, name: &str) -> Result<u64, StoreError> {
        match self.find(name) {
            Err(StoreError::Damaged { .. }) => {}
            found => drop(found?),
        }
        let path = self.manifest_path(name);
        fs::remove_file(&path).map_err(disk(&path))?;
        self.drop_unnamed()
    }

    /// Deletes the files that no name stands for, under the store's lock: what a name stood for that is gone,
    /// and what a pull left that was killed between file and name. Returns the bytes freed.
    pub(super) fn drop_unnamed(&self) -> Result<u64, StoreError> {
        // Which file a damaged manifest stood for, nobody knows: it might be any.
        if !self.damaged()?.is_empty() {
            return Ok(0);
        }
        let manifests = self.list()?;
        let folder = self.folder.join("blobs");
        let mut freed = 0;
        for entry in fs::read_dir(&folder).map_err(disk(&folder))? {
            let path = entry.map_err(disk(&folder))?.path();
            if manifests.iter().all(|manifest| self.blob(manifest) != path) {
                let size = fs::metadata(&path).map_err(disk(&path))?.len();
                fs::remove_file(&path).map_err(disk(&path))?;
                freed += size;
            }
        }
        Ok(freed)
    }

    /// Writes a manifest so that it is there whole or not at all, even after a power cut.
    pub(super) fn enter(&self, manifest: &Manifest) -> Result<(), StoreError> {
        let path = self.manifest_path(&manifest.name);
        let half = self.incoming().join(format!("{}.json", manifest.name));
        let text = serde_json::to_vec_pretty(manifest).unwrap_or_default();
        files::write_whole(&half, &path, &text).map_err(disk(&path))
    }

    pub(super) fn incoming(&self) -> PathBuf {
        self.folder.join("incoming")
    }

    pub(super) fn partial(&self) -> PathBuf {
        self.folder.join("partial")
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
