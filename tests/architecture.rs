//! The shape of the workspace: which crate may depend on which, and which of them may know what from outside.
//! The arrows are those of docs/architecture.md. Asked of cargo itself (`cargo metadata`, `cargo tree`), so that a line
//! in a Cargo.toml is enough to fail here. What the pure crates may call is checked by having clippy refuse a probe.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Output};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The arrows. One includes everything below the crate that it points to.
const ARROWS: &[(&str, &[&str])] = &[
    ("quorix-nix", &[]),
    ("quorix-tlog", &[]),
    ("quorix-trust", &["quorix-nix", "quorix-tlog"]),
    ("quorix-wire", &["quorix-trust"]),
    ("quorix-store", &["quorix-trust"]),
    ("quorix-host", &["quorix-nix"]),
    ("quorix-log", &["quorix-wire"]),
    ("quorix-aggregator", &["quorix-wire"]),
    ("quorix-resolver", &["quorix-wire", "quorix-host"]),
    ("quorix-builder", &["quorix-wire", "quorix-host"]),
    ("quorix-dashboard", &["quorix-wire"]),
    (
        "quorix",
        &[
            "quorix-store",
            "quorix-log",
            "quorix-aggregator",
            "quorix-resolver",
            "quorix-builder",
            "quorix-dashboard",
        ],
    ),
    ("quorix-testkit", &["quorix-wire"]),
    ("quorix-tests", &[]),
];

const PURE: [&str; 3] = ["quorix-nix", "quorix-tlog", "quorix-trust"];

/// All that a pure crate may name: arithmetic over bytes, the derive for its errors, and the evaluator of conditions.
const PURE_MAY_NAME: [&str; 8] = [
    "cel",
    "data-encoding",
    "ed25519-dalek",
    "md-5",
    "ml-dsa",
    "sha1",
    "sha2",
    "thiserror",
];

/// What must not even be somewhere below a pure crate.
const NEVER_BELOW_PURE: [&str; 12] = [
    "chrono",
    "futures-util",
    "getrandom",
    "hyper",
    "jiff",
    "mio",
    "rand",
    "rand_core",
    "reqwest",
    "socket2",
    "time",
    "tokio",
];

/// Who alone may name a crate from outside, in what is shipped. Crates not listed here are free.
const KNOWN_ONLY_TO: &[(&str, &[&str])] = &[
    // One adapter for each outside world
    ("async-compression", &["quorix-wire"]),
    ("prost", &["quorix-wire"]),
    ("prost-reflect", &["quorix-wire"]),
    ("prost-types", &["quorix-wire"]),
    ("reqwest", &["quorix-wire"]),
    ("tonic-prost", &["quorix-wire"]),
    ("rocksdb", &["quorix-store"]),
    ("rusqlite", &["quorix-host"]),
    ("askama", &["quorix-dashboard"]),
    // The program alone meets the user, the environment and the listeners
    ("anyhow", &["quorix"]),
    ("clap", &["quorix"]),
    ("clap_complete", &["quorix"]),
    ("clap_mangen", &["quorix"]),
    ("indicatif", &["quorix"]),
    ("tikv-jemallocator", &["quorix"]),
    // TLS: the program serves it, wire is the client; no service knows of it
    ("rustls", &["quorix", "quorix-wire"]),
    ("rustls-native-certs", &["quorix-wire"]),
    ("rustls-webpki", &["quorix"]),
    ("tokio-rustls", &["quorix", "quorix-wire"]),
    ("toml", &["quorix"]),
    ("tonic-health", &["quorix"]),
    ("tonic-reflection", &["quorix"]),
    ("tonic-web", &["quorix"]),
    ("tracing-subscriber", &["quorix"]),
    ("getrandom", &["quorix", "quorix-testkit"]),
    // Services and what runs them; adapters to RocksDB and Nix are synchronous
    (
        "axum",
        &[
            "quorix",
            "quorix-log",
            "quorix-aggregator",
            "quorix-resolver",
            "quorix-dashboard",
        ],
    ),
    (
        "tonic",
        &["quorix", "quorix-wire", "quorix-log", "quorix-aggregator"],
    ),
    (
        "tokio",
        &[
            "quorix",
            "quorix-wire",
            "quorix-log",
            "quorix-aggregator",
            "quorix-resolver",
            "quorix-builder",
            "quorix-dashboard",
            "quorix-testkit",
        ],
    ),
    // Formats and signatures are the pure crates' work
    ("ed25519-dalek", &["quorix-nix", "quorix-tlog"]),
    ("md-5", &["quorix-nix"]),
    ("ml-dsa", &["quorix-tlog"]),
    ("sha1", &["quorix-nix"]),
    ("rs_merkle", &["quorix-builder"]),
    // Nowhere: a second source of time, of randomness, of TLS
    ("chrono", &[]),
    ("jiff", &[]),
    ("time", &[]),
    ("rand", &[]),
    ("openssl", &[]),
    ("native-tls", &[]),
];

