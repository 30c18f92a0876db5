//! Circuit breakers: what opens and closes them, by themselves and by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use watchgate_hooks::KeptFrom;
use watchgate_proxy::{BreakerConfig, Forced, ServerConfig};
use watchgate_tests::{Connection, Gate, Reply, Scripted, ScriptedSocket, wait_until};

use crate::rig::{CALL, Conditions, RESULT, Rig, check_fault, config, server};

/// Long enough for what must happen while it is open, on a machine that is busy.
const OPEN: Duration = Duration::from_secs(1);

/// Opens at half of at least four, or at three failed connects in a row.
fn quick() -> BreakerConfig {
    BreakerConfig { enabled: true, error_share: 0.5, min_requests: 4, window: Duration::from_secs(60), connect_failures: 3, open: OPEN }
}

fn guarded(addresses: &[SocketAddr], breaker: BreakerConfig) -> ServerConfig {
    let mut server = server(addresses);
    server.breaker = breaker;
    server.retry.max = 0;
    server.ejection.consecutive_failures = u32::MAX;
    server
}

fn unprobed(server: ServerConfig) -> Rig {
    Rig::under(Conditions { without_housekeeping: true, ..Conditions::default() }, config(vec![server]))
}

/// A server whose status is set from outside.
struct Moody {
    upstream: Scripted,
    status: Arc<AtomicU16>,
}

impl Moody {
    fn new(status: u16) -> Self {
        let status = Arc::new(AtomicU16::new(status));
        let upstream = Scripted::start({
            let status = status.clone();
            move |exchange| exchange.json(status.load(Ordering::SeqCst), RESULT)
        });
        Self { upstream, status }
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.upstream.requests().len()
    }
}

/// A refusal with the id of the call, and when to come back.
#[track_caller]
fn check_refused(reply: &Reply, seconds: &str) {
    check_fault(reply, 503, -31005, "circuit_open");
    assert_eq!(reply.head.header("retry-after"), Some(seconds));
}

#[track_caller]
fn check_state(rig: &Rig, state: &str, number: f64, forced: Option<&str>) {
    let breaker = &rig.control.breakers()[0];
    assert_eq!((breaker.state, breaker.forced), (state, forced));
    if state != "half_open" {
        // That it would let one through is only known once somebody looks.
        assert_eq!(rig.metrics().metric("watchgate_circuit_breaker_state", &[("endpoint", &breaker.endpoint)]), number);
    }
}

fn wait_for_half_open(rig: &Rig) {
    wait_until("a trial may go out", || (rig.control.breakers()[0].state == "half_open").then_some(()));
}

#[test]
fn a_share_of_errors_opens_it_and_a_good_trial_closes_it() {
    let moody = Moody::new(200);
    let rig = unprobed(guarded(&[moody.upstream.address()], quick()));
    for status in [200, 200, 503] {
        moody.answers(status);
        assert_eq!(rig.call().status(), status);
        check_state(&rig, "closed", 0.0, None);
    }
    assert_eq!(rig.call().status(), 503);
    check_state(&rig, "open", 1.0, None);
    check_refused(&rig.call(), "1");
    assert_eq!(moody.asked(), 4, "the server is left alone");
    moody.answers(200);
    wait_for_half_open(&rig);
    assert_eq!(rig.call().status(), 200);
    check_state(&rig, "closed", 0.0, None);
    let metrics = rig.metrics();
    let came = |state| metrics.metric("watchgate_circuit_breaker_transitions_total", &[("state", state)]);
    assert_eq!((came("open"), came("closed")), (1.0, 1.0));
    let refused = [("status", "503"), ("outcome", "unreachable")];
    assert_eq!(metrics.metric("watchgate_http_requests_total", &refused), 1.0);
}

#[test]
fn a_failed_trial_opens_it_again_for_longer() {
    let moody = Moody::new(503);
    let rig = unprobed(guarded(&[moody.upstream.address()], quick()));
    for _ in 0..4 {
        assert_eq!(rig.call().status(), 503);
    }
    check_refused(&rig.call(), "1");
    wait_for_half_open(&rig);
    assert_eq!(rig.call().text(), RESULT, "the trial is answered by the server");
    assert_eq!(moody.asked(), 5);
    check_refused(&rig.call(), "2");
}

#[test]
fn answers_that_are_no_fault_of_the_server_leave_it_closed() {
    for status in [200, 202, 400, 401, 403, 404, 405, 429, 500, 501] {
        let moody = Moody::new(status);
        let rig = unprobed(guarded(&[moody.upstream.address()], quick()));
        for _ in 0..8 {
            assert_eq!(rig.call().status(), status);
        }
        check_state(&rig, "closed", 0.0, None);
    }
}

