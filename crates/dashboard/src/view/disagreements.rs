//! The list of outputs about which builders disagree. The filter and the place in the list are in the URL.

use askama::Template;
use quorix_wire::pb;
use serde::Deserialize;

use super::outputs::OutputTable;
use super::{Frame, Section};
use crate::format::shown::Shown;
use crate::format::{list, segment, thousands};

/// Outputs on one page.
pub const PAGE_SIZE: u32 = 50;

/// The most bytes of each part of the filter.
pub const FILTER_BYTES_MAX: usize = 1_000;

/// What the URL says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Filter {
    /// Part of the name; empty for any.
    #[serde(default)]
    pub name: String,
    /// A builder or cache that said something; empty for any.
    #[serde(default)]
    pub builder: String,
    /// Token of the page, empty for the first.
    #[serde(default)]
    pub after: String,
}

impl Filter {
    /// The URL of this filter, at `after`.
    #[must_use]
    pub fn href(&self, after: &str) -> String {
        let parts = [
            ("name", self.name.as_str()),
            ("builder", &self.builder),
            ("after", after),
        ];
        let given = parts.iter().filter(|(_, value)| !value.is_empty());
        let query: Vec<String> = given
            .map(|(key, value)| format!("{key}={}", segment(value)))
            .collect();
        if query.is_empty() {
            "/disagreements".to_owned()
        } else {
            format!("/disagreements?{}", query.join("&"))
        }
    }

    /// Which part is too long to be asked for, if one is.
    #[must_use]
    pub fn too_long(&self) -> Option<&'static str> {
        let parts = [
            ("name", &self.name),
            ("builder", &self.builder),
            ("after", &self.after),
        ];
        parts
            .into_iter()
            .find(|(_, value)| value.len() > FILTER_BYTES_MAX)
            .map(|(key, _)| key)
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "disagreements.html")]
pub struct Disagreements {
    /// Around it.
    pub frame: Frame,
    /// What is listed, in words.
    pub sentence: String,
    /// The filter's name.
    pub name: Shown,
    /// The builders and caches to choose from.
    pub builders: Vec<Choice>,
    /// True if the filter leaves anything out.
    pub filtered: bool,
    /// True if this is not the first page.
    pub later: bool,
    /// The outputs.
    pub table: OutputTable,
    /// The first page.
    pub first: String,
    /// The next page, if there is one.
    pub next: Option<String>,
}

/// A builder to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its name.
    pub name: Shown,
    /// True if it is chosen now.
    pub chosen: bool,
}

impl Disagreements {
    /// The page. `total` is the number of all disagreements, whatever the filter; `known` are the policy's builders
    /// and caches in its order.
    #[must_use]
    pub fn new(
        filter: &Filter,
        total: u64,
        answer: &pb::ListDisagreementsResponse,
        known: &[String],
        now_s: u64,
    ) -> Self {
        let filtered = !filter.name.is_empty() || !filter.builder.is_empty();
        let chosen_is_unknown = !filter.builder.is_empty() && !known.contains(&filter.builder);
        let names = known
            .iter()
            .chain(chosen_is_unknown.then_some(&filter.builder));
        let next = Some(&answer.next_page_token).filter(|token| !token.is_empty());
        Self {
            frame: Frame::new("Disagreements", Section::Disagreements, now_s),
            sentence: sentence(filter, total),
            name: Shown::line(&filter.name),
            builders: names
                .map(|name| Choice {
                    name: Shown::line(name),
                    chosen: *name == filter.builder,
                })
                .collect(),
            filtered,
            later: !filter.after.is_empty(),
            table: OutputTable::new(
                "Each column is a builder or cache; equal letters are equal fingerprints, A has the most votes.",
                &answer.outputs,
                known,
            ),
            first: filter.href(""),
            next: next.map(|token| filter.href(token)),
        }
    }
}

fn sentence(filter: &Filter, total: u64) -> String {
    let mut conditions = Vec::new();
    if !filter.name.is_empty() {
        conditions.push(format!(
            "whose name contains “{}”",
            Shown::line(&filter.name)
        ));
    }
    if !filter.builder.is_empty() {
        conditions.push(format!(
            "about which {} said something",
            Shown::line(&filter.builder)
        ));
    }
    if !conditions.is_empty() {
        return format!("Outputs with disagreement {}", list(&conditions, "and"));
    }
    match total {
        0 => "No builders disagree about any output.".to_owned(),
        1 => "Builders disagree about 1 output.".to_owned(),
        many => format!("Builders disagree about {} outputs.", thousands(many)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_carries_the_whole_filter() {
        let filter = Filter {
            name: "gcc lib&x".into(),
            builder: "bob".into(),
            after: "old".into(),
        };
        assert_eq!(
            filter.href("t/1="),
            "/disagreements?name=gcc%20lib%26x&builder=bob&after=t%2F1%3D"
        );
        assert_eq!(Filter::default().href(""), "/disagreements");
    }

    #[test]
    fn paging_keeps_the_filter_and_ends_on_the_last_page() {
        let filter = Filter {
            name: "ghc".into(),
            ..Filter::default()
        };
        let mut answer = pb::ListDisagreementsResponse {
            outputs: vec![],
            next_page_token: "t2".into(),
        };
        let page = Disagreements::new(&filter, 9, &answer, &[], 1);
        assert_eq!(
            page.next.as_deref(),
            Some("/disagreements?name=ghc&after=t2")
        );
        assert_eq!(page.first, "/disagreements?name=ghc");
        answer.next_page_token.clear();
        assert_eq!(Disagreements::new(&filter, 9, &answer, &[], 1).next, None);
    }

    #[test]
    fn a_chosen_builder_that_the_policy_does_not_name_stays_chosen() {
        let filter = Filter {
            builder: "gone".into(),
            ..Filter::default()
        };
        let page = Disagreements::new(&filter, 0, &Default::default(), &["alice".into()], 1);
        let choices: Vec<(&str, bool)> = page
            .builders
            .iter()
            .map(|one| (one.name.as_str(), one.chosen))
            .collect();
        assert_eq!(choices, [("alice", false), ("gone", true)]);
    }

    #[test]
    fn the_sentence_says_what_is_listed() {
        assert_eq!(
            sentence(&Filter::default(), 412),
            "Builders disagree about 412 outputs."
        );
        let filter = Filter {
            name: "gcc".into(),
            builder: "bob".into(),
            ..Filter::default()
        };
        assert_eq!(
            sentence(&filter, 412),
            "Outputs with disagreement whose name contains “gcc” and about which bob said something"
        );
    }

    #[test]
    fn a_filter_that_is_too_long_is_named() {
        let filter = Filter {
            after: "x".repeat(FILTER_BYTES_MAX + 1),
            ..Filter::default()
        };
        assert_eq!(filter.too_long(), Some("after"));
        assert_eq!(Filter::default().too_long(), None);
    }
}
