//! The aggregator's store in memory. Counts, contested outputs and names are computed from the statements each
//! time they are asked for, which makes it an oracle for stores that maintain them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use quorix_nix::store_path::{HashPart, StorePath};
use quorix_tlog::hash::Hash;
use quorix_tlog::tile::TileId;
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{
    CommitError, Counts, Equivocation, Facet, Facts, FollowBatch, Head, IndexStore,
    IndexedStatement, Kept, KeptOf, Lift, OTHER_SYSTEMS, Place, Room, SYSTEMS_PER_DAY_MAX,
    Standing, StandingChange, StoreError, StoredCheckpoint, Tally, TallyKey, TileStore, forgotten,
    room_for, tallied,
};

use super::Tree;

/// The aggregator's store in memory. Clones are the same store.
#[derive(Clone, Debug, Default)]
pub struct MemoryIndex {
    state: Arc<Mutex<State>>,
    gate: Arc<(Mutex<Gate>, Condvar)>,
}

/// Where steps wait.
#[derive(Debug, Default)]
struct Gate {
    is_shut: bool,
    waiting: usize,
}

#[derive(Debug, Default)]
struct State {
    mirrors: BTreeMap<String, Mirror>,
    outputs: BTreeMap<HashPart, Vec<IndexedStatement>>,
    facts: BTreeMap<(String, u64), Facts>,
}

#[derive(Debug, Default)]
struct Mirror {
    tree: Tree,
    leaf_at: BTreeMap<u64, Hash>,
    opaque: u64,
    equivocation: Option<Equivocation>,
    checkpoints: BTreeMap<u64, StoredCheckpoint>,
    cosigned: Option<StoredCheckpoint>,
    lifts: Vec<Lift>,
}

impl MemoryIndex {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Steps of following wait from now on until [`release`](Self::release), before anything of them is written.
    pub fn hold(&self) {
        self.gate().is_shut = true;
    }

    /// Waits until a step is held.
    pub fn wait_until_a_step_is_held(&self) {
        let mut gate = self.gate();
        while gate.waiting == 0 {
            gate = self.wait(gate);
        }
    }

    /// Lets steps pass again.
    pub fn release(&self) {
        self.gate().is_shut = false;
        self.gate.1.notify_all();
    }

    fn pass(&self) {
        let mut gate = self.gate();
        gate.waiting += 1;
        self.gate.1.notify_all();
        while gate.is_shut {
            gate = self.wait(gate);
        }
        gate.waiting -= 1;
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        let gate = self.gate.0.lock();
        gate.expect("no test panics while it holds the gate")
    }

    fn wait<'a>(&self, gate: MutexGuard<'a, Gate>) -> MutexGuard<'a, Gate> {
        let gate = self.gate.1.wait(gate);
        gate.expect("no test panics while it holds the gate")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the store")
    }
}

impl State {
    fn facts_of(&self, statement: &IndexedStatement) -> Option<&Facts> {
        match &statement.place {
            Place::Leaf { origin, index } => self.facts.get(&(origin.clone(), *index)),
            Place::Unlogged { .. } => None,
        }
    }

    fn standings(&self) -> BTreeMap<HashPart, Standing> {
        self.outputs
            .iter()
            .map(|(output, statements)| (output.clone(), Standing::of(statements)))
            .collect()
    }

    fn add(&mut self, statement: &IndexedStatement) {
        let kept = self.outputs.entry(statement.path.hash_part()).or_default();
        if kept.iter().any(|kept| same_but_withdrawal(kept, statement)) {
            return;
        }
        match room_for(kept.iter(), statement) {
            Room::Add => kept.push(statement.clone()),
            Room::Replace(position) => kept[position] = statement.clone(),
            Room::Full => {}
        }
        kept.sort();
    }

    fn withdraw(&mut self, origin: &str, leaf: &Hash, by: u64) {
        let leaf_at = self.mirrors.get(origin).map(|mirror| &mirror.leaf_at);
        for statement in self.outputs.values_mut().flatten() {
            let Place::Leaf { origin: at, index } = &statement.place else {
                continue;
            };
            let is_named =
                at == origin && leaf_at.and_then(|leaves| leaves.get(index)) == Some(leaf);
            let is_own = is_named && statement.voice == origin;
            if is_own && *index < by && statement.withdrawn_by.is_none() {
                statement.withdrawn_by = Some(by);
            }
        }
    }

