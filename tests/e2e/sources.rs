//! Bytes come from sources that nobody trusts: a wrong one is never passed on, and the next one is asked.

use quorix::demo::{caches, world::free_port};

use crate::world::{World, get};

#[tokio::test]
async fn corrupted_bytes_never_reach_the_store_and_the_next_source_is_used() {
    let mut world = World::with_builders().await;
    let corrupted = world.copy_of_cache("plain");
    assert!(caches::corrupt(&corrupted).unwrap() > 0);
    let sources = [
        caches::serve(&corrupted).await.unwrap(),
        world.honest_cache().await,
    ];
    world.add_user_of_two(&sources).await;

    let client = world.nix_client();
    let ran = world.install(&client, &["hello", "manual"]).await;
    assert!(ran.is_success, "{}", ran.err);
    assert!(
        !ran.err.contains("mismatch"),
        "the client never saw a wrong byte: {}",
        ran.err
    );
    assert_eq!(
        client.read(&world.path("greeting"), "greeting"),
        "Hello, world\n"
    );
    let contents = client
        .run("nix", ["store", "verify", "--all", "--no-trust"])
        .await;
    assert!(contents.is_success, "{}", contents.err);

    let (_, metrics) = get(&format!("http://{}/metrics", world.user().metrics)).await;
    let corrupt = "quorix_resolver_source_failures_total{reason=\"corrupt\"} ";
    let counted = metrics.lines().find_map(|line| line.strip_prefix(corrupt));
    assert!(counted.is_some_and(|count| count != "0"), "{metrics}");
}

#[tokio::test]
async fn where_every_source_is_corrupted_nothing_is_installed_and_each_is_named() {
    let mut world = World::with_builders().await;
    let mut sources = Vec::new();
    for name in ["plain", "zstd"] {
        let copy = world.copy_of_cache(name);
        caches::corrupt(&copy).unwrap();
        sources.push(caches::serve(&copy).await.unwrap());
    }
    world.add_user_of_two(&sources).await;

    let client = world.nix_client();
    let ran = world.install(&client, &["greeting"]).await;
    assert!(!ran.is_success);
    assert!(!client.has(&world.path("greeting")).await);

    let (status, narinfo) = world.narinfo("greeting").await;
    assert_eq!(status, 200, "it is agreed on: {narinfo}");
    let url = narinfo
        .lines()
        .find_map(|line| line.strip_prefix("URL: "))
        .unwrap();
    let (status, body) = get(&format!("{}/{url}", world.user().substituter())).await;
    assert_eq!(status, 404);
    let path = world.path("greeting");
    assert!(
        body.starts_with(&format!(
            "{path} is accepted, and no source has its bytes.\n"
        )),
        "{body}"
    );
    for source in &sources {
        assert!(body.contains(source), "{body}");
    }
}

/// One cache that was down ended the proxy there, or kept it from asking the next one.
#[tokio::test]
async fn trustix_a_source_that_is_down_is_passed_over() {
    let mut world = World::with_builders().await;
    let sources = [
        format!("http://{}", free_port().unwrap()),
        world.honest_cache().await,
    ];
    world.add_user_of_two(&sources).await;

    let client = world.nix_client();
    let ran = world.install(&client, &["hello"]).await;
    assert!(ran.is_success, "{}", ran.err);
}
