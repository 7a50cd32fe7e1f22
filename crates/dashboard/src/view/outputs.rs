//! A table of outputs: one row each, one column per builder, in the cells the letters of what each said. Used by
//! the overview, the list of disagreements and the search. Bounded in both directions.

use std::collections::BTreeSet;

use quorix_nix::store_path::StorePath;
use quorix_wire::pb;

use super::{Letter, Link, Mark, State};
use crate::format::hash::Hash;
use crate::format::segment;
use crate::format::shown::Shown;

/// Builders with a column of their own; what others said stands in one last column.
pub const BUILDERS_MAX: usize = 12;

/// Values of one output, and statements in one last column, that are shown.
const STATEMENTS_MAX: usize = 24;

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputTable {
    /// What it lists.
    pub caption: String,
    /// True if the outputs are in different states, so that a column says in which.
    pub states: bool,
    /// The columns.
    pub builders: Vec<Shown>,
    /// True if there is a last column for all other builders.
    pub others: bool,
    /// One per output.
    pub rows: Vec<Row>,
}

/// One output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its page.
    pub href: String,
    /// Its name.
    pub name: Shown,
    /// The hash part of its store path.
    pub hash: Hash,
    /// Whether builders agree.
    pub state: State,
    /// For each column what that builder said: usually one value.
    pub cells: Vec<Vec<Said>>,
    /// What the others said.
    pub others: Vec<OtherSaid>,
}

/// A value that a builder said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its letter.
    pub letter: Letter,
    /// Its fingerprint, hexadecimal.
    pub fingerprint: Shown,
}

/// A value that a builder without a column said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherSaid {
    /// Its letter.
    pub letter: Letter,
    /// Who said it.
    pub builder: Shown,
}

impl OutputTable {
    /// The table of these outputs. Builders stand in the order of `known`, the policy's; then the others by name.
    #[must_use]
    pub fn new(
        caption: impl Into<String>,
        outputs: &[pb::OutputSummary],
        known: &[String],
    ) -> Self {
        let present: BTreeSet<&str> = outputs
            .iter()
            .flat_map(|output| &output.values)
            .flat_map(|value| &value.builders)
            .map(String::as_str)
            .collect();
        let named: Vec<&str> = known
            .iter()
            .map(String::as_str)
            .filter(|name| present.contains(name))
            .collect();
        let unnamed = present
            .iter()
            .copied()
            .filter(|name| !known.iter().any(|one| one == name));
        let columns: Vec<&str> = named
            .iter()
            .copied()
            .chain(unnamed)
            .take(BUILDERS_MAX)
            .collect();
        let rows: Vec<Row> = outputs
            .iter()
            .map(|output| Row::new(output, &columns))
            .collect();
        Self {
            caption: caption.into(),
            states: rows.iter().any(|row| row.state.mark != Mark::Disagree),
            builders: columns.iter().map(|name| Shown::line(name)).collect(),
            others: rows.iter().any(|row| !row.others.is_empty()),
            rows,
        }
    }
}

impl Row {
    fn new(output: &pb::OutputSummary, columns: &[&str]) -> Self {
        let said = |builder: &str| -> Vec<Said> {
            let values = output.values.iter().enumerate();
            let said = values.filter(|(_, value)| value.builders.iter().any(|one| one == builder));
            said.take(STATEMENTS_MAX)
                .map(|(at, value)| Said::new(at, value))
                .collect()
        };
        let others = output.values.iter().enumerate().flat_map(|(at, value)| {
            let others = value
                .builders
                .iter()
                .filter(|builder| !columns.contains(&builder.as_str()));
            others.map(move |builder| OtherSaid {
                letter: Letter::at(at),
                builder: Shown::line(builder),
            })
        });
        let Link { href, text: name } = link(&output.store_path);
        Self {
            href,
            name,
            hash: Hash::new(parts(&output.store_path).0),
            state: standing(output.standing()),
            cells: columns.iter().map(|builder| said(builder)).collect(),
            others: others.take(STATEMENTS_MAX).collect(),
        }
    }
}

