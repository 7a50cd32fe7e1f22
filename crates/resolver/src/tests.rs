//! The resolver over a fake aggregator that proves what it says, and fake binary caches that may not.

mod completing;
mod content;
mod deciding;
mod fakes;
mod logs;
mod nars;
mod nix;
mod outputs;
mod protocol;
mod trustix;
mod world;
