//! Feeds what the fuzzers found to what they fuzz: every file in `tests/fuzz/corpus` goes through the same functions that
//! `tests/fuzz/run` gives to libFuzzer. Each target has a corpus, and none has grown large.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "tests fail by panicking; the targets are public in the crate of the fuzzers"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "fuzz/targets.rs"]
mod targets;

const FUZZ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz");

/// The most bytes that the corpus of one target may have.
const CORPUS_BYTES_MAX: usize = 200_000;

fn names_in(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn everything_that_the_fuzzers_found_passes() {
    for (name, _) in targets::TARGETS {
        let folder = Path::new(FUZZ).join("corpus").join(name);
        let files =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        assert!(files.len() > 5, "the corpus of {name} is empty");
        let mut bytes = 0;
        for file in files {
            let data = fs::read(&file).unwrap();
            bytes += data.len();
            // What is printed where it fails.
            let running = std::panic::catch_unwind(|| targets::run(name, &data));
            assert!(running.is_ok(), "{} fails", file.display());
        }
        assert!(
            bytes <= CORPUS_BYTES_MAX,
            "the corpus of {name} has {bytes} bytes: minimise it"
        );
    }
}

#[test]
fn every_target_has_its_program_and_its_corpus_and_there_are_no_others() {
    let told: BTreeSet<String> = targets::TARGETS
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(names_in(&Path::new(FUZZ).join("fuzz_targets")), told);
    assert_eq!(names_in(&Path::new(FUZZ).join("corpus")), told);
}
