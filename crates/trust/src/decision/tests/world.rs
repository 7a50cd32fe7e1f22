//! Random policies in the whole language, and random evidence for them.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::store_path::StorePath;
use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};

use crate::decision::{Decision, decide};
use crate::evidence::{Covering, Earlier, LogState, Said, Source, Statement};
use crate::policy::Policy;
use crate::testing::{Known, built, cache_line, facts, log_key, observed, path};

/// The moment of every decision that does not say another. POSIX seconds.
pub(super) const NOW: u64 = 1_700_000_000;
/// Builders. The operator of `alice2` is alice, whose cache key is the last voice.
pub(super) const BUILDERS: [&str; 5] = ["alice", "bob", "carol", "dave", "alice2"];
/// Operators with a vote.
pub(super) const OPERATORS: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
/// Voices: the builders, then erin's cache.
const VOICES: usize = 6;

/// The number of the value that is of another store path under the same hash part: of [`y`].
pub(super) const TWIN: u8 = 3;

/// A statement about `x`, or about `y`.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) value: u8,
    pub(super) withdrawn: bool,
    /// 0: not told; otherwise one of two systems and derivations.
    pub(super) told: u8,
    /// 0: no list; 1: an empty one; otherwise `dep` with one of two values.
    pub(super) inputs: u8,
    /// Whether the earlier checkpoint of its log covers it.
    pub(super) is_old: bool,
}

/// How the log of a voice stands.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// 0 live, 4 stale, 5 quarantined, 6 not in the evidence, 7 live with nobody's cosignature.
    pub(super) state: u8,
    /// How many hours ago its checkpoint was cosigned, and an earlier one.
    pub(super) ages_h: [u64; 2],
}

/// A policy's random parts, as lines.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) is_witnessed: bool,
    /// Of `bob` and of `carol`, in hours ago.
    pub(super) since_h: Option<u64>,
    pub(super) until_h: Option<u64>,
    /// Voters, as lines; the last are used by name.
    pub(super) voters: String,
    pub(super) main: String,
    pub(super) has_fallback: bool,
    pub(super) weak: String,
    /// The rule for `y` alone, where there is one.
    pub(super) other: Option<String>,
    pub(super) also: Option<String>,
    pub(super) disregarded: Option<(usize, u8)>,
}

/// A policy and evidence.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) rules: Rules,
    pub(super) said: [Vec<Word>; VOICES],
    pub(super) logs: Vec<Log>,
    /// What the builders said of `dep`, to which value 2 refers.
    pub(super) dep: Vec<Option<u8>>,
    pub(super) is_heard: bool,
    /// An earlier acceptance: of what, how many hours ago.
    pub(super) earlier: Option<(u8, u64)>,
    /// The value that the content of its path was found to be.
    pub(super) checked: Option<u8>,
}

pub(super) fn world() -> impl Strategy<Value = World> {
    let said = || prop_oneof![9 => vec(word(), 0..2), 1 => vec(word(), 2)];
    let said = [said(), said(), said(), said(), said(), said()];
    // Mostly live: a fallback asks that of every log.
    let state = prop_oneof![24 => Just(0_u8), 4 => 4_u8..8];
    let log = (state, prop::array::uniform2(0_u64..72));
    let log = log.prop_map(|(state, ages_h)| Log { state, ages_h });
    let earlier = prop::option::weighted(
        0.85,
        (
            prop_oneof![4 => Just(0_u8), 1 => Just(2_u8), 1 => Just(TWIN)],
            0_u64..48,
        ),
    );
    // Mostly nobody speaks of another name, and nobody proves anything by its content.
    let twins = prop::bool::weighted(0.35);
    let checked = prop::option::weighted(0.1, prop::sample::select(vec![0, 2, TWIN]));
    (
        rules(),
        said,
        vec(log, BUILDERS.len()),
        vec(prop::option::weighted(0.8, 0_u8..2), BUILDERS.len()),
        prop::bool::weighted(0.8),
        earlier,
        (twins, checked),
    )
        .prop_map(
            |(rules, mut said, logs, dep, is_heard, earlier, (twins, checked))| {
                for word in said.iter_mut().flatten().filter(|_| !twins) {
                    word.value %= TWIN;
                }
                World {
                    rules,
                    said,
                    logs,
                    dep,
                    is_heard,
                    earlier,
                    checked: checked.filter(|number| twins || *number < TWIN),
                }
            },
        )
}

