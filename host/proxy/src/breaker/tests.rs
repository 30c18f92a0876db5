//! The breaker's promises, in virtual time.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::SeqCst};

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{collection::vec, proptest};

use super::*;

const OPEN: Duration = Duration::from_secs(5);

fn config() -> BreakerConfig {
    BreakerConfig { min_requests: 10, open: OPEN, ..BreakerConfig::default() }
}

/// A breaker and its clock.
struct Scene {
    breaker: Breaker,
    now: Instant,
}

impl Scene {
    fn new(config: BreakerConfig) -> Self {
        let now = Instant::now();
        Self { breaker: Breaker::new(config, now), now }
    }

    /// One of which enough failures were seen to open it.
    fn opened(config: BreakerConfig) -> Self {
        let scene = Self::new(config);
        for _ in 0..scene.breaker.config.connect_failures {
            scene.attempt(Attempt::ConnectFailed);
        }
        scene.check(BreakerState::Open);
        scene
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
    }

    fn attempt(&self, attempt: Attempt) -> Option<BreakerState> {
        self.breaker.note(self.now, self.breaker.admit(self.now), attempt)
    }

    fn trial(&self) -> Admission {
        let admission = self.breaker.admit(self.now);
        assert!(matches!(admission, Admission::Trial(_)), "{admission:?}");
        admission
    }

    #[track_caller]
    fn check(&self, expected: BreakerState) {
        assert_eq!(self.breaker.state(self.now), expected);
    }

    #[track_caller]
    fn check_refused(&self, expected: Duration) {
        assert!(!self.breaker.would_admit(self.now));
        assert_eq!(self.breaker.admit(self.now), Admission::Refused { retry_after: expected });
    }
}

#[test]
fn opens_on_the_share_of_errors_but_not_before_enough_was_seen() {
    let scene = Scene::new(config());
    for _ in 0..4 {
        assert_eq!(scene.attempt(Attempt::Ok), None);
        assert_eq!(scene.attempt(Attempt::Failed), None);
    }
    scene.attempt(Attempt::Ok);
    scene.check(BreakerState::Closed);
    assert_eq!(scene.attempt(Attempt::Failed), Some(BreakerState::Open));
    scene.check_refused(OPEN);
}

#[test]
fn forgets_errors_that_left_the_window() {
    let mut scene = Scene::new(config());
    for _ in 0..9 {
        scene.attempt(Attempt::Failed);
    }
    scene.wait(Duration::from_secs(10));
    for _ in 0..9 {
        assert_eq!(scene.attempt(Attempt::Failed), None);
    }
    assert_eq!(scene.attempt(Attempt::Failed), Some(BreakerState::Open));
}

#[test]
fn opens_on_failed_connects_only_when_in_a_row() {
    // A share that is never reached leaves only the connects.
    let scene = Scene::new(BreakerConfig { error_share: 2.0, ..config() });
    for shows_that_it_is_there in [Attempt::Ok, Attempt::Failed] {
        for _ in 0..4 {
            assert_eq!(scene.attempt(Attempt::ConnectFailed), None);
        }
        assert_eq!(scene.attempt(shows_that_it_is_there), None);
    }
    for _ in 0..4 {
        assert_eq!(scene.attempt(Attempt::ConnectFailed), None);
    }
    assert_eq!(scene.attempt(Attempt::Abandoned), None);
    assert_eq!(scene.attempt(Attempt::ConnectFailed), Some(BreakerState::Open));
}

#[test]
fn a_trial_that_succeeds_closes_it_and_forgets_the_past() {
    let mut scene = Scene::opened(config());
    scene.wait(OPEN - Duration::from_nanos(1));
    scene.check_refused(Duration::from_nanos(1));
    scene.wait(Duration::from_nanos(1));
    scene.check(BreakerState::HalfOpen);
    assert!(scene.breaker.would_admit(scene.now));
    let trial = scene.trial();
    scene.check(BreakerState::HalfOpen);
    scene.check_refused(OPEN);
    assert_eq!(scene.breaker.note(scene.now, trial, Attempt::Ok), Some(BreakerState::Closed));
    for _ in 0..4 {
        assert_eq!(scene.attempt(Attempt::ConnectFailed), None);
    }
    // A second word on the same trial is nonsense, and harmless.
    assert_eq!(scene.breaker.note(scene.now, trial, Attempt::Failed), None);
    scene.check(BreakerState::Closed);
}

#[test]
fn stays_open_twice_as_long_with_each_failed_trial_up_to_ten_times() {
    let mut scene = Scene::opened(config());
    let mut open = OPEN;
    for expected in [10, 20, 40, 50, 50, 50] {
        scene.check_refused(open);
        scene.wait(open);
        let trial = scene.trial();
        assert_eq!(scene.breaker.note(scene.now, trial, Attempt::Failed), Some(BreakerState::Open));
        open = Duration::from_secs(expected);
    }
    scene.wait(open);
    assert_eq!(scene.attempt(Attempt::Ok), Some(BreakerState::Closed));
    for _ in 0..5 {
        scene.attempt(Attempt::ConnectFailed);
    }
    scene.check_refused(OPEN);
}

