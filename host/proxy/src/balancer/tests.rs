//! The balancer's promises, in virtual time and with seeded randomness.

use std::collections::BinaryHeap;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection::vec, proptest};

use super::*;

const BASE: Duration = Duration::from_secs(10);
const SLOW_START: Duration = Duration::from_secs(100);

/// Even numbers, the same in each run (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ bits >> 31) % bound as u64) as usize
    }
}

/// A balancer, its clock and its dice.
struct Scene {
    balancer: Balancer,
    now: Instant,
    dice: Dice,
}

impl Scene {
    fn new(count: usize, max_share: f64) -> Self {
        let now = Instant::now();
        let ejection = EjectionConfig { consecutive_failures: 3, base: BASE, max_share };
        let endpoints = (0..count).map(|_| Arc::new(EndpointHealth::new(now))).collect();
        Self { balancer: Balancer::new(endpoints, ejection, SLOW_START, now), now, dice: Dice(7) }
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
    }

    fn choose(&mut self, exclude: &[usize], refused: &[usize]) -> Option<usize> {
        self.balancer.choose(self.now, |bound| self.dice.below(bound), exclude, |index| !refused.contains(&index))
    }

    fn begin(&self, index: usize) -> Outstanding {
        self.balancer.endpoints[index].begin()
    }

    /// Fails often enough to be ejected.
    fn fail(&self, index: usize) -> Option<Duration> {
        assert_eq!(self.balancer.note_failure(index, self.now), None);
        assert_eq!(self.balancer.note_failure(index, self.now), None);
        self.balancer.note_failure(index, self.now)
    }

    /// How often each is chosen in `rounds` while all are idle.
    fn idle_shares(&mut self, rounds: usize) -> Vec<f64> {
        let mut chosen = vec![0; self.balancer.endpoints.len()];
        for _ in 0..rounds {
            chosen[self.choose(&[], &[]).unwrap()] += 1;
        }
        chosen.into_iter().map(|count| f64::from(count) / rounds as f64).collect()
    }

    /// Which are chosen at all.
    #[track_caller]
    fn check(&mut self, exclude: &[usize], refused: &[usize], expected: &[usize]) {
        let mut chosen: Vec<usize> = (0..200).filter_map(|_| self.choose(exclude, refused)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen, expected);
    }
}

#[test]
fn one_endpoint_needs_no_dice() {
    let mut scene = Scene::new(1, 1.0);
    let no_dice = |_| unreachable!("nothing to choose");
    assert_eq!(scene.balancer.choose(scene.now, no_dice, &[0], |_| true), Some(0));
    assert_eq!(scene.balancer.choose(scene.now, no_dice, &[], |_| false), None);
    // The last is never ejected.
    assert_eq!(scene.fail(0), None);
    assert!(!scene.balancer.note_probe(0, false, scene.now));
    scene.check(&[], &[], &[0]);
    assert_eq!(Scene::new(0, 1.0).choose(&[], &[]), None);
}

#[test]
fn the_less_loaded_of_two_is_taken() {
    let mut scene = Scene::new(2, 0.5);
    let busy = scene.begin(0);
    scene.check(&[], &[], &[1]);
    let more = [scene.begin(1), scene.begin(1)];
    scene.check(&[], &[], &[0]);
    drop((busy, more));
    scene.check(&[], &[], &[0, 1]);
}

#[test]
fn passes_over_what_is_ejected_refused_or_tried_while_others_are_there() {
    let mut scene = Scene::new(4, 0.5);
    assert_eq!(scene.fail(0), Some(BASE));
    scene.check(&[], &[], &[1, 2, 3]);
    scene.check(&[], &[1], &[2, 3]);
    scene.check(&[2], &[1], &[3]);
    // Only the ejected one is left that was not tried.
    scene.check(&[2, 3], &[1], &[0]);
    // All were tried: any that is not refused.
    scene.check(&[0, 1, 2, 3], &[1], &[0, 2, 3]);
    scene.check(&[], &[1, 2, 3], &[0]);
    scene.check(&[], &[0, 1, 2, 3], &[]);
}

