//! The followed logs and how each of them stands: live, stale or quarantined (SEMANTICS §2).
//!
//! A log is live only if it answered and verified lately. Nothing here heals a quarantine.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorix_tlog::checkpoint::{CheckpointError, SignedCheckpoint};
use quorix_tlog::note::VerifierKey;
use quorix_trust::evidence::{Cosigned, LogState};
use quorix_trust::policy::{Builder, Policy};
use quorix_trust::ports::{Equivocation, IndexStore, StoreError, TileStore};
use quorix_wire::fetch::{Fetcher, TileClient};
use tokio::sync::{Notify, watch};

use crate::error::StartError;
use crate::events::{Event, EventKind, Events};
use crate::memo::locked;
use crate::metrics::Metrics;
use crate::stand::Changes;

/// One log of the policy.
pub(crate) struct Log {
    /// Name of its builder in the policy.
    pub(crate) name: String,
    /// Name of the log.
    pub(crate) origin: String,
    /// Whose vote it is.
    pub(crate) operator: String,
    /// Where it is read, in order.
    pub(crate) urls: Vec<String>,
    /// The log's key.
    pub(crate) key: VerifierKey,
    /// One client for each URL, in order.
    pub(crate) clients: Vec<TileClient>,
    /// Held around each commit to the mirror, by whoever follows a log of this name.
    pub(crate) commit: Arc<tokio::sync::Mutex<()>>,
    /// Wakes the follower before its time.
    pub(crate) wake: Notify,
    /// True once it was looked at since the start, however that ended.
    looked_at: watch::Sender<bool>,
    /// The checkpoint of the mirror that was verified last.
    opened: Mutex<Option<SignedCheckpoint>>,
    /// The proof that is held, of whichever line of the policy names this log: it outlives a change of the line.
    equivocation: Arc<Mutex<Option<Arc<Equivocation>>>>,
    progress: Mutex<Progress>,
    /// Where everything is noted that changes how it stands.
    changes: Changes,
}

/// What following a log has come to.
#[derive(Default)]
struct Progress {
    /// POSIX seconds of the last verified answer; 0 = none since the start.
    last_verified_s: u64,
    /// Why the last look failed, if it did.
    failure: Option<Failure>,
    /// Entries that are mirrored and that are shown, while it is being caught up with.
    catching_up: Option<(u64, u64)>,
    /// POSIX seconds at which a checkpoint that a peer was shown was kept last.
    heard_at_s: u64,
    /// That the log has ended, in words, if it has.
    ended: Option<Arc<str>>,
    /// The state that was last told as an event.
    told: Option<Told>,
    /// The checkpoint that the mirror is or was under, with the freshest cosignatures with which it was shown since.
    freshest: Option<SignedCheckpoint>,
}

/// Why a look at a log failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Why, for people.
    pub(crate) reason: String,
    /// The log answered what does not verify: it is stale at once, whatever it answered before.
    pub(crate) unverifiable: bool,
    /// What state of the log it is.
    pub(crate) condition: Condition,
}

/// How following a log goes, finer than its state. In the order of how bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Condition {
    /// Everything that it shows is mirrored.
    Following,
    /// Not looked at since the start.
    Untried,
    /// What it showed is being fetched.
    CatchingUp,
    /// It answered too long ago.
    Overdue,
    /// No address answers.
    Unreachable,
    /// It shows less than it showed before, here or to a peer.
    Behind,
    /// It does not give what its checkpoint covers.
    Withholding,
    /// The aggregator's own store fails.
    Stuck,
    /// It answers what does not verify.
    Malformed,
    /// Proof of equivocation is held.
    Quarantined,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Live,
    Stale,
    Quarantined,
}

/// How a log stood at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) state: LogState,
    pub(crate) condition: Condition,
    pub(crate) last_verified_s: u64,
    pub(crate) equivocation: Option<Arc<Equivocation>>,
    /// That the log has ended, in words, if it has.
    pub(crate) ended: Option<Arc<str>>,
}

