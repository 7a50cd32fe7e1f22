//! Everything that crosses a wire: protobuf, gRPC clients that verify, and bounded HTTP fetching.
//!
//! The only crate that knows protobuf. What comes in is checked here once and handed on in domain types; nothing
//! that a server says is believed where the policy's keys can check it. Decides nothing itself: that is
//! `quorix_trust`. Formats: `proto/quorix/v1/*.proto`, C2SP tlog-tiles, Nix's binary caches.
//!
//! - [`entry`]: canonical bytes of log entries, and the blobs that they name
//! - [`evidence`]: what an aggregator answers, verified
//! - [`client`]: the log and the aggregator over gRPC; [`address`], [`channel`] and [`tls`] lead there
//! - [`token`]: who may submit to a log, and what they sign
//! - [`fetch`]: bounded GETs, and the tiles of a log; [`cache`]: binary caches; [`decompress`]
//! - [`compress`]: what a log serves, as its reader accepts it
//! - [`index`]: what a log says about one output, and nothing else, with proof
//! - [`scan`]: whole logs read and verified, for fsck, export, mirror and tail
//! - [`json`]: the aggregator's service as JSON, and its OpenAPI document
//! - [`convert`]: decisions and other views as protobuf
//! - [`content`]: what is asked of whoever can recompute content-addressed paths

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests fail by panicking"
    )
)]

pub mod address;
pub mod cache;
pub mod channel;
pub mod client;
pub mod compress;
pub mod content;
pub mod convert;
pub mod decompress;
pub mod entry;
pub mod evidence;
pub mod fetch;
pub mod index;
pub mod json;
pub mod scan;
pub mod tls;
pub mod token;

/// Generated from `proto/quorix/v1`: messages, clients and servers. A test keeps it fresh.
#[expect(
    missing_docs,
    unused_qualifications,
    clippy::allow_attributes,
    clippy::large_enum_variant,
    clippy::too_many_lines,
    clippy::use_self,
    reason = "generated"
)]
pub mod pb {
    include!("generated/quorix.v1.rs");

    /// The encoded descriptors of all of it, for gRPC reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/quorix.v1.bin");
}
