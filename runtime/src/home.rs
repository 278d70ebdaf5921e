//! Where a node keeps what is its own: its folder, its key, and the lock that makes it the only one there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use troop_actors::ids::NodeKey;
use troop_actors::ports::Entropy;

/// A node's folder. Everything below it is readable by its owner alone.
#[derive(Clone, Debug)]
pub struct Home {
    folder: PathBuf,
    state: PathBuf,
    config: PathBuf,
}

/// The folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Neither `TROOP_HOME` nor a home directory is known.
    #[error("there is no home directory; set TROOP_HOME to a folder of troop's own")]
    Unknown,
    /// Another node runs on it.
    #[error("another node is running on {folder}")]
    Taken {
        /// The folder.
        folder: PathBuf,
    },
    /// Others can get into it, and it holds other things than troop's.
    #[error(
        "{folder} is open to other users and was not made by troop; \
         give it to troop alone (chmod 700), or choose another"
    )]
    Open {
        /// The folder.
        folder: PathBuf,
    },
    /// The key is not one.
    #[error("{path}: a key file is 32 bytes, this one has {bytes}")]
    Key {
        /// The file.
        path: PathBuf,
        /// How many it has.
        bytes: usize,
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

impl Home {
    /// `given`, or `$XDG_DATA_HOME/troop`, or `~/.local/share/troop`. Where it is given,
    /// the configuration and the history are kept there too; else below `$XDG_CONFIG_HOME` or `~/.config`, and
    /// `$XDG_STATE_HOME` or `~/.local/state`.
    pub fn find(given: Option<PathBuf>) -> Result<Home, HomeError> {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let find = |name: &str, usual: &str| {
            let named = variable(name).map(|base| PathBuf::from(base).join("troop"));
            let usual = || Some(PathBuf::from(variable("HOME")?).join(usual).join("troop"));
            let folder = given.clone().or(named).or_else(usual);
            let folder = folder.ok_or(HomeError::Unknown)?;
            // Children and other working directories must mean the same folder.
            std::path::absolute(&folder).map_err(disk(&folder))
        };
        Ok(Home {
            folder: find("XDG_DATA_HOME", ".local/share")?,
            state: find("XDG_STATE_HOME", ".local/state")?,
            config: find("XDG_CONFIG_HOME", ".config")?,
        })
    }

    /// Makes the folder if it is absent. One that is there and open to others is closed, but only if it is
    /// troop's own or empty: a folder with somebody's other things is not ours to close.
    pub fn make(&self) -> Result<(), HomeError> {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(disk(&self.folder))?;
        let facts = fs::metadata(&self.folder).map_err(disk(&self.folder))?;
        if facts.permissions().mode() & 0o077 == 0 {
            return Ok(());
        }
        let ours = ["node.key", "models"]
            .iter()
            .any(|name| self.path(name).exists());
        let mut inside = fs::read_dir(&self.folder).map_err(disk(&self.folder))?;
        if !ours && inside.next().is_some() {
            return Err(HomeError::Open {
                folder: self.folder.clone(),
            });
        }
        fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))
            .map_err(disk(&self.folder))
    }

    /// A path below the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The file that stands for flags.
    pub fn config(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// Where the history of what was typed is kept.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the command line talks to the running node.
    pub fn socket(&self) -> PathBuf {
        self.path("ctl.sock")
    }

    /// Takes the folder for this process, until the lock is dropped.
    pub fn lock(&self) -> Result<File, HomeError> {
        let path = self.path("node.lock");
        let file = File::create(&path).map_err(disk(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => Err(HomeError::Taken {
                folder: self.folder.clone(),
            }),
            Err(fs::TryLockError::Error(error)) => Err(disk(&path)(error)),
        }
    }

    /// The node's key; made at the first start, and whole or absent even if that is cut short.
    pub fn key(&self, entropy: &dyn Entropy) -> Result<NodeKey, HomeError> {
        let path = self.path("node.key");
        if !path.exists() {
            let mut secret = [0; 32];
            entropy.fill(&mut secret);
            self.keep("node.key", &secret)?;
        }
        let mut bytes = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(64).read_to_end(&mut bytes))
            .map_err(disk(&path))?;
        let secret = <[u8; 32]>::try_from(&bytes[..]).map_err(|_| HomeError::Key {
            path,
            bytes: bytes.len(),
        })?;
        Ok(NodeKey::from_secret(secret))
    }

    /// Writes a file below the folder, for its owner alone: the whole of it or nothing, and durably.
    pub fn keep(&self, name: &str, bytes: &[u8]) -> Result<(), HomeError> {
        use std::os::unix::fs::OpenOptionsExt;
        let (path, half) = (self.path(name), self.path(&format!("{name}.new")));
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&half)
            .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
            .map_err(disk(&half))?;
        fs::rename(&half, &path).map_err(disk(&path))?;
        self.settle()
    }

    /// Makes the names of the folder durable.
    pub fn settle(&self) -> Result<(), HomeError> {
        let settled = File::open(&self.folder).and_then(|folder| folder.sync_all());
        settled.map_err(disk(&self.folder))
    }
}

pub(crate) fn disk(path: &Path) -> impl FnOnce(io::Error) -> HomeError + '_ {
    move |error| HomeError::Disk {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaves::SystemEntropy;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_a_home_has_one_node() {
        let folder = std::env::temp_dir().join(format!("troop-home-{}", std::process::id()));
        let home = Home::find(Some(folder.clone())).unwrap();
        home.make().unwrap();

        let first = home.key(&SystemEntropy).unwrap();
        assert_eq!(home.key(&SystemEntropy).unwrap().node(), first.node());
        let mode = fs::metadata(home.path("node.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);

        let lock = home.lock().unwrap();
        assert!(matches!(home.lock(), Err(HomeError::Taken { .. })));
        drop(lock);
        home.lock().unwrap();

        fs::write(home.path("node.key"), b"short").unwrap();
        assert!(matches!(
            home.key(&SystemEntropy),
            Err(HomeError::Key { bytes: 5, .. })
        ));
        fs::remove_dir_all(folder).unwrap();
    }
}
