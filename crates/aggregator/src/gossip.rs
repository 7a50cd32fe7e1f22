//! Exchanges checkpoints with peers: what a log shows one aggregator is compared with what it shows another.
//!
//! Nobody is believed. A checkpoint counts only with the log's own signature, a proof only if it holds with nothing but
//! the log's key (SEMANTICS §5), so no peer can frame a log. A larger checkpoint than is known is remembered: until the
//! log shows that much here too, it is behind. Bounds: 1,024 checkpoints and 1,024 proofs a call, of one log 4 and 1; one
//! that is new of a log in a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::proof::{prove_older_root, root_of, verify_older_root};
use quorix_trust::ports::{Equivocation, StoreError, StoredCheckpoint};
use quorix_wire::convert;
use quorix_wire::evidence::verify_equivocation;
use quorix_wire::pb;
use quorix_wire::pb::follow_service_client::FollowServiceClient;
use tonic::transport::Channel;

use crate::error::AskError;
use crate::follow::{Disowned, lean, quarantine};
use crate::grpc::EXCHANGE_BYTES_MAX;
use crate::logs::{Held, Log, held};
use crate::machine::{blocking, jitter};
use crate::mirror::{Hashes, unproved};
use crate::service::Shared;

mod parts;

use parts::{answer, parts};

/// Checkpoints in one call, and proofs.
const SEEN_MAX: usize = 1_024;
/// Checkpoints of one log in one call.
const SEEN_OF_ONE_MAX: usize = 4;

/// Another aggregator, of whoever one likes to compare with.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name, for messages and metrics.
    pub name: String,
    /// How it is reached.
    pub channel: Channel,
}

/// What comes of a checkpoint that somebody else was shown.
enum Heard {
    /// Nothing new.
    Known,
    /// It was not shown here, and the mirror does not cover it yet.
    News(StoredCheckpoint),
    /// It contradicts what was shown here.
    Contradicts(Equivocation),
}

impl Shared {
    /// Compares what a peer has with what is here, and says what is here.
    pub(crate) async fn compare(
        self: &Arc<Self>,
        asked: pb::ExchangeCheckpointsRequest,
    ) -> Result<pb::ExchangeCheckpointsResponse, AskError> {
        few("seen", asked.seen.len())?;
        few("proofs", asked.proofs.len())?;
        let seen = asked.seen.iter().map(|one| &one.origin);
        let named = seen.chain(asked.proofs.iter().map(|one| &one.origin));
        let named = named.cloned().collect();
        self.hear(asked.seen, asked.proofs).await;
        Ok(answer(&named, self.seen().await?, self.proofs()))
    }

    /// Proof that is held here.
    fn proofs(&self) -> Vec<pb::SeenEquivocation> {
        let held = |log: &Arc<Log>| {
            let standing = log.standing((self.clock)(), self.config.stale_after);
            let proof = standing.equivocation?;
            Some(pb::SeenEquivocation {
                origin: log.origin.clone(),
                proof: Some(pb::Equivocation::from(proof.as_ref())),
            })
        };
        self.logs.iter().filter_map(held).collect()
    }

    /// What is known of each log: the checkpoint that its mirror is under, with our own cosignature where there is one,
    /// and the largest that it ever showed, where that is another one.
    pub(crate) async fn seen(self: &Arc<Self>) -> Result<Vec<pb::SeenCheckpoint>, StoreError> {
        let shared = self.clone();
        blocking("reading kept checkpoints", move || {
            let mut seen = Vec::new();
            for log in &shared.logs {
                let checkpoint = |signed: SignedCheckpoint| pb::SeenCheckpoint {
                    origin: log.origin.clone(),
                    checkpoint: signed.bytes().to_vec(),
                };
                seen.extend(seen_of(&shared, log)?.map(checkpoint));
            }
            Ok(seen)
        })
        .await
    }

    /// Looks at what somebody else was shown and holds against logs; what no followed log signed is nothing. A mirror that
    /// cannot be read keeps nobody from comparing the others.
    pub(crate) async fn hear(
        self: &Arc<Self>,
        seen: Vec<pb::SeenCheckpoint>,
        proofs: Vec<pb::SeenEquivocation>,
    ) {
        let mut of_log: BTreeMap<String, usize> = BTreeMap::new();
        for one in seen.into_iter().take(SEEN_MAX) {
            let count = of_log.entry(one.origin.clone()).or_default();
            *count = count.saturating_add(1);
            if *count > SEEN_OF_ONE_MAX {
                continue;
            }
            let Some(log) = self.unaccused(&one.origin) else {
                continue;
            };
            let Ok(signed) = SignedCheckpoint::open(&one.checkpoint, &log.key, &log.origin) else {
                continue;
            };
            not_kept(log, self.hear_of(log, signed).await);
        }
        let mut told = BTreeSet::new();
        for one in proofs.into_iter().take(SEEN_MAX) {
            let log = self.unaccused(&one.origin);
            let proof = one.proof.map(convert::equivocation);
            if let (Some(log), Some(Ok(proof))) = (log, proof)
                && told.insert(one.origin)
            {
                not_kept(log, self.accept_proof(log, proof).await);
            }
        }
    }

