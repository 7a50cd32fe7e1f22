//! The world of one run: its logs, where they are served, its clock and its dice, and what has happened so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorix_testkit::clock::ManualClock;
use quorix_testkit::memory::MemoryIndex;
use quorix_trust::policy::Policy;

use super::history::{Appended, Character, TrueLog, View};
use super::site::{Mood, Reply, Site};
use super::{Story, Twist};
use crate::tests::dice::Dice;

/// Everything that one run is made of, but for the aggregator and the network.
pub(super) struct World {
    pub(super) twist: Twist,
    pub(super) dice: Dice,
    pub(super) clock: ManualClock,
    pub(super) logs: Vec<TrueLog>,
    pub(super) sites: Vec<Site>,
    /// The policy of the aggregator.
    pub(super) policy: Arc<Policy>,
    /// The policy of the oracle: the same, but for one of the twists.
    pub(super) true_policy: Policy,
    /// The store of the aggregator, which outlives it.
    pub(super) index: MemoryIndex,
    /// Checkpoints that were shown: position of the log, and the second of the clock.
    pub(super) shown: BTreeMap<(usize, View), u64>,
    /// Positions of the logs that the aggregator held to be quarantined at some moment.
    pub(super) quarantined: BTreeSet<usize>,
    /// Faults have ended.
    pub(super) is_healed: bool,
    /// The last answers were what the truth says.
    pub(super) is_at_rest: Result<(), String>,
    /// What must not have happened, and did.
    pub(super) violation: Option<String>,
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// A hash of everything that has happened, in its order.
    pub(super) trace: u64,
    /// In one of so many turns something is mended.
    pub(super) mends: usize,
    serial: u64,
}

impl World {
    pub(super) fn new(seed: u64, twist: Twist) -> Self {
        let mut dice = Dice::new(seed);
        let (logs, sites) = logs_and_sites(&mut dice);
        let text = policy_text(&logs, &sites, &mut dice);
        let mends = dice.pick(&[1, 2, 6]);
        let true_text = match twist {
            Twist::StricterOracle => text.replace("voters enough 2 ", "voters enough all "),
            _ => text.clone(),
        };
        let mut world = Self {
            twist,
            dice,
            clock: ManualClock::default(),
            logs,
            sites,
            policy: Arc::new(Policy::parse(&text).unwrap()),
            true_policy: Policy::parse(&true_text).unwrap(),
            index: MemoryIndex::new(),
            shown: BTreeMap::new(),
            quarantined: BTreeSet::new(),
            is_healed: false,
            is_at_rest: Err("nothing was asked yet".to_owned()),
            violation: None,
            counts: BTreeMap::new(),
            trace: 0,
            mends,
            serial: 0,
        };
        for log in 0..world.logs.len() {
            world.append(log, 0);
        }
        world
    }

    /// The builder of this log adds one entry to one of its histories.
    pub(super) fn append(&mut self, log: usize, branch: usize) {
        self.serial += 1;
        match self.logs[log].append(branch, &mut self.dice, self.serial) {
            Appended::Truth => self.count("a true statement"),
            Appended::Lie => self.count("a lie"),
            Appended::Contradiction => self.count("a builder that contradicted itself"),
            Appended::Withdrawal => self.count("a withdrawn statement"),
        }
    }

    /// The host names of all sites, in their order.
    pub(super) fn hosts(&self) -> Vec<String> {
        self.sites.iter().map(|site| site.host.clone()).collect()
    }

    /// What happened until now.
    pub(super) fn story(&self) -> Story {
        Story {
            counts: self.counts.clone(),
            trace: self.trace,
        }
    }

    /// Something is as it must not be; the first such thing is told.
    pub(super) fn is_wrong(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
        self.note(what);
    }

