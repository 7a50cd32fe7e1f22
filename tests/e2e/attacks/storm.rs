//! Addresses that fail and lie in every way, a log that forks, peers that say what they like, and kills of the aggregator,
//! in an order from a seed: nothing is accepted that is not so, and nobody is framed; afterwards all is answered as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use quorix::demo::client::until;
use quorix::demo::world::UserHost;
use quorix_testkit::entries::{a_nar_hash, a_path, a_small_entry};
use quorix_testkit::tree::Grower;
use quorix_trust::decision::{Decision, Outcome};
use quorix_wire::pb::LogState;
use tempfile::TempDir;

use super::scene::says;
use super::site::{Answer, SiteLog};
use super::told::Teller;
use crate::following::{becomes, client_of, log_of, machine, policy};

const NAMES: [&str; 3] = ["alice", "bob", "mallory"];
/// Blows of one storm.
const BLOWS: u64 = 60;

/// Chance from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A log at two addresses.
struct Both {
    origin: SiteLog,
    mirror: SiteLog,
    /// What it showed once.
    earlier: Vec<Vec<u8>>,
}

impl Both {
    async fn publish(name: &str, entries: &[Vec<u8>]) -> Self {
        let origin = SiteLog::publish(name, entries).await;
        Self {
            earlier: vec![origin.checkpoint()],
            mirror: SiteLog::publish(name, entries).await,
            origin,
        }
    }

    fn append(&mut self, entries: &[Vec<u8>]) {
        self.origin.append(entries);
        self.mirror.append(entries);
        self.earlier.push(self.origin.checkpoint());
    }

    fn size(&self) -> u64 {
        u64::try_from(self.origin.entries().len()).unwrap()
    }

    /// One of its addresses fails or lies from now on. The mirror goes on showing what it showed once, so that no look at
    /// the log waits only for one that is silent.
    fn break_one(&self, dice: &mut Dice) {
        let stranger = Grower::new("stranger.example/log").grow(self.origin.entries());
        let bundle = format!("tile/entries/000.p/{}", self.size());
        let at = &self.origin.at;
        let count = u64::try_from(self.earlier.len()).unwrap();
        let earlier = usize::try_from(dice.below(count)).unwrap();
        let frozen = Answer::Bytes(self.earlier[earlier].clone());
        match dice.below(9) {
            0 => at.everything(Answer::Missing),
            1 => at.everything(Answer::Endless),
            2 => at.everything(Answer::Bytes(b"<html>".to_vec())),
            3 => at.instead("checkpoint", frozen),
            4 => at.instead("checkpoint", Answer::Bytes(stranger.head.checkpoint)),
            5 => at.instead(&bundle, Answer::Bytes(vec![0; 64])),
            6 => self.mirror.at.instead("checkpoint", frozen),
            7 => self.mirror.at.instead(&bundle, Answer::Missing),
            _ => self.mirror.at.instead(&bundle, Answer::Bytes(vec![0; 64])),
        }
    }

    fn mend(&self) {
        self.origin.at.heal();
        self.mirror.at.heal();
    }
}

/// Who wrote what, in whatever history.
type Written = BTreeMap<String, BTreeSet<(&'static str, &'static str)>>;

struct Storm {
    _dir: TempDir,
    dice: Dice,
    logs: Vec<Both>,
    host: UserHost,
    written: Written,
    /// Whether mallory has shown another history.
    has_forked: bool,
    /// Whether that was found out.
    is_found: bool,
}

