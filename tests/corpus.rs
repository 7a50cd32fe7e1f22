//! Feeds what the fuzzers found to what they fuzz: every file in `tests/fuzz/corpus` goes through the same functions that
//! `tests/fuzz/run` gives to libFuzzer. Each target has a corpus, and none has grown large.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    unreachable_pub,
    reason = "tests fail by panicking; the targets are public in the crate of the fuzzers"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use quorix_testkit::entries::{
    a_retraction_of, a_small_entry, an_attestation, bytes_of, log_key, nix_key,
};
use quorix_testkit::tree::naive_bundle;
use quorix_tlog::hash::{EMPTY_ROOT, leaf_hash};
use quorix_tlog::note::{SignedNote, SigningKey};
use quorix_trust::policy::Policy;

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
        assert!(!files.is_empty(), "the corpus of {name} is empty");
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

/// What well-formed input looks like, for each target that needs more than luck to find it. With `QUORIX_REGENERATE=1`
/// these are written into the corpora, for a fuzzer to begin with.
#[test]
fn what_the_program_itself_writes_passes_every_target() {
    let write = std::env::var_os("QUORIX_REGENERATE").is_some();
    for (name, number, data) in seeds() {
        targets::run(name, &data);
        if write {
            let folder = Path::new(FUZZ).join("corpus").join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("seed-{number:02}")), data).unwrap();
        }
    }
}

const HASH_PART: &str = "93a4fjryvg1hz7bxki7wzd9cznsm20yx";

/// The example in the user's guide that uses most of the language.
fn guides_policy() -> &'static str {
    let (_, after) = include_str!("../docs/guides/user.md")
        .split_once("uses most of the language:\n\n```\n")
        .unwrap();
    after.split_once("```").unwrap().0
}

fn seeds() -> Vec<(&'static str, usize, Vec<u8>)> {
    let mut seeds = Vec::new();
    let mut add = |name, all: Vec<Vec<u8>>| {
        seeds.extend(
            all.into_iter()
                .enumerate()
                .map(|(number, data)| (name, number, data)),
        );
    };
    let attestation = an_attestation().referring_to(&["glibc", "zlib"]);
    let entries = [
        attestation.bytes(),
        attestation
            .clone()
            .with_references_in_a_blob()
            .rebuilt()
            .bytes(),
        attestation.clone().by(&nix_key("alice-1")).bytes(),
        bytes_of(&attestation.observed_by(&nix_key("cache-1"))),
        bytes_of(&a_retraction_of(&[a_small_entry(1), a_small_entry(2)])),
        a_small_entry(3),
    ];
    add("entry", entries.to_vec());
    add("lists", vec![attestation.blob(), Vec::new()]);

    let key = SigningKey::from_seed("logs.example.org/alice".parse().unwrap(), [7; 32]);
    let other = log_key("witness.example/w1");
    let text = format!("logs.example.org/alice\n70000\n{}\n", leaf_hash(b"root"));
    let one = SignedNote::sign(&text, &[&key]).unwrap().to_bytes();
    let two = SignedNote::sign(&format!("{text}more\n"), &[&other, &key])
        .unwrap()
        .to_bytes();
    let stranger = SignedNote::sign(&text, &[&other]).unwrap().to_bytes();
    let empty = format!("logs.example.org/alice\n0\n{EMPTY_ROOT}\n").into_bytes();
    add("note", vec![one.clone(), two.clone(), stranger]);
    add("checkpoint", vec![one, two, text.into_bytes(), empty]);
    let names = [
        key.verifier().to_string(),
        key.to_text(),
        "example.com/a".to_owned(),
    ];
    add("key", names.map(String::into_bytes).to_vec());

    let paths = [
        "tile/0/000",
        "tile/entries/x001/x234/067.p/1",
        "tile/63/999.p/255",
    ];
    add(
        "tile_path",
        paths.map(|path| path.as_bytes().to_vec()).to_vec(),
    );
    let bundle = [vec![2], naive_bundle(&entries[..3], 0)].concat();
    add("bundle", vec![bundle, vec![0; 33]]);
    add(
        "proof",
        (0..16)
            .map(|n| vec![n, n * 5, n * 9, n % 8, n * 3])
            .collect(),
    );
    let policy =
        "quorum none\nvoters two 2 alice bob\nrule main quorum=two level=closure\ndefault main\n";
    let builder = |name: &str| {
        format!(
            "builder {name} {} http://127.0.0.1:1 operator={name}\n",
            log_key(name).verifier()
        )
    };
    let policy = format!("{}{}{policy}", builder("alice"), builder("bob"));
    let rarer = format!(
        "{}{}quorum none\nvoters two all alice bob\nvoters one any alice bob\n\
         rule odd path=/nix/store/{HASH_PART}-odd quorum=one level=path mode=deny\n\
         rule built quorum=one veto=two level=build grace=3d mode=enforce\n\
         rule main quorum=two level=resolved fallback=built\ndefault main\n\
         also arm system=aarch64-linux quorum=two\nalso drv drv=/nix/store/{HASH_PART}-x.drv quorum=two\n\
         disregard bob /nix/store/{HASH_PART}-odd {}\n",
        builder("alice"),
        builder("bob"),
        "0".repeat(64),
    );
    let policies = [policy, guides_policy().to_owned(), rarer];
    for policy in &policies {
        Policy::parse(policy).unwrap_or_else(|error| panic!("{error}\n{policy}"));
    }
    add("policy", policies.map(String::into_bytes).to_vec());
    add("index_answer", targets::honest_answers().to_vec());
    add("witness_reply", vec![b"0\n".to_vec(), b"70000\n".to_vec()]);
    seeds
}
