//! A fake aggregator with realistic answers: names and hash parts are of real outputs of one nixpkgs revision, all
//! else is made up. Shared by the page tests and the gallery.

use std::sync::Arc;

use quorix_dashboard::Dashboard;
use quorix_dashboard::error::SourceError;
use quorix_dashboard::source::{Answer, Source};
use quorix_wire::pb;

/// The moment at which everything happens.
pub(crate) const NOW_S: u64 = 1_795_357_409;

pub(crate) const FIREFOX: &str = "/nix/store/g6xagfamh10m5ziwy09xz07hm7nd646c-firefox-149.0";
pub(crate) const LINUX: &str = "/nix/store/sd93jmfypk5pb2qnqy08bq5vflbck6vw-linux-6.18.20";
pub(crate) const GHC: &str = "/nix/store/71jpi5bf3l22gw0b56r8mfzlrxrrck1i-ghc-9.10.3";
pub(crate) const GIMP: &str = "/nix/store/wv0y0zm4d6rkmb6nk87ajz6b00b2w0nd-gimp-3.0.8";
pub(crate) const CURL: &str = "/nix/store/dhdysbgmgqp936mvkf5f9s8fh2mk68k5-curl-8.18.0";
pub(crate) const OPENSSL: &str = "/nix/store/zc6gqx6zlm9ivzbjnp4yw7lsny62jhfz-openssl-3.6.1";
pub(crate) const GLIBC: &str = "/nix/store/jms7zxzm7w1whczwny5m3gkgdjghmi2r-glibc-2.42-51";
pub(crate) const PERL: &str = "/nix/store/ab7007dfzs69dib6nxcrhhwa3znzqnx3-perl-5.42.0";
pub(crate) const HPACK: &str = "/nix/store/fik8kn16pm2ax2l4w5330j1w9b0z73zm-upstream-stack-hpack-version-test-stack-3.9.1-hpack-0.39.1-9eb027654e0d6795e50f2db84dc101ddfe954cafb6b1a4a498f9b9c196dd8e46";

pub(crate) const POLICY: &str = "# Two of three independent builders, or for now the cache that everyone uses.

builder alice    logs.example.org/alice+4d6a2f01+AeLm0cB7mU1RrGSzqN0cR2lWQd3O5m0yq0aZ3nqk8bQx https://logs.example.org/alice operator=alice nix-key=alice-1:q2Y0m5i3Wk8nV7dBf1tUu4sJ6hXcRz9pLaEoTgKvN0E=
builder bob      bob.example.net/log+91c07e3b+ASvD4h0Yp2mTqfXr6nWb8sK1jLz3cU5eGi7oQaRtM9xN https://bob.example.net/log https://mirror.example.org/bob operator=bob
builder carol-ci ci.example.com/nix+0be552d4+AQm7Zx1rKp9LsWf3eTnYv6cUb8hJq2dGo4iXaR5wSzVk https://ci.example.com/nix operator=carol
cache   example  cache.example.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY= https://cache.example.org operator=example

quorum none
voters independents 2 alice bob carol example
voters today        1 example
rule   today  quorum=today level=path
rule   main   quorum=independents level=closure mode=warn fallback=today
default main
";

/// A fake aggregator: what it answers is what its fields say.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) counts: pb::GetOverviewResponse,
    pub(crate) logs: Vec<pb::LogStatus>,
    pub(crate) disagreements: Vec<pb::OutputSummary>,
    pub(crate) decisions: Vec<pb::Decision>,
    pub(crate) events: Vec<pb::Event>,
    /// If set, the answer to everything.
    pub(crate) failure: Option<SourceError>,
}

impl World {
    pub(crate) fn dashboard(self) -> Dashboard {
        self.with_policy(POLICY)
    }

    pub(crate) fn with_policy(self, policy: &str) -> Dashboard {
        Dashboard::with_source(
            Arc::new(self),
            policy.to_owned(),
            Arc::new(|| NOW_S),
            &mut Default::default(),
        )
    }

    fn answer<T: Send + 'static>(&self, answer: impl FnOnce() -> T) -> Answer<'_, T> {
        let answer = self.failure.clone().map_or_else(|| Ok(answer()), Err);
        Box::pin(async { answer })
    }
}

