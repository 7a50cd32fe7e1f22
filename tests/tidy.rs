//! House rules that no compiler checks, over every file that git tracks or would track:
//! sizes, opening comments, names, nothing skipped, the list of dependencies complete, no machine's own names.
//! Words that must not appear in the repository are spelt here in two halves, since this file is in it too.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

const LONGEST: usize = 600;

#[test]
fn no_rust_file_is_longer_than_600_lines() {
    let long = offenders(|_, text| text.lines().count() > LONGEST);
    assert!(
        long.is_empty(),
        "longer than {LONGEST} lines, split along what they are about: {long:#?}"
    );
}

#[test]
fn every_rust_file_begins_by_saying_what_it_is() {
    // The tests of `foo.rs` in `foo/tests.rs` are introduced by `foo.rs`.
    let silent = offenders(|path, text| !text.starts_with("//! ") && !path.ends_with("tests.rs"));
    assert!(
        silent.is_empty(),
        "these must begin with `//! `: what it is, what it never does, which spec rules: {silent:#?}"
    );
}

#[test]
fn no_module_is_named_after_nothing() {
    let empty = [
        "common", "helper", "helpers", "misc", "mod", "util", "utils",
    ];
    let named = offenders(|path, _| {
        path.file_stem()
            .is_some_and(|stem| empty.iter().any(|name| stem == *name))
    });
    assert!(
        named.is_empty(),
        "name these after what they hold: {named:#?}"
    );
}

#[test]
fn no_test_is_skipped_and_no_lint_silenced_without_a_reason() {
    for skipping in [
        concat!("#[ign", "ore"),
        concat!("#[should_", "panic"),
        concat!("#[al", "low("),
        concat!("#![al", "low("),
    ] {
        let found = offenders(|_, text| text.contains(skipping));
        assert!(found.is_empty(), "`{skipping}` is in {found:#?}");
    }
}

/// Tests may, and testkit is only for tests; the pure crates' clippy.toml says it about them too, and more.
#[test]
fn only_the_program_reads_the_environment_and_ends_the_process() {
    for call in [concat!("env::", "var"), concat!("process::", "exit(")] {
        let found = offenders(|path, text| {
            path.starts_with("crates")
                && !["crates/quorix", "crates/testkit"]
                    .iter()
                    .any(|free| path.starts_with(free))
                && !path.components().any(|part| part.as_os_str() == "tests")
                && !path.ends_with("tests.rs")
                && text.contains(call)
        });
        assert!(
            found.is_empty(),
            "`{call}` belongs into crates/quorix, not into {found:#?}"
        );
    }
}

#[test]
fn every_outside_crate_is_explained_in_docs_dependencies_in_the_order_of_cargo_toml() {
    let manifest = std::fs::read_to_string(Path::new(ROOT).join("Cargo.toml")).unwrap();
    let declared: Vec<&str> = manifest
        .lines()
        .skip_while(|line| *line != "[workspace.dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.starts_with('#') && !line.contains("path = "))
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .collect();
    assert!(
        declared.contains(&"rocksdb"),
        "Cargo.toml is laid out differently than expected: {declared:?}"
    );

    let page = std::fs::read_to_string(Path::new(ROOT).join("docs/dependencies.md"))
        .expect("docs/dependencies.md");
    let explained: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split_once('`').map(|(name, _)| name))
        .collect();
    assert_eq!(
        explained, declared,
        "docs/dependencies.md (left) and Cargo.toml (right) must list the same crates in the same order"
    );
}

