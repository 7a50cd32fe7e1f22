//! The logs that are measured with: folders of C2SP tlog-tiles, each entry canonical.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::NarHash;
use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_tlog::bundle;
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::note::SigningKey;
use quorix_tlog::tile::{Edge, TILE_WIDTH, TileId, TilePath};
use sha2::{Digest as _, Sha256};

use super::AggregatorBench;
use crate::bench::entries::encoded_build;
use crate::output::Failure;

/// The first outputs are one closure: each refers to the two below it in a binary tree.
pub(super) const CLOSURE: usize = 5_000;
/// Entries whose tiles are written at a time.
const STEP: usize = 65_536;

/// Logs that were made.
pub(super) struct Made {
    pub(super) outputs: u64,
    pub(super) policy: String,
    paths: Vec<StorePath>,
}

impl Made {
    /// The absolute path of an output, beginning again where there are no more.
    pub(super) fn path(&self, number: usize) -> String {
        let number = number.checked_rem(self.paths.len()).unwrap_or(0);
        let path = self.paths.get(number);
        path.map_or_else(String::new, |path| StoreDir::default().join(path))
    }
}

/// Makes the logs in a folder.
pub(super) fn make(bench: &AggregatorBench, dir: &Path) -> Result<Made, Failure> {
    let paths = match &bench.paths {
        Some(file) => listed(file, bench.outputs)?,
        None => made_up(bench.outputs)?,
    };
    let mut policy = String::new();
    let mut names = Vec::new();
    for number in 0..bench.logs {
        let name = format!("log{number}");
        let origin = format!("bench.example.org/{name}");
        let seed: [u8; 32] = Sha256::digest(origin.as_bytes()).into();
        let key = SigningKey::from_seed(origin.parse().map_err(Failure::unknown)?, seed);
        let folder = dir.join(&name);
        write_log(
            &folder,
            &key,
            &paths,
            number.saturating_add(1) == bench.logs,
        )?;
        policy.push_str(&format!(
            "builder {name} {} file://{} operator={name}\n",
            key.verifier(),
            folder.display()
        ));
        names.push(name);
    }
    policy.push_str(&format!(
        "quorum none\nvoters enough {} {}\nrule main quorum=enough level=closure\ndefault main\n",
        bench.logs / 2 + 1,
        names.join(" ")
    ));
    Ok(Made {
        outputs: u64::try_from(paths.len()).unwrap_or(0),
        policy,
        paths,
    })
}

fn listed(file: &Path, most: u64) -> Result<Vec<StorePath>, Failure> {
    let failed = |error: std::io::Error| Failure::wrong(format!("{}: {error}", file.display()));
    let lines = BufReader::new(std::fs::File::open(file).map_err(failed)?).lines();
    let mut paths = Vec::new();
    for line in lines {
        if u64::try_from(paths.len()).unwrap_or(u64::MAX) >= most {
            break;
        }
        let line = line.map_err(failed)?;
        let mut columns = line.split('\t');
        if let (Some(hash_part), Some(name)) = (columns.next(), columns.next()) {
            paths.push(
                format!("{hash_part}-{name}")
                    .parse()
                    .map_err(Failure::wrong)?,
            );
        }
    }
    Ok(paths)
}

pub(super) fn made_up(count: u64) -> Result<Vec<StorePath>, Failure> {
    let one = |number: u64| {
        let hash: [u8; 32] = Sha256::digest(number.to_be_bytes()).into();
        let part = hash.first_chunk::<20>().map(HashPart::from_bytes);
        let part = part.ok_or_else(|| Failure::unknown("a SHA-256 is too short"))?;
        StorePath::new(&part, &format!("package-{}-1.0", number % 50_000)).map_err(Failure::unknown)
    };
    (0..count).map(one).collect()
}

fn write_log(
    folder: &Path,
    key: &SigningKey,
    paths: &[StorePath],
    differs: bool,
) -> Result<(), Failure> {
    let mut edge = Edge::empty();
    let mut open = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let entry = entry(paths, number, path, differs && number % 100 == 99)?;
        edge.push(leaf_hash(&entry));
        bundle::append(&mut open, &entry).map_err(Failure::unknown)?;
        let is_last = number.saturating_add(1) == paths.len();
        let full = edge.size().is_multiple_of(u64::from(TILE_WIDTH));
        if full || is_last {
            let id = TileId::entries(edge.size().saturating_sub(1) / u64::from(TILE_WIDTH));
            let width = id.width_at(edge.size());
            put(folder, &TilePath { id, width }.to_string(), &open)?;
            open.clear();
        }
        if number % STEP == STEP - 1 || is_last {
            for (id, hashes) in edge.take_changed() {
                let width = u16::try_from(hashes.len()).unwrap_or(TILE_WIDTH);
                let bytes: Vec<u8> = hashes
                    .iter()
                    .flat_map(|hash: &Hash| *hash.as_bytes())
                    .collect();
                put(folder, &TilePath { id, width }.to_string(), &bytes)?;
            }
        }
    }
    let checkpoint = Checkpoint {
        origin: key.verifier().name().to_string(),
        size: edge.size(),
        root: edge.root(),
        extensions: Vec::new(),
    };
    put(
        folder,
        "checkpoint",
        &checkpoint.sign(key).map_err(Failure::unknown)?,
    )
}

fn put(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), Failure> {
    let file = folder.join(name);
    let parent = file.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(&file, bytes))
        .map_err(|error| Failure::unknown(format!("{}: {error}", file.display())))
}

fn entry(
    paths: &[StorePath],
    number: usize,
    path: &StorePath,
    is_other: bool,
) -> Result<Vec<u8>, Failure> {
    let below = [number * 2 + 1, number * 2 + 2];
    let references: BTreeSet<StorePath> = below
        .iter()
        .filter(|below| **below < CLOSURE)
        .filter_map(|below| paths.get(*below).cloned())
        .collect();
    let value = format!("{path} {is_other}");
    let facts = Fingerprint {
        store_dir: StoreDir::default(),
        path: path.clone(),
        nar_hash: NarHash::from_bytes(Sha256::digest(value.as_bytes()).into()),
        nar_size: 1_234_567,
        references,
    };
    let drv = StorePath::new(&path.hash_part(), &format!("{}.drv", path.name()));
    encoded_build(&facts, drv.ok())
}