impl Source for World {
    fn overview(&self) -> Answer<'_, pb::GetOverviewResponse> {
        self.answer(|| self.counts)
    }

    fn logs(&self) -> Answer<'_, Vec<pb::LogStatus>> {
        self.answer(|| self.logs.clone())
    }

    fn events(&self) -> Answer<'_, Vec<pb::Event>> {
        self.answer(|| self.events.clone())
    }

    fn disagreements(
        &self,
        asked: pb::ListDisagreementsRequest,
    ) -> Answer<'_, pb::ListDisagreementsResponse> {
        self.answer(|| {
            let start = asked.page_token.parse::<usize>().unwrap_or(0);
            let said = |output: &&pb::OutputSummary| {
                output
                    .values
                    .iter()
                    .any(|value| value.builders.contains(&asked.builder))
            };
            let matching: Vec<_> = self
                .disagreements
                .iter()
                .filter(|output| output.store_path.contains(&asked.name))
                .filter(|output| asked.builder.is_empty() || said(output))
                .cloned()
                .collect();
            let end = start + asked.page_size as usize;
            pb::ListDisagreementsResponse {
                next_page_token: if end < matching.len() {
                    end.to_string()
                } else {
                    String::new()
                },
                outputs: matching
                    .into_iter()
                    .skip(start)
                    .take(asked.page_size as usize)
                    .collect(),
            }
        })
    }

    fn decide(&self, path: String) -> Answer<'_, pb::Decision> {
        self.answer(move || {
            let known = self
                .decisions
                .iter()
                .find(|decision| decision.path.contains(&path));
            known.cloned().unwrap_or_else(|| no_data(&path))
        })
    }

    fn search(&self, query: String, _limit: u32) -> Answer<'_, Vec<pb::OutputSummary>> {
        self.answer(move || {
            let named = |output: &&pb::OutputSummary| {
                output
                    .store_path
                    .get(44..)
                    .is_some_and(|name| name.starts_with(&query))
            };
            self.disagreements.iter().filter(named).cloned().collect()
        })
    }
}

/// Everything at once: 126,000 outputs, four voices, one log stale.
pub(crate) fn busy() -> World {
    let names = [FIREFOX, LINUX, GHC, GIMP, PERL, HPACK];
    let voices: [&[&[&str]]; 6] = [
        &[&["alice", "bob"], &["example"]],
        &[&["alice"], &["bob"], &["example"]],
        &[&["alice", "bob", "example"], &["carol-ci"]],
        &[&["alice", "bob"], &["carol-ci", "example"]],
        &[&["bob", "example"], &["alice"]],
        &[&["example"], &["alice", "bob", "carol-ci"]],
    ];
    World {
        counts: pb::GetOverviewResponse {
            outputs: 126_000,
            agree: 123_484,
            disagree: 412,
            one_builder: 2_104,
            now_s: NOW_S,
        },
        logs: vec![
            log(
                "alice",
                "logs.example.org/alice",
                "alice",
                pb::LogState::Live,
                121_337,
                24,
                "",
            ),
            log(
                "bob",
                "bob.example.net/log",
                "bob",
                pb::LogState::Live,
                98_020,
                31,
                "",
            ),
            log(
                "carol-ci",
                "ci.example.com/nix",
                "carol",
                pb::LogState::Stale,
                45_112,
                3 * 3600,
                "https://ci.example.com/nix/checkpoint: connection refused",
            ),
        ],
        disagreements: names
            .iter()
            .zip(voices)
            .map(|(path, values)| summary(path, values))
            .collect(),
        decisions: vec![accepted(), conflict(), insufficient(), blocked(), warned()],
        events: Vec::new(),
        failure: None,
    }
}

/// The same with an equivocating log.
pub(crate) fn quarantined() -> World {
    let mut world = busy();
    let size = 98_020;
    let note = |size: u64, root: &str| {
        format!("bob.example.net/log\n{size}\n{root}\n\n— bob.example.net/log kcB+O3Zq8nT1vWm5sXyR0uKjLpQe7aDhFgCi2oBt9NzVxE4rUw6MlJk3YqSdH1fGpAoI0bTcZ8nXvRm5sWyQ2uKj\n").into_bytes()
    };
    world.logs[1] = pb::LogStatus {
        equivocation: Some(pb::Equivocation {
            first_checkpoint: note(size, "uQ2mJ0x7l8m2yq0aZ3nqk8bQxeLm0cB7mU1RrGSzqN0="),
            second_checkpoint: note(size - 20, "cR2lWQd3O5ZxLrKp9LsWf3eTnYv6cUb8hJq2dGo4iXY="),
            consistency_proof: vec![vec![7; 32]; 9],
        }),
        ..log(
            "bob",
            "bob.example.net/log",
            "bob",
            pb::LogState::Quarantined,
            size,
            600,
            "Size 98,000 has two different roots.",
        )
    };
    world
}

