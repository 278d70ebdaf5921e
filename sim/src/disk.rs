//! A disk in memory that forgets what was not synced, and fails when told to.
//!
//! The real stores run over it. A write is visible at once and durable after the next sync. When the power
//! goes, each write that was still on its way is there, not there, or torn at a sector; a killed process
//! loses none of them, since the system still holds them. After either, the old handle is dead: a database
//! that closes late cannot write to the disk of its successor.
//!
//! What is assumed of a disk is what redb assumes: a sync that returned was honest, and a sector is written
//! whole or not at all.

use crate::dice::Dice;
use redb::StorageBackend;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

/// One disk. Clones are handles to the same disk.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<Mutex<Platter>>);

/// A store's handle to a disk, dead after the next crash.
#[derive(Debug)]
pub struct Backend {
    disk: Disk,
    generation: u64,
}

#[derive(Debug, Default)]
struct Platter {
    durable: Vec<u8>,
    visible: Vec<u8>,
    unsynced: Vec<Change>,
    generation: u64,
    fails_in: Option<u64>,
    dies_in: Option<u64>,
    operations: u64,
}

#[derive(Debug)]
enum Change {
    Length(u64),
    Write { offset: u64, bytes: Vec<u8> },
}

impl Disk {
    /// An empty disk.
    pub fn new() -> Disk {
        Disk::default()
    }

    /// A handle for a store that opens now.
    pub fn open(&self) -> Backend {
        let mut platter = self.platter();
        platter.generation += 1;
        platter.fails_in = None;
        platter.dies_in = None;
        Backend {
            disk: self.clone(),
            generation: platter.generation,
        }
    }

    /// The power goes: what was not synced is there, torn, or gone, write by write.
    pub fn lose_power(&self, dice: &mut Dice) {
        let mut platter = self.platter();
        platter.generation += 1;
        let unsynced = std::mem::take(&mut platter.unsynced);
        for change in unsynced {
            if dice.chance(0.5) {
                continue;
            }
            match change {
                Change::Length(length) => platter.durable.resize(length as usize, 0),
                Change::Write { offset, mut bytes } => {
                    if dice.chance(0.3) {
                        let sectors = bytes.len().div_ceil(SECTOR) as u64;
                        bytes.truncate(dice.below(sectors + 1) as usize * SECTOR);
                    }
                    put(&mut platter.durable, offset, &bytes);
                }
            }
        }
        platter.visible = platter.durable.clone();
    }

    /// The process is killed: what it wrote is still there.
    pub fn lose_process(&self) {
        let mut platter = self.platter();
        platter.generation += 1;
        platter.unsynced.clear();
        platter.durable = platter.visible.clone();
    }

    /// The `operations`-th write or sync from now fails, and every one after it until the disk is opened
    /// again: what a store must take as "it may or may not be there".
    pub fn fail_in(&self, operations: u64) {
        self.platter().fails_in = Some(operations);
    }

    /// The `operations`-th write or sync from now, and everything after it, is not done and not told: the
    /// machine is about to lose power in the middle of a commit. To be followed by [`Disk::lose_power`].
    pub fn die_in(&self, operations: u64) {
        self.platter().dies_in = Some(operations);
    }

    /// No failure is to come any more.
    pub fn heal(&self) {
        let mut platter = self.platter();
        (platter.fails_in, platter.dies_in) = (None, None);
    }

    /// Writes and syncs so far.
    pub fn operations(&self) -> u64 {
        self.platter().operations
    }

    /// The bytes of the disk as they are now, for a reader that is not a store.
    pub fn image(&self) -> Vec<u8> {
        self.platter().visible.clone()
    }

