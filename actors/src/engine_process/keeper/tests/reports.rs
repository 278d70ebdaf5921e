//! What the coordinator is told, and how often.

use super::*;

fn alive(running: u32, pages_free: u32) -> FromEngine {
    let stats = EngineStats {
        running,
        pages_free,
        prefill_rate: 900_000,
        decode_rate: 50_000,
        ..EngineStats::default()
    };
    FromEngine::Alive { number: 1, stats }
}

fn report(out: &[Effect]) -> Option<&WorkerReport> {
    out.iter().find_map(|effect| match effect {
        Effect::Report(report) => Some(report),
        _ => None,
    })
}

#[test]
fn several_changes_make_one_report_and_the_engine_is_asked_before_it() {
    // Given an engine that was reported,
    let mut desk = Desk::ready();
    // when two attempts begin,
    desk.now = Time(10);
    assert_eq!(report(&desk.start(1)), None);
    assert_eq!(report(&desk.start(2)), None);
    // then the engine is asked how it is,
    let out = desk.wake_at(110);
    let asked = |effect: &Effect| {
        let probe = |frame: &ToEngine| matches!(frame, ToEngine::Probe { .. });
        matches!(effect, Effect::Write { frame, .. } if probe(frame))
    };
    assert!(out.iter().any(asked), "{out:?}");
    assert_eq!(report(&desk.frame(1, alive(2, 4))), None);
    // and one report says all of it.
    let out = desk.wake_at(200);
    let told = report(&out).expect("it is due");
    assert_eq!(told.running.len(), 2);
    let model = &told.models[0];
    assert_eq!((model.prefill_rate, model.decode_rate), (900_000, 50_000));
    assert_eq!((model.sequences_used, model.kv_tokens_free), (2, 4 * 64));
    assert_eq!(model.class, "test");
    // What has not changed is not said again; what has, after a while of silence, is said at once.
    desk.now = Time(5_000);
    assert_eq!(report(&desk.frame(1, alive(2, 4))), None);
    assert!(report(&desk.frame(1, alive(2, 3))).is_some());
    assert_eq!(report(&desk.frame(1, alive(2, 2))), None);
    assert!(report(&desk.wake_at(5_200)).is_some());
    assert!(report(&desk.wake_at(15_199)).is_none());
    assert!(report(&desk.wake_at(15_200)).is_some());
}
