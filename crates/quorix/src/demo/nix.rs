//! The real Nix in stores of its own under one folder: builds, copies and installs touch nothing of this machine's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use quorix_nix::store_path::{StoreDir, StorePath};
use tokio::process::Command;

use crate::output::Failure;

/// The package set.
const PACKAGES: &str = include_str!("packages.nix");
/// Tools that the packages are built with.
const APPLETS: [&str; 9] = [
    "sh", "mkdir", "cp", "cat", "chmod", "date", "head", "ln", "od",
];

/// How Nix is run.
#[derive(Clone, Debug)]
pub struct Nix {
    dir: PathBuf,
    /// Run through sudo: user namespaces are refused to this user.
    sudo: bool,
}

/// What a Nix command did.
#[derive(Clone, Debug)]
pub struct Ran {
    /// It ended with 0.
    pub is_success: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Nix {
    /// Why there is no story with Nix, or `None` if there can be one.
    #[must_use]
    pub fn missing() -> Option<String> {
        for program in ["nix-build", "nix-store", "nix"] {
            if find(program).is_none() {
                return Some(format!(
                    "`{program}` is not installed (Debian and Ubuntu: apt-get install nix-bin)"
                ));
            }
        }
        if busybox().is_none() {
            return Some("a static busybox is not installed (Debian and Ubuntu: apt-get install busybox-static)".into());
        }
        None
    }

    /// Prepares a folder: configuration, package set, tools.
    ///
    /// # Errors
    /// Files cannot be made.
    pub fn prepare(dir: &Path) -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::unknown(format!("{}: {error}", dir.display()));
        for folder in ["conf", "home", "cache", "packages/busybox/bin"] {
            fs::create_dir_all(dir.join(folder)).map_err(failed)?;
        }
        let settings = "experimental-features = nix-command\nsubstituters =\nsandbox = false\nbuild-users-group =\nsandbox-paths =\nnarinfo-cache-negative-ttl = 0\n";
        fs::write(dir.join("conf/nix.conf"), settings).map_err(failed)?;
        fs::write(dir.join("packages/default.nix"), PACKAGES).map_err(failed)?;
        let tools = dir.join("packages/busybox/bin");
        let busybox =
            busybox().ok_or_else(|| Failure::unknown("a static busybox is not installed"))?;
        fs::copy(busybox, tools.join("busybox")).map_err(failed)?;
        for applet in APPLETS {
            symlink("busybox", tools.join(applet)).map_err(failed)?;
        }
        Ok(Self {
            dir: dir.into(),
            sudo: needs_sudo(),
        })
    }

    /// True if builds run through sudo.
    #[must_use]
    pub fn uses_sudo(&self) -> bool {
        self.sudo
    }

    /// The folder with the package set.
    #[must_use]
    pub fn packages(&self) -> PathBuf {
        self.dir.join("packages")
    }