    /// A disk that begins with these bytes.
    pub fn of_image(bytes: Vec<u8>) -> Disk {
        Disk(Arc::new(Mutex::new(Platter {
            durable: bytes.clone(),
            visible: bytes,
            ..Platter::default()
        })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Platter {
    /// Counts one write or sync and says whether it is still to be done.
    fn advance(&mut self) -> Result<(), Error> {
        self.operations += 1;
        for countdown in [&mut self.fails_in, &mut self.dies_in] {
            match countdown {
                Some(0) => return Err(Error::other("the simulated disk failed")),
                Some(left) => *left -= 1,
                None => {}
            }
        }
        Ok(())
    }
}

impl Backend {
    fn alive(&self) -> Result<MutexGuard<'_, Platter>, Error> {
        let platter = self.disk.platter();
        if platter.generation == self.generation {
            Ok(platter)
        } else {
            Err(Error::other("the process that opened this disk is dead"))
        }
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.alive()?.visible.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let platter = self.alive()?;
        let start = offset as usize;
        let bytes = start
            .checked_add(out.len())
            .and_then(|end| platter.visible.get(start..end))
            .ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), Error> {
        let mut platter = self.alive()?;
        platter.advance()?;
        platter.visible.resize(len as usize, 0);
        platter.unsynced.push(Change::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        let mut platter = self.alive()?;
        platter.advance()?;
        for change in std::mem::take(&mut platter.unsynced) {
            match change {
                Change::Length(length) => platter.durable.resize(length as usize, 0),
                Change::Write { offset, bytes } => put(&mut platter.durable, offset, &bytes),
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut platter = self.alive()?;
        platter.advance()?;
        put(&mut platter.visible, offset, data);
        platter.unsynced.push(Change::Write {
            offset,
            bytes: data.to_vec(),
        });
        Ok(())
    }
}

fn put(to: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let start = offset as usize;
    let end = start + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[start..end].copy_from_slice(bytes);
}

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};

    const TABLE: TableDefinition<u64, u64> = TableDefinition::new("numbers");

    fn commit(database: &Database, number: u64) -> Result<(), redb::Error> {
        let mut write = database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        write.set_two_phase_commit(true);
        write.open_table(TABLE)?.insert(number, number)?;
        write.commit()?;
        Ok(())
    }

    fn numbers(disk: &Disk) -> Vec<u64> {
        let database = Database::builder()
            .create_with_backend(disk.open())
            .expect("the disk holds a database or nothing");
        let read = database.begin_read().unwrap();
        let Ok(table) = read.open_table(TABLE) else {
            return Vec::new();
        };
        table
            .iter()
            .unwrap()
            .map(|row| row.unwrap().0.value())
            .collect()
    }

    #[test]
    fn a_commit_survives_and_one_cut_at_any_operation_is_there_or_not() {
        for operation in 0..24 {
            for seed in 0..8 {
                let disk = Disk::new();
                let database = Database::builder()
                    .create_with_backend(disk.open())
                    .unwrap();
                commit(&database, 1).unwrap();
                disk.die_in(operation);
                let second = commit(&database, 2).is_ok();
                disk.lose_power(&mut Dice::new(seed));
                drop(database);
                let found = numbers(&disk);
                assert!(
                    found == [1, 2] || (found == [1] && !second),
                    "operation {operation}, seed {seed}: {found:?}, told {second}"
                );
            }
        }
    }

    #[test]
    fn a_dead_handle_cannot_write() {
        let disk = Disk::new();
        let old = disk.open();
        let new = disk.open();
        assert!(old.write(0, b"old").is_err());
        assert!(new.write(0, b"new").is_ok());
        assert_eq!(disk.image(), b"new");
    }

    #[test]
    fn a_failing_disk_fails_until_it_is_opened_again() {
        let disk = Disk::new();
        let backend = disk.open();
        disk.fail_in(1);
        assert!(backend.write(0, b"a").is_ok());
        assert!(backend.sync_data().is_err());
        assert!(backend.sync_data().is_err());
        assert!(disk.open().sync_data().is_ok());
    }

    #[test]
    fn a_killed_process_loses_nothing_it_wrote() {
        let disk = Disk::new();
        disk.open().write(0, b"written").unwrap();
        disk.lose_process();
        assert_eq!(disk.image(), b"written");
    }
}