/// Named in crates/store/Cargo.toml only to pin features.
const PINS: [&str; 4] = ["memchr", "regex-automata", "regex-syntax", "syn"];

#[test]
fn crates_depend_on_one_another_only_along_the_arrows() {
    let packages = members();
    let known: BTreeSet<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    let found: BTreeSet<&str> = packages
        .iter()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(
        found, known,
        "a crate was added or removed: give it its arrows in tests/architecture.rs and docs/architecture.md"
    );

    for package in &packages {
        let below = below(&package.name);
        for dependency in package
            .dependencies
            .iter()
            .filter(|dependency| dependency.path.is_some())
        {
            let allowed = match dependency.kind {
                DependencyKind::Development => {
                    package.name == "quorix-tests"
                        || below.contains(dependency.name.as_str())
                        // The test data of wire is made with wire: a circle of tests only.
                        || (dependency.name == "quorix-testkit"
                            && !PURE.contains(&package.name.as_str()))
                }
                _ => below.contains(dependency.name.as_str()),
            };
            assert!(
                allowed,
                "{} must not depend on {} ({:?})",
                package.name, dependency.name, dependency.kind
            );
        }
    }
}

#[test]
fn each_outside_world_is_known_to_one_crate() {
    let owners: BTreeMap<&str, &[&str]> = KNOWN_ONLY_TO.iter().copied().collect();
    let mut strangers = Vec::new();
    for package in members() {
        for dependency in shipped(&package) {
            let owners = owners.get(dependency).copied();
            if owners.is_some_and(|owners| !owners.contains(&package.name.as_str())) {
                strangers.push(format!("{} must not name {dependency}", package.name));
            }
        }
    }
    assert!(strangers.is_empty(), "{strangers:#?}");
}

#[test]
fn pure_crates_name_no_crate_that_does_anything_but_compute() {
    for package in members()
        .iter()
        .filter(|package| PURE.contains(&package.name.as_str()))
    {
        for dependency in shipped(package) {
            let allowed = PURE_MAY_NAME.contains(&dependency) || PURE.contains(&dependency);
            assert!(
                allowed,
                "{} is pure and must not name {dependency}",
                package.name
            );
        }
    }
}

#[test]
fn nothing_below_a_pure_crate_does_input_and_output_or_tells_time_or_rolls_dice() {
    for name in PURE {
        let tree = cargo_tree(&["--package", name, "--edges", "normal", "--prefix", "none"]);
        let below: BTreeSet<&str> = tree
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert!(
            below.contains("sha2"),
            "cargo tree printed something else than expected: {tree}"
        );
        for never in NEVER_BELOW_PURE {
            assert!(
                !below.contains(never),
                "{never} is below {name}; see `cargo tree --package {name} --edges normal --invert {never}`"
            );
        }
    }
}

#[test]
fn a_pure_crate_that_asks_for_time_environment_or_chance_is_refused_by_clippy() {
    let rules = std::fs::read_to_string(format!("{ROOT}/crates/nix/clippy.toml")).unwrap();
    for folder in ["tlog", "trust"] {
        let same = std::fs::read_to_string(format!("{ROOT}/crates/{folder}/clippy.toml")).unwrap();
        assert_eq!(
            same, rules,
            "crates/{folder}/clippy.toml must say the same as crates/nix/clippy.toml"
        );
    }

    let asking = "//! A probe.\n/// Asks.\npub fn ask() {\n\
        let _ = std::time::SystemTime::now();\nlet _ = std::time::Instant::now();\n\
        let _ = std::env::var_os(\"HOME\");\nlet _ = std::hash::RandomState::new();\n}\n";
    let refused = clippy(asking, Some(&rules));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "clippy let the probe pass");
    for call in [
        "std::time::SystemTime::now",
        "std::time::Instant::now",
        "std::env::var_os",
        "std::hash::RandomState::new",
    ] {
        assert!(
            said.contains(&format!("use of a disallowed method `{call}`")),
            "{call} was not refused: {said}"
        );
    }

    let elsewhere = clippy(asking, None);
    assert!(
        elsewhere.status.success(),
        "refused elsewhere too: {}",
        String::from_utf8_lossy(&elsewhere.stderr)
    );
}