    /// Runs one of Nix's programs.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn run(&self, program: &str, arguments: &[OsString]) -> Result<Ran, Failure> {
        let variables = [
            ("NIX_CONF_DIR", self.dir.join("conf")),
            ("HOME", self.dir.join("home")),
            ("XDG_CACHE_HOME", self.dir.join("cache")),
        ];
        let mut command = if self.sudo {
            Command::new("sudo")
        } else {
            Command::new("env")
        };
        if self.sudo {
            command.args(["-n", "env"]);
        }
        command.args(["-u", "NIX_REMOTE", "-u", "NIX_PATH"]);
        for (name, value) in variables {
            let mut assignment = OsString::from(name);
            assignment.push("=");
            assignment.push(value);
            command.arg(assignment);
        }
        command
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await;
        let output = output
            .map_err(|error| Failure::unknown(format!("{program} does not start: {error}")))?;
        Ok(Ran {
            is_success: output.status.success(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    async fn must(&self, program: &str, arguments: &[OsString]) -> Result<String, Failure> {
        let ran = self.run(program, arguments).await?;
        if ran.is_success {
            return Ok(ran.out);
        }
        let end: Vec<&str> = ran.err.lines().rev().take(4).collect();
        let end: Vec<&str> = end.into_iter().rev().collect();
        Err(Failure::unknown(format!(
            "{program} failed:\n  {}",
            end.join("\n  ")
        )))
    }

    /// Builds attributes of the package set in the store under `store`; `hook` is told of every build.
    ///
    /// # Errors
    /// A build fails.
    pub async fn build(
        &self,
        store: &Path,
        attributes: &[&str],
        hook: Option<&Path>,
    ) -> Result<BTreeMap<String, StorePath>, Failure> {
        let mut outputs = BTreeMap::new();
        for attribute in attributes {
            let mut arguments: Vec<OsString> =
                vec![self.packages().into(), "-A".into(), attribute.into()];
            arguments.extend(["--no-out-link".into(), "--store".into(), store.into()]);
            if let Some(hook) = hook {
                arguments.extend(["--option".into(), "post-build-hook".into(), hook.into()]);
            }
            let out = self.must("nix-build", &arguments).await?;
            let path = StoreDir::default().parse(out.trim());
            let path = path.map_err(|error| {
                Failure::unknown(format!("nix-build printed `{}`: {error}", out.trim()))
            })?;
            outputs.insert((*attribute).to_owned(), path);
        }
        Ok(outputs)
    }

    /// Copies the closures of paths into a folder laid out as a binary cache. `settings` as in Nix's store URLs,
    /// e.g. `compression=zstd`.
    ///
    /// # Errors
    /// Copying fails.
    pub async fn export(
        &self,
        store: &Path,
        paths: impl IntoIterator<Item = &StorePath>,
        cache: &Path,
        settings: &str,
    ) -> Result<(), Failure> {
        let mut arguments: Vec<OsString> =
            vec!["copy".into(), "--store".into(), store.into(), "--to".into()];
        arguments.push(format!("file://{}?{settings}", cache.display()).into());
        arguments.extend(
            paths
                .into_iter()
                .map(|path| StoreDir::default().join(path).into()),
        );
        self.must("nix", &arguments).await?;
        if self.sudo {
            // What root wrote is to be served, and spoiled, by this user.
            use std::os::unix::fs::MetadataExt as _;
            let owner = fs::metadata(&self.dir).map_err(Failure::unknown)?.uid();
            let arguments = ["-R".into(), owner.to_string().into(), cache.into()];
            self.must("chown", &arguments).await?;
        }
        Ok(())
    }

    /// Installs paths into the store under `store` through one substituter, whose key alone is trusted.
    ///
    /// # Errors
    /// Nix cannot be started; that it refuses is no error.
    pub async fn install(
        &self,
        store: &Path,
        paths: &[&StorePath],
        substituter: &str,
        key: &str,
    ) -> Result<Ran, Failure> {
        let mut arguments: Vec<OsString> = vec!["--store".into(), store.into(), "--realise".into()];
        arguments.extend(
            paths
                .iter()
                .map(|path| StoreDir::default().join(path).into()),
        );
        arguments.extend(["--substituters".into(), substituter.into()]);
        arguments.extend(["--trusted-public-keys".into(), key.into()]);
        self.run("nix-store", &arguments).await
    }

    /// Replaces a file inside a store, as an intruder on that machine could, leaving no other trace.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn alter(&self, file: &Path, text: &str) -> Result<(), Failure> {
        let script = r#"chmod u+w "$(dirname "$1")" "$1" && printf '%s' "$2" > "$1" && chmod a-w "$1" "$(dirname "$1")""#;
        let arguments: Vec<OsString> = vec![
            "-ec".into(),
            script.into(),
            "sh".into(),
            file.into(),
            text.into(),
        ];
        self.must("sh", &arguments).await.map(|_| ())
    }

    /// Removes a folder with stores in it.
    pub async fn remove(&self, dir: &Path) {
        let script = r#"chmod -R u+w "$1" 2>/dev/null; rm -rf "$1""#;
        let arguments: Vec<OsString> = vec!["-c".into(), script.into(), "sh".into(), dir.into()];
        let _ = self.run("sh", &arguments).await;
    }
}

/// Where a program is on the path.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn busybox() -> Option<PathBuf> {
    find("busybox-static").or_else(|| find("busybox"))
}

/// True if this user may not make user namespaces, which a Nix store in a folder needs without root.
fn needs_sudo() -> bool {
    let namespaces = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    !is_root() && !namespaces.is_ok_and(|status| status.success())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0)
}
