//! The real Nix client substitutes through the resolver, or does not. Needs `nix-store` (Debian: nix-bin) and root or
//! user namespaces, for a store of its own.

use std::path::Path;
use std::time::{Duration, Instant};

use quorix_nix::narinfo::Compression;
use quorix_nix::store_path::StoreDir;
use tempfile::TempDir;
use tokio::process::Command;

use super::fakes::{FakeCache, Reply};
use super::outputs::{Output, content_addressed, output};
use super::world::{World, cache_key, resolver_key};

/// A client with an empty store that trusts the resolver and one more key.
struct Client {
    directory: TempDir,
    substituters: String,
}

struct Outcome {
    succeeded: bool,
    said: String,
    took: Duration,
}

impl Client {
    fn of(substituters: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let conf = "substituters =\nsandbox = false\nbuild-users-group =\n";
        std::fs::create_dir(directory.path().join("conf")).unwrap();
        std::fs::write(directory.path().join("conf/nix.conf"), conf).unwrap();
        Self {
            directory,
            substituters: substituters.join(" "),
        }
    }

    fn at(&self, below: &str) -> String {
        self.directory
            .path()
            .join(below)
            .to_str()
            .unwrap()
            .to_owned()
    }

    async fn realise(&self, output: &Output) -> Outcome {
        let keys = [resolver_key(), cache_key()]
            .map(|key| key.public_key().to_string())
            .join(" ");
        let started = Instant::now();
        let ran = Command::new("nix-store")
            .args([
                "--store",
                &self.at("store"),
                "--realise",
                &format!("/nix/store/{}", output.path),
            ])
            .args(["--option", "substituters", &self.substituters])
            .args(["--option", "trusted-public-keys", &keys])
            .env("NIX_CONF_DIR", self.at("conf"))
            .env("HOME", self.at("home"))
            .env("XDG_CACHE_HOME", self.at("cache"))
            .env_remove("NIX_REMOTE")
            .output()
            .await
            .expect("nix-store is installed (Debian: apt-get install nix-bin)");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        Outcome {
            succeeded: ran.status.success(),
            said,
            took: started.elapsed(),
        }
    }

    fn text_of(&self, output: &Output) -> Option<String> {
        let file = Path::new(&self.at("store"))
            .join("nix/store")
            .join(output.path.as_str());
        std::fs::read_to_string(file).ok()
    }
}

/// An honest cache with a key that the client trusts.
async fn second_cache(outputs: &[&Output]) -> FakeCache {
    let cache = FakeCache::of(outputs).await;
    cache.set(
        "/nix-cache-info",
        Reply::Bytes(b"StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 90\n".to_vec()),
    );
    for output in outputs {
        let mut narinfo = output.narinfo(&Compression::Xz);
        narinfo
            .signatures
            .push(cache_key().sign(&narinfo.fingerprint(&StoreDir::default())));
        cache.put_narinfo(&narinfo);
    }
    cache
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nix_substitutes_an_accepted_closure_although_the_first_source_sends_corrupted_bytes() {
    let source = content_addressed("source.txt", "source\n", &[]);
    let glibc = output("glibc-2.40", "glibc\n");
    let hello = output("hello-2.12", &"hello\n".repeat(200_000)).referring_to(&[&glibc, &source]);
    let (bad, good) = (
        FakeCache::start().await,
        FakeCache::of(&[&source, &glibc, &hello]).await,
    );
    let mut flipped = hello.nar.clone();
    flipped[700_000] ^= 1;
    bad.put_instead(&hello, Reply::Bytes(flipped));
    let world = World::new(&[&bad, &good]);
    for output in [&hello, &glibc] {
        world.attest(output, &["alice", "bob"]);
    }
    let client = Client::of(&[&world.listen().await]);
    let outcome = client.realise(&hello).await;
    assert!(outcome.succeeded, "{}", outcome.said);
    assert_eq!(client.text_of(&hello), Some("hello\n".repeat(200_000)));
    assert_eq!(client.text_of(&glibc), Some("glibc\n".to_owned()));
    assert_eq!(client.text_of(&source), Some("source\n".to_owned()));
    let failures = world.resolver.source_failures();
    assert_eq!(failures.len(), 1, "{failures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nix_goes_on_to_its_next_cache_after_a_refusal_and_has_nothing_without_one() {
    let hello = output("hello-2.12", "hello\n");
    let world = World::new(&[&FakeCache::of(&[&hello]).await]);
    world.attest(&hello, &["alice"]);
    let url = world.listen().await;
    let alone = Client::of(&[&url]);
    let outcome = alone.realise(&hello).await;
    assert!(!outcome.succeeded);
    assert_eq!(alone.text_of(&hello), None);
    let with_another = Client::of(&[&url, &second_cache(&[&hello]).await.url]);
    let outcome = with_another.realise(&hello).await;
    assert!(outcome.succeeded, "{}", outcome.said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nix_gets_nothing_and_soon_while_the_aggregator_is_down_and_everything_once_it_is_back() {
    let hello = output("hello-2.12", "hello\n");
    let world = World::new(&[&FakeCache::of(&[&hello]).await]);
    world.attest(&hello, &["alice", "bob"]);
    world.aggregator.set_down(true);
    let client = Client::of(&[&world.listen().await]);
    let outcome = client.realise(&hello).await;
    assert!(!outcome.succeeded);
    assert!(outcome.took < Duration::from_secs(60), "{:?}", outcome.took);
    assert_eq!(client.text_of(&hello), None);
    assert!(
        outcome
            .said
            .contains("Could not find out whether this may be served"),
        "{}",
        outcome.said
    );
    // Nix does not remember it as absent, as it would a 404.
    world.aggregator.set_down(false);
    let outcome = client.realise(&hello).await;
    assert!(outcome.succeeded, "{}", outcome.said);
}
