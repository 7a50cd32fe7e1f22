//! The log service: takes entries over gRPC, sequences them into a signed Merkle tree, and serves that tree as tiles.
//!
//! Writing and reading are apart: [`grpc`] is private, for the builders that own the log; [`routes`] is public and
//! read-only. Nothing is acknowledged or published before it is durable and covered by a signed checkpoint.
//! Formats: RFC 6962, C2SP tlog-checkpoint and tlog-tiles, `proto/quorix/v1/log.proto`.
//!
//! - [`config`]: what one log is told at its start
//! - [`service`]: the running log
//! - [`storage`], [`anchor`]: what it stands on, and [`beginning`]: whether it may be begun
//! - [`publication`]: the step from durable to published, with or without witnesses
//! - [`grpc`]: taking entries, and [`access`]: from whom
//! - [`index`]: the verifiable index, and look-ups with proof
//! - [`routes`]: the static read API
//! - [`witness`]: the role that cosigns other logs
//! - [`witnesses`]: this log's own witnesses, asked for cosignatures
//! - [`error`]: everything that can go wrong, in words

#![cfg_attr(
    test,
    expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "tests fail by panicking"
    )
)]

pub mod access;
pub mod anchor;
pub mod beginning;
pub mod beyond;
pub mod config;
pub mod error;
pub mod export;
pub mod folder;
pub mod grpc;
pub mod index;
pub mod mirror;
pub mod publication;
pub mod routes;
pub mod service;
pub mod storage;
pub mod witness;
pub mod witnesses;

mod metrics;
mod published;
mod request;
mod sequencer;
mod start;
mod tree;
