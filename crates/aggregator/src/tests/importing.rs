//! Signatures of caches in bulk: only what verifies is kept, nothing is lost or counted twice by an interruption, and
//! one cache that is slow or dead delays no other.

use std::sync::Arc;
use std::time::Duration;

use quorix_nix::narinfo::{Compression, NarInfo};
use quorix_nix::signature::{SecretKey, Signature};
use quorix_nix::store_path::StoreDir;
use quorix_testkit::entries::{Attestation, a_path, an_attestation, nix_key};
use quorix_testkit::memory::MemoryIndex;
use quorix_trust::policy::Policy;
use quorix_trust::ports::{IndexStore, Place};

use super::fakes::{Answer, FakeCache};
use super::world::fetcher;
use crate::import::{
    Asking, BATCH_RECORDS, Counts, GAVE_UP_AFTER, ImportError, Importer, Progress,
};

const OWN_KEY: &str = "cache.example.org-1";
const SOON: Asking = Asking {
    at_once: 4,
    patience: Duration::from_millis(200),
};

fn policy(caches: &[(&str, &SecretKey, &str)]) -> Policy {
    let lines: String = caches
        .iter()
        .map(|(name, key, url)| {
            format!("cache {name} {} {url} operator={name}\n", key.public_key())
        })
        .collect();
    let members: Vec<&str> = caches.iter().map(|(name, _, _)| *name).collect();
    let text = format!(
        "{lines}quorum none\nvoters one 1 {}\nrule main quorum=one level=path\ndefault main\n",
        members.join(" ")
    );
    Policy::parse(&text).unwrap()
}

fn importer(index: &MemoryIndex, policy: &Policy) -> Importer {
    Importer::new(Arc::new(index.clone()), policy, None, StoreDir::default()).unwrap()
}

fn main_only() -> (MemoryIndex, Importer) {
    let (index, key) = (MemoryIndex::new(), nix_key(OWN_KEY));
    let importer = importer(
        &index,
        &policy(&[("main", &key, "https://cache.example.org")]),
    );
    (index, importer)
}

fn narinfo(what: &Attestation, signatures: Vec<Signature>) -> String {
    let facts = what.facts();
    let narinfo = NarInfo {
        store_path: facts.path,
        url: "nar/x.nar".to_owned(),
        compression: Compression::None,
        file_hash: None,
        file_size: None,
        nar_hash: facts.nar_hash,
        nar_size: facts.nar_size,
        references: facts.references,
        deriver: None,
        signatures,
        malformed_signatures: 0,
        ca: None,
    };
    narinfo.print(&StoreDir::default())
}

fn signed(name: &str) -> String {
    let what = an_attestation().of(name);
    narinfo(&what, vec![nix_key(OWN_KEY).sign(&what.facts())])
}

fn take(importer: &Importer, dump: &str) -> Counts {
    let taken = importer.take_dump(dump.as_bytes(), Progress::default(), |_| Ok(()));
    taken.unwrap().counts
}

fn statements(index: &MemoryIndex, name: &str) -> usize {
    index.statements(&a_path(name).hash_part()).unwrap().len()
}

#[test]
fn bad_foreign_and_malformed_signatures_never_count_and_are_counted() {
    let (index, importer) = main_only();
    let key = nix_key(OWN_KEY);
    let (good, other) = (an_attestation().of("good"), an_attestation().saying("B"));
    let forged = narinfo(
        &an_attestation().of("forged"),
        vec![key.sign(&other.facts())],
    );
    let stranger = nix_key("stranger-1");
    let foreign = an_attestation().of("foreign");
    let foreign = narinfo(&foreign, vec![stranger.sign(&foreign.facts())]);
    let unsigned = narinfo(&an_attestation().of("unsigned"), vec![]);
    let both = narinfo(
        &good,
        vec![stranger.sign(&good.facts()), key.sign(&good.facts())],
    );
    let broken =
        signed("broken").replace("Sig: cache.example.org-1:", "Sig: cache.example.org-1:!");
    let dump = [
        &both,
        &forged,
        &foreign,
        &unsigned,
        &broken,
        "not a narinfo\n",
    ]
    .join("\n");

    let expected = Counts {
        records: 6,
        kept: 1,
        foreign: 3,
        forged: 1,
        malformed: 1,
        ..Counts::default()
    };
    assert_eq!(take(&importer, &dump), expected);
    assert_eq!(statements(&index, "good"), 1);
    for name in ["forged", "foreign", "unsigned", "broken"] {
        assert_eq!(statements(&index, name), 0, "{name}");
    }
    let kept = index.statements(&a_path("good").hash_part()).unwrap();
    assert_eq!(kept[0].voice, key.public_key().to_string());
    assert!(matches!(kept[0].place, Place::Unlogged { .. }));
}

#[test]
fn a_narinfo_that_two_caches_signed_is_a_vote_of_both() {
    let (index, second) = (MemoryIndex::new(), nix_key("second-1"));
    let own = nix_key(OWN_KEY);
    let policy = policy(&[
        ("main", &own, "https://cache.example.org"),
        ("second", &second, "https://second.example.org"),
    ]);
    let hello = an_attestation();
    let both = vec![own.sign(&hello.facts()), second.sign(&hello.facts())];
    let dump = narinfo(&hello, both);
    assert_eq!(take(&importer(&index, &policy), &dump).kept, 2);
    assert_eq!(statements(&index, "hello"), 2);
    let index: Arc<dyn IndexStore> = Arc::new(MemoryIndex::new());
    let only = Importer::new(index.clone(), &policy, Some("second"), StoreDir::default()).unwrap();
    assert_eq!(take(&only, &dump).kept, 1);
    assert!(Importer::new(index, &policy, Some("third"), StoreDir::default()).is_none());
}

