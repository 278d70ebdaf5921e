//! The gauge against machines that are wanted, given back, unsteady, asleep, and silent.

use super::*;
use crate::gpu_monitor::policy::Share;
use crate::gpu_monitor::protocol::{Gpu, Heat, Power};
use proptest::prelude::*;

const IDLE_MS: u64 = 60_000;

fn calm() -> Reading {
    Reading {
        gpu: Gpu::Absent,
        cpu_permille: Some(0),
        power: Some(Power::Mains),
        minute: Some(600),
    }
}

fn on_battery() -> Reading {
    Reading {
        power: Some(Power::Battery { percent: Some(40) }),
        ..calm()
    }
}

/// A gauge, its clock, and every change of hands with its time.
struct Bench {
    gauge: Gauge,
    now: Time,
    changes: Vec<(Time, Use)>,
    told: usize,
}

impl Bench {
    fn new(share: Share) -> Bench {
        let policy = Policy {
            share,
            hours: None,
            idle_ms: IDLE_MS,
        };
        Bench {
            gauge: Gauge::new(policy, Time(0)),
            now: Time(0),
            changes: Vec::new(),
            told: 0,
        }
    }

    fn note(&mut self, out: Vec<Effect>) -> Option<u64> {
        self.gauge.check();
        let mut ordered = None;
        for effect in out {
            match effect {
                Effect::Look { look } => ordered = Some(look),
                Effect::Tell(told) => {
                    self.told += 1;
                    if self.changes.last().map(|(_, last)| *last) != Some(told) {
                        self.changes.push((self.now, told));
                    }
                }
            }
        }
        ordered
    }

    /// Sleeps until the gauge wants something, and lets it have it.
    fn wake(&mut self) -> Option<u64> {
        let mut out = Vec::new();
        self.now = self
            .now
            .max(self.gauge.deadline().expect("it always watches"));
        self.gauge.wake(self.now, &mut out);
        self.note(out)
    }

    /// One look, which sees `reading` after `took_ms`.
    fn see(&mut self, reading: Reading, took_ms: u64) {
        let look = self.wake().expect("a look is ordered");
        self.now = self.now.plus_ms(took_ms);
        let mut out = Vec::new();
        self.gauge
            .step(self.now, Input::Seen { look, reading }, &mut out);
        self.note(out);
    }

    fn see_for(&mut self, reading: Reading, ms: u64) {
        let until = self.now.plus_ms(ms);
        while self.now < until {
            self.see(reading, 1);
        }
    }

    fn now_for(&self) -> Use {
        self.gauge.now_for().expect("something was seen")
    }
}

#[test]
fn the_first_reading_decides_at_once() {
    for (reading, expected) in [
        (calm(), Use::Idle),
        (on_battery(), Use::Wanted(Reason::Battery)),
    ] {
        let mut bench = Bench::new(Share::Polite);
        bench.see(reading, 1);
        assert_eq!(bench.changes, [(Time(1), expected)]);
    }
}

#[test]
fn what_lasts_takes_the_machine_and_only_an_idle_time_without_a_break_gives_it_back() {
    let mut bench = Bench::new(Share::Polite);
    bench.see_for(calm(), 10_000);
    // A plug that is pulled for a moment is nothing,
    bench.see(on_battery(), 1);
    bench.see_for(calm(), 4_000);
    assert_eq!(bench.now_for(), Use::Idle);
    // one that stays pulled is.
    let pulled = bench.now;
    bench.see_for(on_battery(), 8_000);
    assert_eq!(bench.now_for(), Use::Wanted(Reason::Battery));
    let (at, _) = bench.changes[1];
    assert!(at.since_ms(pulled) <= WANTED_MS + 2 * (LOOK_EVERY_MS + 1));
    // Back on the mains for almost long enough, then off again, and then for good.
    bench.see_for(calm(), IDLE_MS - 2 * LOOK_EVERY_MS);
    bench.see(on_battery(), 1);
    let back = bench.now;
    bench.see_for(calm(), IDLE_MS - 2 * LOOK_EVERY_MS);
    assert_eq!(bench.now_for(), Use::Wanted(Reason::Battery));
    bench.see_for(calm(), 6 * LOOK_EVERY_MS);
    assert_eq!(bench.now_for(), Use::Idle);
    assert!(bench.changes[2].0.since_ms(back) >= IDLE_MS);
}

#[test]
fn heat_and_loss_take_the_machine_at_once_under_every_share() {
    let hot = Gpu::Seen {
        percent: 0,
        heat: Some(Heat {
            celsius: 95,
            limit: 90,
        }),
    };
    for share in [Share::Always, Share::Polite, Share::Idle] {
        for (gpu, reason) in [(hot, Reason::Hot), (Gpu::Lost, Reason::Lost)] {
            let mut bench = Bench::new(share);
            bench.see(calm(), 1);
            bench.see(Reading { gpu, ..calm() }, 1);
            assert_eq!(bench.now_for(), Use::Wanted(reason), "{share:?}");
        }
    }
}