#[test]
fn heads_that_do_not_come_in_time_and_broken_ones_open_it() {
    let silent = Scripted::start(|exchange| exchange.client_left().map(drop));
    let mut impatient = guarded(&[silent.address()], quick());
    impatient.timeouts.head = Duration::from_millis(50);
    let broken = Scripted::start(|exchange| exchange.write(b"nonsense\r\n\r\n"));
    let cut = Scripted::start(|exchange| {
        exchange.reset();
        Ok(())
    });
    for server in [impatient, guarded(&[broken.address()], quick()), guarded(&[cut.address()], quick())] {
        let rig = unprobed(server);
        for _ in 0..4 {
            assert!(matches!(rig.call().status(), 502 | 504));
        }
        check_state(&rig, "open", 1.0, None);
        check_refused(&rig.call(), "1");
    }
}

#[test]
fn connects_that_fail_in_a_row_open_it_before_there_are_many_requests() {
    let mut socket = ScriptedSocket::start(drop);
    let address = socket.address();
    socket.go_away();
    let rig = unprobed(guarded(&[address], BreakerConfig { min_requests: 1000, ..quick() }));
    for _ in 0..3 {
        check_state(&rig, "closed", 0.0, None);
        check_fault(&rig.call(), 502, -31004, "unreachable");
    }
    check_state(&rig, "open", 1.0, None);
    check_refused(&rig.call(), "1");
    assert_eq!(rig.metrics().metric("watchgate_endpoint_requests_total", &[("result", "connect_failed")]), 3.0);
}

/// A server that answers 503, or holds what it gets until the gate opens.
fn holding(holds: &Arc<AtomicBool>, release: &Gate) -> Scripted {
    let (holds, release) = (holds.clone(), release.clone());
    Scripted::start(move |exchange| {
        if !holds.load(Ordering::SeqCst) {
            return exchange.json(503, RESULT);
        }
        release.wait("what was done meanwhile");
        exchange.json(200, RESULT)
    })
}

/// A proxy whose breaker has let a trial out that is held.
fn on_trial(upstream: &Scripted, holds: &AtomicBool) -> (Rig, Connection) {
    let rig = unprobed(guarded(&[upstream.address()], quick()));
    for _ in 0..4 {
        assert_eq!(rig.call().text(), RESULT);
    }
    holds.store(true, Ordering::SeqCst);
    wait_for_half_open(&rig);
    let trial = rig.open(&[], CALL);
    wait_until("the trial has come", || (upstream.requests().len() == 5).then_some(()));
    (rig, trial)
}

#[test]
fn one_trial_goes_out_at_a_time() {
    let (holds, release) = (Arc::default(), Gate::default());
    let upstream = holding(&holds, &release);
    let (rig, mut trial) = on_trial(&upstream, &holds);
    for _ in 0..3 {
        check_refused(&rig.call(), "1");
    }
    assert_eq!(rig.control.breakers()[0].state, "half_open");
    release.open();
    assert_eq!(trial.reply().unwrap().status(), 200);
    check_state(&rig, "closed", 0.0, None);
    assert_eq!(rig.call().status(), 200);
    assert_eq!(upstream.requests().len(), 6);
}

#[test]
fn a_trial_whose_client_leaves_makes_room_for_the_next() {
    let (holds, release) = (Arc::default(), Gate::default());
    let upstream = holding(&holds, &release);
    let (rig, trial) = on_trial(&upstream, &holds);
    check_refused(&rig.call(), "1");
    drop(trial);
    rig.wait_for("watchgate_endpoint_requests_total", &[("result", "abandoned")], 1.0);
    release.open();
    assert_eq!(rig.call().status(), 200);
    check_state(&rig, "closed", 0.0, None);
}

#[test]
fn the_breaker_of_one_endpoint_sends_everything_to_the_other() {
    let (well, ill) = (Moody::new(200), Moody::new(503));
    let rig =
        unprobed(guarded(&[well.upstream.address(), ill.upstream.address()], BreakerConfig { open: Duration::from_secs(60), ..quick() }));
    wait_until("the one that is ill was found out", || {
        rig.call();
        (rig.control.breakers()[1].state == "open").then_some(())
    });
    let asked = ill.asked();
    for _ in 0..20 {
        assert_eq!(rig.call().status(), 200);
    }
    assert_eq!(ill.asked(), asked);
}

