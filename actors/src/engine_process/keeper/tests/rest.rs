//! The keeper whose machine is wanted back.

use super::*;
use crate::engine_process::keeper::rest::{INSIST_MS, Wishes};
use crate::engine_process::protocol::Rest;
use crate::gpu_monitor::protocol::{Reason, Use};

fn wanted() -> Input {
    let now_for = Use::Wanted(Reason::Battery);
    Input::Machine { now_for }
}

fn idle() -> Input {
    let now_for = Use::Idle;
    Input::Machine { now_for }
}

fn told(out: &[Effect]) -> Option<Option<Rest>> {
    out.iter().find_map(|effect| match effect {
        Effect::Report(report) => Some(report.rest),
        _ => None,
    })
}

fn killed(out: &[Effect]) -> usize {
    let kill = |effect: &&Effect| matches!(effect, Effect::Kill { .. });
    out.iter().filter(kill).count()
}

fn spawned(out: &[Effect]) -> usize {
    let spawn = |effect: &&Effect| matches!(effect, Effect::Spawn { .. });
    out.iter().filter(spawn).count()
}

fn state(desk: &Desk) -> &EngineState {
    &desk.keeper.engines()[&MODEL].state
}

fn close(desk: &mut Desk, attempt: u8) -> Vec<Effect> {
    desk.frame(
        1,
        FromEngine::Closed {
            attempt: AttemptId([attempt; 16]),
            tally: tally(),
            failure: Some(Failure::Cancelled),
        },
    )
}

#[test]
fn a_pause_ends_what_runs_gives_the_memory_back_and_is_undone_by_a_resume() {
    // Given a stream that runs,
    let mut desk = Desk::ready();
    desk.start(1);
    // when the owner wants the machine,
    let out = desk.say(Input::Pause { grace_ms: 0 });
    // then the stream is ended, and the engine with it as soon as it has signed;
    assert_eq!(reported(&out), Some(0));
    assert_eq!(cancelled(&out), [AttemptId([1; 16])]);
    assert_eq!(killed(&out), 0);
    let out = desk.start(2);
    assert!(matches!(
        out[..],
        [Effect::Turn {
            reason: Turnaway::Draining,
            ..
        }]
    ));
    let out = close(&mut desk, 1);
    assert!(matches!(out[0], Effect::Closed { .. }), "{out:?}");
    assert_eq!((killed(&out), lost(&out)), (1, 0));
    assert_eq!(*state(&desk), EngineState::Resting);
    // what the dead one still says changes nothing, and time alone starts nothing;
    desk.say(Input::Exited {
        model: MODEL,
        life: 1,
        reason: "killed".to_owned(),
    });
    assert_eq!(spawned(&desk.wake_at(60_000)), 0);
    // and with the machine's return it serves again.
    let out = desk.say(Input::Resume);
    assert_eq!(spawned(&out), 1);
    let out = desk.frame(2, FromEngine::Ready(facts()));
    assert_eq!(reported(&out), Some(1));
}

#[test]
fn an_engine_that_does_not_end_its_streams_is_ended_under_them_within_a_second() {
    let mut desk = Desk::ready();
    desk.start(1);
    desk.say(Input::Pause { grace_ms: 0 });
    assert_eq!(killed(&desk.wake_at(999)), 0);
    let out = desk.wake_at(1_000);
    assert_eq!((killed(&out), lost(&out)), (1, 1));
    assert_eq!(*state(&desk), EngineState::Resting);
}

#[test]
fn a_grace_lets_what_runs_finish_and_a_shorter_one_wins() {
    let mut desk = Desk::ready();
    desk.start(1);
    let out = desk.say(Input::Pause { grace_ms: 60_000 });
    assert_eq!((cancelled(&out).len(), killed(&out)), (0, 0));
    desk.say(Input::Pause { grace_ms: 5_000 });
    desk.say(Input::Pause { grace_ms: 90_000 });
    assert_eq!(cancelled(&desk.wake_at(4_999)), []);
    assert_eq!(cancelled(&desk.wake_at(5_000)), [AttemptId([1; 16])]);
    assert_eq!(killed(&close(&mut desk, 1)), 1);
}