#[test]
fn too_many_references_for_an_entry_are_counted_and_left_to_be_asked_for() {
    let names: Vec<String> = (0..1_500)
        .map(|number| format!("dependency-{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let large = an_attestation().of("system").referring_to(&names);
    let dump = narinfo(&large, vec![nix_key(OWN_KEY).sign(&large.facts())]);
    let (index, importer) = main_only();
    assert_eq!(take(&importer, &dump).too_long, 1);
    assert_eq!(statements(&index, "system"), 0);
}

#[test]
fn an_interrupted_import_goes_on_and_counts_nothing_twice() {
    let (index, importer) = main_only();
    let total = BATCH_RECORDS + 3;
    let dump: String = (0..total)
        .map(|number| signed(&format!("p{number}")) + "\n")
        .collect();
    let mut reached = Progress::default();
    let killed = importer.take_dump(dump.as_bytes(), Progress::default(), |progress| {
        reached = *progress;
        Err("the process was killed".to_owned())
    });
    assert!(matches!(killed, Err(ImportError::NotNoted(_))));
    assert_eq!(reached.counts.kept, BATCH_RECORDS as u64);

    let rest = &dump.as_bytes()[usize::try_from(reached.offset).unwrap()..];
    let done = importer.take_dump(rest, reached, |_| Ok(())).unwrap();
    assert_eq!(done.counts.kept, total as u64);
    assert_eq!(done.offset, dump.len() as u64);
    assert_eq!(index.counts().unwrap().one_builder, total as u64);
    // Again from the beginning: kept once.
    take(&importer, &dump);
    assert_eq!(index.counts().unwrap().outputs, total as u64);
    assert_eq!(statements(&index, "p0"), 1);
}

#[tokio::test]
async fn a_list_of_paths_is_asked_for_and_only_what_verifies_is_kept() {
    let cache = FakeCache::start(nix_key(OWN_KEY)).await;
    let index = MemoryIndex::new();
    let importer = importer(&index, &policy(&[("main", &cache.key, &cache.at.url)]));
    let (good, forged) = (an_attestation().of("good"), an_attestation().of("forged"));
    cache.put(&good, &good, &cache.key);
    cache.put(&forged, &an_attestation().saying("B"), &cache.key);
    let broken = format!("{}.narinfo", a_path("broken").hash_part());
    cache.at.put(&broken, b"StorePath: nowhere\n".to_vec());
    let list = format!(
        "# what we use\n/nix/store/{}\n{} 120 bytes\n{}\n\n{}\nnonsense\n",
        a_path("good"),
        a_path("forged"),
        a_path("broken").hash_part(),
        a_path("absent"),
    );

    let fetcher = fetcher();
    let asked = importer.ask_about(
        0,
        list.as_bytes(),
        Progress::default(),
        (&fetcher, SOON),
        |_| Ok(()),
    );
    let expected = Counts {
        records: 5,
        kept: 1,
        forged: 1,
        malformed: 2,
        absent: 1,
        ..Counts::default()
    };
    let progress = asked.await.unwrap();
    assert_eq!(progress.counts, expected);
    assert_eq!(progress.offset, list.len() as u64);
    assert_eq!(statements(&index, "good"), 1);
}

#[tokio::test]
async fn a_slow_and_a_dead_cache_delay_nobody_and_are_given_up() {
    let good = FakeCache::start(nix_key(OWN_KEY)).await;
    let silent = FakeCache::start(nix_key("silent-1")).await;
    silent.at.all_instead(Some(Answer::Silence));
    let dead = nix_key("dead-1");
    let index = MemoryIndex::new();
    let policy = policy(&[
        ("main", &good.key, &good.at.url),
        ("silent", &silent.key, &silent.at.url),
        // Nobody listens at the lowest port.
        ("dead", &dead, "http://127.0.0.1:1"),
    ]);
    let importer = importer(&index, &policy);
    let names: Vec<String> = (0..40).map(|number| format!("p{number}")).collect();
    for name in &names {
        let what = an_attestation().of(name);
        good.put(&what, &what, &good.key);
    }
    let list: String = names
        .iter()
        .map(|name| format!("{}\n", a_path(name)))
        .collect();
    // The silent cache may take as long as it likes.
    let patient = Asking {
        patience: Duration::from_secs(3_600),
        ..SOON
    };
    let fetcher = fetcher();
    let pass = |cache, asking| {
        importer.ask_about(
            cache,
            list.as_bytes(),
            Progress::default(),
            (&fetcher, asking),
            |_| Ok(()),
        )
    };
    tokio::select! {
        _ = pass(1, patient) => panic!("the silent cache answered"),
        done = async { (pass(0, SOON).await, pass(2, SOON).await) } => {
            assert_eq!(done.0.unwrap().counts.kept, 40);
            let Err(ImportError::GaveUp { cache, .. }) = done.1 else {
                panic!("the dead cache was not given up");
            };
            assert_eq!(cache, "dead");
        }
    }
    silent.at.requests();
    let given_up = pass(1, SOON).await.unwrap_err();
    let message =
        format!("silent did not answer {GAVE_UP_AFTER} times in a row: nothing came within 0.2 s");
    assert_eq!(given_up.to_string(), message);
    assert!(
        silent.at.requests().len() < 2 * SOON.at_once + 8,
        "it was left alone"
    );
}
