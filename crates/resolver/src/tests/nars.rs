//! Bytes come from anywhere; only the right ones leave.

use std::time::Duration;

use axum::http::StatusCode;
use quorix_nix::narinfo::Compression;

use super::fakes::{FakeCache, Reply};
use super::outputs::{Output, content_addressed, nar_of, output, packed};
use super::world::{TWO_OF_THREE, World, nar_path, policy};
use crate::sources::FailureKind;

/// A first source that does this, and an honest second one: the second one's bytes are served, and the first one's
/// failure is remembered as this.
async fn passed_over(arrange: impl AsyncFnOnce(&FakeCache, &Output), kind: FailureKind) -> String {
    let hello = output("hello-2.12", &"hello\n".repeat(10_000));
    let (bad, good) = (FakeCache::start().await, FakeCache::of(&[&hello]).await);
    arrange(&bad, &hello).await;
    let world = World::new(&[&bad, &good]);
    world.attest(&hello, &["alice", "bob"]);
    let answer = world.substitute(&hello).await;
    assert_eq!(
        answer.status,
        StatusCode::OK,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    assert_eq!(answer.body, hello.nar);
    let failures = world.resolver.source_failures();
    if kind == FailureKind::Absent {
        assert_eq!(failures, []);
        return String::new();
    }
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(
        (failures[0].kind, &failures[0].source),
        (kind, &bad.url),
        "{}",
        failures[0].reason
    );
    assert_eq!(failures[0].output, hello.path.to_string());
    let metrics = world.metrics();
    let line = format!(
        "quorix_resolver_source_failures_total{{reason=\"{}\"}} 1",
        kind.label()
    );
    assert!(metrics.contains(&line), "{metrics}");
    failures[0].reason.clone()
}

#[tokio::test]
async fn a_nar_is_read_in_every_compression() {
    for compression in [
        Compression::None,
        Compression::Xz,
        Compression::Zstd,
        Compression::Bzip2,
        Compression::Gzip,
    ] {
        let hello = output("hello-2.12", &"hello\n".repeat(100_000));
        let cache = FakeCache::start().await;
        cache.put(&hello, &compression).await;
        let world = World::new(&[&cache]);
        world.attest(&hello, &["alice", "bob"]);
        assert_eq!(
            world.substitute(&hello).await.body,
            hello.nar,
            "{compression}"
        );
    }
}

#[tokio::test]
async fn a_directory_laid_out_like_a_cache_is_a_source() {
    let hello = output("hello-2.12", "hello\n");
    let directory = tempfile::tempdir().unwrap();
    let narinfo = hello.narinfo(&Compression::Zstd);
    std::fs::create_dir(directory.path().join("nar")).unwrap();
    std::fs::write(
        directory.path().join(&narinfo.url),
        packed(&hello.nar, &Compression::Zstd).await,
    )
    .unwrap();
    let file = directory
        .path()
        .join(format!("{}.narinfo", hello.path.hash_part()));
    std::fs::write(
        file,
        narinfo.print(&quorix_nix::store_path::StoreDir::default()),
    )
    .unwrap();
    let plain = directory.path().to_str().unwrap().to_owned();
    for source in [plain.clone(), format!("file://{plain}")] {
        let world = World::with(policy(TWO_OF_THREE), &[&source], |_| {});
        world.attest(&hello, &["alice", "bob"]);
        assert_eq!(world.substitute(&hello).await.body, hello.nar, "{source}");
    }
}

#[tokio::test]
async fn corrupted_bytes_never_leave_and_the_next_source_is_used() {
    let flipped = async |cache: &FakeCache, output: &Output| {
        let mut bytes = output.nar.clone();
        bytes[5_000] ^= 1;
        cache.put_instead(output, Reply::Bytes(bytes));
    };
    let reason = passed_over(flipped, FailureKind::Corrupt).await;
    assert!(reason.contains("its bytes hash to sha256:"), "{reason}");
}

#[tokio::test]
async fn bytes_that_are_cut_off_are_passed_over() {
    let short = async |cache: &FakeCache, output: &Output| {
        cache.put_instead(
            output,
            Reply::Bytes(output.nar[..output.nar.len() - 8].to_vec()),
        );
    };
    passed_over(short, FailureKind::Corrupt).await;
    let broken = async |cache: &FakeCache, output: &Output| {
        cache.put_instead(output, Reply::Cut(output.nar[..5_000].to_vec()));
    };
    passed_over(broken, FailureKind::Unreachable).await;
}

#[tokio::test]
async fn a_source_that_stops_sending_is_passed_over() {
    let stall = async |cache: &FakeCache, output: &Output| {
        cache.put_instead(output, Reply::Stall(output.nar[..5_000].to_vec()));
    };
    passed_over(stall, FailureKind::Timeout).await;
    let silence =
        async |cache: &FakeCache, output: &Output| cache.put_instead(output, Reply::Silence);
    passed_over(silence, FailureKind::Timeout).await;
}

#[tokio::test]
async fn a_source_that_trickles_is_passed_over_before_it_is_silent_for_long() {
    let hello = output("hello-2.12", &"hello\n".repeat(10_000));
    let (slow, good) = (FakeCache::start().await, FakeCache::of(&[&hello]).await);
    slow.put_instead(&hello, Reply::Stall(hello.nar[..5_000].to_vec()));
    let world = World::with(policy(TWO_OF_THREE), &[&slow.url, &good.url], |config| {
        config.source_idle_timeout = Duration::from_secs(600);
        config.source_grace = Duration::from_millis(50);
        config.source_bytes_per_s_min = 1 << 20;
    });
    world.attest(&hello, &["alice", "bob"]);
    assert_eq!(world.substitute(&hello).await.body, hello.nar);
    let failures = world.resolver.source_failures();
    assert_eq!(failures[0].kind, FailureKind::Timeout);
    assert!(
        failures[0]
            .reason
            .starts_with("it sent 5000 bytes of the NAR in 0.")
            && failures[0].reason.ends_with("less than 1048576 a second"),
        "{}",
        failures[0].reason
    );
}

#[tokio::test]
async fn what_a_source_claims_of_a_content_addressed_path_removes_no_verified_nar() {
    let hello = output("hello-2.12", "hello\n");
    let source = content_addressed("source.txt", "source\n", &[]);
    let cache = FakeCache::of(&[&hello]).await;
    let mut claimed = source.narinfo(&Compression::None);
    claimed.nar_size = 1_000;
    cache.put_narinfo(&claimed);
    let world = World::with(policy(TWO_OF_THREE), &[&cache.url], |config| {
        config.spool_bytes_max = 1_000
    });
    world.attest(&hello, &["alice", "bob"]);
    assert_eq!(world.substitute(&hello).await.body, hello.nar);
    assert_eq!(world.narinfo(&source).await.status, StatusCode::NOT_FOUND);
    cache.requests();
    assert_eq!(world.nar(&hello).await.body, hello.nar);
    assert_eq!(cache.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_content_addressed_path_that_is_claimed_to_be_large_is_not_fetched() {
    let source = content_addressed("source.txt", &"source\n".repeat(100), &[]);
    let cache = FakeCache::of(&[&source]).await;
    let world = World::with(policy(TWO_OF_THREE), &[&cache.url], |config| {
        config.recomputed_size_max = 500
    });
    assert_eq!(world.narinfo(&source).await.status, StatusCode::NOT_FOUND);
    assert_eq!(cache.requests(), [super::world::narinfo_path(&source)]);
    let reason = &world.resolver.source_failures()[0].reason;
    assert!(reason.contains("more than the 500 that"), "{reason}");
}

#[tokio::test]
async fn a_decompression_bomb_stops_at_the_size_of_the_nar() {
    let bomb = async |cache: &FakeCache, output: &Output| {
        let narinfo = output.narinfo(&Compression::Xz);
        let text = "hello\n".repeat(5_000_000);
        cache.set(
            &format!("/{}", narinfo.url),
            Reply::Bytes(packed(&nar_of(&text), &Compression::Xz).await),
        );
        cache.put_narinfo(&narinfo);
    };
    passed_over(bomb, FailureKind::Corrupt).await;
}

#[tokio::test]
async fn bytes_after_the_nar_are_refused() {
    let longer = async |cache: &FakeCache, output: &Output| {
        cache.put_instead(
            output,
            Reply::Bytes([output.nar.as_slice(), b"more"].concat()),
        );
    };
    let reason = passed_over(longer, FailureKind::Corrupt).await;
    assert!(reason.contains("it sent more than the"), "{reason}");
}

#[tokio::test]
async fn bytes_that_do_not_decompress_are_passed_over() {
    let wrong = async |cache: &FakeCache, output: &Output| {
        let narinfo = output.narinfo(&Compression::Xz);
        cache.set(
            &format!("/{}", narinfo.url),
            Reply::Bytes(packed(&output.nar, &Compression::Zstd).await),
        );
        cache.put_narinfo(&narinfo);
    };
    passed_over(wrong, FailureKind::Corrupt).await;
    let unknown = async |cache: &FakeCache, output: &Output| {
        cache.put_narinfo(&output.narinfo(&Compression::Other("lzip".to_owned())));
    };
    passed_over(unknown, FailureKind::Malformed).await;
}

#[tokio::test]
async fn a_source_that_says_it_has_other_bytes_is_not_even_read() {
    let other = async |cache: &FakeCache, output: &Output| {
        cache.put(&output.altered(), &Compression::None).await
    };
    passed_over(other, FailureKind::Other).await;
    let other_size = async |cache: &FakeCache, output: &Output| {
        let mut narinfo = output.narinfo(&Compression::None);
        narinfo.nar_size += 1;
        cache.put_narinfo(&narinfo);
    };
    passed_over(other_size, FailureKind::Other).await;
}

#[tokio::test]
async fn a_name_that_leads_out_of_the_source_is_refused() {
    let elsewhere = FakeCache::start().await;
    for url in [
        format!("{}/x.nar", elsewhere.url),
        "../x.nar".to_owned(),
        "/etc/passwd".to_owned(),
        "nar/../../x".to_owned(),
    ] {
        let leading_out = async |cache: &FakeCache, output: &Output| {
            let mut narinfo = output.narinfo(&Compression::None);
            narinfo.url.clone_from(&url);
            cache.put_narinfo(&narinfo);
        };
        passed_over(leading_out, FailureKind::Malformed).await;
    }
    assert_eq!(elsewhere.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_source_without_the_output_is_no_failure() {
    for status in [404, 403, 410] {
        let absent = async |cache: &FakeCache, output: &Output| {
            cache.set(&super::world::narinfo_path(output), Reply::Status(status));
        };
        passed_over(absent, FailureKind::Absent).await;
    }
}

#[tokio::test]
async fn a_source_that_was_not_reached_is_asked_last_for_a_while() {
    let (one, two) = (output("one-1", "one\n"), output("two-1", "two\n"));
    let (bad, good) = (
        FakeCache::of(&[&two]).await,
        FakeCache::of(&[&one, &two]).await,
    );
    bad.set(&super::world::narinfo_path(&one), Reply::Status(500));
    let world = World::new(&[&bad, &good]);
    for output in [&one, &two] {
        world.attest(output, &["alice", "bob"]);
        assert_eq!(world.substitute(output).await.body, output.nar);
    }
    assert_eq!(bad.requests(), [super::world::narinfo_path(&one)]);
}

#[tokio::test]
async fn without_the_right_bytes_anywhere_the_answer_names_every_source_and_its_failure() {
    let hello = output("hello-2.12", "hello\n");
    let (lying, empty) = (FakeCache::start().await, FakeCache::start().await);
    lying.put_instead(&hello, Reply::Bytes(hello.altered().nar));
    let world = World::new(&[&lying, &empty]);
    world.attest(&hello, &["alice", "bob"]);
    let answer = world.substitute(&hello).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(
        answer.text().starts_with(&format!(
            "{} is accepted, and no source has its bytes.\n",
            hello.path
        )),
        "{}",
        answer.text()
    );
    for line in [
        format!("  {}: it sent more than", lying.url),
        format!("  {}: it does not have this output", empty.url),
    ] {
        assert!(answer.text().contains(&line), "{}", answer.text());
    }
    // A source that may be back soon is worth another try.
    lying.set(&super::world::narinfo_path(&hello), Reply::Status(503));
    world.clock.advance(2);
    let answer = world.nar(&hello).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_resolver_without_sources_says_so() {
    let (world, hello) = (World::new(&[]), output("hello-2.12", "hello\n"));
    world.attest(&hello, &["alice", "bob"]);
    let answer = world.substitute(&hello).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(
        answer.text().contains("The resolver has no sources"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn many_requests_for_one_nar_are_one_fetch() {
    let hello = output("hello-2.12", "hello\n");
    let cache = FakeCache::of(&[&hello]).await;
    let world = World::new(&[&cache]);
    world.attest(&hello, &["alice", "bob"]);
    world.narinfo(&hello).await;
    let answers = futures::future::join_all((0..50).map(|_| world.nar(&hello))).await;
    assert!(answers.iter().all(|answer| answer.body == hello.nar));
    assert_eq!(cache.requests().len(), 2);
    assert_eq!(world.nar(&hello).await.body, hello.nar);
    assert_eq!(cache.requests().len(), 0);
    assert!(
        world
            .metrics()
            .contains("quorix_resolver_nars_fetched_total 1")
    );
    assert!(world.metrics().contains(&format!(
        "quorix_resolver_nar_bytes_total {}",
        51 * hello.nar.len()
    )));
}

#[tokio::test]
async fn a_nar_is_served_only_for_what_was_accepted_here() {
    let hello = output("hello-2.12", "hello\n");
    let cache = FakeCache::of(&[&hello]).await;
    let world = World::new(&[&cache]);
    world.attest(&hello, &["alice", "bob"]);
    let answer = world.nar(&hello).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(
        answer.text().contains("Ask for the narinfo first."),
        "{}",
        answer.text()
    );
    assert_eq!(cache.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_client_with_an_old_narinfo_gets_its_nar_after_a_restart() {
    let hello = output("hello-2.12", "hello\n");
    let cache = FakeCache::of(&[&hello]).await;
    let world = World::new(&[&cache]);
    world.attest(&hello, &["alice", "bob"]);
    world.narinfo(&hello).await;
    let world = world.restarted();
    assert_eq!(world.nar(&hello).await.body, hello.nar);
    // Its bytes are fetched anew: nothing that was on disk is believed.
    assert_eq!(cache.requests().len(), 2);
}

#[tokio::test]
async fn when_other_bytes_are_accepted_by_now_the_old_ones_are_gone() {
    let rules = "voters one 1 alice bob\nrule main quorum=one level=path\ndefault main\n";
    let world = World::with(policy(rules), &[], |_| {});
    let old = output("hello-2.12", "hello\n");
    world.attest(&old, &["alice"]);
    world.narinfo(&old).await;
    world.aggregator.withhold(&super::world::origin("alice"));
    world.attest(&old.altered(), &["bob"]);
    world.clock.advance(5);
    assert_eq!(
        world.narinfo(&old).await.narinfo().nar_hash,
        old.altered().hash()
    );
    let answer = world.get(&nar_path(&old)).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(
        answer.text().contains("is accepted with other bytes"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn an_output_that_is_too_large_is_refused_before_anything_is_promised() {
    let world = World::with(policy(TWO_OF_THREE), &[], |config| {
        config.nar_size_max = 119
    });
    let hello = output("hello-2.12", "hello\n");
    world.attest(&hello, &["alice", "bob"]);
    let answer = world.narinfo(&hello).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(
        answer
            .text()
            .contains("has 120 bytes, and this resolver serves at most 119"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_spool_that_cannot_be_written_is_nobodys_fault_but_the_disks() {
    let hello = output("hello-2.12", "hello\n");
    let cache = FakeCache::of(&[&hello]).await;
    let world = World::new(&[&cache]);
    world.attest(&hello, &["alice", "bob"]);
    world.narinfo(&hello).await;
    std::fs::remove_dir_all(world.spool()).unwrap();
    let answer = world.nar(&hello).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer
            .text()
            .starts_with("The resolver has no room for the NAR"),
        "{}",
        answer.text()
    );
    assert_eq!(world.resolver.source_failures(), []);
}
