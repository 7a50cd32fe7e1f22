//! What happens, as it happens: disagreements, their end, and logs that change their state.
//!
//! Events are told to whoever watches, and the newest are remembered until the process ends. A watcher that falls too far
//! behind is told so and dropped.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use quorix_nix::store_path::StoreDir;
use quorix_trust::ports::{Standing, StandingChange};
use tokio::sync::broadcast;

use crate::memo::locked;

/// Events that a watcher may be behind before it is dropped.
pub const WATCHER_BACKLOG: usize = 1_024;
/// Events that are remembered.
pub const REMEMBERED_MAX: usize = 256;

/// Outputs whose standing changed that are told of one by one, of one commit.
pub const STANDINGS_MAX: usize = 64;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// POSIX seconds.
    pub at_s: u64,
    /// What kind of thing.
    pub kind: EventKind,
    /// The log (its name in the policy) or the absolute store path that it is about.
    pub subject: String,
    /// One plain sentence.
    pub message: String,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Builders now disagree about an output.
    Disagreement,
    /// They no longer do.
    Resolved,
    /// A log no longer adds votes, for now.
    LogStale,
    /// A log adds votes (again).
    LogLive,
    /// Proof of equivocation is held against a log.
    LogQuarantined,
    /// A log published retractions of entries, whether or not it has any such entry.
    Revoked,
}

/// Tells events to all watchers.
#[derive(Clone, Debug)]
pub(crate) struct Events {
    sender: broadcast::Sender<Event>,
    newest: Arc<Mutex<VecDeque<Event>>>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self {
            sender: broadcast::Sender::new(WATCHER_BACKLOG),
            newest: Arc::default(),
        }
    }

    /// Events from now on.
    pub(crate) fn watch(&self) -> broadcast::Receiver<Event> {
        self.sender.subscribe()
    }

    /// The newest events, the newest first.
    pub(crate) fn newest(&self) -> Vec<Event> {
        locked(&self.newest).iter().cloned().collect()
    }

    pub(crate) fn tell(&self, event: Event) {
        let mut newest = locked(&self.newest);
        newest.truncate(REMEMBERED_MAX.saturating_sub(1));
        newest.push_front(event.clone());
        drop(newest);
        // An error only means that nobody watches.
        let _ = self.sender.send(event);
    }

    /// Tells of the outputs whose standing one step of following `log` changed, where that is news: of at most
    /// [`STANDINGS_MAX`] one by one, of the others how many they are. So none can drown what is told of logs.
    pub(crate) fn tell_standings(
        &self,
        at_s: u64,
        log: &str,
        store_dir: &StoreDir,
        changes: &[StandingChange],
    ) {
        let subject = |change: &StandingChange| store_dir.join(&change.output);
        let mut news = changes
            .iter()
            .filter_map(|change| news_of(at_s, subject(change), change));
        for event in news.by_ref().take(STANDINGS_MAX) {
            self.tell(event);
        }
        let (mut more, mut kind) = (0_usize, EventKind::Resolved);
        for event in news {
            more = more.saturating_add(1);
            if event.kind == EventKind::Disagreement {
                kind = event.kind;
            }
        }
        if more > 0 {
            let subject = log.to_owned();
            let message = format!(
                "By the newest entries of {log}, builders began or ceased to disagree about {more} more outputs."
            );
            self.tell(Event {
                at_s,
                kind,
                subject,
                message,
            });
        }
    }

    /// Tells of an output whose standing changed, where that is news; `store_path` is its absolute path.
    pub(crate) fn tell_standing(&self, at_s: u64, store_path: &str, change: &StandingChange) {
        if let Some(event) = news_of(at_s, store_path.to_owned(), change) {
            self.tell(event);
        }
    }
}

/// What is to be told of an output whose standing changed.
fn news_of(at_s: u64, subject: String, change: &StandingChange) -> Option<Event> {
    let (kind, message) = match (change.before, change.after) {
        (before, Standing::Disagree) if before != Standing::Disagree => (
            EventKind::Disagreement,
            format!("Builders disagree about {}.", change.output.name()),
        ),
        (Standing::Disagree, after) if after != Standing::Disagree => (
            EventKind::Resolved,
            format!(
                "Builders no longer disagree about {}.",
                change.output.name()
            ),
        ),
        _ => return None,
    };
    Some(Event {
        at_s,
        kind,
        subject,
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: Standing, after: Standing) -> Option<EventKind> {
        let events = Events::new();
        let mut watcher = events.watch();
        let output = "93a4fjryvg1hz7bxki7wzd9cznsm20yx-c".parse().unwrap();
        events.tell_standing(
            7,
            "/nix/store/93a4fjryvg1hz7bxki7wzd9cznsm20yx-c",
            &StandingChange {
                output,
                before,
                after,
            },
        );
        watcher.try_recv().ok().map(|event| event.kind)
    }

    #[test]
    fn only_the_begin_and_the_end_of_a_disagreement_are_news() {
        assert_eq!(
            told(Standing::OneBuilder, Standing::Disagree),
            Some(EventKind::Disagreement)
        );
        assert_eq!(
            told(Standing::Disagree, Standing::Agree),
            Some(EventKind::Resolved)
        );
        assert_eq!(told(Standing::Disagree, Standing::Disagree), None);
        assert_eq!(told(Standing::OneBuilder, Standing::Agree), None);
    }

    #[test]
    fn of_many_outputs_of_one_commit_the_first_are_told_one_by_one_and_the_rest_as_a_number() {
        let events = Events::new();
        let output = "93a4fjryvg1hz7bxki7wzd9cznsm20yx-c".parse().unwrap();
        let change = StandingChange {
            output,
            before: Standing::OneBuilder,
            after: Standing::Disagree,
        };
        let no_news = StandingChange {
            before: Standing::NoData,
            after: Standing::OneBuilder,
            ..change.clone()
        };
        let mut changes = vec![change.clone(); STANDINGS_MAX];
        changes.extend(vec![no_news; 10]);
        events.tell_standings(7, "alice", &StoreDir::default(), &changes);
        assert_eq!(events.newest().len(), STANDINGS_MAX);
        changes.extend(vec![change; 5_000]);
        events.tell_standings(7, "alice", &StoreDir::default(), &changes);
        let newest = events.newest();
        assert_eq!(newest.len(), 2 * STANDINGS_MAX + 1);
        assert_eq!(
            (
                newest[0].kind,
                newest[0].subject.as_str(),
                newest[0].message.as_str()
            ),
            (
                EventKind::Disagreement,
                "alice",
                "By the newest entries of alice, builders began or ceased to disagree about 5000 more outputs."
            )
        );
    }
}
