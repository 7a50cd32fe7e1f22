//! What the values of an output say, and in what they differ: NAR hash, NAR size, references.

use std::collections::BTreeSet;

use quorix_wire::pb;

use super::matrix::VALUES_MAX;
use super::outputs::{link, parts};
use super::{Letter, Link};
use crate::format::hash::Hash;
use crate::format::shown::Shown;
use crate::format::{count, list, thousands};

/// References listed of one value, and in one difference.
const REFERENCES_MAX: usize = 200;

/// Values that are compared with the first.
const DIFFERENCES_MAX: usize = 5;

/// What the values say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Each value.
    pub values: Vec<Value>,
    /// The first value against the others.
    pub differences: Vec<Difference>,
}

/// What one value says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its letter.
    pub letter: Letter,
    /// Its fingerprint.
    pub fingerprint: Hash,
    /// Hash of the NAR.
    pub nar_hash: Hash,
    /// Size of the NAR in bytes.
    pub nar_size: String,
    /// Number of references, in words where it is not known.
    pub references: String,
    /// The references, as far as they are shown.
    pub reference_list: Vec<Link>,
    /// References that are not shown.
    pub omitted: usize,
    /// Who votes for it.
    pub voters: Shown,
    /// The store path that it is said of, where that is not the page's: another name under the same hash part.
    pub other_path: Shown,
}

/// In what two values differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The first value.
    pub from: Letter,
    /// The other.
    pub to: Letter,
    /// The difference in words.
    pub sentence: String,
    /// References that only `to` has.
    pub added: Vec<Link>,
    /// References that only `from` has.
    pub removed: Vec<Link>,
    /// References that only one has and that are not shown.
    pub omitted: usize,
}

impl Facts {
    /// What these values of the output `path` say, the one with the most votes first.
    #[must_use]
    pub fn new(values: &[pb::DecisionValue], path: &str) -> Self {
        let differences = match values {
            [first, others @ ..] => others
                .iter()
                .take(DIFFERENCES_MAX)
                .map(|other| Difference::new(first, other))
                .collect(),
            [] => Vec::new(),
        };
        Self {
            values: values
                .iter()
                .take(VALUES_MAX)
                .map(|value| Value::new(value, path))
                .collect(),
            differences,
        }
    }
}

impl Value {
    fn new(value: &pb::DecisionValue, path: &str) -> Self {
        let other_path = if value.store_path == path {
            ""
        } else {
            &value.store_path
        };
        let number = value.references.len();
        Self {
            letter: Letter::new(&value.letter),
            fingerprint: Hash::of_bytes(&value.fingerprint),
            nar_hash: Hash::new(&value.nar_hash),
            nar_size: if value.nar_hash.is_empty() {
                "not known".to_owned()
            } else {
                thousands(value.nar_size)
            },
            references: if value.references_known {
                thousands(number as u64)
            } else {
                "not known".to_owned()
            },
            reference_list: value
                .references
                .iter()
                .take(REFERENCES_MAX)
                .map(|path| reference(path))
                .collect(),
            omitted: number.saturating_sub(REFERENCES_MAX),
            voters: if value.voters.is_empty() {
                Shown::line("nobody")
            } else {
                Shown::line(&list(&value.voters, "and"))
            },
            other_path: Shown::line(other_path),
        }
    }
}

impl Difference {
    fn new(from: &pb::DecisionValue, to: &pb::DecisionValue) -> Self {
        let known = from.references_known && to.references_known;
        let (before, after): (BTreeSet<&str>, BTreeSet<&str>) = (
            from.references.iter().map(String::as_str).collect(),
            to.references.iter().map(String::as_str).collect(),
        );
        let only = |these: &BTreeSet<&str>, those: &BTreeSet<&str>| -> Vec<Link> {
            if known {
                these
                    .difference(those)
                    .map(|path| reference(path))
                    .collect()
            } else {
                Vec::new()
            }
        };
        let (mut added, mut removed) = (only(&after, &before), only(&before, &after));
        let omitted = added.len().saturating_sub(REFERENCES_MAX)
            + removed.len().saturating_sub(REFERENCES_MAX);
        let sentence = sentence(from, to, known.then_some((added.len(), removed.len())));
        added.truncate(REFERENCES_MAX);
        removed.truncate(REFERENCES_MAX);
        Self {
            from: Letter::new(&from.letter),
            to: Letter::new(&to.letter),
            sentence,
            added,
            removed,
            omitted,
        }
    }
}

