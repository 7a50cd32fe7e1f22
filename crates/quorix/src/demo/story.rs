//! The story, step by step: what is done, what must follow from it, and whether it did.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_trust::decision::{Decision, Outcome};
use quorix_trust::explain;

use super::caches;
use super::client::{Client, until};
use super::nix::Nix;
use super::samples::Samples;
use super::world::{BuilderHost, UserHost};
use crate::output::{self, Failure};

/// Everything that is built.
const ATTRIBUTES: [&str; 5] = ["greeting", "hello", "manual", "clock", "alarm"];
/// What the altered file says.
const LIE: &str = "Hello, world, and send me your passwords\n";

/// The story and everything that plays in it.
pub(super) struct Story {
    dir: PathBuf,
    quorix: PathBuf,
    stage: Stage,
    builders: Vec<BuilderHost>,
    user: Option<UserHost>,
    paths: BTreeMap<String, StorePath>,
    began: Instant,
    is_as_told: bool,
    step: u32,
}

/// Where packages come from and go to.
enum Stage {
    /// Built and installed by the real Nix.
    Nix(Nix),
    /// Sample trees and our own client.
    Samples(Samples),
}

impl Story {
    pub(super) fn new(dir: &Path, quorix: &Path, samples: bool) -> Result<Self, Failure> {
        let missing = Nix::missing();
        let stage = match &missing {
            None if !samples => Stage::Nix(Nix::prepare(dir)?),
            _ => Stage::Samples(Samples::new()),
        };
        output::answer(
            "Quorix installs a binary because enough independent builders got the same bytes.",
        );
        match (&stage, missing) {
            (Stage::Nix(nix), _) if nix.uses_sudo() => {
                output::answer(
                    "Nix runs through sudo here: this user may not make user namespaces.",
                );
            }
            (Stage::Nix(_), _) => {}
            (Stage::Samples(_), Some(missing)) => output::answer(format_args!(
                "Without Nix here ({missing}),\nthe story is told with built-in sample trees and our own client."
            )),
            (Stage::Samples(_), None) => {
                output::answer("The story is told with built-in sample trees and our own client.")
            }
        }
        Ok(Self {
            dir: dir.into(),
            quorix: quorix.into(),
            stage,
            builders: Vec::new(),
            user: None,
            paths: BTreeMap::new(),
            began: Instant::now(),
            is_as_told: true,
            step: 0,
        })
    }

    /// Tells it all. True if everything happened as told.
    pub(super) async fn tell(&mut self) -> Result<bool, Failure> {
        self.builders_start().await?;
        self.builders_build().await?;
        let sources = self.caches_open().await?;
        self.user_starts(&sources).await?;
        self.decisions().await?;
        self.install_what_is_agreed().await?;
        self.install_what_is_not().await?;
        Ok(self.is_as_told)
    }

    /// Where to look, and how to end it.
    pub(super) fn farewell(&self) {
        let Some(user) = &self.user else { return };
        let (config, quorix) = (user.config.display(), self.quorix.display());
        let clock = self
            .paths
            .get("clock")
            .map(|path| StoreDir::default().join(path));
        output::answer(format_args!(
            "\nEverything is still running.\n\n  dashboard    http://{}\n  substituter  {}\n\nAsk for yourself:\n\n  {quorix} decide --config {config} {}\n  {quorix} log status --config {config}\n\nCtrl-C stops it and removes {}.",
            user.dashboard,
            user.substituter(),
            clock.unwrap_or_default(),
            self.dir.display(),
        ));
    }

    async fn builders_start(&mut self) -> Result<(), Failure> {
        self.chapter("Three builders, each with a Nix store and a signed log of its own");
        for name in ["alice", "bob", "carol"] {
            let mut builder = BuilderHost::create(&self.dir, name, &self.quorix, self.hook_user())?;
            builder.start().await?;
            output::answer(format_args!(
                "   {name:6} log {}  at {}",
                builder.vkey().name().as_str(),
                builder.url()
            ));
            self.builders.push(builder);
        }
        Ok(())
    }

    fn hook_user(&self) -> Option<u32> {
        use std::os::unix::fs::MetadataExt as _;
        let Stage::Nix(nix) = &self.stage else {
            return None;
        };
        let user = std::fs::metadata(&self.dir).ok()?.uid();
        nix.uses_sudo().then_some(user)
    }

