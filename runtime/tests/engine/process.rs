//! An engine as the system sees it: what it has open, what it burns, where its threads run.

use super::*;
use std::collections::BTreeSet;
use troop_actors::generate::Shape;

#[test]
#[cfg(target_os = "linux")]
fn a_running_engine_holds_its_pipes_and_nothing_else() {
    let engine = Engine::start(&[]);
    let process = format!("/proc/{}", engine.child.id());
    let status = std::fs::read_to_string(format!("{process}/status")).expect("it runs");
    let has = |line: &str| status.lines().any(|found| found == line);
    assert!(has("Seccomp:\t2") && has("NoNewPrivs:\t1"), "{status}");
    // Only root may look at the descriptors of a process that refuses to be dumped.
    if let Ok(open) = std::fs::read_dir(format!("{process}/fd")) {
        for entry in open {
            let entry = entry.expect("it runs").path();
            let target = std::fs::read_link(&entry).expect("it runs");
            let name = entry
                .file_name()
                .expect("a number")
                .to_string_lossy()
                .into_owned();
            let target = target.to_string_lossy();
            assert!(
                name == "2" || target.starts_with("pipe:"),
                "{name}: {target}"
            );
        }
    }
    let maps = std::fs::read_to_string(format!("{process}/maps")).unwrap_or_default();
    assert!(
        !maps.contains(".gguf"),
        "the file is let go once its weights are packed"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn an_engine_with_nothing_to_do_burns_nothing() {
    let mut engine = Engine::start(&[]);
    // A shape waits for the grammars, which are still being made when an engine is ready.
    let shaped = Generate {
        shape: Shape::Object,
        ..generate("A person as JSON: ", None, 10)
    };
    engine.begin(1, &shaped, None);
    engine.finish(1);
    let before = engine.burnt_ticks();
    std::thread::sleep(std::time::Duration::from_secs(3));
    let ticks = engine.burnt_ticks() - before;
    println!("{ticks} ticks in 3 s");
    // A tick is a hundredth of a second, and one may have begun before.
    assert!(ticks <= 1, "{ticks} ticks in 3 s");
}

#[test]
#[cfg(target_os = "linux")]
fn threads_that_compute_share_no_core_where_there_are_enough() {
    let mut engine = Engine::start(&["--threads", "2"]);
    engine.begin(1, &generate("Once upon a time", None, 10), None);
    engine.finish(1);
    let tasks = format!("/proc/{}/task", engine.child.id());
    let tasks = std::fs::read_dir(tasks).expect("it runs");
    let mut allowed = BTreeMap::new();
    for task in tasks {
        let task = task.expect("it runs").path().join("status");
        // A thread that made grammars may just have ended.
        let Ok(status) = std::fs::read_to_string(task) else {
            continue;
        };
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect("it is told").trim().to_owned()
        };
        allowed.insert(line("Name:"), line("Cpus_allowed_list:"));
    }
    // The thread that leads the others is free again between two steps.
    let everywhere = &allowed["engine-input"];
    assert_eq!(&allowed["troop"], everywhere);
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let processors = everywhere.split(',').flat_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        number(first)..=number(last)
    });
    let cores: BTreeSet<String> = processors
        .filter_map(|cpu| {
            let list = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
            std::fs::read_to_string(list).ok()
        })
        .collect();
    if cores.len() > 1 {
        assert_ne!(&allowed["evaluate-1"], everywhere);
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // A real process is measured in real time.
fn twice_as_many_threads_as_cores_slow_an_engine_down_and_do_not_stop_it() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut best = [f64::INFINITY; 2];
    for _ in 0..3 {
        for (best, threads) in best.iter_mut().zip([cores, 2 * cores]) {
            let mut engine = Engine::start(&["--threads", &threads.to_string()]);
            let began = Instant::now();
            engine.begin(1, &generate("Once upon a time", None, 40), None);
            engine.finish(1);
            *best = best.min(began.elapsed().as_secs_f64());
        }
    }
    let [alone, crowded] = best;
    println!("44 tokens by {cores} threads: {alone:.3} s, by twice as many: {crowded:.3} s");
    assert!(
        crowded <= 6.0 * alone,
        "{crowded} s, {alone} s with a core for each"
    );
}
