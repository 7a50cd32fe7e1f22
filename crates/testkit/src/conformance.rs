//! What every implementation of a port must do, as suites that any implementation can be put through.
//!
//! `open` opens the store in a directory, which is empty at first. The suites drop a store before they open its
//! directory again, and find everything that was committed.

mod index;
mod log;
mod log_index;
mod witness;

use std::path::Path;

use quorix_trust::ports::{IndexStore, LogIndexStore, LogStore, WitnessStore};

/// Puts a [`LogStore`] through everything that is expected of it.
///
/// # Panics
/// If it does not do it.
pub fn log_store<S: LogStore>(open: impl Fn(&Path) -> S) {
    for case in log::CASES {
        in_a_new_directory(|directory| case(&|| Box::new(open(directory))));
    }
}

/// Puts an [`IndexStore`] through everything that is expected of it.
///
/// # Panics
/// If it does not do it.
pub fn index_store<S: IndexStore>(open: impl Fn(&Path) -> S) {
    for case in index::CASES {
        in_a_new_directory(|directory| case(&|| Box::new(open(directory))));
    }
}

/// Puts a [`LogIndexStore`] through everything that is expected of it.
///
/// # Panics
/// If it does not do it.
pub fn log_index_store<S: LogIndexStore>(open: impl Fn(&Path) -> S) {
    for case in log_index::CASES {
        in_a_new_directory(|directory| case(&|| Box::new(open(directory))));
    }
}

/// Puts a [`WitnessStore`] through everything that is expected of it.
///
/// # Panics
/// If it does not do it.
pub fn witness_store<S: WitnessStore>(open: impl Fn(&Path) -> S) {
    for case in witness::CASES {
        in_a_new_directory(|directory| case(&|| Box::new(open(directory))));
    }
}

fn in_a_new_directory(run: impl FnOnce(&Path)) {
    let directory = tempfile::tempdir().expect("tests can make directories");
    run(directory.path());
}
