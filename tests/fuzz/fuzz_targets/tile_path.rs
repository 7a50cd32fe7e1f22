//! The fuzz target `tile_path`; what it checks is in `targets.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quorix_fuzz::run("tile_path", data));
