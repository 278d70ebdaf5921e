//! What is said about one request: why it waited, why it ran where it did, what it cost.

use serde::{Deserialize, Serialize};

/// One request, from its asking to its bill. Times are in milliseconds; members that are not known are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// `troop.explain/v1`.
    pub schema: String,
    /// Its id.
    pub request: String,
    /// `waiting`, `running`, `done`, `failed` or `refused`.
    pub state: String,
    /// Why it failed or was refused, if it was.
    pub reason: Option<String>,
    /// And whose fault that is: `request`, `worker`, `link`, `client` or `pool`.
    pub fault: Option<String>,
    /// What was asked for.
    pub asked: Asked,
    /// How it stands in the line, if it does now.
    pub waits: Option<Waits>,
    /// What was decided, oldest first: a worker for each attempt, and refusals.
    pub attempts: Vec<Attempt>,
    /// How long it took.
    pub timings: Timings,
    /// What it came to.
    pub bill: Bill,
    /// Whose word is missing, if somebody's is.
    pub missing: Option<String>,
}

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// `sha256:` and the digest of the model.
    pub model: String,
    /// What it is called, if that is known here.
    pub name: Option<String>,
    /// The node that asked, by id.
    pub client: Option<String>,
    /// Who pays, by id.
    pub member: String,
    /// Bytes of its prompt.
    pub prompt_bytes: Option<u64>,
    /// Tokens wanted for each choice, at most.
    pub tokens_max: Option<u32>,
    /// Choices.
    pub choices: Option<u32>,
}

/// A request in the line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    /// Requests for the same model before it.
    pub ahead: u32,
    /// How long it has waited.
    pub waited_ms: u64,
    /// What was found of the workers just now, the best first.
    pub candidates: Vec<Candidate>,
}

/// One attempt, or a refusal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its number, from 0.
    pub number: u32,
    /// The worker that was chosen, by id.
    pub worker: Option<String>,
    /// The next best one.
    pub standby: Option<String>,
    /// Why there was none.
    pub refused: Option<String>,
    /// How long it waited for that.
    pub waited_ms: Option<u64>,
    /// Its ticket's id.
    pub ticket: Option<String>,
    /// How long after the ticket the worker had read the prompt's words.
    pub started_ms: Option<u64>,
    /// How long after the ticket it was given up, if it was.
    pub lost_ms: Option<u64>,
    /// And why.
    pub lost: Option<String>,
    /// And whose fault that was: `request`, `worker`, `link`, `client` or `pool`. Only a worker's own counts against it.
    pub fault: Option<String>,
    /// The workers that were looked at, the best first.
    pub candidates: Vec<Candidate>,
}

/// A worker that was looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its id.
    pub worker: String,
    /// `chosen`, `stands by`, `free`, `full`, `failed before`, `left before`, `too small`, `no memory`, `other class`
    /// or `held dead`.
    pub finding: String,
    /// What it was expected to take until the first token.
    pub first_ms: u64,
    /// And until the last.
    pub finish_ms: u64,
    /// Both together: the least is best.
    pub score_ms: u64,
    /// Sequences of the model that were taken there.
    pub taken: u32,
    /// And how many there are.
    pub sequences_max: u32,
    /// Tokens of the prompt that it was believed to remember.
    pub prefix_tokens: u64,
}

/// How long a request took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timings {
    /// In the line, over all attempts.
    pub queue_ms: Option<u64>,
    /// Until the first token.
    pub first_token_ms: Option<u64>,
    /// Until its end.
    pub total_ms: Option<u64>,
    /// Tokens a second, from the first token to the end, of all choices together.
    pub tokens_per_second: Option<f64>,
}

/// What a request came to; amounts in microcredits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// Tokens of its prompt.
    pub prompt_tokens: Option<u32>,
    /// How many of them the worker remembered.
    pub reused_tokens: Option<u32>,
    /// Tokens of its answer.
    pub completion_tokens: Option<u32>,
    /// What was set aside for it.
    pub held_micros: Option<u64>,
    /// What it cost by the books; null while it is not settled.
    pub paid_micros: Option<u64>,
    /// Whether by a voucher, because nobody showed a receipt; null while it is not settled.
    pub paid_by_voucher: Option<bool>,
}
