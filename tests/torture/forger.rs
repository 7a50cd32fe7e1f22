//! A log that shows its witness one history and would like to have another one cosigned too.
//!
//! Every cosignature that it is given is kept; two of them that contradict each other are what a witness must never give.

use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::cosignature::CosignerKey;
use quorix_tlog::hash::{EMPTY_ROOT, Hash, leaf_hash};
use quorix_tlog::note::SignedNote;
use quorix_tlog::proof::{prove_consistency, root_of};
use quorix_tlog::witness::{AddCheckpoint, read_cosignatures};

use crate::host::{LogHost, ORIGIN};
use crate::oracle::Broken;
use crate::tiles::Tiles;

/// A history: its leaf hashes.
pub(crate) type History = Vec<Hash>;

/// A witness as the log sees it, and what it has cosigned.
pub(crate) struct Forger {
    http: reqwest::Client,
    url: String,
    key: CosignerKey,
    /// The largest history that was cosigned.
    cosigned: History,
    /// Sizes that were cosigned, ascending.
    sizes: Vec<usize>,
    /// What was asked for and not answered: perhaps cosigned.
    maybe: Vec<History>,
    entries: u64,
}

impl Forger {
    pub(crate) fn new(url: String, key: CosignerKey) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            url,
            key,
            cosigned: History::new(),
            sizes: Vec::new(),
            maybe: Vec::new(),
            entries: 0,
        }
    }

    /// How many different sizes were cosigned.
    pub(crate) fn steps(&self) -> usize {
        self.sizes.len()
    }

    /// The first entries of what was cosigned, and so many that nobody has seen yet.
    fn branch(&mut self, size: usize, more: usize) -> History {
        let mut history = self.cosigned[..size].to_vec();
        for _ in 0..more {
            self.entries += 1;
            history.push(leaf_hash(&self.entries.to_be_bytes()));
        }
        history
    }

    /// Grows from what was cosigned, in two ways at once each time, of which the witness may cosign one; until it does
    /// not answer any more.
    pub(crate) async fn grow_until_it_is_gone(&mut self) -> Result<(), Broken> {
        loop {
            let old = self.cosigned.len();
            let (one, other) = (self.branch(old, 2), self.branch(old, 3));
            let answers = tokio::join!(self.ask(&one, old), self.ask(&other, old));
            let mut is_gone = false;
            for (history, answer) in [(one, answers.0), (other, answers.1)] {
                match answer? {
                    Answer::Cosigned => self.was_cosigned(history)?,
                    Answer::Refused(409) => {}
                    Answer::Refused(status) => return Err(format!("it answers {status}")),
                    Answer::None => {
                        is_gone = true;
                        self.maybe.push(history);
                    }
                }
            }
            if is_gone {
                return Ok(());
            }
        }
    }

    /// After a restart: the witness shows what it has cosigned last, or what it may have, and cosigns nothing else.
    pub(crate) async fn try_everything(&mut self) -> Result<(), Broken> {
        self.remember().await?;
        let size = self.cosigned.len();
        // As if it had forgotten its last steps: from each of them to something larger, smaller and of the same size.
        let before = self.sizes.iter().rev().skip(1).take(3).copied();
        let before: Vec<usize> = before.chain([0]).filter(|old| *old < size).collect();
        for old in before {
            for more in [1, size - old, size - old + 5] {
                let other = self.branch(old, more);
                self.must_refuse(&other, old).await?;
            }
            // Its own past, which is smaller.
            let past = self.branch(size - 1, 0);
            self.must_refuse(&past, old.min(size - 1)).await?;
        }
        if size > 0 {
            // Another history, as if it extended the one that is known.
            let mut other = self.branch(size - 1, 4);
            self.must_refuse(&other, size).await?;
            other.truncate(size);
            self.must_refuse(&other, size).await?;
        }
        Ok(())
    }

    /// What the witness shows as its newest must be what is known, or what it was asked for last.
    async fn remember(&mut self) -> Result<(), Broken> {
        let hash = quorix_testkit::tree::blob_id(ORIGIN.as_bytes());
        let name = Hash::from_bytes(hash).to_hex();
        let answer = self.http.get(format!("{}/{name}/checkpoint", self.url));
        let answer = answer.send().await.map_err(|error| error.to_string())?;
        let maybe = std::mem::take(&mut self.maybe);
        if answer.status() == 404 {
            return match self.cosigned.len() {
                0 => Ok(()),
                size => Err(format!("it has forgotten that it cosigned {size} entries")),
            };
        }
        let bytes = answer.bytes().await.map_err(|error| error.to_string())?;
        let note = SignedNote::parse(&bytes).map_err(|error| error.to_string())?;
        let shown = Checkpoint::parse(note.text()).map_err(|error| error.to_string())?;
        if shown == checkpoint(&self.cosigned) {
            return Ok(());
        }
        let found = maybe.into_iter().find(|maybe| checkpoint(maybe) == shown);
        let (known, size) = (self.cosigned.len(), shown.size);
        let found = found.ok_or_else(|| {
            format!("it shows {size} entries and had cosigned {known}, or others")
        })?;
        self.was_cosigned(found)
    }

    fn was_cosigned(&mut self, history: History) -> Result<(), Broken> {
        if !history.starts_with(&self.cosigned) {
            let (one, other) = (self.cosigned.len(), history.len());
            return Err(format!(
                "it has cosigned {one} entries and {other} of another history, or fewer"
            ));
        }
        self.sizes.push(history.len());
        self.cosigned = history;
        Ok(())
    }

    async fn must_refuse(&self, history: &History, old: usize) -> Result<(), Broken> {
        match self.ask(history, old).await? {
            Answer::Refused(400 | 409 | 422) => Ok(()),
            Answer::Refused(status) => Err(format!("it answers {status}")),
            Answer::None => Err("it does not answer".to_owned()),
            Answer::Cosigned => Err(format!(
                "it had cosigned {} entries, and cosigns {} of another history or its past",
                self.cosigned.len(),
                history.len()
            )),
        }
    }

    /// Asks for a cosignature, with a proof that is right where there is one.
    async fn ask(&self, history: &History, old: usize) -> Result<Answer, Broken> {
        let checkpoint = checkpoint(history);
        let note = checkpoint.sign(&LogHost::key()).unwrap();
        let (size, from) = (history.len() as u64, old as u64);
        let tiles = Tiles::of(history.iter().copied());
        let proof = prove_consistency(&tiles, from.min(size), size).unwrap();
        let request = AddCheckpoint::new(from, proof, SignedNote::parse(&note).unwrap());
        let asked = self.http.post(format!("{}/add-checkpoint", self.url));
        let asked = asked.body(request.unwrap().to_bytes()).send().await;
        let Ok(answer) = asked else {
            return Ok(Answer::None);
        };
        let status = answer.status().as_u16();
        // Cut off in the middle: perhaps cosigned.
        let Ok(body) = answer.bytes().await else {
            return Ok(Answer::None);
        };
        if status != 200 {
            return Ok(Answer::Refused(status));
        }
        let read = read_cosignatures(&body, &checkpoint, &[&self.key]);
        read.map(|_| Answer::Cosigned)
            .map_err(|error| error.to_string())
    }
}

enum Answer {
    Cosigned,
    Refused(u16),
    None,
}

fn checkpoint(history: &History) -> Checkpoint {
    let size = history.len() as u64;
    let root = if size == 0 {
        EMPTY_ROOT
    } else {
        root_of(&Tiles::of(history.iter().copied()), size).unwrap()
    };
    Checkpoint {
        origin: ORIGIN.to_owned(),
        size,
        root,
        extensions: Vec::new(),
    }
}