    fn changes_since(&self, before: &BTreeMap<HashPart, Standing>) -> Vec<StandingChange> {
        let after = self.standings().into_iter();
        after
            .filter_map(|(output, after)| {
                let before = before.get(&output).copied().unwrap_or(Standing::NoData);
                let path = self.outputs[&output][0].path.clone();
                (before != after).then_some(StandingChange {
                    output: path,
                    before,
                    after,
                })
            })
            .collect()
    }
}

fn same_but_withdrawal(a: &IndexedStatement, b: &IndexedStatement) -> bool {
    (&a.path, &a.value, &a.voice, &a.place) == (&b.path, &b.value, &b.voice, &b.place)
}

impl IndexStore for MemoryIndex {
    fn mirror(&self, origin: &str) -> Box<dyn TileStore> {
        Box::new(MirrorOf {
            index: self.clone(),
            origin: origin.to_owned(),
        })
    }

    fn advance(
        &self,
        origin: &str,
        expected: u64,
        batch: &FollowBatch,
    ) -> Result<Vec<StandingChange>, CommitError> {
        self.pass();
        let mut state = self.state();
        let before = state.standings();
        let mirror = state.mirrors.entry(origin.to_owned()).or_default();
        mirror.tree.commit(expected, &batch.tree)?;
        mirror.leaf_at.extend(
            batch
                .tree
                .leaves
                .iter()
                .map(|(leaf, index)| (*index, *leaf)),
        );
        mirror.opaque += batch.opaque;
        for facts in &batch.facts {
            state
                .facts
                .insert((origin.to_owned(), facts.index), facts.clone());
        }
        for statement in &batch.statements {
            state.add(statement);
        }
        for (leaf, by) in &batch.retractions {
            state.withdraw(origin, leaf, *by);
        }
        Ok(state.changes_since(&before))
    }

    fn opaque(&self, origin: &str) -> Result<u64, StoreError> {
        Ok(self
            .state()
            .mirrors
            .get(origin)
            .map_or(0, |mirror| mirror.opaque))
    }

    fn observe(&self, statement: &IndexedStatement) -> Result<Option<StandingChange>, StoreError> {
        let mut state = self.state();
        let before = state.standings();
        state.add(statement);
        Ok(state.changes_since(&before).pop())
    }

    fn statements(&self, output: &HashPart) -> Result<Vec<IndexedStatement>, StoreError> {
        Ok(self
            .state()
            .outputs
            .get(output)
            .cloned()
            .unwrap_or_default())
    }

    fn quarantine(&self, origin: &str, proof: &Equivocation) -> Result<(), StoreError> {
        let mut state = self.state();
        let mirror = state.mirrors.entry(origin.to_owned()).or_default();
        let is_lifted = |lift: &Lift| lift.proof.is_of_the_same_checkpoints(proof);
        if !mirror.lifts.iter().any(is_lifted) {
            mirror.equivocation.get_or_insert_with(|| proof.clone());
        }
        Ok(())
    }

    fn keep_checkpoint(
        &self,
        origin: &str,
        checkpoint: &StoredCheckpoint,
    ) -> Result<(), StoreError> {
        let mut state = self.state();
        let mirror = state.mirrors.entry(origin.to_owned()).or_default();
        if mirror.checkpoints.contains_key(&checkpoint.size) {
            return Ok(());
        }
        let mirrored = mirror.tree.head.as_ref().map_or(0, |head| head.size);
        let ahead = mirror.checkpoints.range(mirrored + 1..);
        let ahead: Vec<_> = ahead.map(|(size, kept)| (kept.at_s, *size)).collect();
        mirror
            .checkpoints
            .insert(checkpoint.size, checkpoint.clone());
        if checkpoint.size > mirrored
            && let Some(size) = forgotten(&ahead, checkpoint.size)
        {
            mirror.checkpoints.remove(&size);
        }
        Ok(())
    }

    fn amend_checkpoint(&self, origin: &str, size: u64, note: &[u8]) -> Result<(), StoreError> {
        let mut state = self.state();
        let mirror = state.mirrors.entry(origin.to_owned()).or_default();
        if let Some(kept) = mirror.checkpoints.get_mut(&size) {
            kept.note = note.to_vec();
        }
        Ok(())
    }

