//! One log: its health in words, its key as the policy names it, its newest checkpoint verbatim, and where it has
//! equivocated the two checkpoints that prove it.

use askama::Template;
use quorix_wire::pb;

use super::decision::RuleView;
use super::{Action, Frame, Mark, Section, State};
use crate::format::shown::Shown;
use crate::format::time::When;
use crate::format::{count, segment, thousands};

/// Addresses shown of one log.
const URLS_MAX: usize = 20;

/// A log, as a row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    /// Its page.
    pub href: String,
    /// The builder's name in the policy.
    pub name: Shown,
    /// Who is behind it.
    pub operator: Shown,
    /// Live, stale or quarantined.
    pub state: State,
    /// True if it is quarantined.
    pub quarantined: bool,
    /// When it last answered and verified.
    pub verified: Option<When>,
    /// Entries under the last verified checkpoint.
    pub size: String,
    /// Entries indexed.
    pub indexed: String,
    /// Entries that were not understood.
    pub opaque: String,
    /// Why it is in its state.
    pub reason: Shown,
    /// What the table says of it beside its state.
    pub remark: Shown,
    /// The proof against it.
    pub equivocation: Option<EquivocationView>,
}

/// Two signed checkpoints that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EquivocationView {
    /// The log's page; the downloads are beneath it.
    pub href: String,
    /// A signed note.
    pub first: Shown,
    /// Another by the same key.
    pub second: Shown,
    /// Hashes of the consistency proof, 0 where the sizes are equal.
    pub proof_hashes: usize,
}

impl LogRow {
    /// The row of a log, seen at `now_s`.
    #[must_use]
    pub fn new(log: &pb::LogStatus, now_s: u64) -> Self {
        let name = if log.name.is_empty() {
            &log.origin
        } else {
            &log.name
        };
        let href = format!("/logs/{}", segment(name));
        let behind = behind(log);
        Self {
            name: Shown::line(name),
            operator: Shown::line(&log.operator),
            state: state(log.state()),
            quarantined: log.state() == pb::LogState::Quarantined,
            verified: When::new(log.last_verified_s, now_s),
            size: thousands(log.size),
            indexed: thousands(log.indexed),
            opaque: thousands(log.opaque),
            reason: Shown::line(&log.reason),
            remark: Shown::line(if log.reason.is_empty() {
                &behind
            } else {
                &log.reason
            }),
            equivocation: log.equivocation.as_ref().map(|proof| EquivocationView {
                href: href.clone(),
                first: Shown::block(&proof.first_checkpoint),
                second: Shown::block(&proof.second_checkpoint),
                proof_hashes: proof.consistency_proof.len(),
            }),
            href,
        }
    }
}

/// The page.
#[derive(Debug, Template)]
#[template(path = "log.html")]
pub struct LogPage {
    /// Around it.
    pub frame: Frame,
    /// Its facts.
    pub log: LogRow,
    /// The state, as a first sentence.
    pub verdict: &'static str,
    /// What follows from it.
    pub explanation: Shown,
    /// The log's own name.
    pub origin: Shown,
    /// Where it is read.
    pub urls: Vec<Shown>,
    /// How far the index is behind, or empty.
    pub behind: String,
    /// The policy's line with the log's key.
    pub policy_line: Option<RuleView>,
    /// The newest checkpoint, verbatim.
    pub checkpoint: Shown,
    /// What the reader can do.
    pub actions: Vec<Action>,
    /// The disagreements in which the log has a part.
    pub disagreements: String,
}

impl LogPage {
    /// The page of a log; `policy_line` is the policy's line that names it.
    #[must_use]
    pub fn new(log: &pb::LogStatus, policy_line: Option<RuleView>, now_s: u64) -> Self {
        let row = LogRow::new(log, now_s);
        let (verdict, explanation) = explain(log, &row);
        let mut actions = vec![Action::new(
            "See what the program says of all logs, on the aggregator's host:",
            "quorix log status",
        )];
        if let Some(url) = log.urls.iter().find(|url| is_plain_url(url)) {
            let what = "Ask the log itself for its newest checkpoint and compare:";
            actions.push(Action::new(
                what,
                format!("curl -s {}/checkpoint", url.trim_end_matches('/')),
            ));
        }
        Self {
            frame: Frame::new(
                &format!("Log {}: {}", row.name, row.state.word),
                Section::Other,
                now_s,
            ),
            verdict,
            explanation,
            origin: Shown::line(&log.origin),
            urls: log
                .urls
                .iter()
                .take(URLS_MAX)
                .map(|url| Shown::line(url))
                .collect(),
            behind: behind(log),
            policy_line,
            checkpoint: Shown::block(&log.checkpoint),
            actions,
            disagreements: format!("/disagreements?builder={}", segment(&log.name)),
            log: row,
        }
    }
}

