//! The policy file verbatim, with an anchor on each line (`#L7`) to which decisions link.

use askama::Template;

use super::decision::RuleView;
use super::{Frame, Section};
use crate::format::shown::Shown;
use crate::format::thousands;

/// Lines shown.
const LINES_MAX: usize = 10_000;

/// The page.
#[derive(Debug, Template)]
#[template(path = "policy.html")]
pub struct PolicyPage {
    /// Around it.
    pub frame: Frame,
    /// What this is, in words.
    pub sentence: String,
    /// The lines.
    pub lines: Vec<Line>,
    /// Lines that are not shown.
    pub omitted: usize,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1.
    pub number: usize,
    /// True if it says nothing to the program.
    pub comment: bool,
    /// Its first word: what kind of line it is.
    pub word: Shown,
    /// What follows.
    pub rest: Shown,
}

impl PolicyPage {
    /// The page of a policy file.
    #[must_use]
    pub fn new(text: &str, now_s: u64) -> Self {
        let count = text.lines().count();
        Self {
            frame: Frame::new("Policy", Section::Policy, now_s),
            sentence: match count {
                0 => "There is no policy.".to_owned(),
                1 => "Everything here is decided by this one line.".to_owned(),
                _ => format!(
                    "Everything here is decided by these {} lines.",
                    thousands(count as u64)
                ),
            },
            lines: text
                .lines()
                .take(LINES_MAX)
                .enumerate()
                .map(|(at, line)| Line::new(at + 1, line))
                .collect(),
            omitted: count.saturating_sub(LINES_MAX),
        }
    }
}

impl Line {
    fn new(number: usize, text: &str) -> Self {
        // Tabs separate items in this file; as single spaces they are as good and are seen.
        let text = text.replace('\t', " ");
        let comment = text.trim_start().starts_with('#');
        let word_ends = if comment {
            0
        } else {
            text.find(' ').unwrap_or(text.len())
        };
        let (word, rest) = text.split_at_checked(word_ends).unwrap_or(("", &text));
        Self {
            number,
            comment,
            word: Shown::line(word),
            rest: Shown::line(rest),
        }
    }
}

/// What the file says of who speaks: enough to choose from and to quote. Deciding reads the file with the parser of
/// `quorix_trust`, not with this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Voices {
    /// Names of builders and caches, in the file's order.
    pub names: Vec<String>,
    lines: Vec<RuleView>,
}

impl Voices {
    /// Finds the `builder` and `cache` lines of a policy file.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut voices = Self::default();
        for (at, line) in text.lines().enumerate() {
            let mut items = line.split_whitespace();
            if let (Some("builder" | "cache"), Some(name)) = (items.next(), items.next())
                && voices.line(name).is_none()
            {
                voices.names.push(name.to_owned());
                let text = Shown::line(&line.replace('\t', " "));
                voices.lines.push(RuleView {
                    name: Shown::default(),
                    line: at + 1,
                    text,
                });
            }
        }
        voices
    }

    /// The line that names this builder or cache.
    #[must_use]
    pub fn line(&self, name: &str) -> Option<RuleView> {
        let at = self.names.iter().position(|one| one == name)?;
        self.lines.get(at).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "# who\nbuilder alice\tvkey https://a.example operator=alice\n\ncache main key https://c.example operator=example\nquorum none\n";

    #[test]
    fn every_line_keeps_its_number_and_its_text() {
        let page = PolicyPage::new(POLICY, 1);
        let lines: Vec<(usize, String)> = page
            .lines
            .iter()
            .map(|line| (line.number, format!("{}{}", line.word, line.rest)))
            .collect();
        assert_eq!(
            lines[1],
            (
                2,
                "builder alice vkey https://a.example operator=alice".to_owned()
            )
        );
        assert_eq!(lines[2], (3, String::new()));
        assert_eq!(lines[4], (5, "quorum none".to_owned()));
        assert!(page.lines[0].comment);
        assert_eq!(page.lines[3].word.as_str(), "cache");
    }

    #[test]
    fn builders_and_caches_are_found_in_their_order_with_their_lines() {
        let voices = Voices::new(POLICY);
        assert_eq!(voices.names, ["alice", "main"]);
        assert_eq!(voices.line("main").unwrap().line, 4);
        assert_eq!(voices.line("carol"), None);
    }
}