impl Standing {
    /// Why it is in this state, for people; of a live log that it has ended, else nothing.
    pub(crate) fn reason(&self) -> &str {
        match &self.state {
            LogState::Live => self.ended.as_deref().unwrap_or_default(),
            LogState::Stale { reason } => reason,
            LogState::Quarantined => "it signed two checkpoints that contradict each other",
        }
    }
}

impl Log {
    fn new(
        builder: &Builder,
        fetcher: &Fetcher,
        held: Option<Equivocation>,
        changes: &Changes,
    ) -> Self {
        let client = |url: &String| TileClient::new(fetcher.clone(), vec![url.clone()]);
        Self {
            name: builder.name.clone(),
            origin: builder.origin().to_owned(),
            operator: builder.operator.clone(),
            urls: builder.urls.clone(),
            key: builder.key.clone(),
            clients: builder.urls.iter().map(client).collect(),
            commit: Arc::default(),
            wake: Notify::new(),
            looked_at: watch::Sender::new(false),
            opened: Mutex::default(),
            equivocation: Arc::new(Mutex::new(held.map(Arc::new))),
            progress: Mutex::default(),
            changes: changes.clone(),
        }
    }

    /// The same with what this process knows of the log whatever its line says, from how `known` stood: the lock of the
    /// mirror if it has the same name, and proof, also proof that comes later, if it has the same key too.
    pub(crate) fn sharing(self, known: &Self) -> Self {
        if self.origin != known.origin {
            return self;
        }
        let is_same = self.key == known.key;
        if is_same && let Some(held) = locked(&self.equivocation).take() {
            locked(&known.equivocation).get_or_insert(held);
            known.changes.note();
        }
        Self {
            commit: known.commit.clone(),
            equivocation: if is_same {
                known.equivocation.clone()
            } else {
                self.equivocation
            },
            ..self
        }
    }

