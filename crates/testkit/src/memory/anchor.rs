//! An anchor in memory.
//!
//! Keeps every checkpoint that was ever written to it, for those who look whether a log kept its word.

use std::sync::{Arc, Mutex, MutexGuard};

use quorix_trust::ports::{Anchor, StoreError};

/// The newest signed checkpoint of a log, in memory. Clones are the same anchor.
#[derive(Clone, Debug, Default)]
pub struct MemoryAnchor {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    now: Option<Vec<u8>>,
    synced: Option<Vec<u8>>,
    writes: Vec<Vec<u8>>,
}

impl MemoryAnchor {
    /// One that says nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts something else in its place, or nothing.
    pub fn set(&self, checkpoint: Option<&[u8]>) {
        let mut state = self.state();
        state.now = checkpoint.map(<[u8]>::to_vec);
        state.synced = state.now.clone();
    }

    /// Writes as [`Anchor::write`] does, without its sync.
    pub fn write_unsynced(&self, checkpoint: &[u8]) {
        let mut state = self.state();
        state.now = Some(checkpoint.to_vec());
        state.writes.push(checkpoint.to_vec());
    }

    /// Every checkpoint that was ever written, in order.
    #[must_use]
    pub fn writes(&self) -> Vec<Vec<u8>> {
        self.state().writes.clone()
    }

    pub(super) fn cut_power(&self) {
        let mut state = self.state();
        state.now = state.synced.clone();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the anchor")
    }
}

impl Anchor for MemoryAnchor {
    fn read(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().now.clone())
    }

    fn write(&self, checkpoint: &[u8]) -> Result<(), StoreError> {
        self.write_unsynced(checkpoint);
        let mut state = self.state();
        state.synced = state.now.clone();
        Ok(())
    }
}
