//! The reference implementation, `golang.org/x/mod/sumdb/{note,tlog}`, as the Go toolchain itself carries it.
//!
//! The packages are taken from the toolchain's own sources (`cmd` vendors them), so that no network is needed and nothing
//! of Go's is in the tree. `tests/interop/main.go` is compiled with them once a test run.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/main.go");
const SCRATCH: &str = env!("CARGO_TARGET_TMPDIR");

/// Runs the reference implementation with something to read; what it printed, or why it failed.
pub(crate) fn reference(arguments: &[&str], input: &[u8]) -> Result<String, String> {
    let mut process = Command::new(program())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let input = input.to_vec();
    // In a thread: it may answer before it has read everything.
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let ended = process.wait_with_output().unwrap();
    // A program that fails early does not read to the end.
    let _ = writing.join().unwrap();
    match ended.status.success() {
        true => Ok(String::from_utf8(ended.stdout).unwrap()),
        false => Err(String::from_utf8(ended.stderr).unwrap()),
    }
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(compile)
}

fn compile() -> PathBuf {
    let scratch = Path::new(SCRATCH).join("interop");
    let sources = scratch.join("gopath/src");
    std::fs::create_dir_all(&sources).unwrap();
    let vendored = Path::new(&go(&scratch, &["env", "GOROOT"])).join("src/cmd/vendor/golang.org");
    assert!(
        vendored.join("x/mod/sumdb/tlog").is_dir(),
        "this Go toolchain has no sources of golang.org/x/mod in {}",
        vendored.display()
    );
    let link = sources.join("golang.org");
    let _ = std::fs::remove_file(&link);
    std::os::unix::fs::symlink(vendored, link).unwrap();
    let program = scratch.join("reference");
    go(
        &scratch,
        &["build", "-o", program.to_str().unwrap(), SOURCE],
    );
    program
}

fn go(scratch: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("go");
    // The old way of finding packages: there is no module to resolve and nothing to download.
    command
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        .env("GOPROXY", "off")
        .env("CGO_ENABLED", "0");
    command
        .env("GOPATH", scratch.join("gopath"))
        .env("GOCACHE", scratch.join("cache"));
    let ran = command.args(arguments).output();
    let ran = ran.expect("go is installed (`make test` installs it)");
    assert!(
        ran.status.success(),
        "go {arguments:?}: {}",
        String::from_utf8_lossy(&ran.stderr)
    );
    String::from_utf8(ran.stdout).unwrap().trim().to_owned()
}