#[test]
fn an_abandoned_trial_frees_its_place() {
    let mut scene = Scene::opened(config());
    scene.wait(OPEN);
    let trial = scene.trial();
    assert_eq!(scene.breaker.note(scene.now, trial, Attempt::Abandoned), None);
    scene.check(BreakerState::HalfOpen);
    let next = scene.trial();
    // The first cannot free or decide what is now the second's.
    for attempt in [Attempt::Abandoned, Attempt::Ok, Attempt::Failed] {
        assert_eq!(scene.breaker.note(scene.now, trial, attempt), None);
    }
    scene.check_refused(OPEN);
    assert_eq!(scene.breaker.note(scene.now, next, Attempt::Ok), Some(BreakerState::Closed));
}

#[test]
fn the_guard_says_abandoned_when_dropped() {
    let mut scene = Scene::opened(config());
    let breaker = Arc::new(std::mem::replace(&mut scene.breaker, Breaker::new(config(), scene.now)));
    assert_eq!(breaker.enter(scene.now).err(), Some(OPEN));
    scene.wait(OPEN);
    let first = breaker.enter(scene.now).unwrap_or_else(|_| panic!("the place is free"));
    assert!(first.is_trial());
    assert!(breaker.enter(scene.now).is_err());
    drop(first);
    let second = breaker.enter(scene.now).unwrap_or_else(|_| panic!("the place is free again"));
    assert_eq!(second.note(scene.now, Attempt::Ok), Some(BreakerState::Closed));
    assert!(breaker.enter(scene.now).is_ok_and(|admitted| !admitted.is_trial()));
    assert_eq!(Arc::strong_count(&breaker), 1);
}

#[test]
fn exchanges_from_before_it_opened_change_nothing_after() {
    let mut scene = Scene::new(config());
    let early: Vec<_> = (0..40).map(|_| scene.breaker.admit(scene.now)).collect();
    for admission in &early[..10] {
        scene.breaker.note(scene.now, *admission, Attempt::Failed);
    }
    scene.check(BreakerState::Open);
    assert_eq!(scene.breaker.note(scene.now, early[10], Attempt::Ok), None);
    scene.check(BreakerState::Open);
    scene.wait(OPEN);
    assert_eq!(scene.attempt(Attempt::Ok), Some(BreakerState::Closed));
    for admission in &early[11..] {
        assert_eq!(scene.breaker.note(scene.now, *admission, Attempt::ConnectFailed), None);
    }
    // Nor are they held against it with what it does now: neither these nor those that opened it.
    for _ in 0..4 {
        assert_eq!(scene.attempt(Attempt::ConnectFailed), None);
    }
    scene.check(BreakerState::Closed);
}

#[test]
fn the_hand_overrules_and_lets_go_of_a_clean_breaker() {
    let mut scene = Scene::opened(config());
    scene.breaker.force(Forced::Closed);
    for _ in 0..50 {
        assert_eq!(scene.attempt(Attempt::ConnectFailed), None);
    }
    scene.check(BreakerState::Closed);
    scene.breaker.force(Forced::Open);
    assert_eq!(scene.breaker.forced(), Forced::Open);
    scene.wait(OPEN * 100);
    scene.check(BreakerState::Open);
    scene.check_refused(OPEN);
    scene.breaker.force(Forced::None);
    assert_eq!(scene.breaker.forced(), Forced::None);
    for _ in 0..4 {
        assert_eq!(scene.attempt(Attempt::ConnectFailed), None);
    }
    assert_eq!(scene.attempt(Attempt::ConnectFailed), Some(BreakerState::Open));
    // Nothing is forced, so there is nothing to let go of.
    scene.breaker.force(Forced::None);
    scene.check(BreakerState::Open);
}

#[test]
fn switched_off_it_only_obeys_the_hand() {
    let scene = Scene::new(BreakerConfig { enabled: false, ..config() });
    for _ in 0..1000 {
        assert_eq!(scene.attempt(Attempt::ConnectFailed), None);
    }
    scene.check(BreakerState::Closed);
    scene.breaker.force(Forced::Open);
    scene.check(BreakerState::Open);
    scene.breaker.force(Forced::None);
    scene.check(BreakerState::Closed);
}

#[test]
fn any_times_are_bearable() {
    let mut scene = Scene::opened(BreakerConfig { open: Duration::MAX, window: Duration::MAX, ..config() });
    scene.check(BreakerState::Open);
    scene.wait(Duration::from_secs(1 << 32));
    scene.check(BreakerState::Open);
    let scene =
        Scene::new(BreakerConfig { open: Duration::ZERO, window: Duration::ZERO, connect_failures: 0, min_requests: 0, ..config() });
    assert_eq!(scene.attempt(Attempt::Ok), None);
    assert_eq!(scene.attempt(Attempt::Failed), Some(BreakerState::Open));
    assert_eq!(scene.attempt(Attempt::Ok), Some(BreakerState::Closed));
}

