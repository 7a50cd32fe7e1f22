//! Exchanges checkpoints with peers: what a log shows one aggregator is compared with what it shows another.
//!
//! Nobody is believed. A checkpoint counts only with the log's own signature, a proof only if it holds with nothing but
//! the log's key (SEMANTICS §5), so no peer can frame a log. A larger checkpoint than is known is remembered: until the
//! log shows that much here too, it is behind. Bounds: 1,024 checkpoints a call, 4 of one log, one that is new of a log in
//! a second.

use std::collections::BTreeMap;
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
use crate::follow::{blocking, quarantine};
use crate::logs::{Held, Log, held};
use crate::mirror::{Hashes, unproved};
use crate::service::Shared;

/// Checkpoints in one call.
const SEEN_MAX: usize = 1_024;
/// Checkpoints of one log in one call.
const SEEN_OF_ONE_MAX: usize = 4;
/// The largest answer of a peer, in bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

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
        seen: Vec<pb::SeenCheckpoint>,
    ) -> Result<pb::ExchangeCheckpointsResponse, AskError> {
        if seen.len() > SEEN_MAX {
            return Err(AskError::Argument {
                argument: "seen".to_owned(),
                reason: format!("{} were given, at most {SEEN_MAX} are allowed", seen.len()),
            });
        }
        self.hear(seen).await?;
        let mut answer = pb::ExchangeCheckpointsResponse {
            seen: self.seen().await?,
            proofs: Vec::new(),
        };
        for log in &self.logs {
            let standing = log.standing((self.clock)(), self.config.stale_after);
            if let Some(proof) = &standing.equivocation {
                answer.proofs.push(pb::SeenEquivocation {
                    origin: log.origin.clone(),
                    proof: Some(pb::Equivocation::from(proof.as_ref())),
                });
            }
        }
        Ok(answer)
    }

    /// What is known of each log: the checkpoint that its mirror is under, with our own cosignature where there is one,
    /// and the largest that it ever showed.
    pub(crate) async fn seen(self: &Arc<Self>) -> Result<Vec<pb::SeenCheckpoint>, StoreError> {
        let shared = self.clone();
        blocking("reading kept checkpoints", move || {
            let mut seen = Vec::new();
            for log in &shared.logs {
                let head = shared.index.mirror(&log.origin).head()?;
                let cosigned = shared.index.cosigned(&log.origin)?;
                let cosigned = cosigned.filter(|cosigned| {
                    head.as_ref().is_some_and(|head| head.size == cosigned.size)
                });
                let mirrored = cosigned
                    .map(|cosigned| cosigned.note)
                    .or(head.map(|head| head.checkpoint))
                    .filter(|note| !note.is_empty());
                let newest = shared.index.newest_checkpoint(&log.origin)?;
                let notes = mirrored.into_iter().chain(newest.map(|newest| newest.note));
                seen.extend(notes.map(|checkpoint| pb::SeenCheckpoint {
                    origin: log.origin.clone(),
                    checkpoint,
                }));
            }
            Ok(seen)
        })
        .await
    }

    /// Looks at what somebody else was shown; what no followed log signed is nothing.
    pub(crate) async fn hear(
        self: &Arc<Self>,
        seen: Vec<pb::SeenCheckpoint>,
    ) -> Result<(), StoreError> {
        let mut of_log: BTreeMap<String, usize> = BTreeMap::new();
        for one in seen.into_iter().take(SEEN_MAX) {
            let count = of_log.entry(one.origin.clone()).or_default();
            *count = count.saturating_add(1);
            let log = self.logs.iter().find(|log| log.origin == one.origin);
            let Some(log) = log.filter(|log| *count <= SEEN_OF_ONE_MAX && !log.is_quarantined())
            else {
                continue;
            };
            let Ok(signed) = SignedCheckpoint::open(&one.checkpoint, &log.key, &log.origin) else {
                continue;
            };
            match self.weigh(log, signed).await? {
                Heard::Known => {}
                Heard::News(kept) => self.keep_heard(log, kept).await?,
                Heard::Contradicts(proof) => self.accept_proof(log, proof).await?,
            }
        }
        Ok(())
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

    async fn keep_heard(
        self: &Arc<Self>,
        log: &Arc<Log>,
        kept: StoredCheckpoint,
    ) -> Result<(), StoreError> {
        if !log.may_hear((self.clock)()) {
            return Ok(());
        }
        let (index, origin) = (self.index.clone(), log.origin.clone());
        blocking("keeping a checkpoint that a peer was shown", move || {
            index.keep_checkpoint(&origin, &kept)
        })
        .await?;
        log.wake.notify_one();
        Ok(())
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
        if !log.is_quarantined() && quarantine(self, log, proof).await? {
            let (now_s, config) = ((self.clock)(), &self.config);
            log.tell(now_s, config.stale_after, &self.events, &self.metrics);
        }
        Ok(())
    }

    /// Exchanges checkpoints with a peer once.
    pub(crate) async fn exchange(self: &Arc<Self>, peer: &Peer) -> Result<(), String> {
        let mut client = FollowServiceClient::new(peer.channel.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX);
        let seen = self.seen().await.map_err(|error| error.to_string())?;
        let request = pb::ExchangeCheckpointsRequest { seen };
        let limit = self.config.request_timeout;
        let answer = tokio::time::timeout(limit, client.exchange_checkpoints(request))
            .await
            .map_err(|_| format!("no answer within {} ms", limit.as_millis()))?
            .map_err(|status| status.message().to_owned())?
            .into_inner();
        let failed = |error: StoreError| error.to_string();
        self.hear(answer.seen).await.map_err(failed)?;
        for one in answer.proofs.into_iter().take(SEEN_MAX) {
            let log = self.logs.iter().find(|log| log.origin == one.origin);
            let proof = one
                .proof
                .and_then(|proof| convert::equivocation(proof).ok());
            if let (Some(log), Some(proof)) = (log, proof) {
                self.accept_proof(log, proof).await.map_err(failed)?;
            }
        }
        Ok(())
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
            tokio::time::sleep(interval.saturating_add(crate::follow::jitter(interval))).await;
        }
    }
}

