//! How much of the processors other programs take: what all take, less this node and its engines.

use std::fs;
use std::time::Duration;

/// What was counted when it was last looked.
pub(super) struct Processors {
    last: Option<Sample>,
}

/// Ticks since the machine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    /// Of all processors, idle ones included.
    all: u64,
    /// Of them, those that somebody used.
    used: u64,
    /// Of them, those that this program and its engines used.
    own: u64,
}

impl Processors {
    pub(super) fn new() -> Processors {
        Processors {
            last: sample(&ours()),
        }
    }

    /// Thousandths that others took since the last look.
    pub(super) fn others(&mut self, ours: &[u32]) -> Option<u32> {
        let mut now = sample(ours)?;
        let mut last = self.last.unwrap_or(now);
        if now.all < last.all.saturating_add(TICKS_MIN) {
            // Too short a time says nothing.
            std::thread::sleep(MOMENT);
            last = self.last.unwrap_or(last);
            now = sample(ours)?;
        }
        self.last = Some(now);
        share(last, now)
    }
}

fn share(last: Sample, now: Sample) -> Option<u32> {
    let all = now.all.checked_sub(last.all).filter(|ticks| *ticks > 0)?;
    let used = now.used.saturating_sub(last.used);
    let own = now.own.saturating_sub(last.own);
    let others = used.saturating_sub(own).min(all);
    u32::try_from(others * 1_000 / all).ok()
}

fn sample(ours: &[u32]) -> Option<Sample> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    let (all, used) = whole(&text)?;
    let own = ours.iter().map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        own_ticks(&text).unwrap_or(0)
    });
    let own = own.sum();
    Some(Sample { all, used, own })
}

/// All ticks and used ones: user, nice, system, idle, iowait, irq, softirq, steal.
fn whole(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line
        .split_whitespace()
        .take(8)
        .map_while(|word| word.parse().ok())
        .collect();
    let [user, nice, system, idle, iowait, rest @ ..] = &ticks[..] else {
        return None;
    };
    // What another machine on the same processors takes is not this machine's to give.
    let interrupts: u64 = rest.iter().take(2).sum();
    let stolen: u64 = rest.iter().skip(2).sum();
    let used = user + nice + system + interrupts;
    Some((used + idle + iowait + stolen, used))
}

/// Ticks of a process, and of its children that have ended.
fn own_ticks(text: &str) -> Option<u64> {
    // A program's name may have any letters in it, brackets too.
    let (_, facts) = text.rsplit_once(')')?;
    let facts = facts.split_whitespace().skip(11).take(4);
    let ticks: Vec<u64> = facts.map_while(|word| word.parse().ok()).collect();
    (ticks.len() == 4).then(|| ticks.iter().sum())
}

/// This process and its children, as far as the system tells.
pub(super) fn ours() -> Vec<u32> {
    let mut ours = vec![std::process::id()];
    let Ok(threads) = fs::read_dir("/proc/self/task") else {
        return ours;
    };
    for thread in threads.flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        ours.extend(children.split_whitespace().flat_map(str::parse::<u32>));
    }
    ours
}

/// Ticks of all processors below which nothing is said; a processor has a hundred in a second.
const TICKS_MIN: u64 = 20;
const MOMENT: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_take_is_what_all_take_less_our_own() {
        let text = "cpu  100 20 30 800 50 5 5 90 7 7\ncpu0 1 2 3\n";
        assert_eq!(whole(text), Some((1_100, 160)));
        assert_eq!(whole("cpu 1 2\n"), None);
        assert_eq!(whole(""), None);
        let process = "7 (a) b) R 1 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1";
        assert_eq!(own_ticks(process), Some(100));
        assert_eq!(own_ticks("7 (a"), None);

        let last = Sample {
            all: 1_000,
            used: 400,
            own: 100,
        };
        let now = |used, own| Sample {
            all: 2_000,
            used,
            own,
        };
        assert_eq!(share(last, now(900, 200)), Some(400));
        // An engine that ended takes its ticks along for a moment.
        assert_eq!(share(last, now(900, 50)), Some(500));
        assert_eq!(share(last, now(400, 900)), Some(0));
        assert_eq!(share(last, last), None);
    }

    #[test]
    fn an_engine_is_ours() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let found = ours();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.contains(&std::process::id()));
        if fs::exists("/proc/self/task").unwrap_or(false) {
            assert!(found.contains(&child.id()), "{found:?}");
        }
    }
}
