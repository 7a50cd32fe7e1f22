//! What the fuzzers run, one function a target: bytes from outside go in, and a property of whatever is accepted is
//! checked. Nothing may panic; what is read prints as the same bytes; a verifier accepts exactly what it should.
//!
//! Two crates include this file: `quorix-fuzz`, for libFuzzer, and the test `corpus`, which feeds the corpora in the tree
//! to the same functions on every run.

#[path = "targets/index.rs"]
mod index;
#[path = "targets/proof.rs"]
mod proof;
#[path = "targets/text.rs"]
mod text;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// Every target with its name, which is also the name of its folder in `corpus/`.
pub const TARGETS: &[(&str, Target)] = &[
    ("bundle", text::bundle),
    ("checkpoint", text::checkpoint),
    ("entry", text::entry),
    ("index_answer", index::index_answer),
    ("key", text::key),
    ("lists", text::lists),
    ("note", text::note),
    ("policy", text::policy),
    ("proof", proof::proof),
    ("tile_path", text::tile_path),
    ("tlog_policy", text::tlog_policy),
    ("tlog_proof", text::tlog_proof),
    ("witness_reply", text::witness_reply),
    ("witness_request", text::witness_request),
];

/// Well-formed answers for the fuzzer of look-ups to begin with.
#[must_use]
pub fn honest_answers() -> &'static [Vec<u8>] {
    index::honest()
}

/// Runs the target of this name.
///
/// # Panics
/// There is none, or its property does not hold.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.expect("a target of this name");
    target(data);
}