    async fn builders_build(&mut self) -> Result<(), Failure> {
        self.chapter(
            "Each builds the same five packages; Nix's post-build hook attests what came out",
        );
        let carol_store = self
            .builders
            .get(2)
            .map(|carol| carol.store.clone())
            .unwrap_or_default();
        for (number, builder) in self.builders.iter().enumerate() {
            let is_carol = number == 2;
            match &mut self.stage {
                Stage::Nix(nix) => {
                    if is_carol {
                        let first = nix
                            .build(&builder.store, &["greeting"], Some(&builder.hook))
                            .await?;
                        attested(builder, 1).await?;
                        let greeting = first
                            .get("greeting")
                            .ok_or_else(|| Failure::unknown("nothing was built"))?;
                        let file = carol_store
                            .join("nix/store")
                            .join(greeting.as_str())
                            .join("greeting");
                        nix.alter(&file, LIE).await?;
                    }
                    self.paths = nix
                        .build(&builder.store, &ATTRIBUTES, Some(&builder.hook))
                        .await?;
                }
                Stage::Samples(samples) => {
                    self.paths = samples.build(builder, is_carol.then_some(LIE)).await?
                }
            }
            let entries = attested(builder, ATTRIBUTES.len() as u64).await?;
            output::answer(format_args!(
                "   {:6} built {}, log has {entries} entries",
                builder.name,
                ATTRIBUTES.len()
            ));
        }
        output::answer(
            "   On carol's machine, a file of greeting was altered before hello was built from it.",
        );
        Ok(())
    }

    async fn caches_open(&mut self) -> Result<Vec<String>, Failure> {
        self.chapter("Two caches carry the bytes; nobody needs to trust them, and the first one is corrupted");
        let (first, second) = (self.dir.join("cache-1"), self.dir.join("cache-2"));
        let [alice, bob, ..] = self.builders.as_slice() else {
            return Err(Failure::unknown("no builders"));
        };
        match &self.stage {
            Stage::Nix(nix) => {
                nix.export(
                    &alice.store,
                    self.paths.values(),
                    &first,
                    "compression=none",
                )
                .await?;
                nix.export(&bob.store, self.paths.values(), &second, "compression=zstd")
                    .await?;
            }
            Stage::Samples(samples) => {
                samples.export(&first)?;
                samples.export(&second)?;
            }
        }
        let altered = caches::corrupt(&first)?;
        let sources = vec![caches::serve(&first).await?, caches::serve(&second).await?];
        output::answer(format_args!(
            "   cache 1  {}  one byte altered in each of {altered} files",
            source(&sources, 0)
        ));
        output::answer(format_args!(
            "   cache 2  {}  as bob made it",
            source(&sources, 1)
        ));
        Ok(sources)
    }

    async fn user_starts(&mut self, sources: &[String]) -> Result<(), Failure> {
        self.chapter("A user wants two of the three to agree, on a path and all that it refers to");
        let mut policy: String = self.builders.iter().map(BuilderHost::policy_line).collect();
        policy += "quorum none\nvoters two-of-three 2 alice bob carol\nrule main quorum=two-of-three level=closure\ndefault main\n";
        for line in policy.lines() {
            output::answer(format_args!("   | {}", shortened(line)));
        }
        let mut user = UserHost::create(&self.dir, "user", &self.quorix, &policy, sources)?;
        user.start().await?;
        let client = Client::new(user.aggregator, &user.substituter())?;
        let followed = until("the aggregator follows all three logs", async || {
            let logs = client.logs().await.ok()?;
            let all = logs
                .iter()
                .all(|log| log.indexed >= ATTRIBUTES.len() as u64);
            all.then(|| logs.iter().map(|log| log.indexed).sum::<u64>())
        });
        output::answer(format_args!(
            "   The aggregator read and verified {} entries of 3 logs.",
            followed.await?
        ));
        self.user = Some(user);
        Ok(())
    }

    async fn decisions(&mut self) -> Result<(), Failure> {
        self.chapter("What is decided, and why");
        let expected = [
            ("greeting", Outcome::Accepted),
            ("hello", Outcome::Accepted),
            ("manual", Outcome::Accepted),
            ("clock", Outcome::Conflict),
            ("alarm", Outcome::BlockedBy),
        ];
        let client = self.client()?;
        output::answer("   ● votes   ○ said so, does not vote   · says nothing of it\n");
        for (attribute, outcome) in expected {
            let path = self.path(attribute)?;
            let decision = client.decide(&path).await?;
            output::answer(format_args!("   {}", StoreDir::default().join(&path)));
            for line in explain::wrapped(&decision.sentence, 74) {
                output::answer(format_args!("   {line}"));
            }
            // The legend stands above, once.
            let matrix = explain::matrix(&decision);
            let rows = matrix.split("\n\n").next().unwrap_or_default();
            for line in rows.trim_start_matches('\n').lines() {
                output::answer(format_args!("   {line}"));
            }
            self.check(
                decision.outcome == outcome,
                &format!("{attribute}: {}", named(outcome)),
            );
            if attribute == "hello" {
                self.check(
                    has_dissent(&decision, "carol"),
                    "hello: carol's other bytes are seen and do not count",
                );
            }
        }
        Ok(())
    }

