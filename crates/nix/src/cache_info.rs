//! `nix-cache-info`: what a binary cache says of itself.

use std::fmt;

use crate::store_path::{StoreDir, StorePathError};

/// Largest file accepted, in bytes.
pub const MAX_SIZE: usize = 64 * 1024;

/// The contents of a `nix-cache-info` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheInfo {
    /// The store directory of the paths served; Nix refuses a cache with another one than its own.
    pub store_dir: StoreDir,
    /// Whether the cache wants to be asked about many paths at once.
    pub want_mass_query: bool,
    /// Lower is asked first.
    pub priority: u32,
}

impl CacheInfo {
    /// Reads the file. Unknown keys and lines without a colon are ignored, as Nix does; what is missing has Nix's
    /// default: `/nix/store`, no mass queries, priority 0.
    ///
    /// # Errors
    /// When the file is too large or a known value cannot be read.
    pub fn parse(text: &str) -> Result<Self, CacheInfoError> {
        if text.len() > MAX_SIZE {
            return Err(CacheInfoError::TooLarge { found: text.len() });
        }
        let mut info = Self {
            store_dir: StoreDir::default(),
            want_mass_query: false,
            priority: 0,
        };
        for (number, line) in (1_usize..).zip(text.lines()) {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match key.trim() {
                "StoreDir" => {
                    info.store_dir = value.parse().map_err(|source| CacheInfoError::StoreDir {
                        line: number,
                        source,
                    })?;
                }
                "WantMassQuery" => info.want_mass_query = value == "1",
                "Priority" => {
                    info.priority = value
                        .parse()
                        .map_err(|_| CacheInfoError::Priority { line: number })?;
                }
                _ => {}
            }
        }
        Ok(info)
    }
}

impl fmt::Display for CacheInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "StoreDir: {}", self.store_dir)?;
        writeln!(f, "WantMassQuery: {}", u8::from(self.want_mass_query))?;
        writeln!(f, "Priority: {}", self.priority)
    }
}

impl CacheInfo {
    /// The file's text.
    #[must_use]
    pub fn print(&self) -> String {
        self.to_string()
    }
}

/// What is wrong with a `nix-cache-info` file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheInfoError {
    /// Larger than [`MAX_SIZE`].
    #[error("nix-cache-info has {found} bytes, more than {MAX_SIZE}")]
    TooLarge {
        /// Bytes found.
        found: usize,
    },
    /// A store directory that cannot be one.
    #[error("nix-cache-info line {line}: {source}")]
    StoreDir {
        /// Line, from 1.
        line: usize,
        /// Why.
        source: StorePathError,
    },
    /// A priority that is no number.
    #[error("nix-cache-info line {line}: the priority is not a whole number")]
    Priority {
        /// Line, from 1.
        line: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cache_nixos_org_says_is_read() {
        let text = "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n";
        let info = CacheInfo::parse(text).unwrap();
        assert!(info.want_mass_query);
        assert_eq!(info.priority, 40);
        assert_eq!(info.print(), text);
    }

    #[test]
    fn unknown_lines_are_ignored_and_missing_ones_have_the_defaults_of_nix() {
        let info = CacheInfo::parse("Colour:blue\nnonsense\n\n").unwrap();
        assert_eq!(
            info.print(),
            "StoreDir: /nix/store\nWantMassQuery: 0\nPriority: 0\n"
        );
    }

    #[test]
    fn a_bad_value_is_an_error_with_its_line() {
        assert_eq!(
            CacheInfo::parse("X: y\nPriority: first\n"),
            Err(CacheInfoError::Priority { line: 2 })
        );
        assert_eq!(
            CacheInfo::parse("StoreDir: nix/store\n"),
            Err(CacheInfoError::StoreDir {
                line: 1,
                source: StorePathError::StoreDir
            })
        );
    }

    proptest! {
        #[test]
        fn parsing_undoes_printing(dir in "(/[a-z.]{3,8}){1,4}", want_mass_query: bool, priority: u32) {
            let info = CacheInfo { store_dir: dir.parse().unwrap(), want_mass_query, priority };
            prop_assert_eq!(CacheInfo::parse(&info.print()), Ok(info));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text: String) {
            let _ = CacheInfo::parse(&text);
        }
    }
}
