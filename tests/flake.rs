//! flake.nix, read by the real Nix: parsed, and every output for every system evaluated down to its derivation.
//! There is no network here, so `nixpkgs` is a stub that has what the flake may use and refuses any other argument.
//! Nothing is built: that the flake builds against the real nixpkgs is not shown by this test.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests fail by panicking"
)]

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Functions with closed argument sets: a misspelt attribute in flake.nix is an error, as is a package that is not listed.
const STUB_NIXPKGS: &str = r#"{
  outputs = { self }: let
    genAttrs = names: f: builtins.listToAttrs (map (name: { inherit name; value = f name; }) names);
    packagesFor = system: let
      make = name: more: derivation ({ inherit name system; builder = "/bin/sh"; } // more);
      plain = genAttrs [
        "cargo" "cargo-deny" "chromedriver" "chromium" "clippy" "git" "go" "makeWrapper" "nix" "rustc" "rustfmt"
        "util-linux"
      ] (name: make name { });
    in plain // {
      stdenv.hostPlatform.system = system;
      pkgsStatic.busybox = make "busybox-static" { };
      rustPlatform.bindgenHook = make "rust-bindgen-hook" { };
      rustPlatform.buildRustPackage =
        { pname, version, src, cargoLock, cargoBuildFlags, nativeBuildInputs, doCheck, postFixup, meta }:
        make "${pname}-${version}" {
          inherit src cargoBuildFlags nativeBuildInputs doCheck postFixup;
          vendored = cargoLock.lockFile;
        } // { inherit meta; };
      mkShell = { inputsFrom, packages }: make "nix-shell" { inherit inputsFrom packages; };
    };
  in {
    lib = { inherit genAttrs; licenses = { mit = { spdxId = "MIT"; }; asl20 = { spdxId = "Apache-2.0"; }; }; };
    legacyPackages = genAttrs [ "x86_64-linux" "aarch64-linux" ] packagesFor;
  };
}"#;

#[test]
fn the_real_nix_evaluates_every_output_of_the_flake() {
    let place = Place::new();
    place.nix(&["flake", "check", "--no-build", "path:flake"]);
    let shown: serde_json::Value =
        serde_json::from_str(&place.nix(&["flake", "show", "--json", "path:flake"])).unwrap();
    for system in ["x86_64-linux", "aarch64-linux"] {
        for output in ["packages", "apps", "devShells"] {
            let found = shown.pointer(&format!("/{output}/{system}/default"));
            assert!(
                found.is_some_and(serde_json::Value::is_object),
                "no {output}.{system}.default in {shown:#}"
            );
        }
    }
}

#[test]
fn nix_run_starts_the_program_in_the_version_of_the_workspace() {
    let place = Place::new();
    let program = place.nix(&[
        "eval",
        "--raw",
        "path:flake#apps.x86_64-linux.default.program",
    ]);
    let name = format!("-quorix-{}/bin/quorix", env!("CARGO_PKG_VERSION"));
    assert!(
        program.ends_with(&name),
        "{program} does not end with {name}"
    );
}

/// A folder with the flake, the stub, and a Nix store of its own.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for sub in ["flake", "stub", "conf", "home"] {
            std::fs::create_dir(folder.path().join(sub)).unwrap();
        }
        for file in ["flake.nix", "Cargo.toml", "Cargo.lock"] {
            std::fs::copy(
                Path::new(ROOT).join(file),
                folder.path().join("flake").join(file),
            )
            .unwrap();
        }
        std::fs::write(folder.path().join("stub/flake.nix"), STUB_NIXPKGS).unwrap();
        std::fs::write(
            folder.path().join("conf/nix.conf"),
            "build-users-group =\nsandbox = false\nsubstituters =\n",
        )
        .unwrap();
        Self(folder)
    }

    fn nix(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        assert!(
            output.status.success(),
            "nix {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Output {
        let path = self.0.path();
        Command::new("nix")
            .current_dir(path)
            .env("HOME", path.join("home"))
            .env("XDG_CACHE_HOME", path.join("home/cache"))
            .env("NIX_CONF_DIR", path.join("conf"))
            .env_remove("NIX_CONFIG")
            .env_remove("NIX_REMOTE")
            .args([
                "--extra-experimental-features",
                "nix-command flakes",
                "--offline",
                "--store",
            ])
            .arg(path.join("root"))
            .args(arguments)
            .args(["--no-write-lock-file", "--override-input", "nixpkgs"])
            .arg(format!("path:{}", path.join("stub").display()))
            .output()
            .expect("nix is installed (`make test` installs it)")
    }
}
