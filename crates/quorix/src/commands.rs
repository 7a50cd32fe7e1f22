//! A file for each command, and the one place that runs them.

mod aggregator;
mod attest;
mod audit;
mod backup;
mod config;
mod decide;
mod files;
mod hook;
mod import;
mod key;
pub(crate) mod log;
mod lookup;
mod mirror;
mod paper;
mod policy;
mod policy_files;
mod policy_try;
mod progress;
mod receipt;
mod rotate;
mod serve;
mod token;
mod verify;
mod witnesses;

use crate::cli::operate::VerifyCommand;
use crate::cli::{
    BenchCommand, Cli, Command, ConfigCommand, HookCommand, KeyCommand, LogCommand, PolicyCommand,
    TokenCommand,
};
use crate::config::Config;
use crate::output::{self, Exit, Failure};
use crate::{bench, demo, telemetry};
use quorix_trust::policy::{POLICY_BYTES_MAX, Policy};
use quorix_wire::fetch::{FetchLimits, Fetcher};
use std::future::Future;
use std::path::{Path, PathBuf};

/// Runs a command to its end.
#[must_use]
pub fn run(cli: Cli) -> Exit {
    let is_service = matches!(cli.command, Command::Serve(_));
    telemetry::start(cli.log_format, if is_service { "info" } else { "error" });
    let result = match cli.command {
        Command::Serve(file) => blocking(serve::serve(&file.config)),
        Command::Decide(arguments) => blocking(decide::decide(arguments)),
        Command::Audit(command) => blocking(audit::audit(command)),
        Command::Demo(arguments) => blocking(demo::demo(arguments)),
        Command::Bench(BenchCommand::Log {
            entries,
            dir,
            only,
            json,
        }) => blocking(bench::log(bench::LogBench {
            entries,
            dir,
            json,
            only,
        })),
        Command::Bench(BenchCommand::Aggregator {
            paths,
            outputs,
            logs,
            dir,
            only,
            json,
        }) => blocking(bench::aggregator(bench::AggregatorBench {
            paths,
            outputs,
            logs,
            dir,
            json,
            only,
        })),
        Command::Config(ConfigCommand::Check(file)) => config::check(&file.config),
        Command::Policy(PolicyCommand::Check { file, json }) => policy::check(&file, json),
        Command::Policy(PolicyCommand::Init(arguments)) => policy_files::init(&arguments),
        Command::Policy(PolicyCommand::Try(arguments)) => blocking(policy_try::try_on(arguments)),
        Command::Policy(PolicyCommand::Exempt(command)) => policy_files::exempt(&command),
        Command::Key(KeyCommand::Generate { kind, name, file }) => {
            key::generate(kind, &name, &file)
        }
        Command::Key(KeyCommand::Show { file, index }) => key::show(&file, index),
        Command::Key(KeyCommand::Rotate {
            file,
            name,
            yes,
            json,
            config,
        }) => blocking(rotate::rotate(&rotate::Rotate {
            file,
            name,
            yes,
            json,
            config: config.config,
        })),
        Command::Token(TokenCommand::Generate { log, name, file }) => {
            token::generate(&log, &name, &file)
        }
        Command::Log(LogCommand::Status {
            aggregator,
            json,
            config,
        }) => blocking(log::status(aggregator, json, &config.config)),
        Command::Log(LogCommand::Backup { dir, config }) => {
            blocking(backup::backup(&dir, &config.config))
        }
        Command::Log(LogCommand::Adopt {
            confirm_size,
            config,
        }) => blocking(backup::adopt(confirm_size, &config.config)),
        Command::Log(LogCommand::Lookup(arguments)) => blocking(lookup::run(arguments)),
        Command::Log(LogCommand::AuditIndex(arguments)) => blocking(log::audit::audit(arguments)),
        Command::Log(LogCommand::Export(arguments)) => blocking(log::export::export(arguments)),
        Command::Log(LogCommand::Fsck(arguments)) => blocking(log::fsck::fsck(arguments)),
        Command::Log(LogCommand::Proof(arguments)) => blocking(log::proof::proof(arguments)),
        Command::Log(LogCommand::Retract(arguments)) => blocking(log::retract::retract(arguments)),
        Command::Log(LogCommand::Tail(arguments)) => blocking(log::tail::tail(arguments)),
        Command::Verify(VerifyCommand::Proof(arguments)) => verify::proof(&arguments),
        Command::Verify(VerifyCommand::Receipt(arguments)) => receipt::verify(&arguments),
        Command::Verify(VerifyCommand::Evidence(arguments)) => verify::evidence(&arguments),
        Command::Aggregator(command) => blocking(aggregator::run(command)),
        Command::Mirror(arguments) => blocking(mirror::mirror(arguments)),
        Command::Attest(arguments) => blocking(attest::attest(arguments)),
        Command::Hook(HookCommand::PostBuild(file)) => return hook::post_build(&file.config),
        Command::Hook(HookCommand::Status { json, config }) => hook::status(json, &config.config),
        Command::Completions { shell } => {
            paper::completions(shell);
            Ok(Exit::Yes)
        }
        Command::Man { dir } => paper::manual(dir.as_deref()),
    };
    result.unwrap_or_else(|failure| {
        output::error(&failure);
        failure.exit()
    })
}

