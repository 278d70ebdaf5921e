//! A leaf: the file of a coordinator's rotation.

use crate::store::{StoreError, commit};
use crate::ticket::Rotation;
use crate::wire;
use redb::{Database, ReadableDatabase, TableDefinition};

const ROTATION: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rotation");
const PRESENT: &[u8] = b"present";
const VERSION: u8 = 1;
const RECORD_BYTES_MAX: usize = 4096;

/// The file.
#[derive(Debug)]
pub struct RotationStore(Database);

impl RotationStore {
    /// Opens it; it is made if it is new.
    pub fn open(database: Database) -> Result<RotationStore, StoreError> {
        commit(&database, |transaction| {
            let table = transaction.open_table(ROTATION);
            table.map(drop).map_err(StoreError::of)
        })?;
        Ok(RotationStore(database))
    }

    /// What it knows; nothing before the first rotation.
    pub fn load(&self) -> Result<Rotation, StoreError> {
        let transaction = self.0.begin_read().map_err(StoreError::of)?;
        let table = transaction.open_table(ROTATION).map_err(StoreError::of)?;
        match table.get(PRESENT).map_err(StoreError::of)? {
            Some(row) => {
                wire::decode(VERSION, row.value(), RECORD_BYTES_MAX).map_err(StoreError::of)
            }
            None => Ok(Rotation::default()),
        }
    }

    /// One commit.
    pub fn write(&self, write: u64, rotation: &Rotation) -> Result<u64, StoreError> {
        commit(&self.0, |transaction| {
            let mut table = transaction.open_table(ROTATION).map_err(StoreError::of)?;
            let row = wire::encode(VERSION, rotation);
            let put = table.insert(PRESENT, &row[..]);
            put.map(drop).map_err(StoreError::of)
        })?;
        Ok(write)
    }
}