    /// Adds to the trace.
    pub(super) fn note(&mut self, what: &str) {
        let second = self.clock.now_s().to_be_bytes();
        for byte in second.iter().chain(what.as_bytes()) {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// What a site shows now.
    pub(super) fn view(&self, site: usize) -> View {
        let site = &self.sites[site];
        match site.mood {
            Mood::Frozen(view) => view,
            _ => self.logs[site.log].newest(site.branch),
        }
    }

    /// How a site answers a request.
    pub(super) fn reply(&mut self, site: usize, path: &str) -> Reply {
        self.note(path);
        let (log, mood) = (self.sites[site].log, self.sites[site].mood);
        let view = self.view(site);
        let is_checkpoint = path == "checkpoint";
        let bytes = if is_checkpoint {
            Some(self.logs[log].checkpoint(view))
        } else {
            self.logs[log].file(view, path)
        };
        let Some(mut bytes) = bytes else {
            return Reply::Whole(404, Vec::new());
        };
        match mood {
            Mood::Well => {}
            Mood::Frozen(_) => {
                if is_checkpoint && view != self.logs[log].newest(view.branch) {
                    self.count("an old checkpoint");
                }
            }
            Mood::Withholding if is_checkpoint => {}
            Mood::Withholding => {
                self.count("a withheld file");
                return Reply::Whole(404, Vec::new());
            }
            Mood::Silent => {
                self.count("an answer that never came");
                return Reply::Nothing;
            }
            Mood::Corrupting if is_checkpoint => {}
            Mood::Corrupting => {
                let (at, bit) = (self.dice.below(bytes.len()), self.dice.below(8));
                bytes[at] ^= 1 << bit;
                self.count("a flipped bit");
            }
            Mood::BreakingOff => {
                self.count("a body that broke off");
                return Reply::Half(bytes);
            }
            Mood::Babbling if is_checkpoint => {
                self.count("a checkpoint that is noise");
                return Reply::Whole(200, b"no note\n".repeat(self.dice.below(20)));
            }
            Mood::Mistaken if is_checkpoint => {
                self.count("the checkpoint of another log");
                let other = (log + 1) % self.logs.len();
                let newest = self.logs[other].newest(0);
                return Reply::Whole(200, self.logs[other].checkpoint(newest));
            }
            Mood::Forging if is_checkpoint => {
                self.count("a forged checkpoint");
                return Reply::Whole(200, self.forged(log, view));
            }
            Mood::Babbling | Mood::Mistaken | Mood::Forging => {}
            Mood::Failing => {
                self.count("a server that failed");
                return Reply::Whole(500, bytes);
            }
        }
        if is_checkpoint {
            self.shown.insert((log, view), self.clock.now_s());
        }
        Reply::Whole(200, bytes)
    }

    /// A checkpoint with another size than was signed, above the signature that was made.
    fn forged(&mut self, log: usize, view: View) -> Vec<u8> {
        let note = String::from_utf8(self.logs[log].checkpoint(view)).unwrap();
        let (size, other) = (
            format!("\n{}\n", view.size),
            format!("\n{}\n", view.size + 1),
        );
        note.replacen(&size, &other, 1).into_bytes()
    }
}

fn logs_and_sites(dice: &mut Dice) -> (Vec<TrueLog>, Vec<Site>) {
    let names = ["alice", "bob", "carol", "dave", "erin"];
    let names = &names[..3 + dice.below(3)];
    let shares = names.len() > 3 && dice.one_in(4);
    let (mut logs, mut sites) = (Vec::new(), Vec::new());
    for (position, name) in names.iter().enumerate() {
        let character = match dice.below(8) {
            0..4 => Character::Honest,
            4..6 => Character::Lying,
            _ => Character::Forking,
        };
        // The first two may be of one operator, so that it has one vote with two logs.
        let operator = if shares && position < 2 { "pair" } else { name };
        let mut log = TrueLog::new(name, operator, character);
        if dice.one_in(12) {
            log.fill(254);
        }
        logs.push(log);
        for number in 0..1 + dice.below(3) {
            sites.push(Site {
                host: format!("{name}-{number}"),
                log: position,
                branch: 0,
                mood: Mood::Well,
                is_up: true,
                is_reachable: true,
            });
        }
    }
    (logs, sites)
}

fn policy_text(logs: &[TrueLog], sites: &[Site], dice: &mut Dice) -> String {
    let mut text = String::new();
    let mut operators: Vec<&str> = Vec::new();
    for (position, log) in logs.iter().enumerate() {
        let urls = sites.iter().filter(|site| site.log == position);
        let urls: Vec<String> = urls.map(|site| format!("http://{}", site.host)).collect();
        let (key, operator) = (log.key.verifier(), &log.operator);
        text += &format!(
            "builder {} {key} {} operator={operator}\n",
            log.name,
            urls.join(" ")
        );
        if !operators.contains(&operator.as_str()) {
            operators.push(operator);
        }
    }
    let all = operators.join(" ");
    text += &format!("quorum none\nvoters enough 2 {all}\nvoters anyone 1 {all}\n");
    let guard = operators[operators.len() - 1];
    let level = dice.pick(&["path", "closure"]);
    let options = match dice.below(4) {
        0 => {
            text += &format!("voters guard any {guard}\n");
            "veto=guard"
        }
        1 => {
            text += &format!("rule loose quorum=anyone level={level}\n");
            "fallback=loose"
        }
        _ => "",
    };
    text + &format!("rule main quorum=enough level={level} {options}\ndefault main\n")
}