fn blocking(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime
        .map_err(|error| Failure::unknown(format!("the runtime did not start: {error}")))?
        .block_on(command)
}

/// Reads the configuration.
pub(crate) fn configuration(file: &Path) -> Result<Config, Failure> {
    Config::read(file).map_err(Failure::wrong)
}

/// Reads a policy file.
pub(crate) fn read_policy(file: &Path) -> Result<Policy, Failure> {
    read_policy_and_files(file).0
}

/// Reads a policy file, and says which files it consists of, itself first, as far as they are known.
pub(crate) fn read_policy_and_files(file: &Path) -> (Result<Policy, Failure>, Vec<PathBuf>) {
    let beside = policy::Beside::of(file);
    let policy = parsed_policy(file, &beside);
    let mut files = vec![file.to_owned()];
    files.extend(beside.named());
    (policy, files)
}

fn parsed_policy(file: &Path, beside: &policy::Beside) -> Result<Policy, Failure> {
    let text = files::read_at_most(file, POLICY_BYTES_MAX).map_err(|error| {
        Failure::wrong(format!(
            "the policy {} cannot be read: {error}",
            file.display()
        ))
    })?;
    let text = String::from_utf8(text).map_err(|error| {
        Failure::wrong(format!(
            "the policy {} is not UTF-8 text: {error}",
            file.display()
        ))
    })?;
    Policy::parse_with(&text, beside)
        .map_err(|error| Failure::wrong(format!("{}: {error}", file.display())))
}

/// Seconds since 1970.
#[must_use]
pub(crate) fn now_s() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// A channel to a service; TLS as the configuration says, if there is one.
fn channel_to(
    address: &quorix_wire::address::Address,
    file: &Path,
) -> Result<tonic::transport::Channel, Failure> {
    let tls = Config::read(file)
        .map(|config| config.tls)
        .unwrap_or_default();
    crate::wiring::tls::channel(address, &tls)
}

/// What fetches from logs, mirrors and sources; TLS as the configuration says, if there is one.
fn fetcher(file: &Path) -> Result<Fetcher, Failure> {
    let tls = Config::read(file)
        .map(|config| config.tls)
        .unwrap_or_default();
    let tls = crate::wiring::tls::client(&tls)?;
    Fetcher::with_tls(FetchLimits::default(), &tls).map_err(Failure::unknown)
}

/// Where the aggregator is: what was typed, else what the configuration says.
fn aggregator_address(
    typed: Option<quorix_wire::address::Address>,
    file: &Path,
) -> Result<quorix_wire::address::Address, Failure> {
    if let Some(typed) = typed {
        return Ok(typed);
    }
    let config = configuration(file)?;
    let named = config
        .resolver
        .as_ref()
        .and_then(|resolver| resolver.aggregator.clone());
    named
        .or_else(|| {
            config
                .dashboard
                .as_ref()
                .and_then(|dashboard| dashboard.aggregator.clone())
        })
        .or_else(|| {
            config
                .aggregator
                .as_ref()
                .and_then(|aggregator| aggregator.listen.local())
        })
        .ok_or_else(|| {
            Failure::wrong(format!(
                "{} names no aggregator; say where one answers: --aggregator ADDRESS",
                file.display()
            ))
        })
}