fn weigh(shared: &Shared, log: &Log, heard: &SignedCheckpoint) -> Result<Heard, StoreError> {
    let goal = heard.checkpoint();
    let mirror = shared.index.mirror(&log.origin);
    let mut kept = shared.index.checkpoints(&log.origin, goal.size, 1)?;
    kept.retain(|kept| kept.size == goal.size);
    let is_kept = !kept.is_empty();
    let signed = match held(log, mirror.as_ref())? {
        Some(Held {
            signed: Ok(signed), ..
        }) => signed,
        _ => None,
    };
    let open =
        |kept: StoredCheckpoint| SignedCheckpoint::open(&kept.note, &log.key, &log.origin).ok();
    for other in kept.into_iter().filter_map(open).chain(signed.clone()) {
        if other.checkpoint().size == goal.size && other.checkpoint().root != goal.root {
            return Ok(Heard::Contradicts(Equivocation {
                first: other.bytes().to_vec(),
                second: heard.bytes().to_vec(),
                consistency_proof: Vec::new(),
            }));
        }
    }
    if let Some(signed) = signed
        && goal.size <= signed.checkpoint().size
    {
        let hashes = Hashes(mirror.as_ref());
        if root_of(&hashes, goal.size).map_err(unproved)? == goal.root {
            return Ok(Heard::Known);
        }
        let larger = signed.checkpoint();
        let proof = prove_older_root(&hashes, goal.size, larger.size).map_err(unproved)?;
        let is_proved = verify_older_root(goal.size, larger.size, &larger.root, &proof)
            .is_ok_and(|proved| proved != goal.root);
        return Ok(if is_proved {
            Heard::Contradicts(Equivocation {
                first: heard.bytes().to_vec(),
                second: signed.bytes().to_vec(),
                consistency_proof: proof,
            })
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
        note: heard.bytes().to_vec(),
    }))
}