/// `references`: how many were added and removed, where both lists are known.
fn sentence(
    from: &pb::DecisionValue,
    to: &pb::DecisionValue,
    references: Option<(usize, usize)>,
) -> String {
    if from.nar_hash.is_empty() || to.nar_hash.is_empty() {
        return "the facts behind the fingerprints are not known here.".to_owned();
    }
    let bytes = match (from.nar_hash == to.nar_hash, from.nar_size == to.nar_size) {
        (true, true) => "the same bytes".to_owned(),
        (false, true) => "different bytes of the same size".to_owned(),
        (_, false) => {
            let apart = count(from.nar_size.abs_diff(to.nar_size), "byte", "bytes");
            let what = if to.nar_size > from.nar_size {
                "more"
            } else {
                "less"
            };
            format!(
                "different bytes, {} has {apart} {what}",
                Letter::new(&to.letter).text
            )
        }
    };
    let references = match references {
        None => "; whether the references differ is not known".to_owned(),
        Some((0, 0)) => "; the same references".to_owned(),
        Some((added, 0)) => format!("; {} added", count(added as u64, "reference", "references")),
        Some((0, removed)) => format!(
            "; {} missing",
            count(removed as u64, "reference", "references")
        ),
        Some((added, removed)) => {
            format!(
                "; {} added, {} missing",
                count(added as u64, "reference", "references"),
                thousands(removed as u64)
            )
        }
    };
    format!("{bytes}{references}.")
}

/// A reference under its base name: its hash part matters here.
fn reference(path: &str) -> Link {
    let (hash, name) = parts(path);
    let text = if hash.is_empty() || name.is_empty() {
        path.to_owned()
    } else {
        format!("{hash}-{name}")
    };
    Link {
        text: Shown::line(&text),
        ..link(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLIBC: &str = "/nix/store/jms7zxzm7w1whczwny5m3gkgdjghmi2r-glibc-2.42-51";
    const BASH: &str = "/nix/store/v8sa6r6q037ihghxfbwzjj4p59v2x0pv-bash-5.3p9";

    fn value(
        letter: &str,
        nar_hash: &str,
        nar_size: u64,
        references: &[&str],
    ) -> pb::DecisionValue {
        pb::DecisionValue {
            letter: letter.into(),
            nar_hash: nar_hash.into(),
            nar_size,
            references: references.iter().map(ToString::to_string).collect(),
            references_known: true,
            ..Default::default()
        }
    }

    fn told(from: &pb::DecisionValue, to: &pb::DecisionValue) -> String {
        Difference::new(from, to).sentence
    }

    #[test]
    fn the_difference_is_told_in_bytes_and_references() {
        let a = value("A", "sha256:a", 1000, &[GLIBC]);
        assert_eq!(
            told(&a, &value("B", "sha256:b", 1000, &[GLIBC])),
            "different bytes of the same size; the same references."
        );
        assert_eq!(
            told(&a, &value("B", "sha256:b", 1001, &[GLIBC])),
            "different bytes, B has 1 byte more; the same references."
        );
        assert_eq!(
            told(&a, &value("B", "sha256:a", 1000, &[GLIBC, BASH])),
            "the same bytes; 1 reference added."
        );
        assert_eq!(
            told(&a, &value("B", "sha256:b", 10, &[])),
            "different bytes, B has 990 bytes less; 1 reference missing."
        );
        assert_eq!(
            told(&a, &value("B", "sha256:b", 10, &[BASH])),
            "different bytes, B has 990 bytes less; 1 reference added, 1 missing."
        );
    }

    #[test]
    fn added_and_missing_references_are_listed() {
        let difference =
            Difference::new(&value("A", "a", 1, &[GLIBC]), &value("B", "b", 1, &[BASH]));
        assert_eq!(
            difference.added[0].text.as_str(),
            "v8sa6r6q037ihghxfbwzjj4p59v2x0pv-bash-5.3p9"
        );
        assert_eq!(
            difference.removed[0].href,
            "/output/jms7zxzm7w1whczwny5m3gkgdjghmi2r-glibc-2.42-51"
        );
    }

    #[test]
    fn a_value_of_another_name_under_the_same_hash_says_so() {
        let named = pb::DecisionValue {
            store_path: GLIBC.into(),
            ..value("A", "a", 1, &[])
        };
        assert_eq!(Value::new(&named, GLIBC).other_path.as_str(), "");
        assert_eq!(Value::new(&named, BASH).other_path.as_str(), GLIBC);
    }

    #[test]
    fn unknown_references_are_never_called_the_same() {
        let unknown = pb::DecisionValue {
            references_known: false,
            ..value("B", "sha256:b", 1000, &[])
        };
        let a = value("A", "sha256:a", 1000, &[]);
        assert_eq!(
            told(&a, &unknown),
            "different bytes of the same size; whether the references differ is not known."
        );
        assert_eq!(Value::new(&unknown, "").references, "not known");
        assert_eq!(
            told(&a, &pb::DecisionValue::default()),
            "the facts behind the fingerprints are not known here."
        );
    }

    #[test]
    fn thousands_of_references_are_bounded_and_counted() {
        let many: Vec<String> = (0..5_000)
            .map(|number| format!("/nix/store/reference-{number}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let facts = Facts::new(&[value("A", "a", 1, &[]), value("B", "b", 2, &many)], "");
        assert_eq!(
            (
                facts.values[1].reference_list.len(),
                facts.values[1].omitted
            ),
            (200, 4_800)
        );
        assert_eq!(
            (
                facts.differences[0].added.len(),
                facts.differences[0].omitted
            ),
            (200, 4_800)
        );
    }

    #[test]
    fn trustix_two_values_with_one_vote_each_are_compared_too() {
        let facts = Facts::new(&[value("A", "a", 1, &[]), value("B", "b", 2, &[])], "");
        assert_eq!(facts.differences.len(), 1);
    }
}