/// How following a log goes, in words that say what to look at; empty where its state says it all.
#[must_use]
pub fn condition(log: &pb::LogStatus) -> &'static str {
    match log.condition() {
        pb::LogCondition::Unspecified
        | pb::LogCondition::Following
        | pb::LogCondition::Quarantined => "",
        pb::LogCondition::Untried => "Not looked at since the aggregator was started.",
        pb::LogCondition::CatchingUp => "It is being caught up with.",
        pb::LogCondition::Overdue => "It has not been heard for too long.",
        pb::LogCondition::Unreachable => "Unreachable: none of its addresses answers.",
        pb::LogCondition::Behind => {
            "Behind: it shows less than it showed before, here or to a peer."
        }
        pb::LogCondition::Withholding => {
            "Withholding: it signed a checkpoint and does not give what that covers."
        }
        pb::LogCondition::Stuck => "The aggregator's own store fails.",
        pb::LogCondition::Malformed => "Malformed: it answers what does not verify.",
    }
}

/// The state of a log, in words.
#[must_use]
pub fn state(state: pb::LogState) -> State {
    match state {
        pb::LogState::Live => State::new(Mark::Agree, "live"),
        pb::LogState::Stale => State::new(Mark::NoData, "stale"),
        pb::LogState::Quarantined => State::new(Mark::Disagree, "quarantined"),
        pb::LogState::Unspecified => State::new(Mark::NoData, "not known"),
    }
}

fn explain(log: &pb::LogStatus, row: &LogRow) -> (&'static str, Shown) {
    let reason = &log.reason;
    let condition = match condition(log) {
        "" => String::new(),
        condition => format!("{condition} "),
    };
    let verified = row
        .verified
        .as_ref()
        .map_or("It never answered.".to_owned(), |at| {
            format!("It last answered {}.", at.relative)
        });
    match log.state() {
        pb::LogState::Live => (
            "Live.",
            Shown::line(&format!(
                "{verified} Everything in that answer verified. Its votes count."
            )),
        ),
        pb::LogState::Quarantined => (
            "Quarantined.",
            Shown::line(&format!(
                "It signed two histories that contradict each other. What it said before still counts as dissent, but it adds no vote until you lift this by hand. {reason}"
            )),
        ),
        pb::LogState::Stale => (
            "Stale.",
            Shown::line(&format!(
                "{condition}{verified} It adds no vote until it answers and verifies again; what it said still counts as dissent. {reason}"
            )),
        ),
        pb::LogState::Unspecified => ("Not known.", Shown::line(reason)),
    }
}

fn behind(log: &pb::LogStatus) -> String {
    match log.size.saturating_sub(log.indexed) {
        0 => String::new(),
        rest => format!("{} still to be indexed", count(rest, "entry", "entries")),
    }
}

/// True if a URL can stand in a command as it is.
fn is_plain_url(url: &str) -> bool {
    let web = url.starts_with("https://") || url.starts_with("http://");
    web && url.len() <= 200
        && url
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b":/.-_~%+@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(state: pb::LogState) -> pb::LogStatus {
        pb::LogStatus {
            name: "carol/ci".into(),
            state: state.into(),
            size: 10,
            indexed: 9,
            last_verified_s: 100,
            ..Default::default()
        }
    }

    #[test]
    fn each_state_of_a_log_has_its_mark_and_its_word() {
        assert_eq!(state(pb::LogState::Live), State::new(Mark::Agree, "live"));
        assert_eq!(
            state(pb::LogState::Stale),
            State::new(Mark::NoData, "stale")
        );
        assert_eq!(
            state(pb::LogState::Quarantined),
            State::new(Mark::Disagree, "quarantined")
        );
    }

    #[test]
    fn a_stale_log_says_since_when_and_what_follows() {
        let page = LogPage::new(
            &pb::LogStatus {
                reason: "no answer: connection refused".into(),
                ..log(pb::LogState::Stale)
            },
            None,
            100 + 3 * 3600,
        );
        assert_eq!(page.verdict, "Stale.");
        assert_eq!(
            page.explanation.as_str(),
            "It last answered 3 h ago. It adds no vote until it answers and verifies again; what it said still counts as dissent. no answer: connection refused"
        );
        assert_eq!(page.behind, "1 entry still to be indexed");
        assert_eq!(page.log.href, "/logs/carol%2Fci");
    }

    #[test]
    fn a_url_stands_in_a_command_only_if_a_shell_leaves_it_as_it_is() {
        assert!(is_plain_url("https://logs.example.org/alice"));
        for url in [
            "https://x.example/$(id)",
            "https://x.example/a b",
            "file:///etc",
            "https://x/';id",
            "",
        ] {
            assert!(!is_plain_url(url), "{url}");
        }
    }

    #[test]
    fn equivocation_shows_both_checkpoints() {
        let equivocation = pb::Equivocation {
            first_checkpoint: b"one".into(),
            second_checkpoint: b"two".into(),
            consistency_proof: vec![vec![0; 32]],
        };
        let row = LogRow::new(
            &pb::LogStatus {
                equivocation: Some(equivocation),
                ..log(pb::LogState::Quarantined)
            },
            1,
        );
        let view = row.equivocation.unwrap();
        assert_eq!(
            (view.first.as_str(), view.second.as_str(), view.proof_hashes),
            ("one", "two", 1)
        );
    }
}