/// Worlds with a rule by what was told, where often nobody tells it but builders whose entries count only within some
/// time: their logs are the second and the third.
pub(super) fn told_world() -> impl Strategy<Value = World> {
    let condition = prop_oneof![4 => told_condition(), 1 => condition()];
    let rule = prop_oneof![3 => Just("quorum=g4 level=path".to_owned()), 1 => rule()];
    let times = prop::array::uniform2(0_u64..72);
    (world(), condition, rule, times, prop::bool::weighted(0.8)).prop_map(
        |(mut world, condition, rule, [since_h, until_h], are_others_silent)| {
            world.rules.is_witnessed = true;
            world.rules.main = "quorum=g5 level=path".into();
            let all = "alice bob carol dave erin";
            world.rules.voters += &format!("voters g4 all {all}\nvoters g5 any {all}\n");
            world.rules.also = Some(narrowing(&condition, &rule));
            world.rules.since_h = Some(since_h);
            world.rules.until_h = Some(until_h);
            for (voice, said) in world.said.iter_mut().enumerate() {
                let has_window = [1, 2].contains(&voice);
                for word in said {
                    match has_window {
                        true => word.told = 1 + word.told % 2,
                        false if are_others_silent => word.told = 0,
                        false => {}
                    }
                }
            }
            world
        },
    )
}

fn word() -> impl Strategy<Value = Word> {
    // One value is said more often than the others, so that quorums are met.
    let value = prop_oneof![24 => Just(0_u8), 1 => Just(1_u8), 3 => Just(2_u8), 12 => Just(TWIN)];
    let flags = (prop::bool::weighted(0.05), 0_u8..3, 0_u8..4, any::<bool>());
    (value, flags).prop_map(|(value, (withdrawn, told, inputs, is_old))| Word {
        value,
        withdrawn,
        told,
        inputs,
        is_old,
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let times = prop::option::weighted(0.2, 0_u64..72);
    let also = prop::option::weighted(0.3, also());
    let disregarded = prop::option::weighted(0.2, (0_usize..5, 0_u8..=TWIN));
    (
        any::<bool>(),
        (times.clone(), times),
        voters(),
        rule(),
        any::<bool>(),
        (rule(), prop::option::weighted(0.3, rule())),
        also,
        disregarded,
    )
        .prop_map(
            |(
                is_witnessed,
                (since_h, until_h),
                voters,
                main,
                has_fallback,
                (weak, other),
                also,
                disregarded,
            )| {
                // Without cosignatures nothing has a time.
                let timed = |line: String| {
                    let words = line.split(' ').filter(|word| {
                        is_witnessed
                            || !(word.starts_with("max-age") || word.starts_with("min-observed"))
                    });
                    words.collect::<Vec<_>>().join(" ")
                };
                Rules {
                    is_witnessed,
                    since_h: since_h.filter(|_| is_witnessed),
                    until_h: until_h.filter(|_| is_witnessed),
                    voters,
                    main: timed(main),
                    has_fallback,
                    weak: timed(weak),
                    other: other.map(timed),
                    also: also.map(timed),
                    disregarded,
                }
            },
        )
}

/// Groups named g0 to g3: k of n, percent, weighted, and one that nests the first.
fn voters() -> impl Strategy<Value = String> {
    (1_usize..=5, 1_u32..=100, 1_usize..=8, 1_usize..=2).prop_map(|(k, percent, weight, nested)| {
        format!(
            "voters g0 {k} alice bob carol dave erin\nvoters g1 {percent}% alice bob carol dave\n\
             weighted g2 {weight} alice=3 bob=2 carol=2 erin=1\nvoters g3 {nested} g1 erin\n"
        )
    })
}

/// The words of a rule after its name.
fn rule() -> impl Strategy<Value = String> {
    let group = 0_u8..4;
    let level = prop_oneof![
        3 => Just("path"), 2 => Just("closure"), 1 => Just("build"), 1 => Just("resolved")
    ];
    let hours = || prop::option::weighted(0.3, 1_u64..48);
    let grace = prop::option::weighted(0.6, 24_u64..72);
    (
        group.clone(),
        prop::option::weighted(0.2, group),
        prop::option::weighted(0.2, 0_usize..5),
        level,
        hours(),
        hours(),
        grace,
    )
        .prop_map(|(quorum, require, veto, level, max_age, observed, grace)| {
            let mut line = format!("quorum=g{quorum} level={level}");
            let mut word = |name: &str, value: Option<String>| {
                if let Some(value) = value {
                    line.push_str(&format!(" {name}={value}"));
                }
            };
            word("require", require.map(|group| format!("g{group}")));
            word("veto", veto.map(|one| format!("v{one}")));
            word("max-age", max_age.map(|hours| format!("{hours}h")));
            word("min-observed", observed.map(|hours| format!("{hours}h")));
            word("grace", grace.map(|hours| format!("{hours}h")));
            line
        })
}

/// The words of an `also` rule after its name.
pub(super) fn also() -> impl Strategy<Value = String> {
    (condition(), rule()).prop_map(|(condition, rule)| narrowing(&condition, &rule))
}

fn condition() -> impl Strategy<Value = String> {
    let others = [
        "name=*",
        "name=other",
        "when=(name==\"x\"&&drv!=\"\")",
        "when=(1/0==1)",
    ];
    let others = prop::sample::select(others.map(str::to_owned).to_vec());
    prop_oneof![told_condition(), others]
}

/// A condition on what builders told beside the value.
fn told_condition() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "system=s1".to_owned(),
        "system=s2".to_owned(),
        format!("drv={}", drv(1)),
        "when=(system==\"s1\")".to_owned(),
    ])
}

