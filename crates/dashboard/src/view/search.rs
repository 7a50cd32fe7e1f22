//! The search: what was meant by the text in the box, and the list of outputs by name.

use askama::Template;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_wire::pb;

use super::outputs::OutputTable;
use super::{Frame, Section};
use crate::format::count;
use crate::format::shown::Shown;

/// Outputs shown.
pub const HITS_MAX: u32 = 100;

/// The most bytes of a query.
pub const QUERY_BYTES_MAX: usize = 1_000;

/// What was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Nothing was asked.
    Nothing,
    /// This one output: a hash part or the base name of a store path.
    Output(String),
    /// Outputs by the beginning of their name.
    Name(String),
    /// The outputs of a derivation, by the name that it gives them.
    Derivation(String),
}

impl Target {
    /// Reads what was typed or pasted: a store path or something inside of it, a hash part, a `.narinfo` address, a
    /// derivation, also with `^out` or `!out`, or a name.
    #[must_use]
    pub fn new(query: &str) -> Self {
        let query = query.trim().trim_matches(['"', '\'', '`', '<', '>']).trim();
        if query.is_empty() {
            return Self::Nothing;
        }
        for part in query.split('/') {
            let part = part.split(['^', '!']).next().unwrap_or_default();
            let part = part.strip_suffix(".narinfo").unwrap_or(part);
            if part.parse::<HashPart>().is_ok() {
                return Self::Output(part.to_owned());
            }
            if let Ok(path) = part.parse::<StorePath>() {
                return match path.name().strip_suffix(".drv") {
                    Some(name) => Self::Derivation(name.to_owned()),
                    None => Self::Output(part.to_owned()),
                };
            }
        }
        match query.strip_suffix(".drv") {
            Some(name) if !name.is_empty() => Self::Derivation(name.to_owned()),
            _ => Self::Name(query.to_owned()),
        }
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "search.html")]
pub struct SearchPage {
    /// Around it.
    pub frame: Frame,
    /// What was found, in words.
    pub sentence: String,
    /// How the query was understood, or empty.
    pub note: String,
    /// True if something was asked.
    pub asked: bool,
    /// The outputs.
    pub table: OutputTable,
}

impl SearchPage {
    /// The page for a query that means no single output; `known` are the policy's builders and caches.
    #[must_use]
    pub fn new(
        query: &str,
        target: &Target,
        outputs: &[pb::OutputSummary],
        known: &[String],
        now_s: u64,
    ) -> Self {
        let name = match target {
            Target::Name(name) | Target::Derivation(name) | Target::Output(name) => {
                Shown::line(name)
            }
            Target::Nothing => Shown::default(),
        };
        let asked = *target != Target::Nothing;
        let hits = outputs.len() as u64;
        let sentence = match (asked, hits) {
            (false, _) => "Search for an output".to_owned(),
            (true, 0) => format!("No output is named “{name}…”."),
            (true, 1) => format!("1 output is named “{name}…”."),
            (true, many) if many >= u64::from(HITS_MAX) => format!(
                "The first {} named “{name}…”",
                count(many, "output", "outputs")
            ),
            (true, many) => format!("{} are named “{name}…”.", count(many, "output", "outputs")),
        };
        let note = match target {
            Target::Derivation(_) => {
                "A derivation is not voted on, its outputs are: these have its name.".to_owned()
            }
            _ => String::new(),
        };
        Self {
            frame: Frame {
                query: Shown::line(query),
                ..Frame::new("Search", Section::Other, now_s)
            },
            sentence,
            note,
            asked,
            table: OutputTable::new(
                "Each column is a builder or cache; equal letters are equal fingerprints.",
                outputs,
                known,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "71jpi5bf3l22gw0b56r8mfzlrxrrck1i";
    const BASE: &str = "71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc-9.10.3";

    #[test]
    fn pasting_any_form_of_a_path_means_that_output() {
        for (query, expected) in [
            (HASH.to_owned(), HASH),
            (BASE.to_owned(), BASE),
            (format!("  /nix/store/{BASE}\n"), BASE),
            (format!("'/nix/store/{BASE}/bin/ghc'"), BASE),
            (format!("/gnu/store/{BASE}"), BASE),
            (format!("https://cache.example.org/{HASH}.narinfo"), HASH),
            (format!("{HASH}.narinfo"), HASH),
            (format!("/nix/store/{BASE}^out"), BASE),
        ] {
            assert_eq!(
                Target::new(&query),
                Target::Output(expected.to_owned()),
                "{query}"
            );
        }
    }

    #[test]
    fn a_derivation_means_the_outputs_with_its_name() {
        for query in [
            format!("/nix/store/{BASE}.drv"),
            format!("{BASE}.drv^*"),
            format!("{BASE}.drv!out"),
            "ghc-9.10.3.drv".to_owned(),
        ] {
            assert_eq!(
                Target::new(&query),
                Target::Derivation("ghc-9.10.3".to_owned()),
                "{query}"
            );
        }
    }

    #[test]
    fn everything_else_is_a_name() {
        assert_eq!(Target::new(" hello "), Target::Name("hello".to_owned()));
        assert_eq!(Target::new(".drv"), Target::Name(".drv".to_owned()));
        assert_eq!(Target::new(" ' ' "), Target::Nothing);
        let nearly = BASE.replace("71jp", "71Up");
        assert_eq!(Target::new(&nearly), Target::Name(nearly.clone()));
    }
}
