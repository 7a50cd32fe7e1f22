//! Pages for what went wrong: what, where, and what to do next, in the same look as all others.

use askama::Template;

use super::{Frame, Link, Section};
use crate::error::SourceError;
use crate::format::shown::Shown;

/// The page.
#[derive(Debug, Template)]
#[template(path = "problem.html")]
pub struct Problem {
    /// Around it.
    pub frame: Frame,
    /// HTTP status.
    pub status: u16,
    /// What went wrong.
    pub what: String,
    /// The error's own words, or empty.
    pub detail: Shown,
    /// What to do.
    pub advice: String,
    /// Commands that help.
    pub commands: Vec<String>,
    /// Pages that help.
    pub links: Vec<Link>,
}

impl Problem {
    fn new(status: u16, what: &str, advice: &str) -> Self {
        Self {
            frame: Frame::new(what.trim_end_matches('.'), Section::Other, 0),
            status,
            what: what.to_owned(),
            detail: Shown::default(),
            advice: advice.to_owned(),
            commands: Vec::new(),
            links: Vec::new(),
        }
    }

    /// The aggregator did not answer, or not well.
    #[must_use]
    pub fn source(error: &SourceError) -> Self {
        let detail = as_sentence(&error.to_string());
        match error {
            SourceError::Away(_) | SourceError::Slow => Self {
                detail,
                commands: vec![
                    "systemctl status quorix".to_owned(),
                    "journalctl -u quorix -n 50".to_owned(),
                ],
                ..Self::new(
                    503,
                    "The aggregator does not answer.",
                    "Nothing is decided without it, so nothing wrong is served meanwhile. Reload this page in a moment; if it stays so, see on its host whether it runs:",
                )
            },
            SourceError::Broken(_) => Self {
                detail,
                ..Self::new(
                    502,
                    "The aggregator's answer makes no sense.",
                    "The dashboard and the aggregator may be of different versions: update the older one and restart both.",
                )
            },
            SourceError::Refused(_) => Self {
                detail,
                ..Self::new(
                    400,
                    "The aggregator cannot answer that.",
                    "Check what was asked for, or search for it.",
                )
            },
        }
    }

    /// There is no such page.
    #[must_use]
    pub fn no_page() -> Self {
        Self {
            links: vec![
                Link {
                    href: "/".into(),
                    text: Shown::line("Overview"),
                },
                Link {
                    href: "/disagreements".into(),
                    text: Shown::line("Disagreements"),
                },
                Link {
                    href: "/policy".into(),
                    text: Shown::line("Policy"),
                },
            ],
            ..Self::new(
                404,
                "There is no page at this address.",
                "Search for an output above, or go on from here:",
            )
        }
    }

    /// The address names no output.
    #[must_use]
    pub fn no_output(text: &str) -> Self {
        let shown = Shown::line(text);
        let href = format!("/search?q={}", crate::format::segment(text));
        Self {
            frame: Frame {
                query: shown.clone(),
                ..Frame::new("No such output", Section::Other, 0)
            },
            links: vec![Link {
                href,
                text: Shown::line(&format!("Search for “{shown}”")),
            }],
            ..Self::new(
                404,
                "That is neither a store path nor a hash part.",
                "An output is known by its store path, or by the 32 characters before its name.",
            )
        }
    }

    /// There is no such log.
    #[must_use]
    pub fn no_log(name: &str) -> Self {
        Self {
            detail: Shown::line(&format!("The aggregator follows no log “{name}”.")),
            links: vec![
                Link {
                    href: "/#logs".into(),
                    text: Shown::line("The logs that it follows"),
                },
                Link {
                    href: "/policy".into(),
                    text: Shown::line("The policy, which names them"),
                },
            ],
            ..Self::new(
                404,
                "There is no such log.",
                "A cache has no log; its signatures are collected when they are asked for.",
            )
        }
    }

    /// The address has too much or the wrong thing in `part`.
    #[must_use]
    pub fn bad_address(part: &str) -> Self {
        Self {
            links: vec![Link {
                href: "/disagreements".into(),
                text: Shown::line("All disagreements"),
            }],
            ..Self::new(
                400,
                "This address cannot be read.",
                &format!("Its {part} is too long, or is there twice. Clear it and try again:"),
            )
        }
    }

    /// Only reading is possible.
    #[must_use]
    pub fn only_reading() -> Self {
        Self::new(
            405,
            "The dashboard only shows.",
            "It changes nothing; what can be changed is changed in the policy file and with the program.",
        )
    }

    /// A page could not be written.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            500,
            "This page could not be written.",
            "That is a defect of the dashboard: its log says more. Please report it.",
        )
    }
}

/// An error's words as a sentence: with a capital and a full stop.
fn as_sentence(words: &str) -> Shown {
    let mut chars = words.chars();
    let first: String = chars
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    let stop = if words.ends_with('.') || words.is_empty() {
        ""
    } else {
        "."
    };
    Shown::line(&format!("{first}{}{stop}", chars.as_str()))
}
