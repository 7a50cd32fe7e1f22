//! Whole runs of an aggregator in a simulated world, each from one seed: builders that are honest, lie or keep two
//! histories; servers that are stale, silent, broken or hostile, several for a log; lines that are cut; crashes. The
//! network, the time, chance and the one thread are the simulation's, so a seed gives the same run again.
//!
//! What must hold in every run: nothing is accepted that the policy would not accept on what is really in the logs; who
//! showed two histories is quarantined, and stays so; nobody else is; and after the last fault everything is answered as
//! it is. `faults` is what goes wrong, `judge` what must hold.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::registry::Registry;
use quorix_testkit::entries::a_path;
use quorix_testkit::memory::MemoryIndex;
use quorix_wire::fetch::{FetchLimits, Fetcher};

use self::faults::{AGGREGATOR, KINDS};
use self::history::OUTPUTS;
use self::network::Simulated;
use self::world::World;
use super::dice::Dice;
use crate::config::AggregatorConfig;
use crate::error::StartError;
use crate::machine::simulated::Machine;
use crate::service::Aggregator;

mod faults;
mod history;
mod judge;
mod network;
mod site;
mod world;

/// Seeds that `make test` runs.
const SEEDS: u64 = 200;
const TICK: Duration = Duration::from_millis(50);
/// Ticks between two moments at which something goes wrong or is mended.
const TICKS_OF_A_TURN: u64 = 10;
const TURNS_OF_FAULTS: u64 = 50;
/// How long everything may take to be well again: the longest wait of a follower, and two looks.
const TURNS_OF_REST: u64 = 90;
/// When a log that is silent stops to vote.
const STALE_AFTER: Duration = Duration::from_secs(4);
/// The longest that a look may take, from the moment at which a server showed its checkpoint.
const SLACK: Duration = Duration::from_secs(6);
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(700);

/// What is wrong in a run that has to be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Twist {
    Nothing,
    /// The aggregator accepts with fewer votes than is right.
    StricterOracle,
    /// The aggregator counts votes of logs that have been silent for long.
    OldVotesCount,
    /// The aggregator loses its store when it crashes.
    StoreIsLost,
    /// What the aggregator quarantines is said to be honest.
    ForksAreHonest,
    /// One server stays silent in the end.
    NeverWell,
}

/// What happened in a run.
#[derive(Debug, PartialEq, Eq)]
struct Story {
    counts: BTreeMap<&'static str, u64>,
    trace: u64,
}

#[test]
fn nothing_is_accepted_that_is_not_true_whatever_fails_and_all_is_well_afterwards() {
    let first = number("QUORIX_SIM_SEED", 1);
    let count = number("QUORIX_SIM_SEEDS", SEEDS);
    let counts = run_all(first, count);
    report(count, &counts);
    // A few seeds cannot have everything in them.
    if count >= SEEDS {
        for kind in KINDS.iter().chain(&["an acceptance", "a refusal"]) {
            assert!(
                counts.contains_key(kind),
                "in {count} runs there was never {kind}"
            );
        }
    }
}

#[test]
fn one_seed_gives_one_run() {
    for seed in 1..=5 {
        let (one, other) = (run(seed, Twist::Nothing), run(seed, Twist::Nothing));
        assert!(one.is_ok(), "{one:?}");
        assert_eq!(one, other);
    }
    assert_ne!(run(1, Twist::Nothing), run(2, Twist::Nothing));
}

#[test]
fn whatever_would_be_wrong_is_found_out() {
    for (twist, found) in [
        (Twist::StricterOracle, "was accepted as"),
        (Twist::OldVotesCount, "was accepted as"),
        (Twist::StoreIsLost, "was forgotten"),
        (Twist::ForksAreHonest, "is quarantined, and has one history"),
        (Twist::NeverWell, "all is not well"),
    ] {
        let failure = (1..=SEEDS).find_map(|seed| Some((seed, run(seed, twist).err()?)));
        let (seed, why) = failure.unwrap_or_else(|| panic!("{twist:?} was never found out"));
        assert!(why.contains(found), "{twist:?}, seed {seed}: {why}");
    }
}

