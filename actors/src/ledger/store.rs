//! A leaf: the file of entries. Append only; an entry's key is its sequence.

use super::book::{Book, ReplayError};
use super::entry::{Batch, ENTRY_BYTES_MAX, ENTRY_VERSION, Entry};
use crate::price::Prices;
use crate::store::{StoreError, commit};
use crate::wire;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");

/// The file.
pub struct LedgerStore(Database);

impl LedgerStore {
    /// The entries in `database`, which may be new.
    pub fn open(database: Database) -> Result<LedgerStore, StoreError> {
        commit(&database, |transaction| {
            transaction
                .open_table(ENTRIES)
                .map(drop)
                .map_err(StoreError::of)
        })?;
        Ok(LedgerStore(database))
    }

    /// Every entry, in order.
    pub fn load(&self) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::new();
        self.each(|entry| {
            entries.push(entry);
            Ok(())
        })?;
        Ok(entries)
    }

    /// The books that the entries make, one entry in memory at a time.
    pub fn replay(&self, prices: Prices) -> Result<Book, StoreError> {
        let mut book = Book::new(prices);
        self.each(|entry| {
            book.take_in(&entry)
                .map_err(|error: ReplayError| StoreError::of(error))
        })?;
        Ok(book)
    }

    /// Shows every entry to `see`, in order, until it or the disk says no.
    pub fn each(
        &self,
        mut see: impl FnMut(Entry) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let transaction = self.0.begin_read().map_err(StoreError::of)?;
        let table = transaction.open_table(ENTRIES).map_err(StoreError::of)?;
        for row in table.iter().map_err(StoreError::of)? {
            let (key, value) = row.map_err(StoreError::of)?;
            see(decode(key.value(), value.value())?)?;
        }
        Ok(())
    }

    /// Writes a batch as one commit. A batch that is there already is accepted, a gap is refused.
    pub fn commit(&self, batch: &Batch) -> Result<u64, StoreError> {
        commit(&self.0, |transaction| {
            let mut table = transaction.open_table(ENTRIES).map_err(StoreError::of)?;
            let mut last = table
                .last()
                .map_err(StoreError::of)?
                .map_or(0, |(key, _)| key.value());
            for entry in &batch.entries {
                let bytes = wire::encode(ENTRY_VERSION, entry);
                if bytes.len() > ENTRY_BYTES_MAX {
                    return Err(StoreError::of("an entry is longer than may be"));
                }
                if entry.sequence > last + 1 {
                    return Err(StoreError::of(format!("entries after {last} are missing")));
                }
                let before = table
                    .insert(entry.sequence, &bytes[..])
                    .map_err(StoreError::of)?;
                if before.is_some_and(|before| before.value() != bytes) {
                    return Err(StoreError::of(format!("entry {} differs", entry.sequence)));
                }
                last = last.max(entry.sequence);
            }
            Ok(())
        })?;
        Ok(batch.number)
    }
}

fn decode(key: u64, value: &[u8]) -> Result<Entry, StoreError> {
    let entry: Entry = wire::decode(ENTRY_VERSION, value, ENTRY_BYTES_MAX)
        .map_err(|error| StoreError::of(format!("entry {key}: {error}")))?;
    if entry.sequence == key {
        Ok(entry)
    } else {
        let found = entry.sequence;
        Err(StoreError::of(format!("entry {key}: it is entry {found}")))
    }
}
