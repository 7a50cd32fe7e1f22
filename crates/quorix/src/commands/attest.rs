//! `quorix attest`: says in this builder's log what it built, now.

use std::str::FromStr as _;

use indicatif::{ProgressBar, ProgressStyle};
use quorix_builder::attest::{Attestation, Attester, Request};
use quorix_host::location::Location;
use quorix_host::store::Store;
use quorix_nix::store_path::StorePath;
use quorix_trust::attestation::Provenance;
use serde_json::json;

use super::configuration;
use crate::cli::Attest;
use crate::output::{self, Exit, Failure};
use crate::wiring;

/// Entries of one submission.
const BATCH: usize = 64;

pub(super) async fn attest(arguments: Attest) -> Result<Exit, Failure> {
    let config = configuration(&arguments.config.config)?;
    let Some(section) = config.builder else {
        return Err(Failure::wrong(format!(
            "{} has no [builder]: it says which log is this machine's",
            arguments.config.config.display()
        )));
    };
    let location = section
        .store
        .as_deref()
        .map_or_else(Location::system, Location::at_root);
    let paths = paths(&arguments.paths, &location)?;
    let attester = wiring::builder::attester(&section)?;
    let client = wiring::builder::client(&section, &config.tls)?;
    let provenance = if arguments.rebuilt {
        Provenance::Rebuilt
    } else {
        Provenance::Built
    };

    let attestations =
        tokio::task::spawn_blocking(move || attested(&attester, location, paths, provenance));
    let attestations = attestations.await.map_err(Failure::unknown)??;
    let mut receipts = Vec::new();
    for batch in attestations.chunks(BATCH) {
        let entries = batch
            .iter()
            .map(|attestation| attestation.entry.clone())
            .collect();
        let blobs = batch
            .iter()
            .flat_map(|attestation| attestation.blobs.clone())
            .collect();
        let submitted = client
            .submit(entries, blobs)
            .await
            .map_err(|error| Failure::unknown(format!("{error} (the log at {})", section.log)))?;
        receipts.extend(submitted.indices);
    }
    report(&attestations, &receipts, arguments.json);
    Ok(Exit::Yes)
}

fn paths(texts: &[String], location: &Location) -> Result<Vec<StorePath>, Failure> {
    let parsed = texts.iter().map(|text| {
        let path = if text.starts_with('/') {
            location.store_dir.parse(text)
        } else {
            StorePath::from_str(text)
        };
        path.map_err(|error| Failure::wrong(format!("`{text}` is not a store path: {error}")))
    });
    parsed.collect()
}

fn attested(
    attester: &Attester,
    location: Location,
    paths: Vec<StorePath>,
    provenance: Provenance,
) -> Result<Vec<Attestation>, Failure> {
    let store = Store::open(location).map_err(Failure::unknown)?;
    let bar = if output::has_viewer() {
        ProgressBar::new(paths.len() as u64)
    } else {
        ProgressBar::hidden()
    };
    if let Ok(style) = ProgressStyle::with_template("hashing {pos} of {len}, {eta} left  {msg}") {
        bar.set_style(style);
    }
    let mut attestations = Vec::new();
    for path in paths {
        bar.set_message(path.name().to_owned());
        let request = Request {
            provenance,
            ..Request::built(path)
        };
        attestations.push(attester.attest(&store, &request).map_err(Failure::wrong)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(attestations)
}

fn report(attestations: &[Attestation], receipts: &[(u64, bool)], json: bool) {
    for (attestation, (index, duplicate)) in attestations.iter().zip(receipts) {
        let claim = &attestation.build.claim;
        let path = claim.store_dir.join(&claim.path);
        if json {
            let fingerprint = claim.fingerprint.to_string();
            output::answer(
                json!({"path": path, "index": index, "duplicate": duplicate, "fingerprint": fingerprint}),
            );
        } else {
            let word = if *duplicate {
                "was attested before as"
            } else {
                "is attested as"
            };
            output::answer(format_args!(
                "{path}\n  {word} entry {index}, value {}",
                claim.fingerprint.short()
            ));
        }
    }
}
