//! What a conversation needs of the system: the terminal's width and its echo, and small files.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Columns of the terminal that stdout is, if it is one and says so.
pub(super) fn width() -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let stdout = std::io::stdout().as_raw_fd();
    // SAFETY: the pointer is to a winsize of ours, which the call fills.
    let done = unsafe { libc::ioctl(stdout, libc::TIOCGWINSZ, &raw mut size) };
    (done == 0 && size.ws_col >= WIDTH_MIN).then_some(size.ws_col.into())
}

/// Whether lines cannot be edited on this kind of terminal: what the editor holds too plain for it.
pub(super) fn is_plain() -> bool {
    let kind = std::env::var("TERM").unwrap_or_default();
    ["dumb", "cons25", "emacs"]
        .iter()
        .any(|plain| kind.eq_ignore_ascii_case(plain))
}

/// How the terminal was found: what it shows of what is typed, and what it makes of it.
pub(super) struct Modes(Option<libc::termios>);

impl Modes {
    pub(super) fn now() -> Modes {
        let stdin = std::io::stdin().as_raw_fd();
        let mut modes = std::mem::MaybeUninit::uninit();
        // SAFETY: the pointer is to a termios of ours, which the call fills where it succeeds.
        let done = unsafe { libc::tcgetattr(stdin, modes.as_mut_ptr()) };
        // SAFETY: it is read only where the call has succeeded.
        Modes((done == 0).then(|| unsafe { modes.assume_init() }))
    }

    pub(super) fn restore(&self) {
        if let Some(modes) = &self.0 {
            set(modes);
        }
    }
}

fn set(modes: &libc::termios) {
    let stdin = std::io::stdin().as_raw_fd();
    // SAFETY: the pointer is to a termios of ours. Where it fails the terminal stays as it was.
    unsafe { libc::tcsetattr(stdin, libc::TCSANOW, modes) };
}

/// Keeps what is typed from being shown amid an answer, for as long as it lives. It is not lost: it stands at
/// the next prompt.
pub(super) struct Hushed(Modes);

impl Hushed {
    pub(super) fn now() -> Hushed {
        let before = Modes::now();
        if let Some(mut modes) = before.0 {
            // Ctrl-C stays a signal; only the echo goes.
            modes.c_lflag &= !libc::ECHO;
            set(&modes);
        }
        Hushed(before)
    }
}

impl Drop for Hushed {
    fn drop(&mut self) {
        self.0.restore();
    }
}

/// The whole text of a small file.
pub(super) fn read_file(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(format!("it has more than {FILE_BYTES_MAX} bytes")),
        false => Ok(text),
    }
}

/// Writes a file for its owner alone, whole or not at all.
pub(super) fn write_file(path: &Path, text: &str) -> Result<(), String> {
    let mut half = path.as_os_str().to_owned();
    half.push(".new");
    let half = PathBuf::from(half);
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&half)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&half, path)
    };
    write().map_err(|error: std::io::Error| error.to_string())
}

/// A file's name as it was typed, where `~/` is the home directory.
pub(super) fn typed(name: &str) -> PathBuf {
    match (name.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(name),
    }
}

/// Bytes of a file that is read whole.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Narrower than this no terminal is: it says nothing of its width.
const WIDTH_MIN: u16 = 10;
