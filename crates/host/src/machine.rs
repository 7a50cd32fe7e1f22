//! What a build ran on: implementation and version of Nix, kernel, cores. Evidence for triage, so that everything
//! here gives an empty value where it cannot be had, and never an error that could hold up an attestation.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

const ANSWER_BYTES_MAX: u64 = 4096;
/// The longest of these words that a log entry may hold.
const WORD_CHARS_MAX: usize = 64;

/// The program that answered to the name of Nix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NixVersion {
    /// `nix`, `lix`, or another name in lower case.
    pub implementation: String,
    /// As it says, e.g. `2.8.0`.
    pub version: String,
}

impl NixVersion {
    /// Asks `program --version`, e.g. of `nix`, and waits at most `patience` for the answer.
    ///
    /// # Errors
    /// When the program cannot be run, does not answer in time, or answers something else.
    pub fn ask(program: &Path, patience: Duration) -> Result<Self, NixVersionError> {
        let named = || program.display().to_string();
        let mut child = Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| NixVersionError::Run {
                program: named(),
                reason: error.to_string(),
            })?;
        let (sender, receiver) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || {
                let mut answer = Vec::new();
                // What could not be read is missing from the answer, which then is no version.
                let _ = output.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
                let _ = sender.send(answer);
            });
        }
        let answer = receiver.recv_timeout(patience);
        // It has answered or is out of time: in both cases it has nothing left to do.
        let _ = child.kill();
        let _ = child.wait();
        let answer = answer.map_err(|_| NixVersionError::Silent {
            program: named(),
            patience,
        })?;
        let answer = String::from_utf8_lossy(&answer);
        Self::parse(&answer).ok_or_else(|| NixVersionError::Answer {
            program: named(),
            answer: answer.chars().take(WORD_CHARS_MAX).collect(),
        })
    }

    /// Reads `nix (Nix) 2.8.0`, `nix (Lix, like Nix) 2.91.1`, `nix (Determinate Nix 3.1.0) 2.27.1`.
    fn parse(answer: &str) -> Option<Self> {
        let line = answer.lines().next()?.strip_prefix("nix")?;
        let (name, version) = line.split_once('(')?.1.split_once(')')?;
        let name = name.split([',', ' ']).next()?.to_lowercase();
        let version = version.trim();
        let is_word = |word: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
            !word.is_empty() && word.len() <= WORD_CHARS_MAX && word.chars().all(allowed)
        };
        (is_word(&name) && is_word(version)).then(|| Self {
            implementation: name,
            version: version.to_owned(),
        })
    }
}

/// Why the version of Nix is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NixVersionError {
    /// It could not be started.
    #[error("running `{program} --version`: {reason}")]
    Run {
        /// The program.
        program: String,
        /// What the system said.
        reason: String,
    },
    /// It did not answer in time.
    #[error("`{program} --version` did not answer within {patience:?}")]
    Silent {
        /// The program.
        program: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// Its answer is not that of any Nix.
    #[error("`{program} --version` answered `{}`, which is not `nix (<implementation>) <version>`", answer.escape_debug())]
    Answer {
        /// The program.
        program: String,
        /// At most 100 characters of what it said.
        answer: String,
    },
}

/// Release of the running kernel, e.g. `6.1.0-34-amd64`; empty where the system does not tell.
#[must_use]
pub fn kernel_release() -> String {
    let mut text = String::new();
    if let Ok(file) = File::open("/proc/sys/kernel/osrelease") {
        // Not readable or not text: not told.
        let _ = file.take(ANSWER_BYTES_MAX).read_to_string(&mut text);
    }
    text.trim().chars().take(WORD_CHARS_MAX).collect()
}

/// Cores that this process may use; 0 where the system does not tell.
#[must_use]
pub fn cores() -> u32 {
    thread::available_parallelism().map_or(0, |cores| u32::try_from(cores.get()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_implementation_tells_its_name_and_version() {
        for (answer, implementation, version) in [
            ("nix (Nix) 2.8.0\n", "nix", "2.8.0"),
            (
                "nix (Lix, like Nix) 2.91.1\nSystem type: x86_64-linux\n",
                "lix",
                "2.91.1",
            ),
            (
                "nix (Determinate Nix 3.1.0) 2.27.1",
                "determinate",
                "2.27.1",
            ),
            (
                "nix (Nix) 2.34.0pre20260101_abcdef",
                "nix",
                "2.34.0pre20260101_abcdef",
            ),
        ] {
            let expected = NixVersion {
                implementation: implementation.to_owned(),
                version: version.to_owned(),
            };
            assert_eq!(NixVersion::parse(answer), Some(expected));
        }
        for answer in [
            "",
            "nix",
            "nix (Nix)",
            "nix () 2",
            "nix (Nix) 2.8\u{1b}[0m",
            "2.8.0",
        ] {
            assert_eq!(NixVersion::parse(answer), None);
        }
    }

    #[test]
    fn a_program_that_is_not_there_or_says_nothing_of_the_kind_is_an_error() {
        let patience = Duration::from_secs(30);
        assert!(matches!(
            NixVersion::ask(Path::new("/nonexistent/nix"), patience),
            Err(NixVersionError::Run { .. })
        ));
        let answer = NixVersion::ask(Path::new("echo"), patience);
        assert!(
            matches!(answer, Err(NixVersionError::Answer { .. })),
            "{answer:?}"
        );
    }

    #[test]
    fn a_program_that_does_not_answer_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("nix");
        std::fs::write(&program, "#!/bin/sh\nexec sleep 600\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, mode).unwrap();
        let patience = Duration::from_millis(50);
        assert_eq!(
            NixVersion::ask(&program, patience),
            Err(NixVersionError::Silent {
                program: program.display().to_string(),
                patience
            })
        );
    }

    #[test]
    fn the_kernel_and_its_cores_are_known() {
        assert!(kernel_release().starts_with(|c: char| c.is_ascii_digit()));
        assert!(cores() > 0);
    }
}
