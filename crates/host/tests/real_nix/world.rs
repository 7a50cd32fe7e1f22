//! Real Nix stores in a temporary directory: the installed Nix builds tiny packages with busybox, without a network.
//!
//! Where Nix or busybox are missing this panics: `make test` installs both. Stores under another root need root or
//! user namespaces.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use quorix_host::location::Location;
use quorix_nix::store_path::{StoreDir, StorePath};
use tempfile::TempDir;

/// `b` differs with every build; `c` refers to `a` and `b`; `d` uses `a` and does not refer to it; `m` has two outputs.
const PACKAGES: &str = r#"
let
  busybox = builtins.path { path = ./busybox; name = "busybox"; };
  package = name: script: derivation {
    inherit name;
    system = builtins.currentSystem;
    builder = "${busybox}/bin/sh";
    PATH = "${busybox}/bin";
    args = [ "-ec" script ];
  };
in rec {
  a = package "a" "mkdir $out; echo hello > $out/f";
  b = package "b" "mkdir $out; echo ${a} > $out/ref; head -c 8 /dev/urandom > $out/stamp";
  c = package "c" "mkdir $out; echo ${b} > $out/ref; cp ${a}/f $out/f; chmod +x $out/f; ln -s ${a} $out/a";
  d = package "d" "cp ${a}/f $out";
  m = derivation {
    name = "m";
    outputs = [ "out" "dev" ];
    system = builtins.currentSystem;
    builder = "${busybox}/bin/sh";
    args = [ "-ec" "echo $dev > $out; echo d > $dev" ];
  };
}
"#;

const SETTINGS: &str = "experimental-features = nix-command\nsubstituters =\nsandbox = false\nsandbox-paths =\n\
                        build-users-group =\n";

/// A directory with the packages' sources, settings, and any number of stores.
pub(crate) struct World {
    dir: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for sub in ["conf", "home", "busybox/bin"] {
            fs::create_dir_all(root.join(sub)).unwrap();
        }
        let busybox = ["/usr/bin/busybox", "/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect("busybox-static is installed");
        fs::copy(busybox, root.join("busybox/bin/busybox")).unwrap();
        for tool in ["sh", "mkdir", "cp", "head", "ln", "chmod"] {
            symlink("busybox", root.join("busybox/bin").join(tool)).unwrap();
        }
        fs::write(root.join("conf/nix.conf"), SETTINGS).unwrap();
        fs::write(root.join("default.nix"), PACKAGES).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn store(&self, name: &str) -> Location {
        Location::at_root(&self.path(name))
    }

    /// Runs a program of Nix with this world's settings.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        for variable in [
            "NIX_CONFIG",
            "NIX_PATH",
            "NIX_REMOTE",
            "NIX_STATE_DIR",
            "NIX_STORE_DIR",
            "NIX_USER_CONF_FILES",
        ] {
            command.env_remove(variable);
        }
        let output = command
            .args(arguments)
            .current_dir(self.dir.path())
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("home/cache"))
            .env("XDG_CONFIG_HOME", self.path("home/config"))
            .env("NIX_CONF_DIR", self.path("conf"))
            .output()
            .unwrap_or_else(|error| panic!("Nix is installed, with {program}: {error}"));
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// Builds a package in the store of that name, with more options for `nix-build`, and gives its first output.
    pub(crate) fn build(&self, store: &str, package: &str, options: &[&str]) -> StorePath {
        let store = self.path(store);
        let fixed = [
            "-A",
            package,
            "--no-out-link",
            "--store",
            store.to_str().unwrap(),
        ];
        let output = self.run(
            "nix-build",
            &[&["default.nix"], fixed.as_slice(), options].concat(),
        );
        let lines = String::from_utf8(output.stdout).unwrap();
        StoreDir::default()
            .parse(lines.lines().next().unwrap())
            .unwrap()
    }

    /// Copies a path with its closure from one store to another, as substitution would.
    pub(crate) fn copy(&self, from: &str, to: &str, path: &StorePath) {
        let (from, to) = (self.path(from), self.path(to));
        let path = StoreDir::default().join(path);
        self.run(
            "nix",
            &[
                "copy",
                "--no-check-sigs",
                "--store",
                from.to_str().unwrap(),
                "--to",
                to.to_str().unwrap(),
                &path,
            ],
        );
    }
}
