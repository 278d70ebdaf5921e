//! A program on a terminal of its own: what is typed goes in, what is shown comes out.

use super::until;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};

/// The terminal's other side, and the program on it.
pub(crate) struct Terminal {
    program: Child,
    keys: std::fs::File,
    shown: Arc<Mutex<Vec<u8>>>,
    /// How far was looked already.
    seen: usize,
}

impl Terminal {
    /// Starts a program on a terminal of 80 columns.
    pub(crate) fn start(command: &mut Command) -> Terminal {
        Terminal::start_as("xterm", command)
    }

    /// Starts a program on a terminal of another kind.
    pub(crate) fn start_as(kind: &str, command: &mut Command) -> Terminal {
        let (keys, line) = pair();
        let stdio = || line.try_clone().expect("a descriptor");
        command
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .env("TERM", kind);
        // What else would say whether there is colour: the terminal alone is to.
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
            command.env_remove(name);
        }
        // SAFETY: both calls may be made between fork and exec, and touch no memory of the parent's.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let program = command.spawn().expect("the program starts");
        drop(line);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let mut from = keys.try_clone().expect("a descriptor");
        let into = shown.clone();
        // It ends with the terminal, which ends with the program.
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                into.lock()
                    .expect("nobody panics here")
                    .extend(&bytes[..count]);
            }
        });
        Terminal {
            program,
            keys,
            shown,
            seen: 0,
        }
    }

    /// Types.
    pub(crate) fn keys(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).expect("it listens");
    }

    /// Types a line.
    pub(crate) fn line(&mut self, text: &str) {
        self.keys(&format!("{text}\r"));
    }

    /// Waits until `text` is shown, after what was waited for before; returns what came before it.
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let (shown, seen) = (self.shown.clone(), self.seen);
        let at = std::panic::catch_unwind(|| {
            until(text, || {
                let shown = shown.lock().expect("nobody panics here");
                let rest = &shown[seen..];
                rest.windows(text.len())
                    .position(|it| it == text.as_bytes())
            })
        });
        let at = at.unwrap_or_else(|_| panic!("{text:?} is not shown, but: {}", self.rest()));
        let before = self.rest()[..].to_owned();
        self.seen += at + text.len();
        before.chars().take(at).collect()
    }

    /// What is shown after what was waited for.
    pub(crate) fn rest(&self) -> String {
        let shown = self.shown.lock().expect("nobody panics here");
        String::from_utf8_lossy(&shown[self.seen..]).into_owned()
    }

    /// Whether what is typed is shown by the terminal itself.
    pub(crate) fn echoes(&self) -> bool {
        let mut modes = std::mem::MaybeUninit::uninit();
        // SAFETY: the pointer is to a termios of ours, which the call fills where it succeeds.
        let read = unsafe { libc::tcgetattr(self.keys.as_raw_fd(), modes.as_mut_ptr()) };
        assert_eq!(read, 0, "it is a terminal");
        // SAFETY: the call has succeeded.
        unsafe { modes.assume_init() }.c_lflag & libc::ECHO != 0
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.program.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for the program's end; its exit code.
    pub(crate) fn code(mut self) -> Option<i32> {
        let program = &mut self.program;
        until("the program ends", || program.try_wait().expect("a child")).code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// The two sides of a new terminal: the keys and screen, and the line to a program.
fn pair() -> (std::fs::File, OwnedFd) {
    let (mut keys, mut line) = (-1, -1);
    let mut size = libc::winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    let none = std::ptr::null_mut();
    // SAFETY: the pointers are to integers and a size of ours; the name and the mode are not asked for.
    let opened = unsafe {
        libc::openpty(
            &raw mut keys,
            &raw mut line,
            none,
            none.cast(),
            &raw mut size,
        )
    };
    assert_eq!(opened, 0, "the system has terminals");
    // SAFETY: both descriptors are new and nobody else's.
    unsafe { (std::fs::File::from_raw_fd(keys), OwnedFd::from_raw_fd(line)) }
}
