//! The fuzz target `index_answer`; what it checks is in `targets.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quorix_fuzz::run("index_answer", data));
