//! The physical cores this process may run on. Where nobody says how many threads compute, there is one for each.
//!
//! Two hardware threads of a core share its multipliers and its way to memory, which one thread of ours keeps busy
//! alone; a second one on the same core only makes all others wait for two slow ones at every barrier. Linux says
//! which of its processors are one core; where it does not, or says something that cannot be, each counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZero;
use std::thread::available_parallelism;

/// Physical cores, and no more than processors that this process may use or time that its group is given.
pub(crate) fn count() -> NonZero<usize> {
    let allowed = available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let cores = all().and_then(|cores| NonZero::new(cores.len()));
    cores.map_or(allowed, |cores| cores.min(allowed))
}

/// The processors of each physical core that this process may use. `None` where the system does not say.
pub(crate) fn all() -> Option<Vec<Vec<usize>>> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok()?;
    physical(&status, &online, |cpu| {
        let folder = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
        fs::read_to_string(format!("{folder}/thread_siblings_list")).ok()
    })
}

/// Cores of the processors that a process's `status` allows it, as far as they are `online`: it may name some that
/// are switched off. Each one's list says which are one core with it. `None` where that is not known of all of them,
/// or is not so.
fn physical(
    status: &str,
    online: &str,
    siblings: impl Fn(usize) -> Option<String>,
) -> Option<Vec<Vec<usize>>> {
    let mut lines = status.lines();
    let allowed = lines.find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let mut cores: BTreeMap<BTreeSet<usize>, Vec<usize>> = BTreeMap::new();
    for cpu in list(allowed)?.intersection(&list(online)?).copied() {
        let core = list(&siblings(cpu)?)?;
        if !core.contains(&cpu) {
            return None;
        }
        cores.entry(core).or_default().push(cpu);
    }
    Some(cores.into_values().collect())
}

/// Processors as Linux lists them: `0-3,8,10-11`.
fn list(text: &str) -> Option<BTreeSet<usize>> {
    let mut found = BTreeSet::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if first > last || last > CPU_MAX {
            return None;
        }
        found.extend(first..=last);
    }
    Some(found)
}

/// No system has a processor with a higher number.
const CPU_MAX: usize = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_threads_of_a_core_count_once() {
        let alone = ["0", "1", "2", "3"];
        let pairs = ["0,2", "1,3", "0,2", "1,3"];
        let neighbours = ["0-1\n", "0-1\n", "2-3\n", "2-3\n"];
        let cases = [
            ("0-3", alone, vec![vec![0], vec![1], vec![2], vec![3]]),
            ("0-3", pairs, vec![vec![0, 2], vec![1, 3]]),
            ("0-3", neighbours, vec![vec![0, 1], vec![2, 3]]),
            // What this process may not run on is nobody's core here.
            ("0,2", pairs, vec![vec![0, 2]]),
            ("0,2", neighbours, vec![vec![0], vec![2]]),
            ("1-2", neighbours, vec![vec![1], vec![2]]),
            ("3", neighbours, vec![vec![3]]),
            // What is switched off has no list.
            ("0-127", pairs, vec![vec![0, 2], vec![1, 3]]),
        ];
        for (allowed, lists, expected) in cases {
            let status = format!("Name:\ttroop\nCpus_allowed:\tf\nCpus_allowed_list:\t{allowed}\n");
            let found = physical(&status, "0-3\n", |cpu| Some(lists[cpu].to_owned()));
            assert_eq!(found, Some(expected), "{allowed} of {lists:?}");
        }
    }

    #[test]
    fn what_cannot_be_so_is_not_believed() {
        let status = |allowed: &str| format!("Cpus_allowed_list:\t{allowed}\n");
        let same = |cpu: usize| Some(cpu.to_string());
        for allowed in [
            "",
            "x",
            "1-",
            "3-1",
            "0,,1",
            "-1",
            "0-4294967295",
            "99999999999",
        ] {
            assert_eq!(physical(&status(allowed), "0-4", same), None, "{allowed:?}");
        }
        assert_eq!(physical("", "0", same), None, "nothing is said");
        assert_eq!(physical(&status("0"), "", same), None, "nothing is online");
        for siblings in ["", "\n", "one", "1", "0-", "1-0", "0;1"] {
            let found = physical(&status("0"), "0", |_| Some(siblings.to_owned()));
            assert_eq!(found, None, "{siblings:?}");
        }
        assert_eq!(
            physical(&status("0-1"), "0-1", |_| None),
            None,
            "no such file"
        );
    }

    #[test]
    fn there_is_always_a_core_and_never_more_than_may_be_used() {
        let allowed = available_parallelism().map_or(1, NonZero::get);
        assert!((1..=allowed).contains(&count().get()));
    }
}