    fn checkpoints(
        &self,
        origin: &str,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StoredCheckpoint>, StoreError> {
        let state = self.state();
        let Some(mirror) = state.mirrors.get(origin) else {
            return Ok(Vec::new());
        };
        let kept = mirror.checkpoints.range(from..).take(limit);
        Ok(kept.map(|(_, checkpoint)| checkpoint.clone()).collect())
    }

    fn newest_checkpoint(&self, origin: &str) -> Result<Option<StoredCheckpoint>, StoreError> {
        let state = self.state();
        let mirror = state.mirrors.get(origin);
        let newest = mirror.and_then(|mirror| mirror.checkpoints.last_key_value());
        Ok(newest.map(|(_, checkpoint)| checkpoint.clone()))
    }

    fn keep_cosigned(&self, origin: &str, cosigned: &StoredCheckpoint) -> Result<(), StoreError> {
        let mut state = self.state();
        let mirror = state.mirrors.entry(origin.to_owned()).or_default();
        mirror.cosigned = Some(cosigned.clone());
        Ok(())
    }

    fn cosigned(&self, origin: &str) -> Result<Option<StoredCheckpoint>, StoreError> {
        let state = self.state();
        let mirror = state.mirrors.get(origin);
        Ok(mirror.and_then(|mirror| mirror.cosigned.clone()))
    }

    fn lift(&self, origin: &str, at_s: u64, reason: &str) -> Result<Option<Lift>, StoreError> {
        let mut state = self.state();
        let mirror = state.mirrors.entry(origin.to_owned()).or_default();
        let reason = reason.to_owned();
        let lift = mirror.equivocation.take().map(|proof| Lift {
            at_s,
            reason,
            proof,
        });
        if lift.is_some() {
            let size = mirror.tree.head.as_ref().map_or(0, |head| head.size);
            mirror.checkpoints.retain(|kept, _| *kept <= size);
        }
        mirror.lifts.extend(lift.clone());
        Ok(lift)
    }

    fn lifts(&self, origin: &str) -> Result<Vec<Lift>, StoreError> {
        let state = self.state();
        let mirror = state.mirrors.get(origin);
        Ok(mirror.map_or_else(Vec::new, |mirror| mirror.lifts.clone()))
    }

    fn outputs(&self, after: Option<&HashPart>, limit: usize) -> Result<Vec<HashPart>, StoreError> {
        let state = self.state();
        let outputs = state.outputs.keys();
        let beyond = outputs.filter(|output| after.is_none_or(|after| *output > after));
        Ok(beyond.take(limit).cloned().collect())
    }

    fn find(
        &self,
        facet: &Facet,
        after: Option<&HashPart>,
        limit: usize,
    ) -> Result<Vec<HashPart>, StoreError> {
        let state = self.state();
        let has = |statement: &&IndexedStatement| {
            state.facts_of(statement).is_some_and(|facts| match facet {
                Facet::Derivation(drv) => facts.drv.as_ref() == Some(drv),
                Facet::NarHash(hash) => facts.nar_hash == *hash,
                Facet::System(system) => facts.system == *system,
            })
        };
        let found: BTreeSet<[u8; 20]> = state
            .outputs
            .values()
            .flatten()
            .filter(has)
            .map(|statement| statement.path.hash_part().to_bytes())
            .collect();
        let found = found.into_iter();
        Ok(found
            .filter(|output| after.is_none_or(|after| *output > after.to_bytes()))
            .take(limit)
            .map(|output| HashPart::from_bytes(&output))
            .collect())
    }

    fn tallies(
        &self,
        days_max: usize,
        pairs_max: usize,
    ) -> Result<Vec<(TallyKey, Tally)>, StoreError> {
        let state = self.state();
        let mut tallies: BTreeMap<TallyKey, Tally> = BTreeMap::new();
        for statements in state.outputs.values() {
            let at = |statement| {
                let facts = state.facts_of(statement);
                facts.map(|facts| (facts.day, facts.system.as_str()))
            };
            let said: Vec<_> = statements
                .iter()
                .map(|statement| (statement, at(statement)))
                .collect();
            for (key, standing) in tallied(&said) {
                *tallies.entry(key).or_default().of(standing) += 1;
            }
        }
        let (days, pairs): (Vec<_>, Vec<_>) = folded(tallies)
            .into_iter()
            .partition(|(key, _)| matches!(key, TallyKey::Day { .. }));
        let surplus = days.len().saturating_sub(days_max);
        let days = days.into_iter().skip(surplus);
        Ok(days.chain(pairs.into_iter().take(pairs_max)).collect())
    }

    fn all_kept(
        &self,
        take: &mut dyn FnMut(KeptOf) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let state = self.state();
        for (origin, mirror) in &state.mirrors {
            let checkpoints = mirror.checkpoints.values().cloned().map(Kept::Checkpoint);
            let cosigned = mirror.cosigned.clone().map(Kept::Cosigned);
            let proof = mirror.equivocation.clone().map(Kept::Equivocation);
            let lifts = mirror.lifts.iter().cloned().map(Kept::Lift);
            for kept in checkpoints.chain(cosigned).chain(proof).chain(lifts) {
                let log = origin.clone().into_bytes();
                take(KeptOf { log, kept })?;
            }
        }
        Ok(())
    }

    fn take_over(&self, kept: &[KeptOf]) -> Result<(), StoreError> {
        let mut state = self.state();
        for KeptOf { log, kept } in kept {
            let origin = String::from_utf8(log.clone()).expect("a log of a store in memory");
            let mirror = state.mirrors.entry(origin).or_default();
            match kept.clone() {
                Kept::Checkpoint(kept) => drop(mirror.checkpoints.insert(kept.size, kept)),
                Kept::Cosigned(cosigned) => mirror.cosigned = Some(cosigned),
                Kept::Equivocation(proof) => mirror.equivocation = Some(proof),
                Kept::Lift(lift) => mirror.lifts.push(lift),
            }
        }
        Ok(())
    }

    fn equivocation(&self, origin: &str) -> Result<Option<Equivocation>, StoreError> {
        Ok(self
            .state()
            .mirrors
            .get(origin)
            .and_then(|mirror| mirror.equivocation.clone()))
    }

    fn counts(&self) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
        for standing in self.state().standings().into_values() {
            counts.outputs += 1;
            match standing {
                Standing::Agree => counts.agree += 1,
                Standing::Disagree => counts.disagree += 1,
                Standing::OneBuilder => counts.one_builder += 1,
                Standing::NoData => {}
            }
        }
        Ok(counts)
    }

