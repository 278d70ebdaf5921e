//! A leaf: the file of keys.

use super::protocol::KeyRecord;
use crate::ids::Digest;
use crate::store::{StoreError, commit};
use crate::wire;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

const KEYS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("keys");
const VERSION: u8 = 1;
const RECORD_BYTES_MAX: usize = 4096;

/// One commit.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) write: u64,
    pub(super) keep: Vec<KeyRecord>,
    pub(super) forget: Vec<Digest>,
}

/// The file.
pub(super) struct KeyStore(Database);

impl KeyStore {
    pub(super) fn open(database: Database) -> Result<KeyStore, StoreError> {
        commit(&database, |transaction| {
            transaction
                .open_table(KEYS)
                .map(drop)
                .map_err(StoreError::of)
        })?;
        Ok(KeyStore(database))
    }

    pub(super) fn load(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let transaction = self.0.begin_read().map_err(StoreError::of)?;
        let table = transaction.open_table(KEYS).map_err(StoreError::of)?;
        let mut records = Vec::new();
        for row in table.iter().map_err(StoreError::of)? {
            let (_, value) = row.map_err(StoreError::of)?;
            records.push(
                wire::decode(VERSION, value.value(), RECORD_BYTES_MAX).map_err(StoreError::of)?,
            );
        }
        Ok(records)
    }

    pub(super) fn write(&self, write: Write) -> Result<u64, StoreError> {
        commit(&self.0, |transaction| {
            let mut table = transaction.open_table(KEYS).map_err(StoreError::of)?;
            for record in &write.keep {
                let value = wire::encode(VERSION, record);
                table
                    .insert(&record.hash.0[..], &value[..])
                    .map_err(StoreError::of)?;
            }
            for hash in &write.forget {
                table.remove(&hash.0[..]).map_err(StoreError::of)?;
            }
            Ok(())
        })?;
        Ok(write.write)
    }
}
