//! The witness's store in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use quorix_tlog::witness::Cosigned;
use quorix_trust::ports::{StoreError, WitnessRecord, WitnessStore};

/// What a witness has cosigned, in memory. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct MemoryWitness {
    records: Arc<Mutex<BTreeMap<String, WitnessRecord>>>,
    failing: Arc<Mutex<bool>>,
}

impl MemoryWitness {
    /// From now on, or no longer, every write fails without having happened.
    ///
    /// # Panics
    /// If a test panicked while it held the store.
    pub fn fail(&self, failing: bool) {
        *self.failing.lock().unwrap() = failing;
    }
}

impl WitnessStore for MemoryWitness {
    fn record(&self, origin: &str) -> Result<Option<WitnessRecord>, StoreError> {
        Ok(self.records.lock().unwrap().get(origin).cloned())
    }

    fn replace(
        &self,
        origin: &str,
        expected: Option<&Cosigned>,
        record: &WitnessRecord,
    ) -> Result<bool, StoreError> {
        if *self.failing.lock().unwrap() {
            return Err(StoreError {
                operation: "keeping what was cosigned".into(),
                reason: "the disk is full".into(),
            });
        }
        let mut records = self.records.lock().unwrap();
        if records.get(origin).map(|found| &found.cosigned) != expected {
            return Ok(false);
        }
        records.insert(origin.to_owned(), record.clone());
        Ok(true)
    }
}
