//! What the builders of a simulation really put into their logs, in one history or in two.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::store_path::{HashPart, StoreDir};
use quorix_testkit::entries::{
    a_path, a_retraction_of, a_small_entry, an_attestation, bytes_of, log_key,
};
use quorix_testkit::tree::{blob_id, hash_bytes, naive_bundle, naive_root, naive_tile};
use quorix_tlog::bundle;
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::note::SigningKey;
use quorix_tlog::tile::{TileLevel, TilePath};
use quorix_trust::attestation::Build;
use quorix_trust::evidence::{Evidence, LogEvidence, LogState, Said, Source, Statement};

use crate::tests::dice::Dice;

/// The outputs that the world knows. `app` refers to `lib`.
pub(super) const OUTPUTS: [&str; 4] = ["lib", "app", "tool", "rare"];

/// What a builder is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Character {
    /// Says what it built, and now and then takes it back.
    Honest,
    /// Says what is not so, and contradicts itself.
    Lying,
    /// Keeps two histories.
    Forking,
}

/// A part of one history of a log: what a checkpoint covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct View {
    pub(super) branch: usize,
    pub(super) size: usize,
}

/// One builder's log as it really is.
pub(super) struct TrueLog {
    pub(super) name: String,
    pub(super) operator: String,
    pub(super) key: SigningKey,
    pub(super) character: Character,
    pub(super) branches: Vec<Branch>,
    checkpoints: BTreeMap<View, Vec<u8>>,
}

#[derive(Clone, Default)]
pub(super) struct Branch {
    entries: Vec<Word>,
    bytes: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
    /// By size, of those that were asked for.
    roots: RefCell<BTreeMap<usize, Hash>>,
}

/// What an entry says.
#[derive(Clone)]
enum Word {
    Build(Rc<Built>),
    /// Withdraws the entry at this index.
    Withdraws(usize),
    Nothing,
}

struct Built {
    build: Build,
    facts: Fingerprint,
    blob: Vec<u8>,
}

/// What an append was, for the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Appended {
    Truth,
    Lie,
    Contradiction,
    Withdrawal,
}

impl TrueLog {
    pub(super) fn new(name: &str, operator: &str, character: Character) -> Self {
        Self {
            name: name.to_owned(),
            operator: operator.to_owned(),
            key: log_key(&format!("logs.example.org/{name}")),
            character,
            branches: vec![Branch::default()],
            checkpoints: BTreeMap::new(),
        }
    }

    pub(super) fn origin(&self) -> String {
        format!("logs.example.org/{}", self.name)
    }

    pub(super) fn newest(&self, branch: usize) -> View {
        let size = self.branches[branch].leaves.len();
        View { branch, size }
    }

    /// Entries that say nothing about any output, so that the tree is large enough to have more than one tile.
    pub(super) fn fill(&mut self, count: u64) {
        for number in 0..count {
            self.branches[0].push(Word::Nothing, a_small_entry(number));
        }
    }

    /// Appends what such a builder appends. `serial` is different each time.
    pub(super) fn append(&mut self, branch: usize, dice: &mut Dice, serial: u64) -> Appended {
        let is_liar = self.character == Character::Lying || branch > 0;
        let branch = &mut self.branches[branch];
        let said: Vec<usize> = (0..branch.entries.len())
            .filter(|index| branch.may_be_withdrawn(*index))
            .collect();
        if !said.is_empty() && dice.one_in(9) {
            let index = dice.pick(&said);
            let bytes = bytes_of(&a_retraction_of(&[&branch.bytes[index]]));
            branch.push(Word::Withdraws(index), bytes);
            return Appended::Withdrawal;
        }
        let output = dice.pick(&OUTPUTS);
        let value = if is_liar && !dice.one_in(3) { "B" } else { "A" };
        let mut attested = an_attestation()
            .of(output)
            .saying(value)
            .finished_at(1_767_225_600 + serial);
        if output == "app" {
            attested = attested.referring_to(&["lib"]);
            if dice.one_in(3) {
                attested = attested.with_references_in_a_blob();
            }
        }
        let facts = attested.facts();
        let contradicts = branch.entries.iter().any(|word| {
            matches!(word, Word::Build(before) if before.facts.path == facts.path && before.facts != facts)
        });
        let bytes = attested.bytes();
        let built = Built {
            build: attested.build(),
            facts,
            blob: attested.blob(),
        };
        branch.push(Word::Build(Rc::new(built)), bytes);
        match (contradicts, value) {
            (true, _) => Appended::Contradiction,
            (false, "A") => Appended::Truth,
            _ => Appended::Lie,
        }
    }

    /// Begins a second history, which has the first `shared` entries of the first one.
    pub(super) fn fork(&mut self, shared: usize) {
        let branch = self.branches[0].first(shared);
        self.branches.push(branch);
    }

