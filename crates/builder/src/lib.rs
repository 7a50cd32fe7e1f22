//! The builder's side: what was built here is attested to a log, without a build ever noticing.
//!
//! The hook that Nix runs after a build only leaves a job in the [`outbox`], a directory of small synced files. The
//! [`flush::Flusher`], a task of `quorix serve`, dumps and hashes the paths, makes the log entries and removes a job
//! once the log has acknowledged them. What is not certainly built here is refused with the reason.
//!
//! - [`hook`]: what Nix runs; never fails, never waits for anything but the disk
//! - [`outbox`]: jobs on disk
//! - [`attest`]: a store path as a log entry, or why not
//! - [`inputs`]: the Merkle root over what a build used
//! - [`flush`]: from the outbox to the log

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests fail by panicking"
    )
)]

pub mod attest;
pub mod config;
pub mod flush;
pub mod hook;
pub mod inputs;
pub mod metrics;
pub mod outbox;