/// Grace belongs to the rule that accepted.
fn narrowing(condition: &str, rule: &str) -> String {
    let words = rule.split(' ').filter(|word| !word.starts_with("grace"));
    format!("{condition} {}", words.collect::<Vec<_>>().join(" "))
}

pub(super) fn x() -> StorePath {
    path("x")
}

/// Another store path under the hash part of `x`.
pub(super) fn y() -> StorePath {
    StorePath::new(&x().hash_part(), "y").unwrap()
}

fn dep(number: u8) -> Fingerprint {
    facts(&path("dep"), &format!("dep {number}"), &[])
}

fn drv(number: u8) -> StorePath {
    path(&format!("told{number}.drv"))
}

pub(super) fn value(number: u8) -> Fingerprint {
    let dep = path("dep");
    let references = if number == 2 { vec![&dep] } else { Vec::new() };
    facts(&path_of(number), &format!("value {number}"), &references)
}

/// The store path of which this is a value.
fn path_of(number: u8) -> StorePath {
    if number == TWIN { y() } else { x() }
}

/// The operator of a voice.
pub(super) fn operator(voice: usize) -> &'static str {
    match voice {
        5 => "erin",
        4 => "alice",
        other => OPERATORS[other],
    }
}

impl World {
    pub(super) fn policy(&self) -> Policy {
        let text = self.text();
        Policy::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    pub(super) fn text(&self) -> String {
        let rules = &self.rules;
        let mut text = String::new();
        for (voice, name) in BUILDERS.iter().enumerate() {
            let key = log_key(name);
            let key = key.verifier();
            let window = match *name {
                "bob" => rules
                    .since_h
                    .map(|hours| format!(" since={}", before(hours))),
                "carol" => rules
                    .until_h
                    .map(|hours| format!(" until={}", before(hours))),
                _ => None,
            };
            let (operator, window) = (operator(voice), window.unwrap_or_default());
            text += &format!(
                "builder {name} {key} https://{name}.example operator={operator}{window}\n"
            );
        }
        text += &cache_line("erin");
        if rules.is_witnessed {
            let name = "w.example".parse().unwrap();
            let key = CosignerSigningKey::from_seed(name, Algorithm::Ed25519, [7; 32]);
            text += &format!("witness w {} operator=walter\nquorum w\n", key.verifier());
        } else {
            text += "quorum none\n";
        }
        text += &rules.voters;
        for (number, operator) in OPERATORS.iter().enumerate() {
            text += &format!("voters v{number} any {operator}\n");
        }
        if let Some((who, number)) = rules.disregarded {
            let (path, digest) = (path_of(number), value(number).digest());
            text += &format!("disregard {} {path} {digest}\n", OPERATORS[who]);
        }
        let fallback = if rules.has_fallback {
            " fallback=weak"
        } else {
            ""
        };
        text += &format!(
            "rule weak {}\nrule main {}{fallback}\ndefault main\n",
            rules.weak, rules.main
        );
        if let Some(other) = &rules.other {
            text += &format!("rule other path=/nix/store/{} {other}{fallback}\n", y());
        }
        if let Some(also) = &rules.also {
            text += &format!("also more {also}\n");
        }
        text
    }

    pub(super) fn known(&self) -> Known {
        let mut known = Known::default();
        for (name, log) in BUILDERS.iter().zip(&self.logs) {
            known = match log.state {
                6 => continue,
                4 => known.stale(name),
                5 => known.log(name, LogState::Quarantined),
                _ => known.log(name, LogState::Live),
            };
            let origin = log_key(name).verifier().name().as_str().to_owned();
            let evidence = known.0.logs.get_mut(&origin).unwrap();
            let [age, more] = log.ages_h;
            let cosigned = |hours| BTreeMap::from([("w".to_owned(), before(hours))]);
            if log.state != 7 {
                evidence.cosigned = cosigned(age);
            }
            // Covers the entries with index 7.
            let cosigned = cosigned(age.saturating_add(more));
            evidence.history = vec![Covering { size: 8, cosigned }];
        }
        for (voice, said) in self.said.iter().enumerate() {
            for word in said {
                known = known.statement(statement(voice, word));
            }
        }
        for (name, said) in BUILDERS.iter().zip(&self.dep) {
            if let Some(number) = said {
                let inputs = Some(BTreeMap::new());
                known = known.statement(Statement {
                    inputs,
                    ..built(name, &dep(*number))
                });
            }
        }
        if self.is_heard {
            known = known.heard("erin", &x()).heard("erin", &path("dep"));
        }
        if let Some((number, hours)) = self.earlier {
            let (value, at_s) = (value(number).digest(), before(hours));
            known
                .0
                .earlier
                .insert(path_of(number), Earlier { value, at_s });
        }
        if let Some(number) = self.checked {
            known = known.content_checked(&value(number));
        }
        known
    }

    /// Name of the rule that is selected for a value.
    pub(super) fn selected(&self, number: u8) -> &'static str {
        if number == TWIN && self.rules.other.is_some() {
            "other"
        } else {
            "main"
        }
    }

