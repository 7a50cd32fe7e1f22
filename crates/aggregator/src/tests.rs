//! The whole aggregator in process: against origins that are honest, broken or hostile, served on loopback.

mod answers;
mod api;
mod at_rest;
mod cache_votes;
mod catch_up;
mod dated;
pub(crate) mod dice;
mod fakes;
mod following;
mod forks;
mod found;
mod importing;
mod loud;
mod reloading;
mod rotated;
mod simulation;
mod split_view;
mod trustix;
mod windows;
pub(crate) mod world;
