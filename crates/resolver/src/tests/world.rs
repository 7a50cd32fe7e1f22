//! A resolver under a 2-of-3 policy, with a clock set by hand.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use prometheus_client::registry::Registry;
use quorix_nix::narinfo::NarInfo;
use quorix_nix::signature::SecretKey;
use quorix_nix::store_path::StoreDir;
use quorix_testkit::clock::ManualClock;
use quorix_testkit::entries::{log_key, nix_key};
use quorix_trust::policy::Policy;
use quorix_wire::client::AggregatorClient;
use quorix_wire::fetch::{FetchLimits, Fetcher};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::fakes::{FakeAggregator, FakeCache};
use super::logs::FakeLogs;
use super::outputs::Output;
use crate::config::ResolverConfig;
use crate::content::ContentChecker;
use crate::routes::router;
use crate::service::Resolver;

pub(crate) struct World {
    pub(crate) aggregator: FakeAggregator,
    /// The logs, where the resolver asks them itself.
    pub(crate) logs: Option<FakeLogs>,
    pub(crate) resolver: Arc<Resolver>,
    pub(crate) content: Arc<ContentChecker>,
    pub(crate) clock: ManualClock,
    pub(crate) registry: Registry,
    router: Router,
    policy: Arc<Policy>,
    config: ResolverConfig,
    _directory: TempDir,
}

/// An answer over HTTP, its body read to the end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn narinfo(&self) -> NarInfo {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        NarInfo::parse(self.text(), &StoreDir::default()).unwrap()
    }
}

pub(crate) fn origin(builder: &str) -> String {
    format!("logs.example.org/{builder}")
}

pub(crate) fn builder_key(builder: &str) -> SecretKey {
    nix_key(&format!("{builder}-1"))
}

pub(crate) fn cache_key() -> SecretKey {
    nix_key("cache.example.org-1")
}

pub(crate) fn resolver_key() -> SecretKey {
    nix_key("resolver-1")
}

/// alice, bob and carol have logs and Nix keys, example has a cache; these lines follow.
pub(crate) fn policy(rules: &str) -> Policy {
    Policy::parse(&policy_text(rules)).unwrap()
}

pub(crate) fn policy_text(rules: &str) -> String {
    let builder = |name: &str| {
        let (log_key, nix_key) = (log_key(&origin(name)), builder_key(name).public_key());
        let key = log_key.verifier();
        format!(
            "builder {name} {key} https://{name}.example.org operator={name} nix-key={nix_key}\n"
        )
    };
    let builders: String = ["alice", "bob", "carol"].map(builder).concat();
    let cache = format!(
        "cache main {} https://cache.example.org operator=example\n",
        cache_key().public_key()
    );
    format!("{builders}{cache}quorum none\n{rules}")
}

pub(crate) const TWO_OF_THREE: &str =
    "voters enough 2 alice bob carol\nrule main quorum=enough level=closure\ndefault main\n";

pub(crate) fn fetcher() -> Fetcher {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let short = Duration::from_millis(300);
    Fetcher::new(FetchLimits {
        first_byte_timeout: short,
        idle_timeout: short,
        ..FetchLimits::default()
    })
    .unwrap()
}

impl World {
    /// 2 of 3, with bytes from these caches.
    pub(crate) fn new(caches: &[&FakeCache]) -> Self {
        let sources: Vec<&str> = caches.iter().map(|cache| cache.url.as_str()).collect();
        Self::with(policy(TWO_OF_THREE), &sources, |_| {})
    }

    pub(crate) fn with(
        policy: Policy,
        sources: &[&str],
        change: impl FnOnce(&mut ResolverConfig),
    ) -> Self {
        Self::made(policy, sources, change, |_| None)
    }

    /// A resolver that asks the logs themselves what its aggregator leaves out, without sources.
    pub(crate) fn completing(policy: Policy) -> Self {
        let logs = |aggregator: &FakeAggregator| Some(FakeLogs::behind(aggregator));
        Self::made(policy, &[], |_| {}, logs)
    }

    /// The logs that the resolver asks.
    pub(crate) fn logs(&self) -> &FakeLogs {
        self.logs.as_ref().expect("it asks the logs")
    }

    fn made(
        policy: Policy,
        sources: &[&str],
        change: impl FnOnce(&mut ResolverConfig),
        logs: impl FnOnce(&FakeAggregator) -> Option<FakeLogs>,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = ResolverConfig::new(resolver_key(), directory.path().join("spool"));
        config.sources = sources
            .iter()
            .map(|source| source.parse().unwrap())
            .collect();
        config.source_idle_timeout = Duration::from_millis(300);
        change(&mut config);
        let aggregator = FakeAggregator::default();
        for builder in ["alice", "bob", "carol"] {
            // Something unrelated, so that proofs are not empty.
            aggregator.append(&origin(builder), quorix_testkit::entries::a_small_entry(1));
        }
        let logs = logs(&aggregator);
        Self::over(
            (aggregator, logs),
            ManualClock::default(),
            Arc::new(policy),
            config,
            directory,
        )
    }

    fn over(
        (aggregator, logs): (FakeAggregator, Option<FakeLogs>),
        clock: ManualClock,
        policy: Arc<Policy>,
        config: ResolverConfig,
        directory: TempDir,
    ) -> Self {
        let mut registry = Registry::default();
        let mut client = AggregatorClient::new(aggregator.channel(), policy.clone());
        if let Some(logs) = &logs {
            client = client.completing_all(logs.fetcher());
        }
        let content =
            ContentChecker::new(&config, &fetcher(), clock.as_fn(), &mut registry).unwrap();
        let resolver = Resolver::new(
            client,
            policy.clone(),
            config.clone(),
            content.clone(),
            clock.as_fn(),
            &mut registry,
        );
        let resolver = Arc::new(resolver.unwrap());
        let router = router(resolver.clone());
        Self {
            aggregator,
            logs,
            resolver,
            content,
            clock,
            registry,
            router,
            policy,
            config,
            _directory: directory,
        }
    }

    /// A new process over the same directory.
    pub(crate) fn restarted(self) -> Self {
        Self::over(
            (self.aggregator, self.logs),
            self.clock,
            self.policy,
            self.config,
            self._directory,
        )
    }

    pub(crate) fn spool(&self) -> &std::path::Path {
        &self.config.spool_dir
    }

    /// These builders attest this output.
    pub(crate) fn attest(&self, output: &Output, builders: &[&str]) {
        for builder in builders {
            self.aggregator
                .append(&origin(builder), output.built(&builder_key(builder)));
        }
    }

    pub(crate) async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[]).await
    }

    pub(crate) async fn narinfo(&self, output: &Output) -> Answer {
        self.get(&format!("/{}.narinfo", output.path.hash_part()))
            .await
    }

    /// The NAR of an output whose narinfo was asked for before.
    pub(crate) async fn nar(&self, output: &Output) -> Answer {
        self.get(&nar_path(output)).await
    }

    /// Both, one after the other, as Nix does.
    pub(crate) async fn substitute(&self, output: &Output) -> Answer {
        let narinfo = self.narinfo(output).await.narinfo();
        assert_eq!(narinfo.nar_hash, output.hash());
        self.nar(output).await
    }

    /// Serves on loopback; gives the URL.
    pub(crate) async fn listen(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = self.router.clone();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        url
    }

    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

pub(crate) fn nar_path(output: &Output) -> String {
    format!("/nar/{}.nar", output.hash().nix32())
}

pub(crate) fn narinfo_path(output: &Output) -> String {
    format!("/{}.narinfo", output.path.hash_part())
}
