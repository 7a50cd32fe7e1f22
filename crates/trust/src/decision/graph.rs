//! What depends on what, and the least fixed point of it: linear in the edges, without recursion, bounded.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::StorePath;

use super::closure::Settled;
use super::rule::Gate;
use super::{CLOSURE_PATHS_MAX, Outcome, view};
use crate::policy::Policy;

/// What a path by itself comes to.
pub(super) enum Own {
    /// That, whatever else there is.
    Settled(Settled),
    /// Accepted if all of this holds.
    If(Needs),
}

/// What an acceptance takes.
pub(super) struct Needs {
    /// The value that is accepted then.
    pub(super) value: FingerprintDigest,
    /// All of these must be accepted.
    pub(super) references: Vec<StorePath>,
    /// Enough votes of each must have accepted inputs.
    pub(super) gates: Vec<Gate>,
    /// All that is missing then is time.
    pub(super) is_waiting: bool,
}

/// Everything that one path depends on.
pub(super) struct Graph<'p> {
    policy: &'p Policy,
    nodes: Vec<Node>,
    places: BTreeMap<StorePath, usize>,
    /// Not everything that it depends on is in it.
    is_cut: bool,
}

struct Node {
    path: StorePath,
    own: Own,
    accepted: Option<FingerprintDigest>,
    /// References that are not accepted yet.
    open: usize,
    /// By gate and vote: inputs that are not accepted yet.
    open_inputs: Vec<Vec<usize>>,
    /// Who asks for it.
    asked_by: Vec<(usize, Asked)>,
}

/// As what a path is asked for.
#[derive(Clone, Copy)]
enum Asked {
    Reference,
    /// Gate and vote, and the value that it must have.
    Input(usize, usize, Option<FingerprintDigest>),
}

impl<'p> Graph<'p> {
    /// Finds everything that `path` depends on. What is settled is not asked again.
    pub(super) fn walk(
        policy: &'p Policy,
        path: &StorePath,
        settled: &BTreeMap<StorePath, Settled>,
        own: impl Fn(&StorePath) -> Own,
    ) -> Self {
        let mut graph = Self {
            policy,
            nodes: Vec::new(),
            places: BTreeMap::new(),
            is_cut: false,
        };
        let look = |path: &StorePath| match settled.get(path) {
            Some(known) => Own::Settled(known.clone()),
            None => own(path),
        };
        graph.add(path, look(path));
        let mut at = 0_usize;
        while let Some(edges) = graph.nodes.get(at).map(edges) {
            for (other, asked) in edges {
                let place = match graph.places.get(&other) {
                    Some(place) => *place,
                    None if graph.nodes.len() >= CLOSURE_PATHS_MAX => {
                        graph.is_cut = true;
                        continue;
                    }
                    None => graph.add(&other, look(&other)),
                };
                if let Some(node) = graph.nodes.get_mut(place) {
                    node.asked_by.push((at, asked));
                }
            }
            at = at.saturating_add(1);
        }
        graph
    }

    fn add(&mut self, path: &StorePath, own: Own) -> usize {
        let place = self.nodes.len();
        self.places.insert(path.clone(), place);
        let (open, open_inputs) = match &own {
            Own::Settled(_) => (0, Vec::new()),
            Own::If(needs) => {
                let votes = |gate: &Gate| {
                    let inputs = gate.votes.iter().map(|(_, inputs)| inputs);
                    inputs
                        .map(|inputs| inputs.keys().filter(|input| *input != path).count())
                        .collect()
                };
                (
                    needs.references.len(),
                    needs.gates.iter().map(votes).collect(),
                )
            }
        };
        self.nodes.push(Node {
            path: path.clone(),
            own,
            accepted: None,
            open,
            open_inputs,
            asked_by: Vec::new(),
        });
        place
    }

    /// What holds for each path, as far as that is known of more than the first one.
    pub(super) fn settle(mut self) -> Vec<(StorePath, Settled)> {
        self.accept_all();
        let mut settled: BTreeMap<usize, Settled> = BTreeMap::new();
        for place in 0..self.nodes.len() {
            // Where the graph is cut, others than the first may have more that is not in it.
            if place > 0 && self.is_cut && !self.is_accepted(place) {
                continue;
            }
            self.blame(place, &mut settled);
        }
        let nodes = self.nodes.into_iter().enumerate();
        nodes
            .filter_map(|(place, node)| Some((node.path, settled.remove(&place)?)))
            .collect()
    }

    /// Accepts what needs nothing, and what needs only accepted paths, until nothing more is.
    fn accept_all(&mut self) {
        let mut ready: Vec<usize> = (0..self.nodes.len())
            .filter(|place| self.is_ready(*place))
            .collect();
        while let Some(place) = ready.pop() {
            let Some(node) = self.nodes.get_mut(place) else {
                continue;
            };
            let (None, Some(value)) = (node.accepted, node.value()) else {
                continue;
            };
            node.accepted = Some(value);
            for (asker, asked) in std::mem::take(&mut node.asked_by) {
                let node = self.nodes.get_mut(asker);
                // Only the last of what a list or the references wait for can make it ready.
                let is_last = node.is_some_and(|node| node.close(asked, value));
                if is_last && self.is_ready(asker) {
                    ready.push(asker);
                }
            }
        }
    }