pub(crate) fn log(
    name: &str,
    origin: &str,
    operator: &str,
    state: pb::LogState,
    size: u64,
    ago_s: u64,
    reason: &str,
) -> pb::LogStatus {
    pb::LogStatus {
        name: name.into(),
        origin: origin.into(),
        operator: operator.into(),
        urls: vec![format!("https://{origin}"), format!("https://mirror.example.org/{name}")],
        state: state.into(),
        reason: reason.into(),
        size,
        indexed: size - size % 1_000,
        opaque: 2,
        last_verified_s: NOW_S - ago_s,
        checkpoint: format!("{origin}\n{size}\nuQ2mJ0x7l8m2yq0aZ3nqk8bQxeLm0cB7mU1RrGSzqN0=\n\n— {origin} kcB+O3Zq8nT1vWm5sXyR0uKjLpQe7aDhFgCi2oBt9NzVxE4rUw6MlJk3YqSdH1fGpAoI0bTcZ8nXvRm5sWyQ2uKj\n").into_bytes(),
        equivocation: None,
        ..Default::default()
    }
}

pub(crate) fn summary(path: &str, values: &[&[&str]]) -> pb::OutputSummary {
    let value = |(at, builders): (usize, &&[&str])| pb::ValueSummary {
        fingerprint: fingerprint(path, at),
        builders: builders.iter().map(ToString::to_string).collect(),
    };
    pb::OutputSummary {
        store_path: path.into(),
        standing: if values.len() > 1 {
            pb::Standing::Disagree
        } else {
            pb::Standing::OneBuilder
        }
        .into(),
        values: values.iter().enumerate().map(value).collect(),
    }
}

/// 32 bytes that look like a digest.
pub(crate) fn fingerprint(seed: &str, salt: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ salt as u64;
    let mut next = |byte: u8| {
        state = (state ^ u64::from(byte))
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(23);
        (state >> 24) as u8
    };
    seed.bytes().for_each(|byte| _ = next(byte));
    (0..32).map(|_| next(1)).collect()
}

/// A value with facts.
pub(crate) fn value(
    path: &str,
    at: usize,
    voters: &[&str],
    nar_size: u64,
    references: &[&str],
) -> pb::DecisionValue {
    let alphabet = b"0123456789abcdfghijklmnpqrsvwxyz";
    let digest: String = fingerprint(path, at + 50)
        .iter()
        .cycle()
        .take(52)
        .map(|byte| char::from(alphabet[usize::from(byte % 32)]))
        .collect();
    pb::DecisionValue {
        letter: char::from(b'A' + at as u8).to_string(),
        fingerprint: fingerprint(path, at),
        nar_hash: format!("sha256:{digest}"),
        nar_size,
        references: references
            .iter()
            .map(|path| path[11..].to_owned())
            .collect(),
        references_known: true,
        voters: voters.iter().map(ToString::to_string).collect(),
        store_path: path.into(),
    }
}

pub(crate) fn operator(
    name: &str,
    state: pb::OperatorState,
    letters: &[&str],
    reason: &str,
    path: &str,
) -> pb::OperatorStanding {
    let is_cache = name == "example";
    let base = path.rsplit('/').next().unwrap_or_default();
    let source = |letter: &&str| pb::ClaimSource {
        letter: (*letter).into(),
        name: if name == "carol" { "carol-ci" } else { name }.into(),
        origin: if is_cache {
            String::new()
        } else {
            format!("logs.example.org/{name}")
        },
        index: 41_233,
        checkpoint_size: 121_337,
        nix_key: if is_cache {
            "cache.example.org-1".into()
        } else {
            String::new()
        },
        system: if is_cache {
            String::new()
        } else {
            "x86_64-linux".into()
        },
        drv_path: if is_cache {
            String::new()
        } else {
            format!(
                "0rdfqz09s48ird8yhpbsygancc08hd7n-{}.drv",
                base.get(33..).unwrap_or_default()
            )
        },
        nix_version: if is_cache {
            String::new()
        } else {
            "2.31.3".into()
        },
        finished_at_s: if is_cache {
            0
        } else {
            NOW_S - 86_400 * 3 - name.len() as u64 * 4_000
        },
    };
    pb::OperatorStanding {
        operator: name.into(),
        state: state.into(),
        letters: letters.iter().map(ToString::to_string).collect(),
        sources: letters.iter().map(source).collect(),
        reason: reason.into(),
    }
}

fn main_rule(decision: pb::Decision) -> pb::Decision {
    pb::Decision {
        rule: "main".into(),
        rule_line: 12,
        rule_text: "rule   main   quorum=independents level=closure mode=warn fallback=today"
            .into(),
        ..decision
    }
}

