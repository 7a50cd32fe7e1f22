//! The whole index as sorted text, so that one that was built anew can be compared; and what no mirror has.

use std::io::{self, Write};

use quorix_trust::ports::{IndexedStatement, Place, StoreError};

use super::step::output_of;
use super::{
    CHECKPOINTS, CONTESTED, COUNTS, FACETS, NAMES, OPAQUE, OUTPUTS, RocksIndex, TALLIES, row,
};
use crate::database::{META, Shape, corrupt};
use crate::tree::LEAVES;

const OPERATION: &str = "reading the whole index";

/// All tables but those of the mirrors' trees.
const TABLES: [(&str, Shape); 7] = [
    CHECKPOINTS,
    CONTESTED,
    FACETS,
    LEAVES,
    NAMES,
    OUTPUTS,
    TALLIES,
];

/// Why an index was not written out.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The text could not be written.
    #[error("the dump could not be written: {0}")]
    Write(#[from] io::Error),
}

impl RocksIndex {
    /// Writes every row of the index but those of the mirrors' trees, leaf hashes excepted: a line each, table, key and value
    /// in hexadecimal. Table after table in the order of their names, then the counts; within a table ascending by key where
    /// it is sorted.
    ///
    /// # Errors
    /// The store failed, or writing did.
    pub fn dump(&self, out: &mut dyn Write) -> Result<(), DumpError> {
        for (table, _) in TABLES {
            for row in self.database.scan(table, b"", OPERATION)? {
                let (key, value) = row?;
                line(out, table, &key, &value)?;
            }
        }
        for prefix in [COUNTS, OPAQUE] {
            for row in self.database.scan(META, prefix, OPERATION)? {
                let (key, value) = row?;
                if !key.starts_with(prefix) {
                    break;
                }
                line(out, "meta", &key, &value)?;
            }
        }
        Ok(())
    }

    /// Calls `take` with every observation that no log carries.
    ///
    /// # Errors
    /// The store failed, here or in `take`.
    pub fn unlogged(
        &self,
        take: &mut dyn FnMut(&IndexedStatement) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for row in self.database.scan(OUTPUTS.0, b"", OPERATION)? {
            let (key, value) = row?;
            let output = output_of(&key);
            let rows = output.and_then(|output| row::decode(&value, &output));
            let rows = rows.ok_or_else(|| corrupt(OPERATION, "a stored row is damaged"))?;
            for row in rows {
                if matches!(row.statement.place, Place::Unlogged { .. }) {
                    take(&row.statement)?;
                }
            }
        }
        Ok(())
    }

    /// Writes out what is still in memory, so that sizes on disk are those of everything.
    ///
    /// # Errors
    /// The store failed.
    pub fn settle(&self) -> Result<(), StoreError> {
        TABLES
            .iter()
            .try_for_each(|(table, _)| self.database.flush(table))
    }

    /// Bytes on the disk of everything but the mirrored trees and their entries.
    ///
    /// # Errors
    /// The store failed.
    pub fn index_bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = 0_u64;
        for (table, _) in TABLES {
            bytes = bytes.saturating_add(self.database.bytes_on_disk(table)?);
        }
        Ok(bytes)
    }
}

fn line(out: &mut dyn Write, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
    write!(out, "{table} ")?;
    for byte in key {
        write!(out, "{byte:02x}")?;
    }
    out.write_all(b" ")?;
    for byte in value {
        write!(out, "{byte:02x}")?;
    }
    out.write_all(b"\n")
}