    /// Whether all that a path needs is accepted, time aside.
    fn is_complete(&self, place: usize) -> bool {
        let Some(node) = self.nodes.get(place) else {
            return false;
        };
        let Own::If(needs) = &node.own else {
            return matches!(node.own, Own::Settled(Settled::Accepted(_)));
        };
        let gates = needs.gates.iter().zip(&node.open_inputs);
        node.open == 0
            && gates.into_iter().all(|(gate, open)| {
                let votes = |operator: &str| {
                    let mut votes = gate.votes.iter().zip(open);
                    votes.any(|((name, _), open)| name == operator && *open == 0)
                };
                gate.groups
                    .iter()
                    .all(|group| self.policy.is_satisfied(*group, &votes))
            })
    }

    fn is_ready(&self, place: usize) -> bool {
        let waits = |node: &Node| matches!(&node.own, Own::If(needs) if needs.is_waiting);
        self.is_complete(place) && !self.nodes.get(place).is_some_and(waits)
    }

    fn is_accepted(&self, place: usize) -> bool {
        self.nodes
            .get(place)
            .is_some_and(|node| node.accepted.is_some())
    }

    /// Finds what holds for a path: if it is blocked, the first path at the root of that.
    fn blame(&self, place: usize, settled: &mut BTreeMap<usize, Settled>) {
        let (mut chain, mut at) = (Vec::new(), place);
        let mut walked = BTreeSet::new();
        let found = loop {
            if let Some(known) = settled.get(&at) {
                if at == place {
                    return;
                }
                break self.as_blocking(at, known);
            }
            chain.push(at);
            walked.insert(at);
            match self.first_open(at) {
                Err(settled) => break settled,
                Ok(next) if walked.contains(&next) => {
                    let (Some(next), Some(last)) = (self.nodes.get(next), self.nodes.get(at))
                    else {
                        break Settled::Refused(Outcome::Unknown);
                    };
                    let why = format!("{} refers back to {}", next.path.name(), last.path.name());
                    let by = next.path.clone();
                    break Settled::Blocked { by, why };
                }
                Ok(next) => at = next,
            }
        };
        // What refuses by itself blocks all those that led there.
        let mut blocking = found;
        for place in chain.into_iter().rev() {
            let known = &*settled.entry(place).or_insert(blocking);
            blocking = self.as_blocking(place, known);
        }
    }

    /// What holds for a path that needs this one.
    fn as_blocking(&self, place: usize, known: &Settled) -> Settled {
        match (known, self.nodes.get(place)) {
            (Settled::Refused(outcome), Some(node)) => Settled::Blocked {
                by: node.path.clone(),
                why: view::words(*outcome).to_owned(),
            },
            _ => known.clone(),
        }
    }

    /// The first path that keeps this one from being accepted, or what holds for this one by itself.
    fn first_open(&self, place: usize) -> Result<usize, Settled> {
        let Some(node) = self.nodes.get(place) else {
            return Err(Settled::Refused(Outcome::Unknown));
        };
        if let Some(value) = node.accepted {
            return Err(Settled::Accepted(value));
        }
        if let Own::Settled(settled) = &node.own {
            return Err(settled.clone());
        }
        if self.is_complete(place) {
            return Err(Settled::Refused(Outcome::Waiting));
        }
        let mut why = "too few votes have accepted inputs".to_owned();
        let mut by = node.path.clone();
        for (path, asked) in edges(node) {
            let Some(other) = self.places.get(&path) else {
                let why = format!("its closure has more than {CLOSURE_PATHS_MAX} paths");
                return Err(Settled::Blocked { by: path, why });
            };
            match (
                self.nodes.get(*other).and_then(|other| other.accepted),
                asked,
            ) {
                (None, _) => return Ok(*other),
                (Some(accepted), Asked::Input(.., Some(value))) if accepted != value => {
                    why = "a vote was built with other bytes of it than the accepted ones".into();
                    by = path;
                }
                _ => {}
            }
        }
        Err(Settled::Blocked { by, why })
    }
}

impl Node {
    /// The value that it has once it is accepted.
    const fn value(&self) -> Option<FingerprintDigest> {
        match &self.own {
            Own::If(needs) => Some(needs.value),
            Own::Settled(Settled::Accepted(value)) => Some(*value),
            Own::Settled(_) => None,
        }
    }

    /// Something that it asked for is accepted. True if nothing more is open of what that was asked for.
    fn close(&mut self, asked: Asked, accepted: FingerprintDigest) -> bool {
        let open = match asked {
            Asked::Reference => Some(&mut self.open),
            // Other bytes than those that are accepted: this vote never counts.
            Asked::Input(.., Some(value)) if value != accepted => None,
            Asked::Input(gate, vote, _) => self
                .open_inputs
                .get_mut(gate)
                .and_then(|votes| votes.get_mut(vote)),
        };
        open.is_some_and(|open| {
            *open = open.saturating_sub(1);
            *open == 0
        })
    }
}

/// What a path asks for, itself aside: its references, then the inputs of its votes.
fn edges(node: &Node) -> Vec<(StorePath, Asked)> {
    let Own::If(needs) = &node.own else {
        return Vec::new();
    };
    let references = needs.references.iter().cloned();
    let mut edges: Vec<_> = references.map(|path| (path, Asked::Reference)).collect();
    for (number, gate) in needs.gates.iter().enumerate() {
        for (vote, (_, inputs)) in gate.votes.iter().enumerate() {
            let others = inputs.iter().filter(|(path, _)| **path != node.path);
            edges.extend(others.map(|(path, value)| {
                let value = gate.is_exact.then_some(*value);
                (path.clone(), Asked::Input(number, vote, value))
            }));
        }
    }
    edges
}
