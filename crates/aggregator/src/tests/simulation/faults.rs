//! What goes wrong in a world, and how all of it ends.

use std::cmp::Ordering;

use turmoil::Sim;

use super::Twist;
use super::history::{Character, View};
use super::site::Mood;
use super::world::World;

/// The host name of the aggregator.
pub(super) const AGGREGATOR: &str = "aggregator";

/// Each of these happens in some run; what the aggregator does not get to see is not counted.
pub(super) const KINDS: [&str; 25] = [
    "a lie",
    "a builder that contradicted itself",
    "a withdrawn statement",
    "an old checkpoint",
    "a withheld file",
    "an answer that never came",
    "a flipped bit",
    "a body that broke off",
    "a checkpoint that is noise",
    "the checkpoint of another log",
    "a forged checkpoint",
    "a server that failed",
    "a second history",
    "another history shown",
    "a shorter history in the end",
    "a history of the same length in the end",
    "a longer history in the end",
    "a server that died",
    "a server that came back",
    "a server cut off",
    "a line on which everything waits",
    "a crash of the aggregator",
    "a start over a store with something in it",
    "a quarantine",
    "a crash with something quarantined",
];

impl World {
    /// Half a second's worth of what builders, servers, lines and machines do.
    pub(super) fn live(&mut self, sim: &mut Sim<'_>) {
        for log in 0..self.logs.len() {
            if self.dice.one_in(6) {
                let branch = self.dice.below(self.logs[log].branches.len());
                for _ in 0..self.dice.pick(&[1, 1, 2, 3]) {
                    self.append(log, branch);
                }
            }
        }
        if self.dice.one_in(2) {
            self.break_something(sim);
        }
        if self.dice.one_in(self.mends) {
            self.mend_something(sim);
        }
        if !sim.is_host_running(AGGREGATOR) && self.dice.one_in(4) {
            self.start(sim);
        }
    }

    fn break_something(&mut self, sim: &mut Sim<'_>) {
        let site = self.dice.below(self.sites.len());
        match self.dice.below(24) {
            0 | 1 => self.crash(sim),
            2..4 if self.sites[site].is_up => {
                self.count("a server that died");
                self.sites[site].is_up = false;
                sim.crash(self.sites[site].host.as_str());
            }
            4 | 5 if self.sites[site].is_reachable => {
                self.count("a server cut off");
                self.sites[site].is_reachable = false;
                sim.partition(AGGREGATOR, self.sites[site].host.as_str());
            }
            6 if self.sites[site].is_reachable => {
                self.count("a line on which everything waits");
                self.sites[site].is_reachable = false;
                sim.hold(AGGREGATOR, self.sites[site].host.as_str());
            }
            7..12 => self.fork(site),
            12..15 => {
                let view = self.view(site);
                let size = view.size - self.dice.below(view.size.min(3));
                self.sites[site].mood = Mood::Frozen(View { size, ..view });
            }
            _ => {
                self.sites[site].mood = self.dice.pick(&[
                    Mood::Withholding,
                    Mood::Silent,
                    Mood::Corrupting,
                    Mood::BreakingOff,
                    Mood::Babbling,
                    Mood::Mistaken,
                    Mood::Forging,
                    Mood::Failing,
                ]);
            }
        }
    }

    /// A log that keeps two histories begins its second one, or shows the other one at one of its addresses.
    fn fork(&mut self, site: usize) {
        let log = self.sites[site].log;
        if self.logs[log].character != Character::Forking {
            return;
        }
        if self.logs[log].branches.len() == 1 {
            self.begin_fork(log);
        }
        self.sites[site].branch = 1 - self.sites[site].branch;
        let moods = [Mood::Well, Mood::Well, Mood::Withholding];
        self.sites[site].mood = self.dice.pick(&moods);
        self.count("another history shown");
    }

    fn begin_fork(&mut self, log: usize) {
        let size = self.logs[log].newest(0).size;
        let shared = size - self.dice.below(size.min(4));
        self.logs[log].fork(shared);
        self.append(log, 1);
        self.count("a second history");
    }

    fn mend_something(&mut self, sim: &mut Sim<'_>) {
        let site = self.dice.below(self.sites.len());
        self.mend(site, sim);
    }

    fn mend(&mut self, site: usize, sim: &mut Sim<'_>) {
        self.sites[site].mood = Mood::Well;
        if !std::mem::replace(&mut self.sites[site].is_up, true) {
            self.count("a server that came back");
            sim.bounce(self.sites[site].host.as_str());
        }
        if !std::mem::replace(&mut self.sites[site].is_reachable, true) {
            let host = self.sites[site].host.as_str();
            sim.release(AGGREGATOR, host);
            sim.repair(AGGREGATOR, host);
        }
    }

    fn crash(&mut self, sim: &mut Sim<'_>) {
        if sim.is_host_running(AGGREGATOR) {
            self.look_for_quarantines();
            self.count("a crash of the aggregator");
            if !self.quarantined.is_empty() {
                self.count("a crash with something quarantined");
            }
            sim.crash(AGGREGATOR);
        }
    }

    fn start(&mut self, sim: &mut Sim<'_>) {
        self.count("a start over a store with something in it");
        sim.bounce(AGGREGATOR);
    }

    /// Every fault ends. A log with two histories shows one of them everywhere: more of it than it ever showed of the
    /// other one, as much, or what there is. Some begin their second one only now.
    pub(super) fn heal(&mut self, sim: &mut Sim<'_>) {
        for log in 0..self.logs.len() {
            let true_log = &self.logs[log];
            let is_one = true_log.character == Character::Forking && true_log.branches.len() == 1;
            let forks_now = is_one && self.dice.one_in(2);
            if forks_now {
                self.begin_fork(log);
            }
            let branches = self.logs[log].branches.len();
            let branch = if forks_now {
                1
            } else {
                self.dice.below(branches)
            };
            let sizes = (0..branches).map(|branch| self.logs[log].newest(branch).size);
            let largest = sizes.max().unwrap_or(0);
            let least = self.dice.pick(&[0, largest, largest + 1]);
            while branches > 1 && self.logs[log].newest(branch).size < least {
                self.append(log, branch);
            }
            if branches > 1 && !self.quarantined.contains(&log) {
                let other = self.logs[log].newest(1 - branch).size;
                self.count(match self.logs[log].newest(branch).size.cmp(&other) {
                    Ordering::Less => "a shorter history in the end",
                    Ordering::Equal => "a history of the same length in the end",
                    Ordering::Greater => "a longer history in the end",
                });
            }
            for site in self.sites.iter_mut().filter(|site| site.log == log) {
                site.branch = branch;
            }
        }
        for site in 0..self.sites.len() {
            self.mend(site, sim);
        }
        if self.twist == Twist::NeverWell {
            for site in self.sites.iter_mut().filter(|site| site.log == 0) {
                site.mood = Mood::Silent;
            }
        }
        if !sim.is_host_running(AGGREGATOR) {
            self.start(sim);
        }
        self.is_healed = true;
        self.note("healed");
    }
}
