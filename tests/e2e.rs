//! The main job end to end: the real program, the real Nix, real processes on ports of this machine.
//! Each test plays in a folder and on ports of its own; what the builders built is built once for all of them.
//! Needs Nix, a static busybox, a C compiler, and the program's path in QUORIX_BIN: `make test` sees to all four. Some attacks
//! are by other users of this machine, which takes root, or `sudo` without a password, or from another address than those of its
//! loopback.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests fail by panicking"
)]

#[path = "e2e/access.rs"]
mod access;
#[path = "e2e/agreement.rs"]
mod agreement;
#[path = "e2e/attacks.rs"]
mod attacks;
#[path = "e2e/auditing.rs"]
mod auditing;
#[path = "e2e/bad_input.rs"]
mod bad_input;
#[path = "e2e/cache_votes.rs"]
mod cache_votes;
#[path = "e2e/checking.rs"]
mod checking;
#[path = "e2e/commands.rs"]
mod commands;
#[path = "e2e/completing.rs"]
mod completing;
#[path = "e2e/content_addressed.rs"]
mod content_addressed;
#[path = "e2e/equivocation.rs"]
mod equivocation;
#[path = "e2e/following.rs"]
mod following;
#[path = "e2e/hook.rs"]
mod hook;
#[path = "e2e/hostile_requests.rs"]
mod hostile_requests;
#[path = "e2e/lookups.rs"]
mod lookups;
#[path = "e2e/operation.rs"]
mod operation;
#[path = "e2e/outages.rs"]
mod outages;
#[path = "e2e/policies.rs"]
mod policies;
#[path = "e2e/reloading.rs"]
mod reloading;
#[path = "e2e/resolving.rs"]
mod resolving;
#[path = "e2e/restarts.rs"]
mod restarts;
#[path = "e2e/sources.rs"]
mod sources;
#[path = "e2e/stage.rs"]
mod stage;
#[path = "e2e/telling.rs"]
mod telling;
#[path = "e2e/witnessing.rs"]
mod witnessing;
#[path = "e2e/world.rs"]
mod world;
