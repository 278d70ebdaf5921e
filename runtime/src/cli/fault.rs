//! What a verb ends with when it does not end well.

use crate::boot::BootError;
use crate::home::HomeError;
use std::fmt::Display;
use std::process::ExitCode;
use troop_actors::model_store::{PullError, StoreError};

/// Exit codes; scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Unreachable = 4,
    Unauthorised = 5,
    Credits = 6,
    TimedOut = 7,
    Integrity = 8,
    Interrupted = 130,
    Unread = 141,
}

impl Code {
    pub(super) fn exit(self) -> ExitCode {
        ExitCode::from(self as u8)
    }

    /// All of them, in order.
    pub(super) const ALL: [Code; 10] = [
        Code::Failed,
        Code::Usage,
        Code::NotFound,
        Code::Unreachable,
        Code::Unauthorised,
        Code::Credits,
        Code::TimedOut,
        Code::Integrity,
        Code::Interrupted,
        Code::Unread,
    ];

    /// What it says, in a sentence.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Code::Failed => "The operation failed, or a node gave up",
            Code::Usage => "The command line or an option is wrong",
            Code::NotFound => "There is no such model, key, member or node",
            Code::Unreachable => {
                "No node answers in this folder, or the one asked for is not reached"
            }
            Code::Unauthorised => "The key is not good for this",
            Code::Credits => "The account has not enough credits",
            Code::TimedOut => "It took too long",
            Code::Integrity => "A digest, a signature or a sum is not what it should be",
            Code::Interrupted => "Ctrl-C, or a signal to end while a terminal was in use",
            Code::Unread => "Whoever read the output has gone, as head does",
        }
    }

    /// What it is called where programs read it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Code::Failed => "failed",
            Code::Usage => "usage",
            Code::NotFound => "not_found",
            Code::Unreachable => "unreachable",
            Code::Unauthorised => "unauthorised",
            Code::Credits => "not_enough_credits",
            Code::TimedOut => "timed_out",
            Code::Integrity => "integrity",
            Code::Interrupted => "interrupted",
            Code::Unread => "unread",
        }
    }
}

/// What failed, why, and what to type next.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: Code,
    /// A stable word for programs: the node's own where the fault is the node's, else the exit code's.
    pub(super) name: String,
    what: String,
    cause: Option<String>,
    hint: Option<String>,
}

impl Fault {
    pub(super) fn new(code: Code, what: impl Display) -> Fault {
        Fault {
            code,
            name: code.name().to_owned(),
            what: what.to_string(),
            cause: None,
            hint: None,
        }
    }

    pub(super) fn failed(what: impl Display) -> Fault {
        Fault::new(Code::Failed, what)
    }

    pub(super) fn usage(what: impl Display) -> Fault {
        Fault::new(Code::Usage, what).hint("troop --help")
    }

    /// The node was reached, and hung up before it had said all: nobody knows how far it came.
    pub(super) fn broken_off(cause: impl Display) -> Fault {
        Fault::failed("the node's answer broke off")
            .named("broken_off")
            .because(cause)
            .hint("troop status")
    }

    /// What failed, in a sentence.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    pub(super) fn named(self, name: impl Into<String>) -> Fault {
        Fault {
            name: name.into(),
            ..self
        }
    }

    pub(super) fn because(self, cause: impl Display) -> Fault {
        Fault {
            cause: Some(cause.to_string()),
            ..self
        }
    }

    pub(super) fn hint(self, hint: impl Display) -> Fault {
        Fault {
            hint: Some(hint.to_string()),
            ..self
        }
    }

    /// On stderr for people, on stdout for programs.
    pub(super) fn print(&self, json: bool) {
        if self.code == Code::Unread {
            return;
        }
        if json {
            let error = serde_json::json!({
                "code": self.name,
                "message": self.what,
                "cause": self.cause,
                "hint": self.hint,
            });
            let error = serde_json::json!({ "error": error });
            // Where not even this can be written, the exit code has to do.
            let _ = super::print(error);
            return;
        }
        anstream::eprintln!("{} {}", owo_colors::OwoColorize::red(&"error:"), self.what);
        if let Some(cause) = &self.cause {
            anstream::eprintln!("  cause: {cause}");
        }
        if let Some(hint) = &self.hint {
            anstream::eprintln!("  hint: {hint}");
        }
    }
}

impl From<HomeError> for Fault {
    fn from(error: HomeError) -> Fault {
        let hint = match &error {
            HomeError::Taken { .. } => "troop status, or another folder with --home",
            HomeError::Unknown | HomeError::Open { .. } => "troop --home FOLDER …",
            HomeError::Key { .. } | HomeError::Disk { .. } => {
                "look at the folder's owner and rights"
            }
        };
        Fault::failed("the node's folder cannot be used")
            .because(error)
            .hint(hint)
    }
}

impl From<BootError> for Fault {
    fn from(error: BootError) -> Fault {
        match error {
            BootError::Home(error) => error.into(),
            BootError::Store(error) => error.into(),
            error @ BootError::Port { .. } => {
                Fault::failed(error).hint("troop node --quic 0.0.0.0:0")
            }
            BootError::Certificate(error) => Fault::failed("this node's certificate is not good")
                .because(error)
                .hint("troop leave, and join with a new invitation"),
            BootError::Start(cause) => {
                let fault = Fault::failed("the node could not be started");
                match cause.contains("cannot listen on") {
                    true => fault.because(cause).hint("troop node --listen 127.0.0.1:0"),
                    false => fault.because(cause),
                }
            }
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Fault {
        match &error {
            StoreError::Absent { .. } => {
                Fault::new(Code::NotFound, error).hint("troop list, or troop pull NAME")
            }
            StoreError::Name { .. } => Fault::usage(error),
            StoreError::Damaged { .. } => Fault::new(Code::Integrity, error),
            StoreError::Disk { .. } => Fault::failed(error),
        }
    }
}

impl From<PullError> for Fault {
    fn from(error: PullError) -> Fault {
        match error {
            PullError::Source { .. } => Fault::new(Code::NotFound, error)
                .hint("troop pull smollm2, or troop pull NAME --from SOURCE"),
            PullError::Malformed { .. } => Fault::usage(error).hint("troop help pull"),
            PullError::Absent { .. } => Fault::new(Code::NotFound, error),
            PullError::Denied { .. } => Fault::new(Code::Unauthorised, error)
                .hint("set HF_TOKEN; a gated model's terms are accepted on its page"),
            PullError::Integrity { .. }
            | PullError::Length { .. }
            | PullError::Unfit { .. }
            | PullError::Archive { .. } => Fault::new(Code::Integrity, error),
            PullError::Pip { .. } => {
                Fault::failed(error).hint("python3 -m pip --version must work here")
            }
            PullError::GivenUp { .. } => {
                Fault::failed(error).hint("the same command goes on where this one stopped")
            }
            PullError::Offline { .. } => {
                Fault::failed(error).hint("without --offline and TROOP_OFFLINE it is fetched")
            }
            PullError::Interrupted => Fault::new(Code::Interrupted, error),
            PullError::Store(error) => error.into(),
            PullError::Refused { .. } | PullError::Room { .. } | PullError::Disk { .. } => {
                Fault::failed(error)
            }
        }
    }
}

/// For standard input and output: a reader that has gone, as `| head` does, is no failure of ours to report.
impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Fault {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Fault::new(Code::Unread, error);
        }
        Fault::failed("input or output failed").because(error)
    }
}