    /// The followed log of this name, if nothing is proved against it yet.
    fn unaccused(&self, origin: &str) -> Option<&Arc<Log>> {
        let log = self.logs.iter().find(|log| log.origin == origin)?;
        (!log.is_quarantined()).then_some(log)
    }

    async fn hear_of(
        self: &Arc<Self>,
        log: &Arc<Log>,
        signed: SignedCheckpoint,
    ) -> Result<(), StoreError> {
        match self.weigh(log, signed.clone()).await? {
            Heard::Known => Ok(()),
            Heard::News(kept) => {
                if !self.keep_heard(log, kept).await? {
                    return Ok(());
                }
                // The mirror may have reached it between the comparison and the writing.
                match self.weigh(log, signed).await? {
                    Heard::Contradicts(proof) => self.accept_proof(log, proof).await,
                    Heard::Known | Heard::News(_) => Ok(()),
                }
            }
            Heard::Contradicts(proof) => self.accept_proof(log, proof).await,
        }
    }

    async fn weigh(
        self: &Arc<Self>,
        log: &Arc<Log>,
        signed: SignedCheckpoint,
    ) -> Result<Heard, StoreError> {
        let (shared, log) = (self.clone(), log.clone());
        blocking("comparing a checkpoint that a peer was shown", move || {
            weigh(&shared, &log, &signed)
        })
        .await
    }

    /// False if it is not kept, because another one was in this second.
    async fn keep_heard(
        self: &Arc<Self>,
        log: &Arc<Log>,
        kept: StoredCheckpoint,
    ) -> Result<bool, StoreError> {
        if !log.may_hear((self.clock)()) {
            return Ok(false);
        }
        let (index, origin) = (self.index.clone(), log.origin.clone());
        blocking("keeping a checkpoint that a peer was shown", move || {
            index.keep_checkpoint(&origin, &kept)
        })
        .await?;
        log.wake.notify_one();
        Ok(true)
    }

    /// Quarantines a log for a proof that holds with nothing but its key; any other proof is nothing.
    pub(crate) async fn accept_proof(
        self: &Arc<Self>,
        log: &Arc<Log>,
        proof: Equivocation,
    ) -> Result<(), StoreError> {
        if let Err(error) = verify_equivocation(&log.key, &proof) {
            tracing::debug!(log = log.name, %error, "what is said to be proof shows nothing");
            return Ok(());
        }
        if self.is_old_news(log, &proof).await? {
            return Ok(());
        }
        if !log.is_quarantined() && quarantine(self, log, proof).await? {
            let (now_s, config) = ((self.clock)(), &self.config);
            log.tell(now_s, config.stale_after, &self.events, &self.metrics);
        }
        Ok(())
    }

    /// True for proof with a checkpoint that an operator disowned when a quarantine was lifted: peers go on telling of it,
    /// and each makes another pair of it with what the log shows since.
    async fn is_old_news(
        self: &Arc<Self>,
        log: &Arc<Log>,
        proof: &Equivocation,
    ) -> Result<bool, StoreError> {
        let (shared, log, proof) = (self.clone(), log.clone(), proof.clone());
        blocking("reading lifted quarantines", move || {
            let disowned = Disowned::read(shared.index.as_ref(), &log)?;
            Ok(disowned.has_one_of(&log, &proof))
        })
        .await
    }

    /// Exchanges checkpoints with a peer once.
    pub(crate) async fn exchange(self: &Arc<Self>, peer: &Peer) -> Result<(), String> {
        let seen = self.seen().await.map_err(|error| error.to_string())?;
        self.tell_peer(peer, parts(seen, self.proofs())).await
    }

