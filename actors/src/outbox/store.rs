//! A leaf: the file of parcels.

use super::protocol::{Parcel, ParcelId};
use crate::ids::NodeId;
use crate::receipt::{Evidence, Signed};
use crate::store::{StoreError, commit};
use crate::wire::{self, WireError};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

const PARCELS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("parcels");
const VERSION: u8 = 2;
/// Of parcels that held receipts and nothing else.
const RECEIPTS_VERSION: u8 = 1;
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
            parcels.push(decode(value.value()).map_err(StoreError::of)?);
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

fn decode(value: &[u8]) -> Result<Parcel, WireError> {
    if value.first() != Some(&RECEIPTS_VERSION) {
        return wire::decode(VERSION, value, PARCEL_BYTES_MAX);
    }
    let (id, to, receipt): (ParcelId, NodeId, Signed) =
        wire::decode(RECEIPTS_VERSION, value, PARCEL_BYTES_MAX)?;
    let evidence = Evidence::Receipt(receipt);
    Ok(Parcel { id, to, evidence })
}
