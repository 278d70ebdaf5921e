//! A leaf: the file of invitations and members.

use super::protocol::Change;
use crate::store::{StoreError, commit};
use crate::wire;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::de::DeserializeOwned;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const INVITES: Table = TableDefinition::new("invites");
const MEMBERS: Table = TableDefinition::new("members");
const FACTS: Table = TableDefinition::new("facts");
const SERIAL: &[u8] = b"serial";
const VERSION: u8 = 1;
const RECORD_BYTES_MAX: usize = 4096;

/// The file.
pub(super) struct AdmissionsStore(Database);

impl AdmissionsStore {
    pub(super) fn open(database: Database) -> Result<AdmissionsStore, StoreError> {
        commit(&database, |transaction| {
            for table in [INVITES, MEMBERS, FACTS] {
                transaction.open_table(table).map_err(StoreError::of)?;
            }
            Ok(())
        })?;
        Ok(AdmissionsStore(database))
    }

    /// All that is kept.
    pub(super) fn load(&self) -> Result<Change, StoreError> {
        Ok(Change {
            serial: self.rows(FACTS)?.pop().unwrap_or_default(),
            invites: self.rows(INVITES)?,
            members: self.rows(MEMBERS)?,
            ..Change::default()
        })
    }

    fn rows<T: DeserializeOwned>(&self, table: Table) -> Result<Vec<T>, StoreError> {
        let transaction = self.0.begin_read().map_err(StoreError::of)?;
        let table = transaction.open_table(table).map_err(StoreError::of)?;
        let mut records = Vec::new();
        for row in table.iter().map_err(StoreError::of)? {
            let (_, value) = row.map_err(StoreError::of)?;
            records.push(
                wire::decode(VERSION, value.value(), RECORD_BYTES_MAX).map_err(StoreError::of)?,
            );
        }
        Ok(records)
    }

    pub(super) fn write(&self, change: &Change) -> Result<(), StoreError> {
        commit(&self.0, |transaction| {
            let put = |table: &mut redb::Table<&[u8], &[u8]>, key: &[u8], value: Vec<u8>| {
                let put = table.insert(key, &value[..]);
                put.map(drop).map_err(StoreError::of)
            };
            let mut facts = transaction.open_table(FACTS).map_err(StoreError::of)?;
            put(&mut facts, SERIAL, wire::encode(VERSION, &change.serial))?;
            let mut invites = transaction.open_table(INVITES).map_err(StoreError::of)?;
            for invite in &change.invites {
                put(&mut invites, &invite.hash.0, wire::encode(VERSION, invite))?;
            }
            for hash in &change.forget_invites {
                invites.remove(&hash.0[..]).map_err(StoreError::of)?;
            }
            let mut members = transaction.open_table(MEMBERS).map_err(StoreError::of)?;
            for member in &change.members {
                let node = member.certificate.node;
                put(&mut members, &node.0, wire::encode(VERSION, member))?;
            }
            for node in &change.forget_members {
                members.remove(&node.0[..]).map_err(StoreError::of)?;
            }
            Ok(())
        })
    }
}