    pub(super) fn decide(&self) -> Decision {
        self.decide_at(NOW)
    }

    pub(super) fn decide_at(&self, now_s: u64) -> Decision {
        decide(&self.policy(), &self.known().0, &x().hash_part(), now_s)
    }

    /// What a voice said that is not withdrawn and not disregarded.
    pub(super) fn stands(&self, voice: usize) -> impl Iterator<Item = &Word> {
        let disregarded = self.rules.disregarded;
        self.said[voice].iter().filter(move |word| {
            let is_cache = voice == 5;
            let is_disregarded = disregarded.is_some_and(|(who, number)| {
                OPERATORS[who] == operator(voice) && number == word.value
            });
            (is_cache || !word.withdrawn) && !is_disregarded
        })
    }
}

/// So many hours before a moment that is a little in the future: clocks differ.
fn before(hours: u64) -> u64 {
    NOW + 2 * 3_600 - hours * 3_600
}

fn statement(voice: usize, word: &Word) -> Statement {
    let facts = value(word.value);
    let mut statement = match BUILDERS.get(voice) {
        Some(name) => built(name, &facts),
        None => observed("erin", &facts),
    };
    statement.withdrawn = word.withdrawn;
    statement.inputs = match word.inputs {
        0 => None,
        1 => Some(BTreeMap::new()),
        other => Some(BTreeMap::from([(path("dep"), dep(other - 2).digest())])),
    };
    if let Source::Log { index, .. } = &mut statement.source {
        *index = if word.is_old { 7 } else { 8 };
    }
    if let Said::Build(build) = &mut statement.said {
        build.system = match word.told {
            0 => String::new(),
            told => format!("s{told}"),
        };
        build.derivation = (word.told > 0).then(|| (drv(word.told), "out".into()));
    }
    statement
}
