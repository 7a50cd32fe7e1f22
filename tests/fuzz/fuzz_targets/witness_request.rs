//! The fuzz target `witness_request`; what it checks is in `targets.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quorix_fuzz::run("witness_request", data));