    /// Whether this is the same line of a policy, wherever it stands in it.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let line = |log: &Self| (log.name.clone(), log.operator.clone(), log.urls.clone());
        self.origin == other.origin && self.key == other.key && line(self) == line(other)
    }

    /// How it stands now.
    pub(crate) fn standing(&self, now_s: u64, stale_after: Duration) -> Standing {
        let equivocation = locked(&self.equivocation).clone();
        let is_accused = equivocation.is_some();
        let progress = locked(&self.progress);
        Standing {
            state: progress.state(is_accused, now_s, stale_after),
            condition: progress.condition(is_accused, now_s, stale_after),
            last_verified_s: progress.last_verified_s,
            equivocation,
            ended: progress.ended.clone(),
        }
    }

    /// True once proof of equivocation is held.
    pub(crate) fn is_quarantined(&self) -> bool {
        locked(&self.equivocation).is_some()
    }

    /// It answered, and all of it verified.
    pub(crate) fn verified(&self, now_s: u64) {
        let mut progress = locked(&self.progress);
        // Also where that is earlier than before: the clock was put back, and ages are counted from here.
        progress.last_verified_s = now_s;
        progress.failure = None;
        self.changes.note();
        self.looked_at.send_replace(true);
    }

    /// Its last entry hands over to another key, which only the policy can have followed. Told once.
    pub(crate) fn ended(&self, index: u64, successor: &VerifierKey) {
        let mut progress = locked(&self.progress);
        if progress.ended.is_none() {
            let words = format!(
                "it has ended: its entry {index} hands over to the key {successor}. What it said counts on. Nobody follows \
                 that key unless the policy names it: keep the line of this log and add `builder NAME {successor} URL \
                 operator={}`",
                self.operator
            );
            tracing::warn!(log = self.name, "{words}");
            progress.ended = Some(words.into());
            self.changes.note();
        }
    }

    /// It did not answer, or what does not verify.
    pub(crate) fn failed(&self, failure: Failure) {
        let mut progress = locked(&self.progress);
        progress.catching_up = None;
        progress.failure = Some(failure);
        self.changes.note();
        drop(progress);
        self.looked_at.send_replace(true);
    }

    /// A part of what it shows was taken in.
    pub(crate) fn catching_up(&self, mirrored: u64, shown: u64) {
        locked(&self.progress).catching_up = Some((mirrored, shown));
        self.changes.note();
    }

    /// The checkpoint that the mirror is under was shown again, maybe with fresher cosignatures.
    pub(crate) fn cosigned_again(&self, policy: &Policy, shown: &SignedCheckpoint) {
        let mut progress = locked(&self.progress);
        let held = progress.freshest.as_ref();
        let is_news = held.is_none_or(|held| {
            let cosigned = |signed: &SignedCheckpoint| policy.cosigned(signed.bytes());
            held.checkpoint() != shown.checkpoint()
                || self.is_fresher(policy, shown, held, cosigned)
        });
        if is_news {
            progress.freshest = Some(shown.clone());
            self.changes.note();
        }
    }

    /// A checkpoint with the freshest cosignatures with which it was shown, where `cosigned` verifies them.
    pub(crate) fn freshest(
        &self,
        policy: &Policy,
        stored: SignedCheckpoint,
        cosigned: impl Fn(&SignedCheckpoint) -> Cosigned,
    ) -> SignedCheckpoint {
        let shown = locked(&self.progress).freshest.clone();
        match shown {
            Some(shown)
                if shown.checkpoint() == stored.checkpoint()
                    && self.is_fresher(policy, &shown, &stored, cosigned) =>
            {
                shown
            }
            _ => stored,
        }
    }

    fn is_fresher(
        &self,
        policy: &Policy,
        one: &SignedCheckpoint,
        other: &SignedCheckpoint,
        cosigned: impl Fn(&SignedCheckpoint) -> Cosigned,
    ) -> bool {
        let fresh_as_of =
            |signed: &SignedCheckpoint| policy.fresh_as_of(&cosigned(signed), &self.operator);
        one.bytes() != other.bytes() && fresh_as_of(one) > fresh_as_of(other)
    }

    /// A stored checkpoint, its signature verified. The one that was opened last is not verified again.
    fn open(&self, bytes: &[u8]) -> Result<SignedCheckpoint, CheckpointError> {
        let opened = locked(&self.opened).clone();
        if let Some(opened) = opened.filter(|opened| opened.bytes() == bytes) {
            return Ok(opened);
        }
        let signed = SignedCheckpoint::open(bytes, &self.key, &self.origin)?;
        *locked(&self.opened) = Some(signed.clone());
        Ok(signed)
    }

    /// Whether one more checkpoint that a peer was shown may be kept now: one a second.
    pub(crate) fn may_hear(&self, now_s: u64) -> bool {
        let mut progress = locked(&self.progress);
        let may = progress.heard_at_s != now_s;
        progress.heard_at_s = now_s;
        may
    }

    /// All of what it shows was taken in.
    pub(crate) fn caught_up(&self) {
        locked(&self.progress).catching_up = None;
        self.changes.note();
    }

    /// Its mirror has another head, or may have.
    pub(crate) fn committed(&self) {
        self.changes.note();
    }

    /// Waits until it was looked at once, however that ended.
    pub(crate) async fn looked_at(&self) {
        if !self.is_quarantined() {
            // The sender lives as long as this.
            let _ = self
                .looked_at
                .subscribe()
                .wait_for(|looked_at| *looked_at)
                .await;
        }
    }

    /// Proof of equivocation is held; the first one stays.
    pub(crate) fn quarantined(&self, proof: Equivocation) {
        locked(&self.equivocation).get_or_insert_with(|| Arc::new(proof));
        self.changes.note();
        self.looked_at.send_replace(true);
    }

    /// Tells of a state that is another than the one told before.
    pub(crate) fn tell(
        &self,
        now_s: u64,
        stale_after: Duration,
        events: &Events,
        metrics: &Metrics,
    ) {
        let is_accused = self.is_quarantined();
        let mut progress = locked(&self.progress);
        let state = progress.state(is_accused, now_s, stale_after);
        let untried = progress.last_verified_s == 0 && progress.failure.is_none();
        let (told, kind, number, message) = match &state {
            LogState::Live => (
                Told::Live,
                EventKind::LogLive,
                1,
                format!("{} is live.", self.name),
            ),
            LogState::Stale { .. } if untried => return,
            LogState::Stale { reason } => (
                Told::Stale,
                EventKind::LogStale,
                0,
                format!("{} adds no votes for now: {reason}.", self.name),
            ),
            LogState::Quarantined => (
                Told::Quarantined,
                EventKind::LogQuarantined,
                2,
                format!(
                    "{} is quarantined: it signed two checkpoints that contradict each other.",
                    self.name
                ),
            ),
        };
        metrics.log_state(&self.name, number);
        if progress.told.replace(told) != Some(told) {
            tracing::info!(log = self.name, "{message}");
            events.tell(Event {
                at_s: now_s,
                kind,
                subject: self.name.clone(),
                message,
            });
        }
    }
}