#[test]
fn failures_in_a_row_eject_and_each_time_for_longer() {
    let mut scene = Scene::new(2, 0.5);
    scene.balancer.note_failure(0, scene.now);
    scene.balancer.note_failure(0, scene.now);
    scene.balancer.note_success(0);
    for times in [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10] {
        assert_eq!(scene.fail(0), Some(BASE * times));
        // Late failures do not make it longer.
        for _ in 0..10 {
            assert_eq!(scene.balancer.note_failure(0, scene.now), None);
        }
        scene.wait(BASE * times - Duration::from_nanos(1));
        assert_eq!(scene.balancer.ejected(scene.now), 1);
        scene.wait(Duration::from_nanos(1));
        assert_eq!(scene.balancer.ejected(scene.now), 0);
    }
    scene.wait(BASE * 10);
    assert_eq!(scene.fail(0), Some(BASE));
}

#[test]
fn a_probe_ejects_and_lets_back() {
    let mut scene = Scene::new(2, 0.5);
    assert!(!scene.balancer.note_probe(0, true, scene.now));
    assert!(scene.balancer.note_probe(0, false, scene.now));
    assert!(!scene.balancer.note_probe(0, false, scene.now));
    // The other must stay until this one is back.
    assert!(!scene.balancer.note_probe(1, false, scene.now));
    scene.wait(BASE * 1000);
    scene.check(&[], &[], &[1]);
    assert!(scene.balancer.note_probe(0, true, scene.now));
    assert!(scene.balancer.note_probe(1, false, scene.now));
    scene.check(&[], &[], &[0]);
    // It is found up, but has still to sit out its failures.
    assert!(scene.balancer.note_probe(1, true, scene.now));
    assert_eq!(scene.fail(1), Some(BASE));
    assert!(scene.balancer.note_probe(1, false, scene.now));
    assert!(scene.balancer.note_probe(1, true, scene.now));
    scene.check(&[], &[], &[0]);
    scene.wait(BASE);
    assert_eq!(scene.balancer.ejected(scene.now), 0);
}

#[test]
fn the_share_is_a_count_of_whole_endpoints() {
    for (count, share, most) in
        [(2, 0.5, 1), (3, 0.5, 1), (4, 0.5, 2), (100, 0.29, 29), (10, 0.7, 7), (5, 0.1, 0), (3, 1.0, 2), (3, 7.0, 2), (3, 0.0, 0)]
    {
        let scene = Scene::new(count, share);
        let ejected = (0..count).filter(|index| scene.fail(*index).is_some()).count();
        assert_eq!((ejected, scene.balancer.ejected(scene.now)), (most, most), "{share} of {count}");
    }
}

#[test]
fn a_smaller_set_lets_the_surplus_back() {
    let scene = Scene::new(4, 0.5);
    assert!(scene.fail(0).is_some());
    assert!(scene.balancer.note_probe(1, false, scene.now));
    let kept = scene.balancer.endpoints[..2].to_vec();
    let smaller = Balancer::new(kept, scene.balancer.ejection.clone(), SLOW_START, scene.now);
    assert_eq!(smaller.ejected(scene.now), 1);
    let last = Balancer::new(vec![smaller.endpoints[1].clone()], smaller.ejection.clone(), SLOW_START, scene.now);
    assert_eq!(last.ejected(scene.now), 0);
    // The failures of the one that was let back are forgiven.
    for up in [false, true] {
        assert!(smaller.note_probe(0, up, scene.now));
    }
    assert_eq!(smaller.ejected(scene.now), 0);
}

#[test]
fn any_times_are_bearable() {
    let now = Instant::now();
    let endpoints = || (0..2).map(|_| Arc::new(EndpointHealth::new(now))).collect();
    let forever = EjectionConfig { consecutive_failures: 1, base: Duration::MAX, max_share: 1.0 };
    let balancer = Balancer::new(endpoints(), forever, Duration::MAX, now);
    assert!(balancer.note_failure(0, now).is_some());
    assert_eq!(balancer.choose(now, |_| 0, &[], |_| true), Some(1));
    // It is out for ever, but not because of a probe.
    assert!(!balancer.note_probe(0, true, now));
    let never = EjectionConfig { consecutive_failures: 0, base: Duration::ZERO, max_share: f64::NAN };
    let balancer = Balancer::new(endpoints(), never, Duration::ZERO, now);
    assert_eq!(balancer.note_failure(0, now), None);
    assert!(balancer.choose(now, |_| 0, &[], |_| true).is_some());
}