#[test]
fn what_is_loaded_while_the_machine_is_wanted_waits_for_its_return() {
    let mut desk = Desk::new();
    desk.say(Input::Pause { grace_ms: 0 });
    let out = desk.say(Input::Serve {
        model: MODEL,
        name: "m".to_owned(),
        created_seconds: 0,
    });
    assert_eq!(spawned(&out), 0);
    assert_eq!(spawned(&desk.say(Input::Resume)), 1);
}

#[test]
fn a_machine_that_is_wanted_rests_at_once_says_why_and_serves_again_by_itself() {
    let mut desk = Desk::ready();
    desk.start(1);
    let out = desk.say(wanted());
    assert_eq!(told(&out), Some(Some(Rest::Wanted(Reason::Battery))));
    assert_eq!(cancelled(&out), [AttemptId([1; 16])]);
    assert_eq!(killed(&close(&mut desk, 1)), 1);
    // The same again is no news, another reason is.
    assert_eq!(desk.say(wanted()), []);
    let now_for = Use::Wanted(Reason::Cpu);
    let out = desk.say(Input::Machine { now_for });
    assert_eq!(told(&out), Some(Some(Rest::Wanted(Reason::Cpu))));
    assert_eq!((killed(&out), spawned(&out)), (0, 0));
    let out = desk.say(idle());
    assert_eq!((spawned(&out), told(&out)), (1, Some(None)));
    assert_eq!(desk.say(idle()), []);
}

#[test]
fn a_pause_by_hand_is_not_undone_by_an_idle_machine() {
    let mut desk = Desk::ready();
    desk.say(Input::Pause { grace_ms: 0 });
    for input in [idle(), wanted(), idle()] {
        assert_eq!(spawned(&desk.say(input)), 0);
        assert_eq!(desk.keeper.rest(), Some(Rest::Paused));
    }
    assert_eq!(spawned(&desk.say(Input::Resume)), 1);
}

#[test]
fn a_resume_by_hand_holds_for_an_hour_against_a_machine_that_is_wanted() {
    let mut desk = Desk::ready();
    desk.say(wanted());
    assert_eq!(spawned(&desk.say(Input::Resume)), 1);
    desk.now = Time(INSIST_MS - 1);
    assert_eq!(killed(&desk.say(wanted())), 0);
    assert_eq!(desk.keeper.rest(), None);
    desk.now = Time(INSIST_MS);
    assert_eq!(killed(&desk.say(wanted())), 1);
    // A pause by hand ends it sooner,
    desk.say(Input::Resume);
    desk.say(Input::Pause { grace_ms: 0 });
    desk.say(wanted());
    assert_eq!(spawned(&desk.say(idle())), 0);
    // and a resume of a machine that nobody wants holds against nothing that comes later.
    desk.say(Input::Resume);
    desk.say(wanted());
    assert_eq!(desk.keeper.rest(), Some(Rest::Wanted(Reason::Battery)));
}

#[test]
fn a_machine_that_is_wanted_cuts_the_grace_of_a_pause_short() {
    let mut desk = Desk::ready();
    desk.start(1);
    desk.say(Input::Pause { grace_ms: 60_000 });
    assert_eq!(cancelled(&desk.say(wanted())), [AttemptId([1; 16])]);
}

#[test]
fn a_keeper_that_is_started_anew_heeds_what_was_said_to_the_one_before() {
    let mut wishes = Wishes::default();
    wishes.hear(Time(0), &wanted());
    let mut desk = Desk::new();
    desk.keeper = desk.keeper.heeding(wishes);
    let serve = Input::Serve {
        model: MODEL,
        name: "m".to_owned(),
        created_seconds: 0,
    };
    assert_eq!(spawned(&desk.say(serve)), 0);
    assert_eq!(desk.keeper.rest(), Some(Rest::Wanted(Reason::Battery)));
    assert_eq!(spawned(&desk.say(idle())), 1);
}
