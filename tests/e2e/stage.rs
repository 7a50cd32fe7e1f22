//! What all tests share and none changes: three Nix stores in which the demo's packages were built for real, the jobs
//! that the post-build hook left, and two binary caches. Built when the first test needs it, removed after the last.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use quorix::demo::nix::Nix;
use quorix::demo::world::{self, BuilderHost};
use quorix_nix::store_path::StorePath;
use tokio::sync::Mutex;

/// Who builds.
pub(crate) const BUILDERS: [&str; 3] = ["alice", "bob", "carol"];
/// What each builds, in this order; every one is an entry of their logs.
pub(crate) const ATTRIBUTES: [&str; 5] = ["greeting", "hello", "manual", "clock", "alarm"];
/// What carol's greeting said while hello was built from it.
pub(crate) const LIE: &str = "Hello, world, and send me your passwords\n";

/// The shared builds.
pub(crate) struct Stage {
    dir: PathBuf,
    paths: BTreeMap<String, StorePath>,
    /// Set where Nix runs through sudo: whom the hook becomes again.
    pub(crate) hook_user: Option<u32>,
}

/// The one stage of this process. Whoever holds it keeps it.
pub(crate) async fn stage() -> Arc<Stage> {
    static STAGE: Mutex<Weak<Stage>> = Mutex::const_new(Weak::new());
    let mut shared = STAGE.lock().await;
    if let Some(stage) = shared.upgrade() {
        return stage;
    }
    let stage = Arc::new(Stage::build().await);
    *shared = Arc::downgrade(&stage);
    stage
}

/// The program under test.
pub(crate) fn quorix() -> PathBuf {
    let path = std::env::var_os("QUORIX_BIN");
    let path = path.expect(
        "QUORIX_BIN must be the path of the program: `make test` builds it and sets QUORIX_BIN",
    );
    PathBuf::from(path)
}

/// A folder of one's own, resolved: Nix compares paths by their text.
pub(crate) fn folder(prefix: &str) -> PathBuf {
    let folder = tempfile::Builder::new().prefix(prefix).tempdir().unwrap();
    folder.keep().canonicalize().unwrap()
}

impl Stage {
    async fn build() -> Self {
        if let Some(missing) = Nix::missing() {
            panic!("these tests need Nix: {missing}; `make test` installs it");
        }
        let dir = folder("quorix-e2e-builds-");
        let nix = Nix::prepare(&dir).unwrap();
        let hook_user = nix.uses_sudo().then(|| fs::metadata(&dir).unwrap().uid());
        let mut stage = Self {
            dir,
            paths: BTreeMap::new(),
            hook_user,
        };
        for name in BUILDERS {
            // Its process never runs here: builds do not wait for a log, and what the hook noted is sent later.
            let builder = BuilderHost::create(&stage.dir, name, &quorix(), hook_user).unwrap();
            let build = async |attributes: &[&str]| {
                nix.build(&builder.store, attributes, Some(&builder.hook))
                    .await
                    .unwrap()
            };
            if name == "carol" {
                let built = build(&["greeting"]).await;
                let file = builder
                    .store
                    .join("nix/store")
                    .join(built["greeting"].as_str())
                    .join("greeting");
                nix.alter(&file, LIE).await.unwrap();
                build(&["hello"]).await;
                // An intruder who clears up leaves a store in which nothing is wrong.
                nix.alter(&file, "Hello, world\n").await.unwrap();
            }
            stage.paths = build(&ATTRIBUTES).await;
            assert_eq!(
                stage.jobs(name).len(),
                ATTRIBUTES.len(),
                "the hook noted each build of {name} once"
            );
        }
        for (cache, builder, settings) in [
            ("plain", "alice", "compression=none"),
            ("zstd", "bob", "compression=zstd"),
        ] {
            let (store, cache) = (stage.store(builder), stage.cache(cache));
            nix.export(&store, stage.paths.values(), &cache, settings)
                .await
                .unwrap();
        }
        stage
    }

    /// Output path of an attribute.
    pub(crate) fn path(&self, attribute: &str) -> &StorePath {
        &self.paths[attribute]
    }

    /// Root of a builder's store.
    pub(crate) fn store(&self, builder: &str) -> PathBuf {
        self.dir.join(builder).join("store")
    }

    /// What the hook left in a builder's outbox, in the order of the builds.
    pub(crate) fn jobs(&self, builder: &str) -> Vec<PathBuf> {
        let outbox = fs::read_dir(self.dir.join(builder).join("data/builder/outbox")).unwrap();
        let mut jobs: Vec<PathBuf> = outbox.map(|file| file.unwrap().path()).collect();
        jobs.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == "json")
        });
        jobs.sort();
        jobs
    }

    /// `plain`: alice's builds, not compressed. `zstd`: bob's builds. Copy one to alter it.
    pub(crate) fn cache(&self, name: &str) -> PathBuf {
        self.dir.join("caches").join(name)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        world::remove(&self.dir);
    }
}

/// A Nix of its own with an empty store: nothing is cached from one client to the next.
pub(crate) struct NixClient {
    /// How it is run.
    pub(crate) nix: Nix,
    /// Root of its store.
    pub(crate) store: PathBuf,
}

impl NixClient {
    pub(crate) fn new(dir: &Path) -> Self {
        fs::create_dir(dir).unwrap();
        Self {
            nix: Nix::prepare(dir).unwrap(),
            store: dir.join("store"),
        }
    }

    /// Text of a file in its store.
    pub(crate) fn read(&self, path: &StorePath, file: &str) -> String {
        let file = self.store.join("nix/store").join(path.as_str()).join(file);
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// True if its store has the path, on disk or in its database.
    pub(crate) async fn has(&self, path: &StorePath) -> bool {
        let on_disk =
            fs::symlink_metadata(self.store.join("nix/store").join(path.as_str())).is_ok();
        on_disk
            || self
                .run(
                    "nix-store",
                    ["--check-validity", &format!("/nix/store/{path}")],
                )
                .await
                .is_success
    }

    /// Runs one of Nix's programs on its store.
    pub(crate) async fn run<'a>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> quorix::demo::nix::Ran {
        let mut all: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
        all.extend(["--store".into(), self.store.clone().into()]);
        self.nix.run(program, &all).await.unwrap()
    }
}