#[test]
fn idle_endpoints_share_evenly() {
    for count in [2, 3, 7] {
        for share in Scene::new(count, 0.5).idle_shares(60_000) {
            assert!((share * count as f64 - 1.0).abs() < 0.03, "{share} of {count}");
        }
    }
}

#[test]
fn the_rest_share_evenly_what_an_ejected_one_leaves() {
    let mut scene = Scene::new(5, 0.5);
    assert!(scene.fail(2).is_some());
    let shares = scene.idle_shares(60_000);
    for (index, share) in shares.iter().enumerate() {
        assert!(if index == 2 { *share == 0.0 } else { (share * 4.0 - 1.0).abs() < 0.03 }, "{shares:?}");
    }
}

#[test]
fn slow_start_gives_a_share_that_grows() {
    let mut scene = Scene::new(2, 0.5);
    scene.wait(SLOW_START);
    assert!(scene.fail(0).is_some());
    let returned = scene.now + BASE;
    let mut last = 0.0;
    // It never has less than a tenth.
    for (gone, percent) in [(0, 10), (20, 20), (30, 30), (40, 40), (60, 60), (80, 80), (100, 100)] {
        scene.now = returned + SLOW_START * gone / 100;
        let share = scene.idle_shares(60_000)[0];
        let expected = f64::from(percent) / (100.0 + f64::from(percent));
        assert!((share - expected).abs() < 0.01, "{share} at {percent} %");
        assert!(share > last);
        last = share;
    }
}

#[test]
fn load_decides_among_those_in_slow_start_too() {
    let mut scene = Scene::new(2, 0.5);
    // Both are as new: nothing but load counts.
    let busy = scene.begin(0);
    scene.check(&[], &[], &[1]);
    drop(busy);
    scene.wait(SLOW_START);
    assert!(scene.fail(0).is_some());
    scene.wait(BASE + SLOW_START / 5);
    // At a fifth of its share it is as loaded as one with five times as many under way.
    let _busy: Vec<_> = (0..4).map(|_| scene.begin(1)).collect();
    let share = scene.idle_shares(60_000)[0];
    assert!((share - 0.5).abs() < 0.01, "{share}");
}

#[test]
fn under_load_the_slow_get_less_and_the_equal_the_same() {
    let mut scene = Scene::new(4, 0.5);
    scene.wait(SLOW_START);
    // Sixteen clients that ask again at once; the last endpoint takes four times as long. Ends are ordered by (time, endpoint).
    let mut ends: BinaryHeap<std::cmp::Reverse<(usize, usize)>> = BinaryHeap::new();
    let mut under_way: Vec<Vec<Outstanding>> = (0..4).map(|_| Vec::new()).collect();
    let (mut time, mut served, mut most) = (0, [0_u32; 4], 0);
    for round in 0..40_000 {
        if round >= 16 {
            let std::cmp::Reverse((end, index)) = ends.pop().unwrap();
            time = end;
            drop(under_way[index].pop());
            served[index] += 1;
        }
        let index = scene.choose(&[], &[]).unwrap();
        under_way[index].push(scene.begin(index));
        most = most.max(under_way[index].len());
        let work = 50 + scene.dice.below(100);
        ends.push(std::cmp::Reverse((time + if index == 3 { 4 * work } else { work }, index)));
    }
    let [one, two, three, slow] = served.map(f64::from);
    for equal in [two, three] {
        assert!((equal / one - 1.0).abs() < 0.05, "{served:?}");
    }
    assert!(slow < one / 2.0 && slow > one / 8.0, "{served:?}");
    assert!(most <= 10, "{most} at once on one of four, of sixteen");
}

