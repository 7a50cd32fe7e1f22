//! Power cuts at random: whatever was written and not synced is gone.
//!
//! Each run is made by its number alone; a failure names it.

use super::*;

const RUNS: u64 = 300;

/// A small generator of numbers (xorshift64*).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

async fn run(seed: u64) {
    let mut dice = Dice::new(seed);
    let mut world = World::new(dice.roll(2) == 0);
    let all = Failing::all();
    for _ in 0..4 {
        for _ in 0..=dice.roll(4) {
            let first = dice.roll(60);
            let entries = small_entries(first..first + 1 + dice.roll(20));
            for _ in 0..dice.roll(3) {
                let fault = all[usize::try_from(dice.roll(all.len() as u64)).unwrap()];
                fault.arm(&world);
            }
            if dice.roll(2) == 0 {
                world.submit(&entries).await;
            } else {
                world.submit_patiently(&entries).await;
            }
        }
        match dice.roll(4) {
            0 => {}
            1 => world.crash(false).await,
            _ => world.crash(true).await,
        }
    }
    world.submit_patiently(&small_entries(0..80)).await;
    world
        .assert_kept_its_word(&[], &format!("run {seed}"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_sync_whatever_a_power_cut_takes_nothing_acknowledged_is_lost_and_nothing_contradicted()
 {
    for seed in 0..RUNS {
        run(seed).await;
    }
}