/// Runs seeds on as many threads as the machine has; fails with the first one that fails, and how to have it again.
fn run_all(first: u64, count: u64) -> BTreeMap<&'static str, u64> {
    let (next, counts) = (AtomicU64::new(first), Mutex::new(BTreeMap::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= first + count {
                return Ok(());
            }
            let story = run(seed, Twist::Nothing).map_err(|why| {
                next.store(first + count, Ordering::SeqCst);
                format!(
                    "seed {seed}: {why}\nTo have it again: QUORIX_SIM_SEED={seed} QUORIX_SIM_SEEDS=1 cargo test -p \
                     quorix-aggregator --lib simulation::nothing"
                )
            })?;
            for (kind, times) in story.counts {
                *counts.lock().unwrap().entry(kind).or_default() += times;
            }
        }
    };
    let ended: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|one| one.join().unwrap()).collect()
    });
    if let Some(failure) = ended.into_iter().find_map(Result::err) {
        panic!("{failure}");
    }
    counts.into_inner().unwrap()
}

/// One run. The error is what must not be.
fn run(seed: u64, twist: Twist) -> Result<Story, String> {
    let mut dice = Dice::new(!seed);
    let _machine = Machine::new(dice.split());
    let world = Rc::new(RefCell::new(World::new(seed, twist)));
    let mut sim = turmoil::Builder::new()
        .rng_seed(dice.next())
        .tick_duration(TICK)
        .simulation_duration(Duration::from_secs(3_600))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(100))
        .build();
    let hosts = world.borrow().hosts();
    for (site, host) in hosts.iter().enumerate() {
        let world = world.clone();
        sim.host(host.as_str(), move || site::serve(world.clone(), site));
    }
    let of_aggregator = world.clone();
    sim.host(AGGREGATOR, move || aggregate(of_aggregator.clone()));

    for turn in 0..TURNS_OF_FAULTS + TURNS_OF_REST {
        if turn < TURNS_OF_FAULTS {
            world.borrow_mut().live(&mut sim);
        } else if turn == TURNS_OF_FAULTS {
            world.borrow_mut().heal(&mut sim);
        } else if world.borrow().is_at_rest.is_ok() {
            return Ok(world.borrow().story());
        }
        for _ in 0..TICKS_OF_A_TURN {
            let started_s = 1_767_225_600;
            world
                .borrow()
                .clock
                .set(started_s + sim.elapsed().as_secs());
            sim.step().map_err(|error| error.to_string())?;
        }
        if let Some(violation) = world.borrow_mut().violation.take() {
            return Err(violation);
        }
    }
    let world = world.borrow();
    world.is_at_rest.clone().map_err(|why| {
        let rest = TICK * u32::try_from(TICKS_OF_A_TURN * TURNS_OF_REST).unwrap_or(0);
        format!("{rest:?} after the last fault all is not well: {why}")
    })?;
    Ok(world.story())
}

/// The aggregator of the simulation: starts over the store that is there, and answers questions until it dies.
async fn aggregate(world: Rc<RefCell<World>>) -> turmoil::Result {
    let aggregator = start(&world)?;
    let paths = OUTPUTS.map(|output| a_path(output).to_string());
    loop {
        tokio::time::sleep(BETWEEN_QUESTIONS).await;
        let held = world.borrow_mut().held();
        let answers = aggregator.decide_many(&paths).await?;
        let mut world = world.borrow_mut();
        world.judge(&aggregator, &held, &answers);
        if world.is_healed {
            world.is_at_rest = world.at_rest(&answers);
        }
    }
}

fn start(world: &Rc<RefCell<World>>) -> Result<Aggregator, StartError> {
    let mut world = world.borrow_mut();
    if world.twist == Twist::StoreIsLost {
        world.index = MemoryIndex::new();
    }
    let stale_after = match world.twist {
        Twist::OldVotesCount => Duration::from_secs(3_600),
        _ => STALE_AFTER,
    };
    let config = AggregatorConfig {
        poll_interval: Duration::from_secs(1),
        stale_after,
        request_timeout: Duration::from_secs(1),
        cache_budget: Duration::from_secs(1),
        ..AggregatorConfig::default()
    };
    Aggregator::start(
        Arc::new(world.index.clone()),
        world.policy.clone(),
        config,
        Fetcher::over(Arc::new(Simulated), FetchLimits::default()),
        None,
        world.clock.as_fn(),
        &mut Registry::default(),
    )
}

#[expect(clippy::print_stdout, reason = "how much happened is for people")]
fn report(count: u64, counts: &BTreeMap<&'static str, u64>) {
    println!("In {count} runs there was this many times:");
    for (kind, times) in counts {
        println!("{times:>9}  {kind}");
    }
}

/// A number that the environment may set, decimal.
fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|error| panic!("{variable}={text}: {error}"))
    })
}
