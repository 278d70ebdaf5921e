//! A leaf: the file of parcels.

use super::protocol::{Parcel, ParcelId};
use crate::store::{StoreError, commit};
use crate::wire;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

const PARCELS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("parcels");
const VERSION: u8 = 1;
const PARCEL_BYTES_MAX: usize = 4096;

/// One commit.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) write: u64,
    pub(super) keep: Vec<Parcel>,
    pub(super) forget: Vec<ParcelId>,
}

/// The file.
pub struct OutboxStore(Database);

impl OutboxStore {
    /// The parcels in `database`, which may be new.
    pub fn open(database: Database) -> Result<OutboxStore, StoreError> {
        commit(&database, |transaction| {
            transaction
                .open_table(PARCELS)
                .map(drop)
                .map_err(StoreError::of)
        })?;
        Ok(OutboxStore(database))
    }

    /// Every parcel.
    pub fn load(&self) -> Result<Vec<Parcel>, StoreError> {
        let transaction = self.0.begin_read().map_err(StoreError::of)?;
        let table = transaction.open_table(PARCELS).map_err(StoreError::of)?;
        let mut parcels = Vec::new();
        for row in table.iter().map_err(StoreError::of)? {
            let (_, value) = row.map_err(StoreError::of)?;
            parcels.push(
                wire::decode(VERSION, value.value(), PARCEL_BYTES_MAX).map_err(StoreError::of)?,
            );
        }
        Ok(parcels)
    }

    /// One commit; returns its number.
    pub fn write(
        &self,
        write: u64,
        keep: &[Parcel],
        forget: &[ParcelId],
    ) -> Result<u64, StoreError> {
        commit(&self.0, |transaction| {
            let mut table = transaction.open_table(PARCELS).map_err(StoreError::of)?;
            for parcel in keep {
                let value = wire::encode(VERSION, parcel);
                table
                    .insert(&parcel.id.0[..], &value[..])
                    .map_err(StoreError::of)?;
            }
            for id in forget {
                table.remove(&id.0[..]).map_err(StoreError::of)?;
            }
            Ok(())
        })?;
        Ok(write)
    }
}
