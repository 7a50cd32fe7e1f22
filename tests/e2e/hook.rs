//! The post-build hook under the real Nix: whatever is wrong with Quorix, the build does not notice.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::stage::NixClient;
use crate::world::{World, run, text};

impl NixClient {
    /// Builds something with a hook; what was said on standard error.
    async fn build_with(&self, attribute: &str, hook: &Path) -> String {
        let packages = self.nix.packages();
        let arguments = [
            "-A",
            attribute,
            "--no-out-link",
            "--option",
            "post-build-hook",
            text(hook),
            text(&packages),
        ];
        let ran = self.run("nix-build", arguments).await;
        assert!(ran.is_success, "{}", ran.err);
        ran.err
    }
}

/// There the hook's failure was the build's, and a system with a bad configuration could not be rebuilt.
#[tokio::test]
async fn trustix_a_hook_that_cannot_note_anything_fails_no_build() {
    let mut world = World::with_silent_builders().await;
    let (config, hook) = (
        world.builder("alice").config.clone(),
        world.builder("alice").hook.clone(),
    );
    let outbox = world.dir.join("alice/data/builder/outbox");
    let client = world.nix_client();

    // A file stands in the place of the outbox, which stops root too.
    fs::create_dir_all(outbox.parent().unwrap()).unwrap();
    fs::write(&outbox, "").unwrap();
    let said = client.build_with("greeting", &hook).await;
    assert!(
        said.contains("quorix: warning: this build will not be attested: "),
        "{said}"
    );

    fs::remove_file(&outbox).unwrap();
    fs::create_dir(&outbox).unwrap();
    fs::set_permissions(&outbox, fs::Permissions::from_mode(0o777)).unwrap();
    let said = client.build_with("hello", &hook).await;
    assert!(
        said.contains("quorix: warning: this build will not be attested: "),
        "{said}"
    );

    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, "data_dir = 7").unwrap();
    let said = client.build_with("clock", &hook).await;
    assert!(
        said.contains("quorix: this build is not attested: "),
        "{said}"
    );
    fs::remove_file(&config).unwrap();
    let said = client.build_with("manual", &hook).await;
    assert!(
        said.contains("quorix: this build is not attested: "),
        "{said}"
    );

    fs::write(&config, good).unwrap();
    fs::set_permissions(&outbox, fs::Permissions::from_mode(0o700)).unwrap();
    let said = client.build_with("alarm", &hook).await;
    assert!(
        !said.contains("attested"),
        "with everything mended it is noted: {said}"
    );
    let status = run(&["hook", "status", "--json", "--config", text(&config)]).await;
    assert_eq!(status.json()["waiting"], 1);
}

/// The hook asked the log at once there, with a time limit of its own, while Nix waited.
#[tokio::test]
async fn trustix_a_log_that_does_not_answer_delays_no_build() {
    let mut world = World::with_silent_builders().await;
    let alice = world.builder("alice");
    let (config, hook, submit) = (
        alice.config.clone(),
        alice.hook.clone(),
        alice.submit.clone(),
    );
    // Takes connections and never says a word.
    let silent = UnixListener::bind(&submit).unwrap();
    let client = world.nix_client();
    client.build_with("greeting", &hook).await;
    let status = run(&["hook", "status", "--json", "--config", text(&config)]).await;
    assert_eq!(status.json()["waiting"], 1);

    // By itself, since a build takes a time of its own. Nothing in it waits, so seconds are plenty.
    let mut noted = tokio::process::Command::new(crate::stage::quorix());
    noted.args(["hook", "post-build", "--config", text(&config)]);
    noted
        .env("OUT_PATHS", world.absolute("greeting"))
        .env("NIX_CONFIG", "")
        .stdin(Stdio::null());
    let begun = Instant::now();
    let ran = noted.output().await.unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "it took {:?}",
        begun.elapsed()
    );
    assert_eq!(
        (
            ran.status.code(),
            String::from_utf8_lossy(&ran.stderr).as_ref()
        ),
        (Some(0), "")
    );
    let status = run(&["hook", "status", "--json", "--config", text(&config)]).await;
    assert_eq!(status.json()["waiting"], 2);
    silent.set_nonblocking(true).unwrap();
    assert!(silent.accept().is_err(), "the hook speaks to no log");
}

/// Entries there said "I have it", whoever had built it.
#[tokio::test]
async fn trustix_only_what_was_built_here_with_its_bytes_as_built_is_attested() {
    let mut world = World::with_user().await;
    let client = world.nix_client();
    let ran = world.install(&client, &["greeting"]).await;
    assert!(ran.is_success, "{}", ran.err);

    let config = world.dir.join("substituted.toml");
    let alices = fs::read_to_string(&world.builder("alice").config).unwrap();
    let store = world.stage.store("alice");
    fs::write(&config, alices.replace(text(&store), text(&client.store))).unwrap();
    let greeting = world.absolute("greeting");
    let answer = run(&["attest", "--config", text(&config), &greeting]).await;
    assert_eq!(answer.code, 2);
    let refusal = format!(
        "error: {greeting} was substituted, not built here; only a build can be attested (a rebuild with `--check` makes it one)\n"
    );
    assert_eq!(answer.err, refusal);

    let own = world.nix_client();
    own.nix
        .build(&own.store, &["greeting"], None)
        .await
        .unwrap();
    let file = own
        .store
        .join("nix/store")
        .join(world.path("greeting").as_str())
        .join("greeting");
    own.nix
        .alter(&file, "Altered after it was built.\n")
        .await
        .unwrap();
    fs::write(&config, alices.replace(text(&store), text(&own.store))).unwrap();
    let answer = run(&["attest", "--config", text(&config), &greeting]).await;
    assert_eq!(answer.code, 2);
    assert!(
        answer.err.starts_with(&format!(
            "error: {greeting} is corrupted: it was registered as "
        )),
        "{}",
        answer.err
    );
    world.attested("alice", 5).await;
}