#[derive(Clone, Debug)]
enum Step {
    Fail(usize),
    Succeed(usize),
    Probe(usize, bool),
    Wait(u64),
    Choose { exclude: Vec<usize>, refused: Vec<usize> },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = || vec(0..8_usize, 0..5);
    let step = prop_oneof![
        8 => any::<usize>().prop_map(Step::Fail),
        1 => any::<usize>().prop_map(Step::Succeed),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(index, up)| Step::Probe(index, up)),
        2 => prop_oneof![Just(0), 0..60_000_u64].prop_map(Step::Wait),
        4 => (some(), some()).prop_map(|(exclude, refused)| Step::Choose { exclude, refused }),
    ];
    vec(step, 0..200)
}

proptest! {
    #[test]
    fn never_too_many_are_ejected_and_none_is_chosen_in_vain(count in 1..8_usize, share in 0.0..=1.0_f64, steps in steps()) {
        let mut scene = Scene::new(count, share);
        for step in steps {
            let before = scene.balancer.ejected(scene.now);
            match step {
                Step::Fail(index) => {
                    let ejected = scene.balancer.note_failure(index % count, scene.now);
                    assert_eq!(scene.balancer.ejected(scene.now), before + usize::from(ejected.is_some()));
                }
                Step::Succeed(index) => scene.balancer.note_success(index % count),
                Step::Probe(index, up) => _ = scene.balancer.note_probe(index % count, up, scene.now),
                Step::Wait(millis) => scene.wait(Duration::from_millis(millis)),
                Step::Choose { exclude, refused } => {
                    let chosen = scene.choose(&exclude, &refused);
                    let usable: Vec<usize> = (0..count).filter(|index| !refused.contains(index)).collect();
                    let is_in = |index: &usize| !scene.balancer.endpoints[*index].is_ejected(scene.now);
                    let new: Vec<usize> = usable.iter().copied().filter(|index| !exclude.contains(index)).collect();
                    let best: Vec<usize> = new.iter().copied().filter(is_in).collect();
                    let expected = [best, new, usable].into_iter().find(|indices| !indices.is_empty());
                    assert_eq!(chosen.is_some(), expected.is_some());
                    assert!(chosen.is_none_or(|chosen| expected.is_some_and(|expected| expected.contains(&chosen))));
                }
            }
            let ejected = scene.balancer.ejected(scene.now);
            assert!(ejected < count && ejected as f64 <= share * count as f64 + 1e-6, "{ejected} of {count} at {share}");
        }
    }
}

#[test]
fn threads_that_fail_at_once_do_not_share_the_last_place() {
    let now = Instant::now();
    let barrier = std::sync::Barrier::new(4);
    let config = EjectionConfig { consecutive_failures: 1, base: BASE, max_share: 0.5 };
    let balancers: Vec<_> = (0..2_000)
        .map(|_| Balancer::new((0..4).map(|_| Arc::new(EndpointHealth::new(now))).collect(), config.clone(), SLOW_START, now))
        .collect();
    std::thread::scope(|scope| {
        for index in 0..4 {
            let (balancers, barrier) = (&balancers, &barrier);
            scope.spawn(move || {
                for balancer in balancers {
                    barrier.wait();
                    balancer.note_failure(index, now);
                }
            });
        }
    });
    assert!(balancers.iter().all(|balancer| balancer.ejected(now) == 2));
}

#[test]
fn threads_leave_nothing_outstanding_and_never_eject_too_many() {
    let scene = Scene::new(4, 0.5);
    let (balancer, now) = (&scene.balancer, scene.now);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let mut dice = Dice(seed);
                for round in 0..20_000_u64 {
                    let now = now + Duration::from_millis(round * 10);
                    let index = balancer.choose(now, |bound| dice.below(bound), &[], |_| true).unwrap();
                    let _under_way = balancer.endpoints[index].begin();
                    assert!((1..=4).contains(&balancer.endpoints[index].outstanding()));
                    match dice.below(4) {
                        0 => balancer.note_success(index),
                        1 => _ = balancer.note_probe(index, dice.below(2) == 0, now),
                        _ => _ = balancer.note_failure(index, now),
                    }
                }
            });
        }
    });
    assert!(balancer.endpoints.iter().all(|endpoint| endpoint.outstanding() == 0 && Arc::strong_count(endpoint) == 1));
    // Clocks of threads differ; the bound holds by the latest of them.
    assert!(balancer.ejected(now + Duration::from_secs(200)) <= 2);
}
