//! Transparency-log formats: RFC 6962 trees, C2SP tiles, proofs, signed notes, checkpoints and
//! cosignatures, the witness protocol, policies over witnesses, proofs in files, and the verifiable
//! index of a log.
//!
//! A pure crate: it never does I/O, reads no clock, draws no randomness and knows nothing of Nix.
//! Everything that it parses is taken to be hostile: parsers return errors that say what was wrong,
//! never panic, and accept exactly one spelling of each value, so that parse → print gives the same
//! bytes. The verifiers are the algorithms of RFC 9162 §2.1.3.2 and §2.1.4.2 and accept no surplus.
//!
//! Specifications: RFC 6962 §2.1, RFC 9162 §2.1, and C2SP `signed-note`, `tlog-checkpoint`,
//! `tlog-tiles`, `tlog-cosignature`, `tlog-witness`, `tlog-policy` and `tlog-proof`.

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests fail by panicking"
    )
)]

pub mod bundle;
pub mod checkpoint;
pub mod compact_range;
pub mod cosignature;
pub mod hash;
pub mod index;
pub mod log_key;
pub mod note;
pub mod proof;
pub mod rotation;
pub mod tile;
pub mod tlog_policy;
pub mod tlog_proof;
pub mod witness;

mod base64;
mod decimal;

#[cfg(test)]
mod oracle;

/// The largest tree that this crate builds, loads or reads from a checkpoint: 2^63 − 1 entries,
/// so that sizes fit a signed 64-bit number everywhere. (The proof verifiers take any `u64`.)
pub const MAX_TREE_SIZE: u64 = (1 << 63) - 1;