    /// Tells a peer all of these, also what comes after one that it refuses. The error is that of the first.
    pub(crate) async fn tell_peer(
        self: &Arc<Self>,
        peer: &Peer,
        parts: Vec<pb::ExchangeCheckpointsRequest>,
    ) -> Result<(), String> {
        let mut client = FollowServiceClient::new(peer.channel.clone())
            .max_decoding_message_size(EXCHANGE_BYTES_MAX);
        let (limit, mut ended) = (self.config.request_timeout, Ok(()));
        for part in parts {
            let answer = tokio::time::timeout(limit, client.exchange_checkpoints(part))
                .await
                .map_err(|_| format!("no answer within {} ms", limit.as_millis()))?;
            match answer {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    self.hear(answer.seen, answer.proofs).await;
                }
                Err(status) => ended = ended.and(Err(status.message().to_owned())),
            }
        }
        ended
    }

    /// Exchanges checkpoints with a peer again and again.
    pub(crate) async fn gossip(self: Arc<Self>, peer: Peer, interval: Duration) {
        loop {
            let ended = self.exchange(&peer).await;
            let result = if ended.is_ok() { "compared" } else { "failed" };
            self.metrics.gossiped(&peer.name, result);
            if let Err(reason) = ended {
                tracing::warn!(peer = peer.name, reason, "a peer could not be asked");
            }
            tokio::time::sleep(interval.saturating_add(jitter(interval))).await;
        }
    }
}

fn seen_of(
    shared: &Shared,
    log: &Log,
) -> Result<impl Iterator<Item = SignedCheckpoint>, StoreError> {
    let open = |note: Vec<u8>| SignedCheckpoint::open(&note, &log.key, &log.origin).ok();
    let size_of = |signed: &SignedCheckpoint| signed.checkpoint().size;
    let mirrored = match held(log, shared.index.mirror(&log.origin).as_ref())? {
        Some(Held {
            signed: Ok(Some(signed)),
            ..
        }) => Some(lean(&shared.policy, &log.key, &signed)),
        _ => None,
    };
    let cosigned = shared.index.cosigned(&log.origin)?;
    let cosigned = cosigned.and_then(|cosigned| open(cosigned.note));
    let cosigned =
        cosigned.filter(|cosigned| mirrored.as_ref().map(size_of) == Some(size_of(cosigned)));
    let mirrored = cosigned.or(mirrored);
    let newest = shared.index.newest_checkpoint(&log.origin)?;
    let newest = newest.and_then(|newest| open(newest.note));
    let newest = newest.filter(|newest| mirrored.as_ref().map(size_of) != Some(size_of(newest)));
    Ok(mirrored.into_iter().chain(newest))
}

fn few(argument: &str, found: usize) -> Result<(), AskError> {
    if found <= SEEN_MAX {
        return Ok(());
    }
    Err(AskError::Argument {
        argument: argument.to_owned(),
        reason: format!("{found} were given, at most {SEEN_MAX} are allowed"),
    })
}

fn not_kept(log: &Log, heard: Result<(), StoreError>) {
    if let Err(error) = heard {
        tracing::error!(log = log.name, %error, "what a peer was shown could not be compared");
    }
}

fn weigh(shared: &Shared, log: &Log, heard: &SignedCheckpoint) -> Result<Heard, StoreError> {
    let goal = heard.checkpoint();
    if Disowned::read(shared.index.as_ref(), log)?.has(goal) {
        return Ok(Heard::Known);
    }
    let mirror = shared.index.mirror(&log.origin);
    let mut kept = shared.index.checkpoints(&log.origin, goal.size, 1)?;
    kept.retain(|kept| kept.size == goal.size);
    let is_kept = !kept.is_empty();
    let (mirrored, signed) = match held(log, mirror.as_ref())? {
        Some(Held {
            size,
            signed: Ok(signed),
        }) => (size, signed),
        _ => (0, None),
    };
    let open =
        |kept: StoredCheckpoint| SignedCheckpoint::open(&kept.note, &log.key, &log.origin).ok();
    for other in kept.into_iter().filter_map(open).chain(signed.clone()) {
        if other.checkpoint().size == goal.size && other.checkpoint().root != goal.root {
            let proof = shared.proof(log, &other, heard, Vec::new());
            return Ok(Heard::Contradicts(proof));
        }
    }
    let hashes = Hashes(mirror.as_ref());
    // Also while it is being caught up with: what is mirrored was proved to be of a tree that the log signed.
    if goal.size <= mirrored && root_of(&hashes, goal.size).map_err(unproved)? == goal.root {
        return Ok(Heard::Known);
    }
    if let Some(signed) = signed
        && goal.size <= signed.checkpoint().size
    {
        let larger = signed.checkpoint();
        let proof = prove_older_root(&hashes, goal.size, larger.size).map_err(unproved)?;
        let is_proved = verify_older_root(goal.size, larger.size, &larger.root, &proof)
            .is_ok_and(|proved| proved != goal.root);
        return Ok(if is_proved {
            Heard::Contradicts(shared.proof(log, heard, &signed, proof))
        } else {
            Heard::Known
        });
    }
    if is_kept {
        return Ok(Heard::Known);
    }
    Ok(Heard::News(StoredCheckpoint {
        at_s: (shared.clock)(),
        size: goal.size,
        note: lean(&shared.policy, &log.key, heard).bytes().to_vec(),
    }))
}