impl Storm {
    async fn begin(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut logs, mut written) = (Vec::new(), Written::new());
        for (name, value) in NAMES.into_iter().zip(["A", "A", "B"]) {
            logs.push(Both::publish(name, &[says("hello", value)]).await);
            let hello = written.entry("hello".to_owned()).or_default();
            hello.insert((name, value));
        }
        let lines: String = logs
            .iter()
            .map(|log| log.origin.line(&[&log.mirror.at]))
            .collect();
        let rules = policy(&lines, &NAMES.join(" ")).replace("everybody all", "everybody 2");
        let mut host = machine(dir.path(), "user", &rules, "", "");
        let config = fs::read_to_string(&host.config).unwrap();
        let often = config.replace("poll_interval = \"200ms\"", "poll_interval = \"20ms\"");
        fs::write(&host.config, often).unwrap();
        host.start().await.unwrap();
        for name in NAMES {
            becomes(&host, name, |log| {
                log.state() == LogState::Live && log.indexed == 1
            })
            .await;
        }
        Self {
            _dir: dir,
            dice: Dice(seed),
            logs,
            host,
            written,
            has_forked: false,
            is_found: false,
        }
    }

    fn says(&mut self, who: usize, output: &str, value: &'static str) {
        let statement = says(output, value);
        self.logs[who].append(&[statement, a_small_entry(self.dice.below(1 << 40))]);
        let written = self.written.entry(output.to_owned()).or_default();
        written.insert((NAMES[who], value));
    }

    /// Mallory's origin shows another history of the same length, of which his mirror knows nothing.
    fn fork(&mut self) {
        let log = &mut self.logs[2];
        let mut other = log.origin.entries().to_vec();
        other[0] = says("hello", "A");
        log.origin.rewrite(&other);
        let hello = self.written.get_mut("hello").unwrap();
        hello.insert(("mallory", "A"));
        self.has_forked = true;
    }

    async fn blow(&mut self, number: u64) {
        let who = usize::try_from(self.dice.below(3)).unwrap();
        match self.dice.below(10) {
            0..=3 => self.logs[who].break_one(&mut self.dice),
            4 | 5 => self.logs[who].mend(),
            6 => {
                let output = format!("output-{number}");
                self.says(0, &output, "A");
                // Of some others say the same or something else; who forks in the end loses his votes.
                match self.dice.below(3) {
                    0 => self.says(1, &output, "A"),
                    1 => self.says(1, &output, "B"),
                    _ => self.says(2, &output, "A"),
                }
            }
            7 => {
                let log = &self.logs[who].origin;
                let stranger = Grower::new("stranger.example/log").grow(log.entries());
                let said = [(log, stranger.head.checkpoint), (log, b"garbage".to_vec())];
                Teller::of(&self.host).tell(&said, Vec::new()).await;
            }
            8 => {
                self.host.kill().await.unwrap();
                self.host.start().await.unwrap();
            }
            _ => {
                if number > BLOWS / 3 && !self.has_forked {
                    self.fork();
                }
            }
        }
        if number == BLOWS - 5 && !self.has_forked {
            self.fork();
        }
    }

    /// Waits until addresses were asked again.
    async fn is_looked_at(&self) {
        let asked = || {
            let both = self.logs.iter().flat_map(|log| [&log.origin, &log.mirror]);
            both.map(|log| log.at.asked().len()).sum::<usize>()
        };
        let before = asked();
        until("somebody is asked", async || {
            (asked() > before + 1).then_some(())
        })
        .await
        .unwrap();
    }

    async fn decide(&self, output: &str) -> Decision {
        let decided = client_of(&self.host).decide(&a_path(output)).await;
        decided.unwrap()
    }

    /// What is accepted was written by two of them, and nobody is quarantined but who forked, and then always.
    async fn is_true(&mut self, what: &str) {
        for (output, written) in &self.written {
            let decision = self.decide(output).await;
            let Some(facts) = decision.accepted_facts() else {
                assert_eq!(decision.accepted, None, "{what}: {decision:#?}");
                continue;
            };
            let says = |value: &str| written.iter().filter(|(_, said)| *said == value).count();
            let votes = ["A", "B"].map(|value| (a_nar_hash(value) == facts.nar_hash, says(value)));
            let is_so = votes.iter().any(|(is_it, votes)| *is_it && *votes >= 2);
            assert!(is_so, "{what}: {output}: {}", decision.sentence);
        }
        for name in NAMES {
            let log = log_of(&self.host, name).await.unwrap();
            let is_quarantined = log.state() == LogState::Quarantined;
            assert!(
                !is_quarantined || (name == "mallory" && self.has_forked),
                "{what}: {name} is framed: {}",
                log.reason
            );
            if name == "mallory" {
                assert!(is_quarantined || !self.is_found, "{what}: forgotten");
                self.is_found |= is_quarantined;
            }
        }
    }

    /// Everything is mended, and everything becomes as it is.
    async fn ends(&mut self, what: &str) {
        for log in &self.logs {
            log.mend();
        }
        // Else some wait long after many failures.
        self.host.kill().await.unwrap();
        self.host.start().await.unwrap();
        for (log, name) in self.logs.iter().zip(["alice", "bob"]) {
            let size = log.size();
            becomes(&self.host, name, |log| {
                log.state() == LogState::Live && log.indexed == size
            })
            .await;
        }
        becomes(&self.host, "mallory", |log| {
            log.state() == LogState::Quarantined
        })
        .await;
        self.is_true(what).await;
        for (output, written) in &self.written {
            let honest: Vec<_> = written
                .iter()
                .filter(|(who, _)| *who != "mallory")
                .collect();
            let expected = match honest.as_slice() {
                [(_, one), (_, other)] if one == other => Outcome::Accepted,
                [_, _] => Outcome::Conflict,
                _ => Outcome::Insufficient,
            };
            let decision = self.decide(output).await;
            assert_eq!(
                decision.outcome, expected,
                "{what}: {output}: {}",
                decision.sentence
            );
        }
    }
}

#[tokio::test]
async fn whatever_fails_and_lies_and_is_killed_together_a_running_aggregator_accepts_nothing_untrue()
 {
    let seed = std::env::var("QUORIX_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut storm = Storm::begin(seed).await;
    for number in 0..BLOWS {
        let what = format!("QUORIX_SEED={seed}, blow {number}");
        storm.blow(number).await;
        storm.is_looked_at().await;
        storm.is_true(&what).await;
    }
    storm
        .ends(&format!("QUORIX_SEED={seed}, after the storm"))
        .await;
}
