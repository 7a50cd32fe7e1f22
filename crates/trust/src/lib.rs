//! What Quorix believes, and why: attestations, evidence, policy and decision.
//!
//! A decision is a pure function of (policy, evidence, time). This crate does no I/O, reads no clock and knows no
//! wire format; it declares the ports that stores implement. Its text form is `docs/semantics.md`.
//!
//! - [`attestation`]: what a log entry says
//! - [`evidence`]: everything known of some outputs at one moment, already verified
//! - [`policy`]: the policy file, parsed
//! - [`decision`]: the decision of SEMANTICS §3 with its reasons
//! - [`explain`]: decisions in plain sentences
//! - [`ports`]: what the core asks of a store

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests fail by panicking"
    )
)]

pub mod attestation;
pub mod decision;
pub mod evidence;
pub mod explain;
pub mod policy;
pub mod ports;
#[cfg(test)]
mod testing;