#[derive(Clone, Debug)]
enum Step {
    Admit,
    /// The end of one of those under way.
    Note(usize, Attempt),
    Wait(u64),
    Force(Forced),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let attempt = prop_oneof![
        Just(Attempt::Ok),
        Just(Attempt::Failed),
        Just(Attempt::Failed),
        Just(Attempt::ConnectFailed),
        Just(Attempt::ConnectFailed),
        Just(Attempt::Abandoned)
    ];
    let forced = prop_oneof![Just(Forced::Open), Just(Forced::Closed), Just(Forced::None), Just(Forced::None)];
    let step = prop_oneof![
        20 => Just(Step::Admit),
        20 => (any::<usize>(), attempt).prop_map(|(index, attempt)| Step::Note(index, attempt)),
        10 => (0..8_000_u64).prop_map(Step::Wait),
        1 => forced.prop_map(Step::Force),
    ];
    vec(step, 0..300)
}

proptest! {
    #[test]
    fn trials_are_one_at_a_time_unless_one_takes_long_and_every_refusal_keeps_its_word(steps in steps()) {
        let mut scene = Scene::new(BreakerConfig { min_requests: 4, connect_failures: 3, ..config() });
        let mut under_way = Vec::new();
        let mut on_trial = None;
        for step in steps {
            match step {
                Step::Admit => {
                    let (state, would) = (scene.breaker.state(scene.now), scene.breaker.would_admit(scene.now));
                    let admission = scene.breaker.admit(scene.now);
                    assert_eq!(would, !matches!(admission, Admission::Refused { .. }));
                    match admission {
                        Admission::Pass(_) => assert_eq!(state, BreakerState::Closed),
                        Admission::Trial(_) => {
                            assert_eq!(state, BreakerState::HalfOpen);
                            let beside = on_trial.replace((admission, scene.now));
                            if let Some((first, since)) = beside {
                                assert!(first == admission && scene.now >= since + OPEN, "two trials");
                            }
                        }
                        Admission::Refused { retry_after } => {
                            assert!(retry_after > Duration::ZERO && retry_after <= OPEN * LONGEST);
                            if scene.breaker.forced() == Forced::None {
                                assert!(scene.breaker.would_admit(scene.now + retry_after));
                                assert!(!scene.breaker.would_admit(scene.now + retry_after - Duration::from_nanos(1)));
                            }
                            continue;
                        }
                    }
                    under_way.push(admission);
                }
                Step::Note(index, attempt) if !under_way.is_empty() => {
                    let admission = under_way.swap_remove(index % under_way.len());
                    let (before, was_trial) = (scene.breaker.state(scene.now), on_trial.is_some_and(|(trial, _)| trial == admission));
                    let changed = scene.breaker.note(scene.now, admission, attempt);
                    on_trial = on_trial.filter(|(trial, _)| *trial != admission);
                    assert_eq!(scene.breaker.state(scene.now), changed.unwrap_or(before));
                    match changed {
                        Some(BreakerState::Closed) => assert!(was_trial && attempt == Attempt::Ok),
                        Some(BreakerState::Open) => assert!(matches!(attempt, Attempt::Failed | Attempt::ConnectFailed)),
                        Some(BreakerState::HalfOpen) => unreachable!("only time leads there"),
                        None => {}
                    }
                }
                Step::Note(..) => {}
                Step::Wait(millis) => scene.wait(Duration::from_millis(millis)),
                Step::Force(forced) => {
                    let had_say = forced != Forced::None || scene.breaker.forced() != Forced::None;
                    scene.breaker.force(forced);
                    assert_eq!(scene.breaker.forced(), forced);
                    // Whatever was on trial no longer decides anything.
                    on_trial = on_trial.filter(|_| !had_say);
                }
            }
        }
    }
}

#[test]
fn threads_never_share_the_place_of_a_trial() {
    let now = Instant::now();
    // It may be tried at any moment, and only a trial in a hundred ends well: nearly every admission is one.
    let breaker = Arc::new(Breaker::new(BreakerConfig { open: Duration::ZERO, connect_failures: 1, ..config() }, now));
    let (on_trial, trials, refused) = (AtomicU32::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..20_000 {
                    let Ok(admitted) = breaker.enter(now) else {
                        refused.fetch_add(1, SeqCst);
                        continue;
                    };
                    if admitted.is_trial() {
                        assert_eq!(on_trial.fetch_add(1, SeqCst), 0, "two trials");
                        trials.fetch_add(1, SeqCst);
                        std::thread::yield_now();
                        on_trial.fetch_sub(1, SeqCst);
                    }
                    match round % 100 {
                        0 => _ = admitted.note(now, Attempt::Ok),
                        odd if odd % 2 == 1 => _ = admitted.note(now, Attempt::ConnectFailed),
                        _ => drop(admitted),
                    }
                }
            });
        }
    });
    assert!(trials.load(SeqCst) > 0);
    assert_eq!(Arc::strong_count(&breaker), 1);
    // No place was lost on the way.
    assert!(breaker.would_admit(now));
}