    async fn install_what_is_agreed(&mut self) -> Result<(), Failure> {
        self.chapter("A client with an empty store, which trusts only the resolver's key, installs hello and manual");
        let (hello, manual) = (self.path("hello")?, self.path("manual")?);
        let store = self.dir.join("client");
        let refusal = self.install(&store, &[&hello, &manual]).await?;
        let took = self.began.elapsed();
        self.check(refusal.is_none(), "hello and manual are installed");
        if let Some(refusal) = refusal {
            output::answer(format_args!("   {refusal}"));
        }
        let installed = store.join("nix/store");
        let text = std::fs::read_to_string(installed.join(hello.as_str()).join("bin/hello"))
            .unwrap_or_default();
        self.check(
            text.contains("Hello, world'") && !text.contains("passwords"),
            "the installed hello is the honest one",
        );
        let metrics = self.metrics().await?;
        let rejected = source_failures(&metrics);
        self.check(rejected > 0, "corrupted bytes of cache 1 were refused before they left the resolver, and cache 2 was asked");
        output::answer(format_args!(
            "   {:.1} s from the start to the first installation through a quorum.",
            took.as_secs_f64()
        ));
        Ok(())
    }

    async fn install_what_is_not(&mut self) -> Result<(), Failure> {
        self.chapter("The same client asks for what the builders do not agree on");
        let store = self.dir.join("client");
        for attribute in ["clock", "alarm"] {
            let path = self.path(attribute)?;
            let refusal = self.install(&store, &[&path]).await?;
            self.check(refusal.is_some(), &format!("{attribute} is not installed"));
            let answer = self.client()?.narinfo(&path).await?;
            self.check(
                answer.is_err(),
                &format!("{attribute} is 404, and Nix would build it here"),
            );
        }
        Ok(())
    }

    /// Installs into the client's store. `None` if it went well, else why not.
    async fn install(&self, store: &Path, paths: &[&StorePath]) -> Result<Option<String>, Failure> {
        let user = self.user()?;
        match &self.stage {
            Stage::Nix(nix) => {
                let ran = nix
                    .install(store, paths, &user.substituter(), &user.key.to_string())
                    .await?;
                Ok((!ran.is_success)
                    .then(|| ran.err.lines().last().unwrap_or("refused").to_owned()))
            }
            Stage::Samples(samples) => {
                samples
                    .install(store, paths, &user.substituter(), &user.key)
                    .await
            }
        }
    }

    async fn metrics(&self) -> Result<String, Failure> {
        let url = format!("http://{}/metrics", self.user()?.metrics);
        self.client()?.text(&url).await
    }

    fn client(&self) -> Result<Client, Failure> {
        let user = self.user()?;
        Client::new(user.aggregator, &user.substituter())
    }

    fn user(&self) -> Result<&UserHost, Failure> {
        self.user
            .as_ref()
            .ok_or_else(|| Failure::unknown("the user's quorix does not run"))
    }

    fn path(&self, attribute: &str) -> Result<StorePath, Failure> {
        self.paths
            .get(attribute)
            .cloned()
            .ok_or_else(|| Failure::unknown(format!("{attribute} was not built")))
    }

    fn chapter(&mut self, title: &str) {
        self.step += 1;
        output::answer(format_args!("\n{}. {title}\n", self.step));
    }

    fn check(&mut self, is_so: bool, what: &str) {
        self.is_as_told &= is_so;
        output::answer(format_args!(
            "   {} {what}",
            if is_so { "✓" } else { "✗ NOT SO:" }
        ));
    }
}

/// Waits until a builder's log has so many entries.
async fn attested(builder: &BuilderHost, entries: u64) -> Result<u64, Failure> {
    let checkpoints = Client::new(builder.public, &builder.url())?;
    let url = format!("{}/checkpoint", builder.url());
    until(
        &format!("{} attests {entries} builds", builder.name),
        async || {
            let checkpoint = checkpoints.text(&url).await.ok()?;
            let size: u64 = checkpoint.lines().nth(1)?.parse().ok()?;
            (size >= entries).then_some(size)
        },
    )
    .await
}

fn has_dissent(decision: &Decision, operator: &str) -> bool {
    let accepted = decision
        .values
        .iter()
        .find(|value| Some(value.fingerprint) == decision.accepted);
    let letter = accepted.map(|value| &value.letter);
    decision.operators.iter().any(|one| {
        one.operator == operator && !one.letters.is_empty() && one.letters.first() != letter
    })
}

/// How often a source gave bytes that were refused, from the resolver's metrics.
fn source_failures(metrics: &str) -> u64 {
    let lines = metrics
        .lines()
        .filter(|line| line.starts_with("quorix_resolver_source_failures"));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|count| count as u64)
        .sum()
}

fn named(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Conflict => "refused, the builders disagree",
        Outcome::BlockedBy => "refused, it refers to something that is not accepted",
        _ => "decided",
    }
}

fn source(sources: &[String], index: usize) -> &str {
    sources.get(index).map(String::as_str).unwrap_or_default()
}

/// A policy line without the middle of its keys.
fn shortened(line: &str) -> String {
    let words = line
        .split(' ')
        .map(|word| match word.char_indices().nth(30) {
            Some((end, _)) if word.contains('+') || word.contains("key=") => {
                format!("{}…", word.get(..end).unwrap_or(word))
            }
            _ => word.to_owned(),
        });
    words.collect::<Vec<_>>().join(" ")
}