pub(crate) fn accepted() -> pb::Decision {
    use pb::OperatorState::{Stale, Votes};
    main_rule(pb::Decision {
        path: CURL.into(),
        outcome: pb::Outcome::Accepted.into(),
        sentence: "Accepted. alice and bob built the same bytes. carol does not count: the log of carol-ci is stale: connection refused.".into(),
        values: vec![value(CURL, 0, &["alice", "bob"], 1_204_568, &[GLIBC, OPENSSL])],
        operators: vec![
            operator("alice", Votes, &["A"], "", CURL),
            operator("bob", Votes, &["A"], "", CURL),
            operator("carol", Stale, &["A"], "the log of carol-ci is stale: connection refused", CURL),
            operator("example", pb::OperatorState::Silent, &[], "", CURL),
        ],
        steps: vec![
            "`independents` needs 2 of alice, bob, carol, example: 2 vote for A.".into(),
            "One value has enough votes.".into(),
            "No veto.".into(),
            "Each of its 2 references is accepted.".into(),
        ],
        accepted: fingerprint(CURL, 0),
        valid_until_s: NOW_S + 86_400 * 2,
        ..Default::default()
    })
}

pub(crate) fn conflict() -> pb::Decision {
    use pb::OperatorState::{Stale, Votes};
    main_rule(pb::Decision {
        path: LINUX.into(),
        outcome: pb::Outcome::Conflict.into(),
        sentence: "Refused: builders disagree. alice, bob and example each got something different. Nobody's bytes are served; Nix will build it here.".into(),
        values: vec![
            value(LINUX, 0, &["alice"], 17_204_568, &[]),
            value(LINUX, 1, &["bob"], 17_204_696, &[]),
            value(LINUX, 2, &["example"], 17_204_568, &[PERL]),
        ],
        operators: vec![
            operator("alice", Votes, &["A"], "", LINUX),
            operator("bob", Votes, &["B"], "", LINUX),
            operator("carol", Stale, &["B"], "the log of carol-ci is stale: connection refused", LINUX),
            operator("example", Votes, &["C"], "", LINUX),
        ],
        steps: vec![
            "`independents` needs 2 of alice, bob, carol, example: 1 votes for A, 1 for B, 1 for C.".into(),
            "No value has enough votes and three are known: none wins.".into(),
        ],
        missing: vec!["alice".into(), "bob".into()],
        ..Default::default()
    })
}

pub(crate) fn insufficient() -> pb::Decision {
    main_rule(pb::Decision {
        path: GIMP.into(),
        outcome: pb::Outcome::Insufficient.into(),
        sentence: "Refused: too few votes. Only alice has built this. An agreeing vote by bob or example would help.".into(),
        values: vec![value(GIMP, 0, &["alice"], 88_000, &[GLIBC])],
        operators: vec![
            operator("alice", pb::OperatorState::Votes, &["A"], "", GIMP),
            operator("bob", pb::OperatorState::Silent, &[], "", GIMP),
            operator("carol", pb::OperatorState::Silent, &[], "", GIMP),
            operator("example", pb::OperatorState::Silent, &[], "", GIMP),
        ],
        steps: vec!["`independents` needs 2 of alice, bob, carol, example: 1 votes for A.".into()],
        missing: vec!["bob".into(), "example".into()],
        ..Default::default()
    })
}

pub(crate) fn blocked() -> pb::Decision {
    pb::Decision {
        path: FIREFOX.into(),
        outcome: pb::Outcome::BlockedBy.into(),
        sentence: "Refused: blocked. alice and bob built the same bytes, but it refers, directly or not, to ghc-9.10.3, which is not accepted (builders disagree).".into(),
        values: vec![value(FIREFOX, 0, &["alice", "bob"], 280_204_568, &[GLIBC, OPENSSL])],
        accepted: vec![],
        blocked_by: GHC.into(),
        ..accepted()
    }
}

pub(crate) fn warned() -> pb::Decision {
    pb::Decision {
        path: GHC.into(),
        values: vec![value(GHC, 0, &["alice", "bob"], 1_904_204_568, &[GLIBC, OPENSSL])],
        accepted: fingerprint(GHC, 0),
        sentence: "Accepted. example built these bytes and rule today needs no more. Rule main is in warn mode and would say: Refused: builders disagree.".into(),
        rule: "today".into(),
        rule_line: 11,
        rule_text: "rule   today  quorum=today level=path".into(),
        warned: Some(Box::new(pb::Decision { path: GHC.into(), ..conflict() })),
        fallen_from: Some(Box::new(pb::Decision { path: GHC.into(), ..insufficient() })),
        ..accepted()
    }
}

pub(crate) fn no_data(path: &str) -> pb::Decision {
    main_rule(pb::Decision {
        path: path.into(),
        outcome: pb::Outcome::Unknown.into(),
        sentence: "Refused: no data. None of the policy's builders and caches has said anything about this path.".into(),
        operators: vec![operator("alice", pb::OperatorState::Silent, &[], "", path)],
        steps: vec!["No value is known.".into()],
        ..Default::default()
    })
}
