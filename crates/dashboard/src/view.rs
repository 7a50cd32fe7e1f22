//! What stands on each page: plain data, ready to be written by its template in `web/templates`. Pure: made from
//! protobuf messages and a time, with no I/O. Foreign text is held only as [`Shown`].

pub mod decision;
pub mod disagreements;
pub mod feed;
pub mod log;
pub mod matrix;
pub mod output;
pub mod outputs;
pub mod overview;
pub mod policy;
pub mod problem;
pub mod proof;
pub mod search;
pub mod values;

use crate::assets::Assets;
use crate::format::prose::Prose;
use crate::format::shown::Shown;
use crate::format::time::When;

/// What every page has around its content.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// Title of the page, without the program's name.
    pub title: Shown,
    /// What the menu marks as current.
    pub section: Section,
    /// What stands in the search box.
    pub query: Shown,
    /// When the page was made.
    pub now: Option<When>,
    /// Where style and script are.
    pub assets: Assets,
}

impl Frame {
    /// The frame of a page made at `now_s`.
    #[must_use]
    pub fn new(title: &str, section: Section, now_s: u64) -> Self {
        let now = When::new(now_s, now_s);
        Self {
            title: Shown::line(title),
            section,
            now,
            ..Self::default()
        }
    }
}

/// The parts of the menu.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Section {
    /// The overview.
    Overview,
    /// The list of disagreements.
    Disagreements,
    /// The policy file.
    Policy,
    /// None of them.
    #[default]
    Other,
}

impl Section {
    /// True for the overview.
    #[must_use]
    pub fn is_overview(&self) -> bool {
        *self == Self::Overview
    }

    /// True for the list of disagreements.
    #[must_use]
    pub fn is_disagreements(&self) -> bool {
        *self == Self::Disagreements
    }

    /// True for the policy file.
    #[must_use]
    pub fn is_policy(&self) -> bool {
        *self == Self::Policy
    }
}

/// The four marks. Each has a shape and a colour of its own and never stands without a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// ●
    Agree,
    /// ▲
    Disagree,
    /// ◐
    OneBuilder,
    /// ○
    #[default]
    NoData,
}

impl Mark {
    /// Its shape.
    #[must_use]
    pub fn symbol(&self) -> &'static str {
        match self {
            Self::Agree => "●",
            Self::Disagree => "▲",
            Self::OneBuilder => "◐",
            Self::NoData => "○",
        }
    }

    /// Its class in the style sheet.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::Disagree => "disagree",
            Self::OneBuilder => "one",
            Self::NoData => "none",
        }
    }
}

/// A mark with its word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Shape and colour.
    pub mark: Mark,
    /// Word.
    pub word: &'static str,
}

impl State {
    /// A mark with its word.
    #[must_use]
    pub const fn new(mark: Mark, word: &'static str) -> Self {
        Self { mark, word }
    }
}

/// The letter of a value: A for the one with the most votes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Letter {
    /// `A`, `B`…, or `?` where the aggregator sent something else.
    pub text: String,
}

impl Letter {
    /// A letter as the aggregator gives it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let fits =
            matches!(text.len(), 1..=3) && text.bytes().all(|byte| byte.is_ascii_uppercase());
        Self {
            text: if fits { text } else { "?" }.to_owned(),
        }
    }

    /// The letter of the value at this position: A…Z, AA, AB…
    #[must_use]
    pub fn at(position: usize) -> Self {
        let mut rest = position;
        let mut letters = Vec::new();
        loop {
            letters.push(char::from(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                    .get(rest % 26)
                    .copied()
                    .unwrap_or(b'?'),
            ));
            match (rest / 26).checked_sub(1) {
                Some(next) => rest = next,
                None => break,
            }
        }
        Self {
            text: letters.into_iter().rev().collect(),
        }
    }

    /// Its tint in the style sheet: six of their own, one for all others.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self.text.as_str() {
            "A" => "letter-a",
            "B" => "letter-b",
            "C" => "letter-c",
            "D" => "letter-d",
            "E" => "letter-e",
            "F" => "letter-f",
            _ => "letter-rest",
        }
    }
}

/// A link to a page of this dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Path on this server, encoded.
    pub href: String,
    /// What is clicked.
    pub text: Shown,
}

/// Something that the reader can do, with the command to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What it does and why.
    pub what: Prose,
    /// The command. Made only of fixed words and of text that was checked to be harmless in a shell.
    pub command: String,
}

impl Action {
    /// An action.
    #[must_use]
    pub fn new(what: &str, command: impl Into<String>) -> Self {
        Self {
            what: Prose::new(what),
            command: command.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_count_on_after_z() {
        let letters: Vec<String> = [0, 1, 25, 26, 27, 701, 702]
            .map(|at| Letter::at(at).text)
            .into();
        assert_eq!(letters, ["A", "B", "Z", "AA", "AB", "ZZ", "AAA"]);
    }

    #[test]
    fn a_letter_that_is_none_shows_as_a_question_mark() {
        for text in ["", "a", "<b>", "AAAA", "Ä"] {
            assert_eq!(Letter::new(text).text, "?");
        }
        assert_eq!(Letter::new("B").class(), "letter-b");
        assert_eq!(Letter::new("G").class(), "letter-rest");
    }

    #[test]
    fn the_four_marks_differ_in_shape_and_in_class() {
        let marks = [Mark::Agree, Mark::Disagree, Mark::OneBuilder, Mark::NoData];
        for (at, one) in marks.iter().enumerate() {
            for other in marks.iter().skip(at + 1) {
                assert_ne!(one.symbol(), other.symbol());
                assert_ne!(one.class(), other.class());
            }
        }
    }
}
