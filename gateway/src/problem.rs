//! What went wrong with a request, before any dialect has put it in its own words.
//!
//! A [`Problem`] knows its status, its code and whether trying again can help. `openai/error.rs` turns it
//! into the body and the headers that OpenAI's clients understand.

use hyper::StatusCode;
use std::fmt;
use troop_actors::generate::Failure;
use troop_actors::scheduler::protocol::Refusal;
use troop_actors::session::protocol::Trouble;

use crate::text::{plain, shown};

/// Why a request is not served, or not to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status, where it can still be sent.
    pub status: StatusCode,
    /// A stable word for programs.
    pub code: Option<&'static str>,
    /// The field of the request that is at fault.
    pub param: Option<String>,
    /// A sentence for people.
    pub message: String,
    /// Whether trying again can help.
    pub retry: Retry,
    /// The methods that would have been allowed.
    pub allow: Option<&'static str>,
    /// Nothing more can be read from this connection.
    pub close: bool,
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The status says enough.
    Unsaid,
    /// It cannot, whatever the status suggests.
    Never,
    /// It can, after so many milliseconds.
    After(u64),
}

impl Problem {
    /// A problem with a status, a code and a sentence.
    pub fn new(
        status: StatusCode,
        code: impl Into<Option<&'static str>>,
        message: impl Into<String>,
    ) -> Problem {
        Problem {
            status,
            code: code.into(),
            param: None,
            message: message.into(),
            retry: Retry::Unsaid,
            allow: None,
            close: false,
        }
    }

    /// The field `param` is wrong.
    pub fn field(param: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, None, message).about(param)
    }

    /// The body is wrong as a whole.
    pub fn body(message: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, None, message)
    }

    /// The server cannot serve this now; `after_ms` is when it may.
    pub fn overloaded(message: impl Into<String>, after_ms: u64) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message).after(after_ms)
    }

    /// An actor did not answer: it is restarting, or not there on this node.
    pub fn unavailable(who: &'static str) -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            format!("the {who} does not answer; it may be restarting"),
        )
        .after(1000)
    }

    /// The node is going down.
    pub fn draining() -> Problem {
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "draining",
            "this node is shutting down and takes no new requests",
        )
        .after(1000)
    }

    /// The same, about a field.
    pub fn about(mut self, param: impl Into<String>) -> Problem {
        self.param = Some(param.into());
        self
    }

    /// The same, where the client knows the field by another name.
    pub fn renamed(self, param: impl Into<String>) -> Problem {
        let param = param.into();
        let begins = self.param.as_ref().map(|old| format!("{old}: "));
        let rest = begins.and_then(|begins| self.message.strip_prefix(&begins).map(str::to_owned));
        let message = rest.map(|rest| format!("{param}: {rest}"));
        Problem {
            message: message.unwrap_or(self.message.clone()),
            ..self
        }
        .about(param)
    }

    /// The same, worth trying again after `ms` milliseconds.
    pub fn after(mut self, ms: u64) -> Problem {
        self.retry = Retry::After(ms);
        self
    }

    /// The same, and the connection ends with it.
    pub fn closing(mut self) -> Problem {
        self.close = true;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What another actor says of a field, which its sentence does not name.
fn invalid(field: &str, message: &str) -> Problem {
    let field = shown(field);
    let message = format!("{field}: {}", plain(message));
    Problem::field(field, message)
}

impl From<&Trouble> for Problem {
    fn from(trouble: &Trouble) -> Problem {
        match trouble {
            Trouble::Refused(refusal) => refusal.into(),
            Trouble::Failed(failure) => failure.into(),
            Trouble::QueueTimeout { .. } => Problem::overloaded(trouble.to_string(), 1000),
            Trouble::Lost { attempts, reason } => Problem::new(
                StatusCode::BAD_GATEWAY,
                "engine_died",
                format!(
                    "{attempts} attempts were lost; the last one: {}",
                    plain(reason)
                ),
            ),
            Trouble::Interrupted => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "the request was interrupted by a fault of this node",
            ),
        }
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Problem {
        let message = refusal.to_string();
        match refusal {
            Refusal::Busy { retry_after_ms, .. } => Problem::overloaded(message, *retry_after_ms),
            Refusal::Credits { .. } => Problem {
                retry: Retry::Never,
                ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "insufficient_quota", message)
            },
            Refusal::NoWorker => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_worker",
                "no worker serves this model now",
            )
            .after(1000),
            Refusal::Invalid { field, message } => invalid(field, message),
            Refusal::Over => Problem {
                retry: Retry::Never,
                ..Problem::new(StatusCode::CONFLICT, "request_over", message)
            },
            Refusal::LedgerUnavailable => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger_unavailable",
                message,
            )
            .after(1000),
        }
    }
}

impl From<&Failure> for Problem {
    fn from(failure: &Failure) -> Problem {
        match failure {
            Failure::ContextLength { prompt, context } => Problem::new(
                StatusCode::BAD_REQUEST,
                "context_length_exceeded",
                format!(
                    "this model's maximum context length is {context} tokens, but the prompt \
                     has {prompt} tokens; please shorten it"
                ),
            )
            .about("messages"),
            Failure::EmptyPrompt => Problem::field("messages", failure.to_string()),
            Failure::NoTemplate => Problem::field(
                "model",
                format!("{failure} and cannot chat; send it a prompt at /v1/completions"),
            ),
            Failure::Template { message } => Problem::field(
                "messages",
                format!("the chat template refused the messages: {}", plain(message)),
            ),
            Failure::Invalid { field, message } => invalid(field, message),
            Failure::NonFinite { .. } => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "non_finite",
                plain(&failure.to_string()),
            ),
            Failure::Cancelled => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "cancelled",
                "the request was cancelled",
            ),
            Failure::Overtime { .. } => Problem {
                retry: Retry::Never,
                ..Problem::new(
                    StatusCode::GATEWAY_TIMEOUT,
                    "request_time_limit",
                    failure.to_string(),
                )
            },
        }
    }
}