#[test]
fn switched_off_it_stays_closed_but_can_be_opened_by_hand() {
    let moody = Moody::new(503);
    let rig = unprobed(guarded(&[moody.upstream.address()], BreakerConfig { enabled: false, ..quick() }));
    for _ in 0..20 {
        assert_eq!(rig.call().text(), RESULT);
    }
    check_state(&rig, "closed", 0.0, None);
    rig.control.force_breaker("only", None, Forced::Open).unwrap();
    check_refused(&rig.call(), "1");
    assert_eq!(moody.asked(), 20);
}

#[test]
fn what_was_decided_by_hand_holds_until_it_is_taken_back_also_over_a_reload() {
    let moody = Moody::new(200);
    let settings = guarded(&[moody.upstream.address()], quick());
    let rig = unprobed(settings.clone());
    let endpoint = moody.upstream.address().to_string();
    rig.control.force_breaker("only", Some(&endpoint), Forced::Open).unwrap();
    check_state(&rig, "open", 1.0, Some("open"));
    check_refused(&rig.call(), "1");
    // Longer than it would stay open by itself; and once with settings that are the same, once with others.
    let opened = std::time::Instant::now();
    wait_until("time passes", || (opened.elapsed() > OPEN * 2).then_some(()));
    rig.apply(config(vec![settings.clone()]));
    check_refused(&rig.call(), "1");
    let mut changed = settings;
    changed.timeouts.head = Duration::from_secs(7);
    rig.apply(config(vec![changed]));
    check_state(&rig, "open", 1.0, Some("open"));
    check_refused(&rig.call(), "1");
    assert_eq!(moody.asked(), 0);
    rig.control.force_breaker("only", None, Forced::Closed).unwrap();
    moody.answers(503);
    for _ in 0..10 {
        assert_eq!(rig.call().text(), RESULT);
    }
    check_state(&rig, "closed", 0.0, Some("closed"));
    rig.control.force_breaker("only", None, Forced::Automatic).unwrap();
    check_state(&rig, "closed", 0.0, None);
    for _ in 0..4 {
        assert_eq!(rig.call().text(), RESULT);
    }
    check_state(&rig, "open", 1.0, None);
}

#[test]
fn clients_are_told_whose_doing_it_is_and_a_probe_gets_through_all_the_same() {
    let moody = Moody::new(503);
    let rig = unprobed(guarded(&[moody.upstream.address()], BreakerConfig { open: Duration::from_secs(600), ..quick() }));
    let said = |rig: &Rig| rig.call().json().unwrap()["error"]["message"].as_str().unwrap().to_owned();
    for _ in 0..4 {
        assert_eq!(rig.call().text(), RESULT);
    }
    assert_eq!(said(&rig), "the MCP server has failed too often and is left alone for a while");
    moody.answers(200);
    assert_eq!(rig.probe("only"), [(Ok(404), KeptFrom::ByBreaker)]);
    rig.control.force_breaker("only", None, Forced::Open).unwrap();
    assert_eq!(said(&rig), "an operator keeps requests from the MCP server for now");
    assert_eq!(rig.probe("only"), [(Ok(404), KeptFrom::ByHand)]);
    assert_eq!(moody.asked(), 4);
    rig.control.force_breaker("only", None, Forced::Automatic).unwrap();
    assert_eq!(rig.probe("only"), [(Ok(404), KeptFrom::Nobody)]);
    assert_eq!(rig.metrics().metric("watchgate_endpoint_requests_total", &[]), 4.0, "only clients' requests are counted");
}

#[test]
fn what_was_decided_by_hand_is_forgotten_with_its_server() {
    let moody = Moody::new(200);
    let settings = guarded(&[moody.upstream.address()], quick());
    let rig = unprobed(settings.clone());
    rig.control.force_breaker("only", None, Forced::Open).unwrap();
    rig.apply(config(Vec::new()));
    rig.apply(config(vec![settings]));
    check_state(&rig, "closed", 0.0, None);
    assert_eq!(rig.call().status(), 200);
}

#[test]
fn only_what_is_configured_can_be_forced() {
    let moody = Moody::new(200);
    let rig = unprobed(guarded(&[moody.upstream.address()], quick()));
    assert!(rig.control.force_breaker("other", None, Forced::Open).is_err());
    assert!(rig.control.force_breaker("only", Some("127.0.0.1:1"), Forced::Open).is_err());
    check_state(&rig, "closed", 0.0, None);
    assert_eq!(rig.call().status(), 200);
}