    fn disagreements(
        &self,
        after: Option<&HashPart>,
        limit: usize,
    ) -> Result<Vec<HashPart>, StoreError> {
        let standings = self.state().standings().into_iter();
        let contested = standings
            .filter(|(_, standing)| *standing == Standing::Disagree)
            .map(|(output, _)| output);
        Ok(contested
            .filter(|output| after.is_none_or(|after| output > after))
            .take(limit)
            .collect())
    }

    fn by_name(&self, prefix: &str, limit: usize) -> Result<Vec<StorePath>, StoreError> {
        let state = self.state();
        let paths = state
            .outputs
            .values()
            .flatten()
            .map(|statement| &statement.path);
        let named: BTreeSet<_> = paths
            .filter(|path| path.name().starts_with(prefix))
            .map(|path| (path.name(), path))
            .collect();
        Ok(named
            .into_iter()
            .take(limit)
            .map(|(_, path)| path.clone())
            .collect())
    }
}

/// With the surplus systems of each day as one.
fn folded(tallies: BTreeMap<TallyKey, Tally>) -> BTreeMap<TallyKey, Tally> {
    let (mut folded, mut systems) = (BTreeMap::<TallyKey, Tally>::new(), BTreeMap::new());
    for (mut key, tally) in tallies {
        if let TallyKey::Day { day, system } = &mut key {
            let of_day: &mut usize = systems.entry(*day).or_default();
            *of_day += 1;
            if *of_day > SYSTEMS_PER_DAY_MAX {
                *system = OTHER_SYSTEMS.to_owned();
            }
        }
        folded.entry(key).or_default().add(tally);
    }
    folded
}

struct MirrorOf {
    index: MemoryIndex,
    origin: String,
}

impl MirrorOf {
    fn read<T>(&self, read: impl FnOnce(&Tree) -> Option<T>) -> Result<Option<T>, StoreError> {
        Ok(self
            .index
            .state()
            .mirrors
            .get(&self.origin)
            .and_then(|mirror| read(&mirror.tree)))
    }
}

impl TileStore for MirrorOf {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.read(|tree| tree.head.clone())
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|tree| tree.tiles.get(&id).cloned())
    }

    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|tree| tree.blobs.get(id).cloned())
    }

    fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        self.read(|tree| tree.leaves.get(leaf).copied())
    }
}