/// Cargo compiles a crate again when features of anything below it differ, and these depend on which packages are selected.
#[test]
fn demo_tests_and_lints_share_one_build_of_rocksdb() {
    let selections: [&[&str]; 4] = [
        &["--package", "quorix", "--edges", "normal,build"],
        &["--package", "quorix-store", "--edges", "normal,build,dev"],
        &["--package", "quorix-tests", "--edges", "normal,build,dev"],
        &["--workspace", "--edges", "normal,build,dev"],
    ];
    let demo = below_rocksdb(selections[0]);
    assert!(
        demo.iter().any(|line| line.starts_with("bindgen ")),
        "cargo tree printed something else than expected: {demo:?}"
    );
    for selection in &selections[1..] {
        let other = below_rocksdb(selection);
        let differing: Vec<&String> = demo.symmetric_difference(&other).collect();
        assert!(
            differing.is_empty(),
            "RocksDB would be compiled twice: with {selection:?} these have other features than in the demo. \
             Pin them in crates/store/Cargo.toml: {differing:#?}"
        );
    }
}

#[test]
fn every_version_is_declared_once_and_used() {
    let declared = toml_of("Cargo.toml")["workspace"]["dependencies"]
        .as_table()
        .unwrap()
        .clone();
    let mut used = BTreeSet::new();
    for package in members() {
        let manifest: toml::Table = std::fs::read_to_string(&package.manifest_path)
            .unwrap()
            .parse()
            .unwrap();
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, dependency) in manifest
                .get(section)
                .and_then(toml::Value::as_table)
                .into_iter()
                .flatten()
            {
                let inherits =
                    dependency.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(
                    inherits,
                    "{}: {name} must say `workspace = true`",
                    package.manifest_path
                );
                used.insert(name.clone());
            }
        }
    }
    let unused: Vec<&String> = declared
        .keys()
        .filter(|name| !used.contains(*name))
        .collect();
    assert!(
        unused.is_empty(),
        "declared in Cargo.toml but used by no crate: {unused:?}"
    );
}

fn members() -> Vec<Package> {
    let mut command = MetadataCommand::new();
    command
        .manifest_path(format!("{ROOT}/Cargo.toml"))
        .no_deps();
    command
        .exec()
        .expect("cargo metadata describes this workspace")
        .packages
}

/// Everything that `name` may depend on.
fn below(name: &str) -> BTreeSet<&'static str> {
    let arrows: BTreeMap<&str, &[&'static str]> = ARROWS.iter().copied().collect();
    let mut reached = BTreeSet::new();
    let mut next: Vec<&'static str> = arrows.get(name).copied().unwrap_or_default().to_vec();
    while let Some(below) = next.pop() {
        if reached.insert(below) {
            next.extend(arrows[below]);
        }
    }
    reached
}

/// The dependencies that become part of the program: not those of tests, nor the pins.
fn shipped(package: &Package) -> impl Iterator<Item = &str> {
    package
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.as_str())
        .filter(|name| !PINS.contains(name))
}

/// `name version features` of each crate below RocksDB's bindings, as selected by `selection`.
fn below_rocksdb(selection: &[&str]) -> BTreeSet<String> {
    let tree = cargo_tree(
        &[
            selection,
            &["--no-dedupe", "--prefix", "depth", "--format", " {p} {f}"],
        ]
        .concat(),
    );
    let mut found = BTreeSet::new();
    let mut root_depth = None;
    for line in tree.lines().filter(|line| !line.is_empty()) {
        let (depth, package) = line.split_once(' ').expect("a depth before each crate");
        let depth: u32 = depth.parse().expect("a depth before each crate");
        if root_depth.is_some_and(|root| depth <= root) {
            root_depth = None;
        }
        if root_depth.is_none() && package.starts_with("librocksdb-sys ") {
            root_depth = Some(depth);
        }
        if root_depth.is_some() {
            found.insert(package.to_owned());
        }
    }
    found
}

fn cargo_tree(arguments: &[&str]) -> String {
    let output = cargo()
        .current_dir(ROOT)
        .args(["tree", "--locked", "--quiet"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "cargo tree {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Runs clippy as CI does over a crate of its own, with `rules` as its clippy.toml.
fn clippy(source: &str, rules: Option<&str>) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "Cargo.toml",
        "[package]\nname = \"probe\"\nedition = \"2024\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n",
    );
    write("lib.rs", source);
    if let Some(rules) = rules {
        write("clippy.toml", rules);
    }
    cargo()
        .current_dir(folder.path())
        .env("CARGO_TARGET_DIR", folder.path().join("target"))
        .args(["clippy", "--offline", "--quiet", "--", "-D", "warnings"])
        .output()
        .unwrap()
}

/// The cargo that runs this test.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.env("CARGO_TERM_COLOR", "never");
    command
}

fn toml_of(path: &str) -> toml::Table {
    std::fs::read_to_string(Path::new(ROOT).join(path))
        .unwrap()
        .parse()
        .unwrap()
}