impl Said {
    fn new(at: usize, value: &pb::ValueSummary) -> Self {
        Self {
            letter: Letter::at(at),
            fingerprint: Hash::of_bytes(&value.fingerprint).whole,
        }
    }
}

/// The page of the output with this store path, base name or hash part, under its name.
#[must_use]
pub fn link(path: &str) -> Link {
    let (hash, name) = parts(path);
    let base = path.rsplit('/').next().unwrap_or_default();
    let text = if name.is_empty() { hash } else { name };
    Link {
        href: format!("/output/{}", segment(base)),
        text: Shown::line(text),
    }
}

/// The hash part and the name of a store path; where it is none, no hash part and the whole text as name.
#[must_use]
pub fn parts(path: &str) -> (&str, &str) {
    let base = path.rsplit('/').next().unwrap_or_default();
    match base.split_at_checked(32) {
        Some((hash, "")) => (hash, ""),
        Some((hash, rest)) if base.parse::<StorePath>().is_ok() => {
            (hash, rest.strip_prefix('-').unwrap_or(rest))
        }
        _ => ("", path),
    }
}

/// The state of an output, in words.
#[must_use]
pub fn standing(standing: pb::Standing) -> State {
    match standing {
        pb::Standing::Agree => State::new(Mark::Agree, "agree"),
        pb::Standing::Disagree => State::new(Mark::Disagree, "disagree"),
        pb::Standing::OneBuilder => State::new(Mark::OneBuilder, "one builder"),
        pb::Standing::NoData | pb::Standing::Unspecified => State::new(Mark::NoData, "no data"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(values: &[&[&str]]) -> pb::OutputSummary {
        let values = values
            .iter()
            .enumerate()
            .map(|(at, builders)| pb::ValueSummary {
                fingerprint: vec![u8::try_from(at).unwrap(); 32],
                builders: builders.iter().map(ToString::to_string).collect(),
            });
        pb::OutputSummary {
            store_path: "/nix/store/71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc-9.10.3".into(),
            standing: pb::Standing::Disagree.into(),
            values: values.collect(),
        }
    }

    #[test]
    fn each_builder_has_a_column_in_the_policys_order_with_the_letters_it_said() {
        let known = ["carol".to_owned(), "alice".to_owned(), "silent".to_owned()];
        let table = OutputTable::new(
            "",
            &[output(&[&["alice", "bob"], &["carol", "bob"]])],
            &known,
        );
        assert_eq!(
            table.builders,
            [
                Shown::line("carol"),
                Shown::line("alice"),
                Shown::line("bob")
            ]
        );
        let letters: Vec<Vec<&str>> = table.rows[0]
            .cells
            .iter()
            .map(|cell| cell.iter().map(|said| said.letter.text.as_str()).collect())
            .collect();
        assert_eq!(letters, [vec!["B"], vec!["A"], vec!["A", "B"]]);
        assert!(!table.others);
    }

    #[test]
    fn more_builders_than_columns_stand_in_the_last_one() {
        let names: Vec<String> = (0..40)
            .map(|number| format!("builder-{number:02}"))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let table = OutputTable::new("", &[output(&[&names])], &[]);
        assert_eq!(table.builders.len(), BUILDERS_MAX);
        assert!(table.others);
        assert_eq!(table.rows[0].others.len(), STATEMENTS_MAX);
        assert_eq!(table.rows[0].others[0].builder.as_str(), "builder-12");
    }

    #[test]
    fn a_store_path_is_told_by_its_name_and_linked_by_its_base_name() {
        let row = &OutputTable::new("", &[output(&[])], &[]).rows[0];
        assert_eq!(
            row.href,
            "/output/71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc-9.10.3"
        );
        assert_eq!(row.name.as_str(), "ghc-9.10.3");
        assert_eq!(row.hash.whole.as_str(), "71jpi5bf3l22gw0b56r8mfzlrxrrck1i");
    }

    #[test]
    fn what_is_no_store_path_still_has_a_harmless_link() {
        let link = link("\"><script>");
        assert_eq!(link.href, "/output/%22%3E%3Cscript%3E");
        assert_eq!(parts("x/y"), ("", "x/y"));
        assert_eq!(parts(""), ("", ""));
    }
}