#[test]
fn another_reason_is_told_and_no_change_of_hands() {
    let mut bench = Bench::new(Share::Idle);
    bench.see(on_battery(), 1);
    let busy = Reading {
        cpu_permille: Some(900),
        ..calm()
    };
    bench.see(busy, 1);
    assert_eq!(bench.now_for(), Use::Wanted(Reason::Cpu));
    // The lower limit holds while the machine is away.
    let less = Reading {
        cpu_permille: Some(130),
        ..calm()
    };
    bench.see_for(less, 2 * IDLE_MS);
    assert_eq!(bench.now_for(), Use::Wanted(Reason::Cpu));
}

#[test]
fn sensors_that_hang_count_as_wanted_and_are_not_asked_twice() {
    let mut bench = Bench::new(Share::Polite);
    bench.see(calm(), 1);
    let look = bench.wake().expect("a look");
    let hung = bench.now;
    while bench.now_for() == Use::Idle {
        assert_eq!(bench.wake(), None, "one look at a time");
    }
    assert_eq!(bench.now_for(), Use::Wanted(Reason::Unknown));
    assert!(bench.now.since_ms(hung) <= LOOK_MS_MAX + WANTED_MS + LOOK_EVERY_MS);
    // An answer to another look is none; the late one to this is.
    let mut out = Vec::new();
    let reading = calm();
    for (look, next) in [(look + 1, false), (look, true)] {
        bench
            .gauge
            .step(bench.now, Input::Seen { look, reading }, &mut out);
        assert_eq!(bench.wake().is_some(), next);
    }
}

#[test]
fn the_keeper_is_told_again_though_nothing_changes() {
    let mut bench = Bench::new(Share::Always);
    bench.see_for(calm(), 60_000);
    assert_eq!(bench.changes.len(), 1);
    assert!((5..=7).contains(&bench.told), "{}", bench.told);
}

#[test]
fn time_that_nobody_watched_counts_for_nothing() {
    let mut bench = Bench::new(Share::Polite);
    bench.see(on_battery(), 1);
    bench.see(calm(), 1);
    // The lid is shut for a night, on the mains.
    bench.now = bench.now.plus_ms(8 * 3_600_000);
    bench.see(calm(), 1);
    assert_eq!(bench.now_for(), Use::Wanted(Reason::Battery));
    bench.see_for(calm(), IDLE_MS + LOOK_EVERY_MS);
    assert_eq!(bench.now_for(), Use::Idle);
}

fn any_reading() -> impl Strategy<Value = Reading> {
    let gpu = prop_oneof![
        4 => Just(Gpu::Absent),
        1 => Just(Gpu::Unknown),
        1 => Just(Gpu::Lost),
        4 => (0_u32..40, proptest::option::of(70_u32..100)).prop_map(|(percent, celsius)| Gpu::Seen {
            percent,
            heat: celsius.map(|celsius| Heat { celsius, limit: 90 }),
        }),
    ];
    let power = prop_oneof![
        6 => Just(Some(Power::Mains)),
        2 => Just(Some(Power::Battery { percent: None })),
        1 => Just(None),
    ];
    (gpu, proptest::option::weighted(0.9, 0_u32..500), power).prop_map(
        |(gpu, cpu_permille, power)| Reading {
            gpu,
            cpu_permille,
            power,
            minute: Some(0),
        },
    )
}

proptest! {
    /// G1, whatever comes in which order and however late.
    #[test]
    fn the_machine_changes_hands_at_most_twice_in_an_idle_time(
        share in prop_oneof![Just(Share::Always), Just(Share::Polite), Just(Share::Idle)],
        runs in proptest::collection::vec((any_reading(), 1_u64..60, 1_u64..9_000), 1..60),
    ) {
        let mut bench = Bench::new(share);
        for (reading, times, took_ms) in runs {
            for _ in 0..times {
                let look = loop {
                    if let Some(look) = bench.wake() {
                        break look;
                    }
                };
                // A look that takes long is late in between.
                let answered = bench.now.plus_ms(took_ms);
                while bench.gauge.deadline().is_some_and(|at| at < answered) {
                    bench.wake();
                }
                bench.now = answered;
                let mut out = Vec::new();
                bench.gauge.step(bench.now, Input::Seen { look, reading }, &mut out);
                bench.note(out);
            }
        }
        let hands = |told: &Use| *told == Use::Idle;
        let mut changes = bench.changes;
        changes.dedup_by_key(|(_, told)| hands(told));
        for three in changes.windows(3) {
            let within = three[2].0.since_ms(three[0].0);
            prop_assert!(within >= IDLE_MS, "{three:?}");
        }
    }
}