impl Progress {
    fn condition(&self, is_accused: bool, now_s: u64, stale_after: Duration) -> Condition {
        let age_s = now_s.saturating_sub(self.last_verified_s);
        match &self.failure {
            _ if is_accused => Condition::Quarantined,
            _ if self.catching_up.is_some() => Condition::CatchingUp,
            Some(failure) => failure.condition,
            None if self.last_verified_s == 0 => Condition::Untried,
            None if age_s > stale_after.as_secs() => Condition::Overdue,
            None => Condition::Following,
        }
    }

    fn state(&self, is_accused: bool, now_s: u64, stale_after: Duration) -> LogState {
        if is_accused {
            return LogState::Quarantined;
        }
        // A clock that was put back makes nothing fresh: by how much is as unknown as the age.
        let age_s = now_s.abs_diff(self.last_verified_s);
        let reason = match &self.failure {
            Some(failure) if failure.unverifiable => format!("UNVERIFIABLE: {}", failure.reason),
            Some(failure) if self.last_verified_s == 0 => failure.reason.clone(),
            None if self.last_verified_s == 0 && self.catching_up.is_some() => {
                let (mirrored, shown) = self.catching_up.unwrap_or_default();
                format!("it is being caught up with: {mirrored} of {shown} entries are here")
            }
            None if self.last_verified_s == 0 => {
                "not verified yet since the aggregator was started".to_owned()
            }
            _ if age_s <= stale_after.as_secs() => return LogState::Live,
            _ if now_s < self.last_verified_s => format!(
                "the clock of this machine was put back by {age_s} s, and it has not answered since"
            ),
            Some(failure) => format!("no verified answer for {age_s} s: {}", failure.reason),
            None => format!("no verified answer for {age_s} s"),
        };
        LogState::Stale { reason }
    }
}

/// The logs of a policy, in its order. What was known of them under another policy is taken over: a log with the same line
/// is the same one, as it stands.
pub(crate) fn of_policy(
    policy: &Policy,
    known: &[Arc<Log>],
    index: &dyn IndexStore,
    fetcher: &Fetcher,
    changes: &Changes,
) -> Result<Vec<Arc<Log>>, StartError> {
    let log = |builder: &Builder| {
        let held = index.equivocation(builder.origin())?;
        let mut log = Log::new(builder, fetcher, held, changes);
        if let Some(same) = known.iter().find(|known| known.is_like(&log)) {
            return Ok(same.clone());
        }
        for known in known {
            log = log.sharing(known);
        }
        Ok(Arc::new(log))
    };
    policy.builders.iter().map(log).collect()
}

/// What is mirrored of a log, verified when it was stored.
pub(crate) struct Held {
    /// Entries in the mirror.
    pub(crate) size: u64,
    /// The newest checkpoint of the log that was stored. Its size is `size`, or less while a log that grew by more
    /// than one batch is caught up; `None` if nothing was committed under a checkpoint yet. An error where the policy
    /// now gives the log another key than the one that signed: the mirror is of another log then.
    pub(crate) signed: Result<Option<SignedCheckpoint>, CheckpointError>,
}

/// Reads what is mirrored of a log; `None` where it was never followed.
pub(crate) fn held(log: &Log, mirror: &dyn TileStore) -> Result<Option<Held>, StoreError> {
    let Some(head) = mirror.head()? else {
        return Ok(None);
    };
    let signed = match head.checkpoint.as_slice() {
        [] => Ok(None),
        bytes => log.open(bytes).map(Some),
    };
    Ok(Some(Held {
        size: head.size,
        signed,
    }))
}