    pub(super) fn root(&self, view: View) -> Hash {
        let branch = &self.branches[view.branch];
        let mut roots = branch.roots.borrow_mut();
        *roots
            .entry(view.size)
            .or_insert_with(|| naive_root(&branch.leaves[..view.size]))
    }

    /// The view with this size and root, if the log ever had one.
    pub(super) fn view_of(&self, size: u64, root: Hash) -> Option<View> {
        let size = usize::try_from(size).ok()?;
        let views = (0..self.branches.len()).map(|branch| View { branch, size });
        let mut of_size = views.filter(|view| size <= self.branches[view.branch].leaves.len());
        of_size.find(|view| self.root(*view) == root)
    }

    /// Whether two views cannot both be of one log that only grew.
    pub(super) fn contradict(&self, one: View, other: View) -> bool {
        let size = one.size.min(other.size);
        self.root(View { size, ..one }) != self.root(View { size, ..other })
    }

    pub(super) fn checkpoint(&mut self, view: View) -> Vec<u8> {
        let checkpoint = Checkpoint {
            origin: self.origin(),
            size: u64::try_from(view.size).unwrap(),
            root: self.root(view),
            extensions: Vec::new(),
        };
        let key = &self.key;
        self.checkpoints
            .entry(view)
            .or_insert_with(|| checkpoint.sign(key).unwrap())
            .clone()
    }

    /// A file of the static API below a checkpoint; `None` where there is no such file.
    pub(super) fn file(&self, view: View, path: &str) -> Option<Vec<u8>> {
        let branch = &self.branches[view.branch];
        if let Some(name) = path.strip_prefix("blob/") {
            let blobs = branch.entries.iter().filter_map(|word| match word {
                Word::Build(built) => Some(built.blob.clone()),
                _ => None,
            });
            let mut named = blobs.filter(|blob| Hash::from_bytes(blob_id(blob)).to_hex() == name);
            return named.next();
        }
        let TilePath { id, width } = path.parse().ok()?;
        match id.level {
            TileLevel::Hashes(level) => {
                let hashes = naive_tile(&branch.leaves[..view.size], level, id.index);
                hashes.get(..usize::from(width)).map(hash_bytes)
            }
            TileLevel::Entries => {
                let bytes = self.bundle(view, id.index);
                bundle::prefix(&bytes, width).ok().map(<[u8]>::to_vec)
            }
        }
    }

    /// All of an entry bundle that there is below a checkpoint.
    pub(super) fn bundle(&self, view: View, index: u64) -> Vec<u8> {
        naive_bundle(&self.branches[view.branch].bytes[..view.size], index)
    }

    /// Adds what a view says, and how the log stands, to evidence.
    pub(super) fn tell(&self, view: View, state: LogState, evidence: &mut Evidence) {
        let origin = self.origin();
        let log = LogEvidence {
            state,
            size: u64::try_from(view.size).unwrap(),
            cosigned: BTreeMap::new(),
            history: Vec::new(),
        };
        evidence.store_dir = StoreDir::default();
        evidence.logs.insert(origin.clone(), log);
        let words = &self.branches[view.branch].entries[..view.size];
        for (index, word) in words.iter().enumerate() {
            let Word::Build(built) = word else {
                continue;
            };
            let withdrawn = words
                .iter()
                .any(|word| matches!(word, Word::Withdraws(other) if *other == index));
            let facts = built.facts.clone();
            let statements = evidence.outputs.entry(facts.path.hash_part()).or_default();
            statements.push(Statement {
                source: Source::Log {
                    origin: origin.clone(),
                    index: u64::try_from(index).unwrap(),
                },
                said: Said::Build(Box::new(built.build.clone())),
                facts: Some(facts),
                inputs: None,
                withdrawn,
            });
        }
    }
}

impl Branch {
    fn push(&mut self, word: Word, bytes: Vec<u8>) {
        self.leaves.push(leaf_hash(&bytes));
        self.bytes.push(bytes);
        self.entries.push(word);
    }

    fn first(&self, size: usize) -> Self {
        Self {
            entries: self.entries[..size].to_vec(),
            bytes: self.bytes[..size].to_vec(),
            leaves: self.leaves[..size].to_vec(),
            roots: RefCell::default(),
        }
    }

    fn may_be_withdrawn(&self, index: usize) -> bool {
        let is_withdrawn = |word: &Word| matches!(word, Word::Withdraws(other) if *other == index);
        matches!(self.entries[index], Word::Build(_)) && !self.entries.iter().any(is_withdrawn)
    }
}

/// The hash part of an output's name.
pub(super) fn asked(output: &str) -> HashPart {
    a_path(output).hash_part()
}