#[test]
fn nothing_in_the_repository_names_a_registry_or_a_path_of_one_machine() {
    let home = std::env::var("HOME").unwrap_or_default();
    let here = Path::new(ROOT)
        .canonicalize()
        .unwrap()
        .display()
        .to_string();
    let mut forbidden: BTreeSet<String> = [
        concat!("crat", "es.io"),
        concat!("deb.deb", "ian.org"),
        concat!("registry.npm", "js"),
        concat!("pypi", ".org"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/tmp", "/q/"),
    ]
    .map(str::to_owned)
    .into();
    for place in [here, home] {
        // A home of `/` or a checkout in `/src` would be found in every file.
        if place.matches('/').count() > 1 {
            forbidden.insert(place);
        }
    }
    let mut found = Vec::new();
    // Cargo itself writes the registry's name into Cargo.lock.
    for (path, text) in tracked()
        .iter()
        .filter(|(path, _)| !path.ends_with("Cargo.lock"))
    {
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = forbidden.iter().find(|word| names(line, word)) {
                found.push(format!("{path}:{} contains `{word}`", number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Attacks and theorems are worth what their tests are: a test that was renamed must not stay on the page.
#[test]
fn every_attack_and_theorem_names_tests_that_exist_and_says_where_no_process_plays_it() {
    let (all, played) = (test_names(|_| true), test_names(plays_processes));
    let page = |name: &str| {
        let page = tracked().into_iter().find(|(path, _)| path == name);
        page.unwrap().1
    };
    for name in ["docs/threat-model.md", "docs/semantics.md"] {
        let text = page(name);
        let gone: Vec<_> = quoted(&text).filter(|test| !all.contains(*test)).collect();
        assert!(
            gone.is_empty(),
            "{name} names tests that are not there: {gone:#?}"
        );
    }
    let text = page("docs/threat-model.md");
    let (_, rest) = text.split_once("## Stopped today\n").unwrap();
    let (stopped, rest) = rest.split_once("## Not protected yet\n").unwrap();
    let (_, in_process) = rest.split_once("## Played in-process only\n").unwrap();
    let listed: BTreeSet<&str> = in_process
        .lines()
        .filter_map(|line| line.strip_prefix("- "))
        .collect();
    let rows = stopped
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| attack"));
    let mut unplayed = BTreeSet::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches(['|', ' ']).split(" | ").collect();
        let [attack, _, tests] = <[&str; 3]>::try_from(cells).unwrap();
        if !quoted(tests).any(|test| played.contains(test)) {
            unplayed.insert(attack);
        }
    }
    let wrong: Vec<_> = unplayed.symmetric_difference(&listed).collect();
    assert!(
        wrong.is_empty(),
        "listed as played in-process only and not so, or so and not listed: {wrong:#?}"
    );
}

fn plays_processes(path: &str) -> bool {
    ["tests/e2e/", "tests/torture/", "tests/browser/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}

/// Names of functions in the Rust files of which this is true.
fn test_names(is_in: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let files = written_rust().into_iter().filter(|(path, _)| is_in(path));
    let names = files.flat_map(|(_, text)| {
        let after = text.split("fn ").skip(1);
        let name = after.filter_map(|after| Some(after.split_once(['(', '<'])?.0.to_owned()));
        name.collect::<Vec<_>>()
    });
    names.collect()
}

/// What looks like the name of a test, in backticks: small words joined by at least two underscores.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |word: &&str| {
        let is_small =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        word.matches('_').count() >= 2 && word.bytes().all(is_small)
    };
    let spans = text.split('`').skip(1).step_by(2);
    spans.filter(is_name)
}

/// Whether `word` is in `line`; a path counts only where it begins there, not as the end of a longer one.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|start| start.chars().next_back());
        !word.starts_with('/')
            || !before.is_some_and(|before| before.is_alphanumeric() || "._-}".contains(before))
    })
}

/// Paths of the Rust files that break a rule.
fn offenders(breaks: impl Fn(&Path, &str) -> bool) -> Vec<String> {
    let files = written_rust();
    files
        .into_iter()
        .filter(|(path, text)| breaks(Path::new(path), text))
        .map(|(path, _)| path)
        .collect()
}

/// Rust files that a person wrote.
fn written_rust() -> Vec<(String, String)> {
    let files: Vec<_> = tracked()
        .into_iter()
        .filter(|(path, _)| {
            Path::new(path)
                .extension()
                .is_some_and(|extension| extension == "rs")
        })
        .filter(|(_, text)| {
            !text
                .lines()
                .next()
                .unwrap_or_default()
                .contains("@generated")
        })
        .collect();
    assert!(files.len() > 10, "only {} Rust files found", files.len());
    files
}

/// Path and text of every file that is, or would be, in the repository; bytes that are no text are replaced.
fn tracked() -> Vec<(String, String)> {
    let output = Command::new("git")
        .current_dir(ROOT)
        .args([
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .expect("git is installed");
    assert!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).unwrap();
    names
        .split_terminator('\0')
        .filter_map(|name| {
            let bytes = std::fs::read(Path::new(ROOT).join(name)).ok()?;
            Some((
                name.to_owned(),
                String::from_utf8_lossy(&bytes).into_owned(),
            ))
        })
        .collect()
}
